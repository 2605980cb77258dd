"""What is said of SFT_DATA: on the terminal, and in its card, with its main figures and plots."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assembly.exclusion import EXCLUDED, FLAG
from assembly.faults import FAULTS, RULES
from assembly.formats import TOO_ALIKE, rows_of
from assembly.settings import SftSettings
from assembly.sft import KINDS, Summary, columns_in, schema_in
from cluster.jobs import card
from cluster.jobs.card import NONE, Split, Table, code, counts_text
from cluster.jobs.plots import Lengths, draw_lengths, draw_parts
from cluster.jobs.progress import wrapped
from generation.raw.files import RawSource
from generation.raw.schema import columns_table

_FAULTY, _CUT = ("no fault found", "with a fault"), ("without a cut attempt", "with a cut attempt")
_DRAWN = "What is said between attempts and before the answer is drawn from these, a line each."
_TAGS = ("skillfactory", "self-distillation", "reasoning", "sft")


def summary_text(summary: Summary) -> str:
    """Format the summary for the terminal."""
    traces = [(label if label == of else f"{label} of {of}", n) for (of, label), n in sorted(summary.traces.items())]
    lines = [f"{summary.questions:,} questions with {summary.samples:,} samples{_retries(summary)} in all"]
    if summary.repeated:
        lines.append(repeated_text(summary))
    lines += [f"{summary.traces.total():,} traces", *counts_text(traces)]
    if summary.longest:
        lines.append(f"{summary.longest:,} tokens in the longest, its question included")
    if len(tasks := summary.counts("task")) > 1:
        lines += ["traces by task", *counts_text((name or NONE, count) for name, count in tasks.items())]
    if summary.not_given:
        some = ", or not all of it" if any(why == TOO_ALIKE for _, why in summary.not_given) else ""
        lines.append(f"questions that could not give a format{some}")
        lines += counts_text((f"{name}: {why}", count) for (name, why), count in sorted(summary.not_given.items()))
    if summary.left_out:
        lines += ["samples that no trace may use", *counts_text(sorted(summary.left_out.items()))]
    if summary.chosen:
        lines.append("what was chosen")
        lines += counts_text((f"{flag}: {what}", count) for (flag, what), count in summary.chosen.items())
    if summary.too_long:
        lines.append(f"{summary.too_long.total():,} traces left out: longer than --max_trace_tokens")
    return "\n".join([*lines, *(wrapped(f"note        {note}") for note in summary.notes)])


def _retries(summary: Summary) -> str:
    return f" and {summary.retries:,} retries" if summary.retries else ""


def sft_card(
    summary: Summary,
    settings: SftSettings,
    splits: Sequence[Split],
    source: RawSource,
    folder: Path,
    *,
    license: str,
    starts: Sequence[Mapping[str, Any]],
) -> str:
    """Return the README.md of SFT_DATA with the files of `splits`, made from `source` by a run with these `starts`.

    Writes its plots into the folder.
    """
    missing = summary.left_questions or summary.too_long or summary.not_given or summary.left_out
    shares = [
        (kind, code(name or NONE), count, *(summary.faults[fault, kind, name] / count for fault in FAULTS))
        for kind in KINDS
        for name, count in summary.counts(kind).items()
    ]
    own = {"formats": rows_of(settings.chosen)} if settings.prompts else {}
    values = {
        "header": _header(splits, settings, source, license),
        "traces": f"{sum(split.rows for split in splits):,}",
        "questions": f"{summary.questions:,}",
        "samples": f"{summary.samples:,} samples{_retries(summary)}",
        "splits": _table(("split", "traces"), {one.name: one.rows for one in splits[1:] and splits}, 1),
        "formats": _table(("format", "traces"), summary.counts("format"), 1),
        "labels": _table(("label", "traces"), summary.counts("label"), 1),
        "tasks": _table(("task", "traces"), summary.counts("task"), 1),
        "chosen": _chosen(summary),
        "left_questions": _table(("why no trace of a question is wanted", "questions"), summary.left_questions, 0),
        "too_long": _table(("format", "label", "traces longer than asked for"), summary.too_long, 2),
        "not_given": _table(("format", "why a question could not give it", "questions"), summary.not_given, 1),
        "left_out": _table(("why a sample stands in no trace", "samples"), summary.left_out, 0),
        "nothing": "" if missing else "Nothing: every question gave every format, and every sample could be used.",
        "main": _main(summary, settings, folder),
        "shown": _one_trace(summary),
        "rules": Table(("fault", "a trace shows it when"), list(RULES.items())).markdown(1),
        "shares": Table(("by", "", "traces", *map(code, FAULTS)), shares).markdown(),
        "columns": columns_table(columns_in(settings)),
        "longest": longest_text(summary, settings),
        "source": code(source.name),
        "commit": f", at commit {code(source.revision)}" if source.revision else "",
        "digest": code(source.digest),
        "written": f"; its samples are by {', '.join(map(code, source.models))}" if source.models else "",
        "repeated": f" {repeated_text(summary)[:1].upper()}{repeated_text(summary)[1:]}." if summary.repeated else "",
        "configuration": card.json_block(settings.shown(), sort_keys=False),
        "run": card.run_section(starts),
        "phrases": card.texts_section("The phrases", {"phrases": settings.words.phrases, **own}, _DRAWN),
    }
    return card.fill_card("assembly", values, "sft_card.md")


def _header(splits: Sequence[Split], settings: SftSettings, source: RawSource, license: str) -> str:
    """Return the YAML at the head of the card."""
    return card.header(
        schema_in(settings),
        splits,
        tags=_TAGS,
        license=license,
        models=source.models,
        sources=source.repository.split(", "),
    )


def _main(summary: Summary, settings: SftSettings, folder: Path) -> str:
    """Return the main figures as a table, with two plots, which are written into the folder."""
    of = Counter(summary.traces)
    names = sorted(of, key=lambda one: (one[0], len(one[1]), one[1]))
    plain = len({form for form, _ in names}) == 1
    parts = {
        label if plain or label == form else f"{label} of {form}": (
            of[form, label] - summary.flawed[form, label],
            summary.flawed[form, label],
        )
        for form, label in names
    }
    unit = "tokens" if settings.chat() else "characters"
    ended, cut = (
        Counter({length: n for (was_cut, length), n in summary.lengths.items() if was_cut is kind})
        for kind in (False, True)
    )
    lengths, traces, faults = Lengths(ended, cut), of.total(), summary.flawed.total()
    each = sum(count * n for count, n in summary.attempts.items()) / max(1, traces)
    fewest, most = (limit(summary.attempts, default=0) for limit in (min, max))
    rows = [
        ("traces", f"{traces:,} of {summary.questions:,} questions"),
        ("attempts in a trace", f"{each:.1f} on average, {fewest} to {most}"),
        ("length of a trace", f"median {lengths.median():,} {unit}, longest {lengths.longest():,}"),
        ("traces that show a fault", f"{faults:,}, {faults / max(1, traces):.1%}, as far as rules can tell"),
    ]
    return "\n".join(
        [
            Table(("what", "figures"), rows).markdown(),
            draw_parts(folder, "traces", "Traces by label", parts, _FAULTY, whole=False),
            draw_lengths(folder, "lengths", unit, {"traces": lengths}, _CUT),
        ]
    )


def _chosen(summary: Summary) -> str:
    """Return the section on what each choice kept and left out, "" if there was none."""
    if not summary.chosen:
        return ""
    rows = [(flag, what, count) for (flag, what), count in summary.chosen.items()]
    listed = any(flag.startswith(FLAG) for flag, _ in summary.chosen)
    where = f"The questions that stand in a set of `{FLAG}` are listed in `{EXCLUDED}`.\n\n" if listed else ""
    return f"## What was chosen\n\n{where}{Table(('choice', 'what', 'count'), rows).markdown(1)}"


def _one_trace(summary: Summary) -> str:
    if summary.shown is None:
        return "There is none."
    _, question, text = summary.shown
    return f"{card.fenced(question, 'text')}\nThe model is trained to answer:\n\n{card.fenced(text, 'text')}"


def _table(head: tuple[str, ...], counts: Mapping[Any, int], names: int) -> str:
    rows = [(*((key,) if isinstance(key, str) else key), count) for key, count in sorted(counts.items())]
    return Table(head, rows).markdown(names) if rows else ""


def repeated_text(summary: Summary) -> str:
    """Say how many rows were met in several RAW_DATA."""
    return f"rows that more than one RAW_DATA has, and that count once: {summary.repeated:,}"


def longest_text(summary: Summary, settings: SftSettings) -> str:
    """Say how long the longest trace is, "" if its tokens were not counted."""
    if not summary.longest:
        return ""
    counted = f"the longest trace has {summary.longest:,} tokens, its question included"
    return f"By the tokenizer of {code(settings.shown()['model'])} {counted}: a trainer's limit must be above."
