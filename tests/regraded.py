"""Sets to grade again, and what the command makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from generation.regrade import main
from tests.assembly_rows import PUBLISHED, published_row

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
