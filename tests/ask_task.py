"""The questions that a command line asks for, as JSON: `python -m tests.ask_task FLAGS`, in a process of its own.

The hub's client reads its environment when it is imported.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from cluster.flags import fail, parse
from generation.questions import Asked, decide_tasks, supply
from generation.settings import Settings


def decide_questions(settings: Settings, *, small: bool) -> Asked:
    """The questions of a run. Raises ValueError."""
    return supply(decide_tasks(settings, small=small))


def main(argv: list[str]) -> int:
    settings = parse(Settings, argv)
    try:
        asked = decide_questions(settings, small=False)
    except ValueError as error:
        fail(str(error))
    said = {"name": asked.name, "config": json.loads(asked.config), "notes": asked.notes}
    for kind, questions in (("sft", asked.sft), ("rl", asked.rl)):
        said[kind] = [{**asdict(question), "key": question.key} for question in questions]
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
