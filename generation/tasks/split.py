"""Which of loaded questions are for RL and which for SFT: by hash, so that the order of rows does not matter."""

from __future__ import annotations

from collections.abc import Sequence

from generation.records import Question, stable_hash
from generation.tasks.task import RL_SHARE, Wanted

Apart = tuple[tuple[Question, ...], tuple[Question, ...]]
"""SFT, RL."""


def split(pool: Sequence[Question], wanted: Wanted, place: str) -> Apart:
    """As many as wanted, without any in common; all that is left is for SFT where no count is given.

    RL has the same questions first whatever the seed. Raises ValueError, naming the `place`, when the pool is
    too small.
    """
    held = _held(len(pool), wanted)
    count = len(pool) - held if wanted.sft is None else wanted.sft
    if held >= len(pool):
        raise ValueError(f"--rl_questions {held} leaves none of the {len(pool)} questions of {place} for SFT")
    if held + count > len(pool):
        raise ValueError(
            f"{place} has {len(pool):,} questions: {count:,} for SFT and {held:,} for RL are more; ask for fewer"
        )
    by_hash = sorted(pool, key=lambda question: stable_hash("rl", question.key))
    kept = {question.key for question in by_hash[:held]}
    rest = [question for question in pool if question.key not in kept]
    if wanted.sft is not None:
        rest = sorted(rest, key=lambda question: stable_hash("sft", wanted.seed, question.key))[:count]
    return tuple(rest), tuple(question for question in pool if question.key in kept)


def _held(total: int, wanted: Wanted) -> int:
    if wanted.rl is not None:
        return wanted.rl
    if wanted.sft is None:
        return int(total * RL_SHARE)
    return min(wanted.sft // 4, max(0, total - wanted.sft))
