"""The whole job on a scripted engine in this process: `python -m tests.drive_job FLAGS`, with its flags and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

from cluster.flags import parse
from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.local import LocalFleet
from generation import run
from generation.plan import make_plan
from generation.settings import Settings
from tests.scripted import knowing


def main(argv: list[str], reply: Callable[[Request], str | Completion] | None = None) -> int:
    """Return the job's exit code; `reply` is a model that knows the questions of these flags by default."""
    knows = cache(lambda: knowing(make_plan(parse(Settings, argv)).questions))
    return run.main(argv, fleet=LocalFleet(ScriptedSettings(reply or (lambda request: knows()(request)))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
