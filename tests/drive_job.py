"""The whole job on a scripted engine in this process, its flags and exit codes: `python -m tests.drive_job FLAGS`.

No wait, such as for a busy hub, is longer than a moment.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from unittest.mock import patch

from cluster.flags import parse
from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from generation import run
from generation.plan import make_plan
from generation.records import Question
from generation.settings import Settings
from tests.scripted import knowing

_MOMENT_S = 0.02


class Knowing:
    """A model that knows the questions of these flags."""

    def __init__(self, argv: list[str]) -> None:
        self._argv = argv
        self._answer: Callable[[Request], str] | None = None

    def __call__(self, request: Request) -> str:
        self._answer = self._answer or knowing(self._questions())
        return self._answer(request)

    def _questions(self) -> tuple[Question, ...]:
        plan = make_plan(parse(Settings, self._argv))
        return *plan.questions, *plan.rl_questions


def main(argv: list[str], reply: Callable[[Request], str | Completion] | None = None) -> int:
    """Return the job's exit code; the engine knows the questions, unless it is to reply otherwise."""
    sleep = time.sleep
    with patch("time.sleep", lambda seconds: sleep(min(seconds, _MOMENT_S))):
        return run.main(argv, fleet=Fleet(ScriptedSettings(reply or Knowing(argv))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
