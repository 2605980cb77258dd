"""RAW_DATA to SFT_DATA. `assemble_question` is the pure part; `assemble` reads, counts and writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from assembly.exports import Example, check_destination, write_sft
from assembly.formats import Format, choose_formats, compose, pick, shortage
from assembly.phrases import load_phrases
from assembly.pool import build_pool
from assembly.summary import AssemblySummary, SftSettings
from assembly.traces import Trace, render
from generation.raw_reader import read_questions
from generation.records import RawRow


class LabelledTrace(NamedTuple):
    """A trace and what made it."""

    format: str
    label: str
    trace: Trace


class QuestionTraces(NamedTuple):
    """All that one question gives, and what it cannot."""

    traces: tuple[LabelledTrace, ...]
    not_given: tuple[tuple[str, str], ...]
    """(format, reason) of each format it cannot give."""
    left_out: Counter[str]
    """Samples that no trace may use, by reason."""


def assemble_question(rows: Sequence[RawRow], formats: Sequence[Format], attempts: int, seed: int) -> QuestionTraces:
    """The traces of one question's rows. The order of the rows does not matter.

    Every trace draws from a generator of its own, seeded by run seed, format, length and question,
    so that it does not change with the other formats or questions asked for.
    """
    candidates, left_out = build_pool(rows)
    traces, not_given = [], []
    for format_ in formats:
        reason = shortage(format_, candidates, attempts)
        if reason is not None:
            not_given.append((format_.name, reason))
            continue
        for count in format_.counts(attempts):
            rng = Random(f"{seed}/{format_.name}/{count}/{rows[0].question_key}")
            trace = compose(format_, pick(format_, candidates, count, rng), load_phrases(), rng)
            traces.append(LabelledTrace(format_.name, format_.label.replace("{n}", str(count)), trace))
    return QuestionTraces(tuple(traces), tuple(not_given), left_out)


def assemble(raw: str | Path, out: Path, settings: SftSettings) -> AssemblySummary:
    """Make SFT_DATA in the place of `out` from a RAW_DATA folder, file or hub repository.

    The set is ordered by question key; its rendered traces are held in memory until written.
    ValueError for settings, places and files that are wrong, before anything is written.
    """
    formats = choose_formats(settings.formats, settings.attempts)
    check_destination(out, raw)
    summary = AssemblySummary(out)
    examples: list[Example] = []
    for rows in read_questions(raw):
        made = assemble_question(rows, formats, settings.attempts, settings.seed)
        summary.questions += 1
        summary.samples += len(rows)
        summary.traces.update((trace.format, trace.label) for trace in made.traces)
        summary.not_given.update(made.not_given)
        summary.left_out.update(made.left_out)
        examples += [_example(rows[0], trace) for trace in made.traces]
    examples.sort(key=lambda example: example.question_key)
    write_sft(examples, summary, settings, out)
    return summary


def _example(row: RawRow, made: LabelledTrace) -> Example:
    return Example(row.question_key, row.question, row.task, made.format, made.label, render(made.trace))
