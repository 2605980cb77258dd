"""Judges an answer to a question of reasoning-gym's by its own score, in a process that can be killed."""

from __future__ import annotations

from generation.grading.plain_answer import DIFFERS, too_long
from generation.grading.workers import CannotStartError, DiedError, TimedOutError, pool_of
from generation.records import GRADER_DIED, GRADER_TIMED_OUT, UNREADABLE, Grade, Question

WORKER = "generation.grading.gym_worker"
RIGHT = 1.0
"""From this score on an answer is right; what is less is partly right at best, and so wrong."""


def grade_gym(answer: str, question: Question) -> Grade:
    """Right when reasoning-gym gives the full score; unknown where its scoring fails."""
    facts = {"generator": str(question.facts["generator"]), "entry": dict(question.facts["entry"])}
    if long := too_long(answer):
        return long
    try:
        reply = pool_of(WORKER).ask({"facts": facts, "answer": answer})
    except TimedOutError:
        return Grade("unknown", GRADER_TIMED_OUT, answer)
    except DiedError:
        return Grade("unknown", GRADER_DIED, answer)
    except CannotStartError as error:
        raise CannotStartError(f"the grader 'gym' needs reasoning-gym: {error}") from error
    if "failed" in reply:
        return Grade("unknown", UNREADABLE, answer)
    return Grade("right", "", answer) if reply["score"] >= RIGHT else Grade("wrong", DIFFERS, answer)
