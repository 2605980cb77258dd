"""Judges an answer to a question of reasoning-gym's by its own score, in a process that can be killed.

Most of its scores compare texts, and "292." is not "292" to them. So the answer is scored without what is only put
round it, too, and the best score counts.
"""

from __future__ import annotations

from generation.grading.plain_answer import DIFFERS, bare, layers, too_long, unfenced
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
        reply = pool_of(WORKER).ask({"facts": facts, "answers": _typings(answer)})
    except TimedOutError:
        return Grade("unknown", GRADER_TIMED_OUT, answer)
    except DiedError:
        return Grade("unknown", GRADER_DIED, answer)
    except CannotStartError as error:
        raise CannotStartError(f"the grader 'gym' needs reasoning-gym: {error}") from error
    if "failed" in reply:
        return Grade("unknown", UNREADABLE, answer)
    return Grade("right", "", answer) if reply["score"] >= RIGHT else Grade("wrong", DIFFERS, answer)


def _typings(answer: str) -> list[str]:
    """As it stands, then with less and less round it, its lines kept, as a grid needs them; at last on one line."""
    found = [answer, *layers(unfenced(answer).strip())]
    # What is left may be wrapped in marks that it has inside as well: **2*x**3**.
    inner = found[-1]
    for left, right in (("**", "**"), ("(", ")"), ('"', '"')):
        if inner.startswith(left) and inner.endswith(right):
            found.extend(layers(inner := inner[len(left) : -len(right)]))
    return list(dict.fromkeys((*found, bare(answer))))
