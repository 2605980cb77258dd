"""Countdown questions for tests, by the public way to them."""

from __future__ import annotations

from generation.records import Question
from generation.tasks import countdown
from generation.tasks.countdown import Ranges
from generation.tasks.task import Wanted


def make(task: str, count: int, *, rl: bool = False, seed: int, ranges: Ranges) -> tuple[Question, ...]:
    """So many questions of one kind alone."""
    supplied = countdown.task(task, ranges).supply(Wanted(0 if rl else count, count if rl else 0, seed))
    return supplied.rl if rl else supplied.sft


def question_of(task: str, numbers: list[int], target: int, gold: str, *, source: str) -> Question:
    """The question that asks for `target` from `numbers`, in this order."""
    return countdown.task(task, Ranges()).question(countdown.problem(numbers, target, gold), source)
