"""Hand-made RAW_DATA rows for the tests of the assembly: as records, and as parquet files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from assembly.candidates import QuestionSamples, choose, questions_of
from assembly.formats import FORMATS
from assembly.settings import SftSettings
from assembly.traces import QuestionTraces, assemble_question
from generation.raw.reader import ROWS, open_parts, read_part
from generation.records import NO_ANSWER, Outcome

RIGHT = "<verdict>Correct</verdict>"
WRONG = "<verdict>Incorrect</verdict>"
PUBLISHED = "model_responses__mutated_prompts"
README = "model_responses__example_annotation"


class RawRow(NamedTuple):
    """One row of any RAW_DATA as it is read; its fields are those of ROWS."""

    question_key: str
    question: str
    answer: str
    task: str
    variant: str | None
    response: str
    thought: str | None
    is_correct: bool | None
    outcome: Outcome
    reason: str
    extracted_answer: str | None
    cut: bool
    mentions_hint: bool
    reflections: list[str]
    attempts: list[dict[str, Any]] | None = None
    metadata: str | None = None
    parent: str | None = None
    seen: dict[str, Any] | None = None


def read(raw: str | Path, batch_rows: int = 4096) -> list[RawRow]:
    """Every row of a RAW_DATA."""
    tables = [table for part in open_parts(raw) for table in read_part(part, batch_rows)]
    return [RawRow(**row) for table in tables for row in table.to_pylist()]


def settings(*formats: str, attempts: str = "3", seed: int = 0, **changes: Any) -> SftSettings:
    return SftSettings(formats, attempts, seed, **changes)


def pooled(rows: Sequence[RawRow], wanted: SftSettings | None = None) -> QuestionSamples:
    """The rows as the assembly sees their question."""
    (asked,) = questions_of(chosen(rows, wanted))
    return asked


def left_out_of(rows: Sequence[RawRow], wanted: SftSettings | None = None) -> Counter[str]:
    """Samples that may stand in no trace with reflections, by reason."""
    return Counter(why for why in chosen(rows, wanted)["left_out"].to_pylist() if why)


def chosen(rows: Sequence[RawRow], wanted: SftSettings | None) -> pa.Table:
    table = pa.Table.from_pylist([row._asdict() for row in rows], schema=ROWS)
    return choose(table, wanted or settings("*C_full"))


def made_of(rows: Sequence[RawRow], wanted: SftSettings) -> QuestionTraces:
    return assemble_question(pooled(rows, wanted), [FORMATS[name] for name in wanted.formats], wanted)


def raw_row(response: str, correct: bool | None, **changes: Any) -> RawRow:
    """A graded sample with one valid reflection; `changes` replaces fields."""
    outcome: Outcome = "unknown" if correct is None else ("right" if correct else "wrong")
    fields: dict[str, Any] = {
        "question_key": "q1",
        "question": "What is 3 + 4?",
        "answer": "7",
        "task": "sums",
        "variant": "original",
        "response": response,
        "thought": None,
        "is_correct": correct,
        "outcome": outcome,
        "reason": "",
        "extracted_answer": f" {response} ",
        "cut": False,
        "mentions_hint": False,
        "reflections": [f"On {response}: {RIGHT if correct else WRONG}"],
    }
    return RawRow(**{**fields, **changes})


def retry_row(response: str, correct: bool | None, first: str, seen: str, **changes: Any) -> RawRow:
    """A retry of a wrong sample that saw a reflection; `changes` replaces fields, or with seen_ those of `seen`."""
    told = {"sample": first, "answer": "8", "reflection": seen, "outcome": "wrong"}
    told |= {"cut": False, "mentions_hint": False}
    told |= {name.removeprefix("seen_"): changes.pop(name) for name in [*changes] if name.startswith("seen_")}
    row = raw_row(response, correct, variant="retry", parent="original/0/0", seen=told)
    return row._replace(**changes)


def no_answer(response: str) -> RawRow:
    """A sample without an answer, by the published convention: not correct."""
    return raw_row(response, False, outcome="unknown", reason=NO_ANSWER, extracted_answer=None)


def published_row(question: str, response: str, correct: bool | None, **changes: Any) -> dict[str, Any]:
    """A row in the names that the published script writes, without any column of our own."""
    row = {
        "question": question,
        "answer": "7",
        "prompt_variant": "original",
        PUBLISHED: [response],
        f"{PUBLISHED}__eval_is_correct": [correct],
        f"{PUBLISHED}__eval_extracted_answers": [response],
        f"{PUBLISHED}_reflection": [f"On {response}: {RIGHT if correct else WRONG}"],
    }
    return {**row, **changes}


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return path


def write_rows(path: Path, rows: Sequence[RawRow]) -> None:
    """The rows in a file, in names that are published and some of our own."""
    named = [
        {
            "question": row.question,
            "answer": row.answer,
            PUBLISHED: row.response,
            f"{PUBLISHED}__eval_is_correct": row.is_correct,
            f"{PUBLISHED}__eval_extracted_answers": row.extracted_answer,
            f"{PUBLISHED}_reflection": row.reflections,
            "question_key": row.question_key,
            "outcome": row.outcome,
            "outcome_reason": row.reason,
            "mentions_hint": row.mentions_hint,
        }
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(named), path)
