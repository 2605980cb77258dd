"""One pile of questions to its traces, as rows of SFT_DATA: the part of the work that many processes share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from assembly.analysis import faults_of
from assembly.candidates import Asked, questions_of
from assembly.cards import SFT_SCHEMA
from assembly.dealing import read_pile
from assembly.formats import choose_formats
from assembly.question_traces import Made, assemble_question
from assembly.settings import SftSettings, read_attempts
from cluster.engine import Message
from cluster.models import find
from cluster.vllm_engine import ChatTokenizer
from generation.records import request_seed

SCORED = SFT_SCHEMA.append(pa.field("score", pa.int64()))
"""Rows of SFT_DATA, each with a number by which a subsample takes the smallest."""


class MadePile(NamedTuple):
    """What a pile gave; its rows, of schema SCORED and in order, are in the file."""

    path: Path
    questions: int
    scores: dict[tuple[str, str], list[int]]
    """Of each (format, label), in any order."""
    not_given: Counter[tuple[str, str]]
    """Questions by (format, reason)."""
    too_long: Counter[tuple[str, str]]
    """Traces left out for their length, by (format, label)."""


def make_pile(pile: int, settings: SftSettings, folder: Path) -> MadePile:
    """All traces of a pile's questions, in the order of the questions' hashes."""
    formats = choose_formats(settings.formats, read_attempts(settings.attempts))
    done = MadePile(folder / f"made-{pile:04}.arrow", 0, {}, Counter(), Counter())
    rows: list[Row] = []
    questions = 0
    for asked in questions_of(read_pile(pile, folder)):
        questions += 1
        traces = assemble_question(asked, formats, settings)
        done.not_given.update(traces.not_given)
        for place, made in enumerate(traces.made):
            if _too_long(asked, made, settings):
                done.too_long[made.format, made.label] += 1
                continue
            score = request_seed(settings.seed, "subsample", asked.key, made.format, place)
            done.scores.setdefault((made.format, made.label), []).append(score)
            rows.append(Row(asked, made, score))
    with pa.ipc.new_file(done.path, SCORED) as writer:
        writer.write_table(_table(rows), max_chunksize=1_000)
    return done._replace(questions=questions)


class Row(NamedTuple):
    """A trace, the question it answers, and its score."""

    asked: Asked
    made: Made
    score: int


def _table(rows: Sequence[Row]) -> pa.Table:
    """Of schema SCORED."""
    contents = [text for row in rows for text in (row.asked.question, row.made.text)]
    turns = pa.StructArray.from_arrays(
        [pa.array(["user", "assistant"] * len(rows), pa.string()), pa.array(contents, pa.string())], ["role", "content"]
    )
    columns = {
        "conversations": pa.ListArray.from_arrays(pa.array(range(0, 2 * len(rows) + 1, 2), pa.int32()), turns),
        "sft_template_type_idx": [row.made.label for row in rows],
        "format": [row.made.format for row in rows],
        "question_key": [row.asked.key for row in rows],
        "task": [row.asked.task for row in rows],
        "variants": [row.made.variants for row in rows],
        "faults": [faults_of(row.made) for row in rows],
        "score": [row.score for row in rows],
    }
    return pa.table(columns, schema=SCORED)


def _conversation(asked: Asked, made: Made) -> list[Message]:
    return [Message(role="user", content=asked.question), Message(role="assistant", content=made.text)]


def _too_long(asked: Asked, made: Made, settings: SftSettings) -> bool:
    if settings.tokenizer is None or settings.max_trace_tokens is None:
        return False
    return len(tokenizer(settings.tokenizer).encode(_conversation(asked, made))) > settings.max_trace_tokens


@cache
def tokenizer(name: str) -> ChatTokenizer:
    """The tokenizer of a model by its folder, hub id or well-known name. Raises ValueError."""
    model = find(name)
    return ChatTokenizer(model.path, None if model.local else model.revision)
