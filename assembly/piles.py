"""Questions to traces, as rows of SFT_DATA: the part of the work that many processes share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from assembly.analysis import faults_of
from assembly.candidates import Asked, questions_of
from assembly.cards import SFT_SCHEMA
from assembly.dealing import deal, read_pile
from assembly.formats import choose_formats
from assembly.question_traces import Made, assemble_question
from assembly.settings import SftSettings, read_attempts
from cluster.inference.chat import fault_in, probe
from cluster.inference.engine import Message
from cluster.inference.models import find
from cluster.inference.vllm_engine import ChatTokenizer
from cluster.messages import first_line
from generation.raw.files import Part
from generation.records import request_seed

SCORED = pa.schema([*SFT_SCHEMA, ("order", pa.uint64()), ("score", pa.int64())])
"""Rows of SFT_DATA, each with the question's order and a number by which a subsample takes the smallest."""


class MadeRows(NamedTuple):
    """The traces of some questions; rows of schema SCORED, in order, are in the file."""

    path: Path
    questions: int
    orders: np.ndarray
    """Of each row, uint64."""
    scores: np.ndarray
    """Of each row, int64."""
    labels: tuple[tuple[str, str], ...]
    """Every (format, label) there is."""
    label_of: np.ndarray
    """Of each row, its place in `labels`."""
    not_given: Counter[tuple[str, str]]
    """Questions by (format, reason)."""
    too_long: Counter[tuple[str, str]]
    """Traces left out for their length, by (format, label)."""
    shortest: int = 0
    """Tokens of the shortest of those; 0 where there is none."""


class MadePart(NamedTuple):
    """What a part of RAW_DATA gave."""

    samples: int
    left_out: Counter[str]
    made: MadeRows


def make_part(part: Part, number: int, settings: SftSettings, piles: Sequence[Path], apart: Path) -> MadePart:
    """Make all traces of the questions that lie whole in the part; put the rows of those `apart` into the piles."""
    dealt = deal(part, number, np.load(apart), settings, piles)
    made = _make(dealt.whole, settings, apart.with_name(f"part-{number:06}.arrow"))
    return MadePart(dealt.samples, dealt.left_out, made)


def make_pile(pile: Path, settings: SftSettings) -> MadeRows:
    """Make all traces of a pile's questions."""
    return _make(read_pile(pile), settings, pile.with_suffix(".arrow"))


def _make(pool: pa.Table, settings: SftSettings, path: Path) -> MadeRows:
    formats = choose_formats(settings.formats, read_attempts(settings.attempts))
    not_given, too_long = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    rows: list[Row] = []
    questions, shortest = 0, 0
    for asked in questions_of(pool):
        questions += 1
        traces = assemble_question(asked, formats, settings)
        not_given.update(traces.not_given)
        for place, made in enumerate(traces.made):
            if tokens := _too_long(asked, made, settings):
                too_long[made.format, made.label] += 1
                shortest = min(shortest or tokens, tokens)
            else:
                rows.append(Row(asked, made, _score(asked, made, place, settings)))
    table = _table(rows)
    with pa.ipc.new_file(path, SCORED) as writer:
        writer.write_table(table)
    labels = {key: place for place, key in enumerate(dict.fromkeys((row.made.format, row.made.label) for row in rows))}
    label_of = np.array([labels[row.made.format, row.made.label] for row in rows], dtype=np.int32)
    orders, scores = table["order"].to_numpy(), table["score"].to_numpy()
    return MadeRows(path, questions, orders, scores, tuple(labels), label_of, not_given, too_long, shortest)


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
        "order": pa.array([row.asked.order for row in rows], pa.uint64()),
        "score": [row.score for row in rows],
    }
    return pa.table(columns, schema=SCORED)


def _score(asked: Asked, made: Made, place: int, settings: SftSettings) -> int:
    """The same for all where every trace is kept."""
    if settings.subsample is None:
        return 0
    return request_seed(settings.seed, "subsample", asked.key, made.format, place)


def _conversation(asked: Asked, made: Made) -> list[Message]:
    return [Message(role="user", content=asked.question), Message(role="assistant", content=made.text)]


def _too_long(asked: Asked, made: Made, settings: SftSettings) -> int:
    """The tokens of a trace that is longer than asked for; 0 for any other."""
    if settings.tokenizer is None or settings.max_trace_tokens is None:
        return 0
    tokens = len(tokenizer(settings.tokenizer).encode(_conversation(asked, made)))
    return tokens if tokens > settings.max_trace_tokens else 0


@cache
def tokenizer(name: str) -> ChatTokenizer:
    """Load the tokenizer of a model by folder, hub id or well-known name. Raises ValueError if it is not there."""
    model = find(name)
    return ChatTokenizer(model.path, model.hub_revision)


def check_tokenizer(name: str) -> None:
    """Raise ValueError if the tokenizer is not there or cannot write a conversation."""
    chat = tokenizer(name)
    turns = probe(("user", "assistant"))
    try:
        fault = fault_in(chat.render(turns), turns)
        chat.encode([Message(role="user", content="2 + 2?"), Message(role="assistant", content="4")])
    except Exception as error:
        # A template is the model's own program, a tokenizer anyone's file: they fail in their own ways.
        reason = first_line(error)[:160]
        raise ValueError(f"--tokenizer {name} cannot write a conversation: {reason}") from error
    if fault:
        raise ValueError(f"--tokenizer {name}: its chat template {fault}, which would not be counted: give another one")
