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


def write_questions(folder: Path, pool: Mapping[str, int], fresh: Mapping[str, int]) -> None:
    """Write pool.jsonl, so many questions of each task, and fresh.jsonl, others: up to as many as `fresh` says.

    Fresh ones of the trained task are those that the built-in model was not trained on, in no order of their numbers;
    of the other tasks it may have seen some. Raises ValueError if a task has too few for the pool.
    """
    asked, left = dict[str, list[Question]](), list[Question]()
    for task, most in fresh.items():
        wanted = pool.get(task, 0)
        if task == TRAINED_TASK:
            unseen = _drawn(task, EVALUATION_QUESTIONS)
            apart = {countdown.identity(question) for question in unseen}
            others = [one for one in _drawn(task, None) if countdown.identity(one) not in apart]
        else:
            found = _drawn(task, most + wanted)
            kept = min(most, max(0, len(found) - wanted))
            unseen, others = found[:kept], found[kept:]
        if len(others) < wanted:
            raise ValueError(f"{task} has {len(others):,} questions apart from those that are evaluated on")
        asked[task] = unseen[:most]
        left += others[:wanted]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "pool.jsonl", left)
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
