"""Judges answers to reasoning-gym's questions by its own scoring, in a process that can be killed.

Most scoring functions compare text, and would not take "292." for "292". So the answer is also scored with its
wrapping stripped, and the best score counts. This is also the module that the workers run.
"""

from typing import Any

from generation.grading.errors import CannotStartError, UnreadableError
from generation.grading.text import DIFFERS, layers, plain, unfenced
from generation.grading.workers import Request, pool_of
from generation.records import Question
from generation.tasks.gym import score, scoring

WORKER = "generation.grading.gym"
RIGHT = 1.0  # the score of a right answer; partial credit counts as wrong


def judge_gym(text: str, question: Question) -> str:
    """Return "" for reasoning-gym's full score, else what is wrong. Raises UnreadableError if its scoring fails."""
    facts = {"generator": str(question.facts["generator"]), "entry": dict(question.facts["entry"])}
    try:
        reply = pool_of(WORKER).ask({"facts": facts, "answers": _stripped_forms(text)})
    except CannotStartError as error:
        raise CannotStartError(f"the grader 'gym' needs reasoning-gym: {error}") from error
    if "failed" in reply:
        raise UnreadableError(reply["failed"])
    return "" if reply["score"] >= RIGHT else DIFFERS


def _stripped_forms(text: str) -> list[str]:
    """Return the text as is, then with ever more wrapping stripped, with its lines as grids need; last, on one line."""
    found = [text, *layers(unfenced(text).strip(), "around")]
    # The rest may be wrapped in marks that it also contains: **2*x**3**.
    inner = found[-1]
    for left, right in (("**", "**"), ("(", ")"), ('"', '"')):
        if inner.startswith(left) and inner.endswith(right):
            found.extend(layers(inner := inner[len(left) : -len(right)], "around"))
    return list(dict.fromkeys((*found, plain(text, "around_text"))))


def prepare(request: Request) -> None:
    """Load the generator's data in advance, which some load lazily."""
    if request:
        scoring(request["facts"]["generator"])


def answer(request: Request) -> dict[str, Any]:
    """Return the best score among the forms of one answer; if all failed, how the first one did."""
    scores, failures = list[float](), list[str]()
    for form in request["answers"]:
        try:
            scores.append(score(request["facts"], form))
        except Exception as error:
            # Scoring functions raise anything on unexpected input.
            failures.append(f"{type(error).__name__}: {error}"[:200])
        if max(scores, default=0.0) >= RIGHT:
            break
    return {"score": max(scores)} if scores else {"failed": failures[0]}
