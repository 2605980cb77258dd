"""A worker that asks reasoning-gym for the score of an answer. Run as a module by `generation.grading.workers`."""

from __future__ import annotations

from typing import Any

from generation.grading.gym import RIGHT
from generation.grading.worker_loop import Request, serve
from generation.tasks.gym import score, scoring


def _answer(request: Request) -> dict[str, Any]:
    """The best score of the typings of one answer, or how the first of them failed where none has one."""
    best: dict[str, Any] = {}
    for answer in request["answers"]:
        try:
            found = score(request["facts"], answer)
        except Exception as error:
            # Its scoring functions fail in their own ways on what they do not expect.
            best = best or {"failed": f"{type(error).__name__}: {error}"[:200]}
            continue
        if found > best.get("score", -1.0):
            best = {"score": found}
        if found >= RIGHT:
            break
    return best


def _prepare(request: Request) -> None:
    """Some generators read their data when they are first asked for."""
    scoring(request["facts"]["generator"])


if __name__ == "__main__":
    serve(_answer, lambda: None, _prepare)
