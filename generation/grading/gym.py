"""Judges an answer to a question of reasoning-gym's by its own score, in a process that can be killed.

Most of its scores compare texts, and "292." is not "292" to them. So the answer is scored without what is only put
round it, too, and the best score counts. The module of its workers, too.
"""

from typing import Any

from generation.grading.errors import CannotStartError, UnreadableError
from generation.grading.text import DIFFERS, layers, plain, unfenced
from generation.grading.workers import Request, pool_of
from generation.records import Question
from generation.tasks.gym import score, scoring

WORKER = "generation.grading.gym"
RIGHT = 1.0
"""The score of a right answer; less is partly right at best, and so wrong."""


def judge_gym(text: str, question: Question) -> str:
    """Return "" when reasoning-gym gives the full score. Raises UnreadableError where its scoring fails."""
    facts = {"generator": str(question.facts["generator"]), "entry": dict(question.facts["entry"])}
    try:
        reply = pool_of(WORKER).ask({"facts": facts, "answers": _typings(text)})
    except CannotStartError as error:
        raise CannotStartError(f"the grader 'gym' needs reasoning-gym: {error}") from error
    if "failed" in reply:
        raise UnreadableError(reply["failed"])
    return "" if reply["score"] >= RIGHT else DIFFERS


def _typings(text: str) -> list[str]:
    """Return it as it stands, then with less and less round it, its lines kept as grids need; at last on one line."""
    found = [text, *layers(unfenced(text).strip(), "around")]
    # What is left may be wrapped in marks that it has inside as well: **2*x**3**.
    inner = found[-1]
    for left, right in (("**", "**"), ("(", ")"), ('"', '"')):
        if inner.startswith(left) and inner.endswith(right):
            found.extend(layers(inner := inner[len(left) : -len(right)], "around"))
    return list(dict.fromkeys((*found, plain(text, "around_text"))))


def prepare(request: Request) -> None:
    """Let the generator read its data, which some do when they are first asked."""
    if request:
        scoring(request["facts"]["generator"])


def answer(request: Request) -> dict[str, Any]:
    """Return the best score of the typings of one answer, or how the first of them failed where none has one."""
    scores, failures = list[float](), list[str]()
    for typing in request["answers"]:
        try:
            scores.append(score(request["facts"], typing))
        except Exception as error:
            # Its scoring functions fail in their own ways on what they do not expect.
            failures.append(f"{type(error).__name__}: {error}"[:200])
        if max(scores, default=0.0) >= RIGHT:
            break
    return {"score": max(scores)} if scores else {"failed": failures[0]}
