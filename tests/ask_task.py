"""The questions that a command line asks for, as JSON: `python -m tests.ask_task FLAGS`, in a process of its own.

The hub's client reads its environment when it is imported.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import NamedTuple

from cluster.flags import fail, parse
from generation.records import Question
from generation.settings import Settings
from generation.tasks.registry import run_name, supply


class Asked(NamedTuple):
    """The questions of a run."""

    sft: tuple[Question, ...]
    rl: tuple[Question, ...]
    name: str
    config: str
    """JSON."""
    notes: tuple[str, ...]


def decide_questions(settings: Settings, *, small: bool) -> Asked:
    """Make or load them as a plan does. Raises ValueError."""
    parts = settings.parts(small=small)
    sft, rl, config, notes = supply(parts)
    return Asked(sft, rl, run_name([part.task.name for part in parts]), json.dumps(config, sort_keys=True), notes)


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
