"""Sets to grade again, and what the command makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.inference.engine import FinishReason
from generation.evaluation.equivalence import same_answers
from generation.evaluation.schema import EVAL_SCHEMA
from generation.grading import grade
from generation.raw.schema import attempt_entry
from generation.records import Question
from generation.regrade import main
from generation.rollout import grade_inner
from tests.assembly_rows import PUBLISHED, published_row

FACTS = {"numbers": [3, 5, 7], "target": 8}
TRACE = (
    "<sample>\nIt is <answer>-77</answer>\n</sample>\n<reflect>\nNo.\n<verdict>Incorrect</verdict>\n</reflect>\n"
    "<sample>\nIt is <answer>{}</answer>\n</sample>\n<reflect>\nYes.\n<verdict>Correct</verdict>\n</reflect>"
)


def table(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("data/*.parquet")))


def again(flag: str, what: Path, out: Path, *more: str) -> list[dict[str, Any]]:
    """The rows of the set that the command makes, on one process."""
    main([f"--{flag}", str(what), "--out", str(out), "--processes", "1", *more])
    rows: list[dict[str, Any]] = table(out).to_pylist()
    return rows


def countdown(target: int) -> str:
    return f"Using the numbers in the list [3, 5, 7], create an equation that equals {target}."


def countdown_row(target: int, said: str, *, correct: bool | None, **changes: Any) -> dict[str, Any]:
    row = published_row(countdown(target), f"I say <answer>{said}</answer>", correct, task_source="countdown")
    return {**row, f"{PUBLISHED}__eval_extracted_answers": [said], **changes}


def evaluated_row(question: str, gold: str) -> dict[str, Any]:
    """A row as evaluations are published: one right reply and one without an answer."""
    return {
        "question": question,
        "answer": gold,
        "task_config": "sums",
        "model_responses": [f"<answer>{gold}</answer>", "?"],
        "model_responses__eval_is_correct": [True, False],
        "model_responses__eval_extracted_answers": [gold, ""],
    }


def own_evaluation() -> pa.Table:
    """A row of EVAL_DATA as an evaluation writes it: a trace, a cut reply, a failed request, answers that agree."""
    question = Question(countdown(8), "3 + 5", "countdown_3arg", "made", "countdown", "equation", FACTS)
    replies: list[tuple[str, str | None, FinishReason]] = [
        ("<answer>3 + 7</answer>", None, "stop"),
        ("So <answer>5 + 3</answer>", TRACE.format("5 + 3"), "stop"),
        ("", "Let me", "length"),
        ("", None, "error"),
        ("<answer>7+3</answer>", "", "stop"),
        ("<answer>?</answer>", None, "stop"),
    ]
    grades = [grade(text, question, ended, thought) for text, thought, ended in replies]
    inner = [grade_inner(reply[1], question, one) for reply, one in zip(replies, grades, strict=True)]
    prefix = "model_responses"
    row = {
        **{"question": question.text, "answer": question.answer, "task": question.task, "task_source": "made"},
        "metadata": json.dumps({"answer_type": "equation", **question.grading}),
        prefix: [text for text, _, _ in replies],
        f"{prefix}__eval_is_correct": [one.is_correct for one in grades],
        f"{prefix}__eval_extracted_answers": [one.extracted for one in grades],
        f"{prefix}__finish_reason_length_flags": [ended == "length" for _, _, ended in replies],
        f"{prefix}__internal_answers__eval_is_correct": [[one.grade.is_correct for one in of] for of in inner],
        f"{prefix}__internal_answers__eval_extracted_answers": [[one.grade.extracted for one in of] for of in inner],
        "responses__thought": [thought for _, thought, _ in replies],
        "responses__outcome": [one.outcome for one in grades],
        "responses__reason": [one.reason for one in grades],
        "responses__found": [one.found for one in grades],
        "responses__same_answer": same_answers(question, grades),
        "responses__attempts": [[attempt_entry(one) for one in of] for of in inner],
        "responses__provenance": [{"seed": n, "finish_reason": ended} for n, (_, _, ended) in enumerate(replies)],
        **{"arm": "", "prompt_variant": "question", "question_key": question.key, "original_split": "test"},
    }
    return pa.Table.from_pylist([row], schema=EVAL_SCHEMA)
