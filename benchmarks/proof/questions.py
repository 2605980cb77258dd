"""The questions: a pool to train on, and fresh ones that neither the built-in model nor the pool has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.proof.plan import TRAINED_TASK
from cluster.jobs.atomic import atomic_write_text
from generation.builtin import EVALUATION_QUESTIONS, EVALUATION_SEED, RANGES
from generation.evaluation.questions import text_hash
from generation.records import Question
from generation.tasks import countdown
from generation.tasks.task import Wanted


def write_questions(folder: Path, count: int, fresh: Mapping[str, int]) -> None:
    """Write pool.jsonl, `count` questions, and fresh.jsonl, up to as many of each task as `fresh` says.

    Fresh ones of the trained task are those that the built-in model was not trained on, in no order of their numbers.
    Of other tasks it may have seen some; no arm is trained on them. Raises ValueError if the pool is too small.
    """
    left_out = _drawn(TRAINED_TASK, EVALUATION_QUESTIONS)
    asked = {task: left_out[:most] if task == TRAINED_TASK else _drawn(task, most) for task, most in fresh.items()}
    apart = {countdown.identity(question) for question in left_out}
    pool = [one for one in _drawn(TRAINED_TASK, None) if countdown.identity(one) not in apart]
    if len(pool) < count:
        raise ValueError(f"{TRAINED_TASK} has {len(pool):,} questions apart from those that are evaluated on")
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "pool.jsonl", pool[:count])
    _write(folder / "fresh.jsonl", [question for some in asked.values() for question in some])
    tasks = {text_hash(question.text): task for task, some in asked.items() for question in some}
    atomic_write_text(folder / "tasks.json", json.dumps(tasks))


def _drawn(name: str, count: int | None) -> list[Question]:
    """Return that many questions of a task; if it has fewer, or of None, all that are found."""
    task = countdown.task(name, RANGES)
    if count is not None:
        try:
            return list(task.supply(Wanted(count, 0, EVALUATION_SEED)).sft)
        except ValueError:
            pass  # there are not as many
    supplied = task.supply(Wanted(None, None, EVALUATION_SEED))
    return [*supplied.sft, *supplied.rl][:count]


def _write(path: Path, questions: Iterable[Question]) -> None:
    lines = (json.dumps({"question": one.text, "answer": one.answer}) for one in questions)
    atomic_write_text(path, "".join(f"{line}\n" for line in lines))
