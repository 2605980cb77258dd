"""The replies to a question as rows of EVAL_DATA."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from cluster.inference.engine import Completion, EngineInfo, Message, Sampling
from generation.evaluation.forcing import Cut
from generation.evaluation.schema import EVAL_SCHEMA, PREFIX, SCHEMA_VERSION
from generation.raw.schema import WRITER, attempt_entry, request_record, sampling_record, without_surrogates
from generation.records import Grade, InnerAttempt, Question


class Reply(NamedTuple):
    """A reply with its grade, and how it came to be."""

    completion: Completion
    grade: Grade
    inner: tuple[InnerAttempt, ...]
    seed: int
    written_here: int  # tokens that were written for it and for no other reply
    forced: tuple[Cut | None, bool] | None = (
        None  # where it was gone on with, if it was; whether its answer was asked for
    )


class Row(NamedTuple):
    """The replies of an arm under a variant."""

    arm: str
    variant: str
    messages: tuple[Message, ...]
    replies: Sequence[Reply]
    same_answers: Sequence[int | None]


def to_table(
    question: Question, rows: Sequence[Row], engine: EngineInfo, sampling: Sampling, task_config: str
) -> pa.Table:
    """Return the rows of a question, of schema EVAL_SCHEMA, in the given order; `task_config` is JSON."""
    shared = {
        "question": question.text,
        "answer": question.answer,
        "question_key": question.key,
        "question_index": question.place,
        "task": question.task,
        "task_config": task_config,
        "task_source": question.source,
        "original_split": "test",
        "all_other_columns": "{}",
        "metadata": json.dumps({"answer_type": question.answer_type, **question.grading}, sort_keys=True),
        **{name: getattr(engine, name) for name in WRITER},
        "sampling": sampling_record(sampling),
        "schema_version": SCHEMA_VERSION,
    }
    return pa.Table.from_pylist([without_surrogates(shared | _row(row)) for row in rows], schema=EVAL_SCHEMA)


def _row(row: Row) -> dict[str, Any]:
    completions, grades = [one.completion for one in row.replies], [one.grade for one in row.replies]
    return {
        PREFIX: [one.text for one in completions],
        f"{PREFIX}__eval_is_correct": [one.is_correct for one in grades],
        f"{PREFIX}__eval_extracted_answers": [one.extracted for one in grades],
        f"{PREFIX}__finish_reason_length_flags": [one.finish_reason == "length" for one in completions],
        f"{PREFIX}__internal_answers__eval_is_correct": [_inner(one, "is_correct") for one in row.replies],
        f"{PREFIX}__internal_answers__eval_extracted_answers": [_inner(one, "extracted") for one in row.replies],
        "responses__thought": [one.thought for one in completions],
        "responses__outcome": [one.outcome for one in grades],
        "responses__reason": [one.reason for one in grades],
        "responses__found": [one.found for one in grades],
        "responses__same_answer": list(row.same_answers),
        "responses__attempts": [[attempt_entry(one) for one in reply.inner] for reply in row.replies],
        "responses__provenance": [request_record(one.completion, one.seed) for one in row.replies],
        "responses__forced": [_forced(one) for one in row.replies],
        "arm": row.arm,
        "prompt_variant": row.variant,
        "prompt": list(row.messages),
    }


def _inner(reply: Reply, name: str) -> list[Any]:
    return [getattr(one.grade, name) for one in reply.inner]


def _forced(reply: Reply) -> dict[str, Any] | None:
    if reply.forced is None:
        return None
    where, answer = reply.forced
    return {
        "trigger": where.trigger if where else "",
        "kept": len(where.kept) if where else None,
        "answer": answer,
    }
