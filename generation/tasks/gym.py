"""reasoning-gym's generators as tasks, each with its default settings: `reasoning_gym/NAME`; an optional extra.

A question's facts hold its whole entry, as its own scoring wants it (`gym_score`).
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from generation.records import Question, request_seed, same_text
from generation.tasks.task import (
    DRAWN_QUESTIONS,
    HEADER,
    Supplied,
    Task,
    Wanted,
    check_enough,
    held_out,
    told_fewer,
)

PREFIX = "reasoning_gym/"
GRADER = "gym"
_ANSWER_TYPE = "answer"
_SPARE, _TIMES = 1000, 20
"""So many entries are made, and so many times what is wanted, before a generator is said to be exhausted."""
_WITHOUT_GOLD = 20
"""After so many first entries without a gold answer there will be none."""


def installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec("reasoning_gym") is not None


def check_name(name: str) -> None:
    """Raise ValueError where there is no such generator."""
    if not installed():
        raise ValueError(f"--task {name} needs reasoning-gym: pip install -e '.[reasoning-gym]' in its checkout")
    known = _generators()
    short = name.removeprefix(PREFIX)
    if short not in known:
        close = difflib.get_close_matches(short, known, n=5, cutoff=0.3) or known[:5]
        near = ", ".join(PREFIX + one for one in close)
        raise ValueError(f"--task {name} is unknown: reasoning-gym has {len(known)} generators, such as {near}")


def find(name: str) -> Task:
    """The task of this generator. Raises ValueError."""
    check_name(name)
    short = name.removeprefix(PREFIX)
    line = f"entries of reasoning-gym's {short}"
    return Task(name, line, GRADER, _ANSWER_TYPE, partial(_supply, name), partial(_example, name))


def _generators() -> list[str]:
    # It takes a second to import, and only its own tasks need it.
    from reasoning_gym.factory import DATASETS

    return sorted(DATASETS)


def _supply(name: str, wanted: Wanted) -> Supplied:
    """Entry after entry; whether a question is for RL hangs on its own text, so runs of any size agree."""
    count = DRAWN_QUESTIONS if wanted.sft is None else wanted.sft
    asked = {False: count, True: count // 4 if wanted.rl is None else wanted.rl}
    found: dict[bool, dict[str, Question]] = {False: {}, True: {}}
    for question in _questions(name, wanted.seed, _SPARE + _TIMES * sum(asked.values())):
        of_kind = found[held_out(question.text)]
        of_kind.setdefault(same_text(question.text), question)
        if all(len(found[rl]) >= asked[rl] for rl in asked):
            break
    sft = tuple(found[False].values())[: asked[False]]
    check_enough(name, len(sft), 1 if wanted.sft is None else count, rl=False)
    held = len(sft) // 4 if wanted.rl is None else wanted.rl
    rl_questions = tuple(found[True].values())[:held]
    check_enough(name, len(rl_questions), min(held, 1) if wanted.rl is None else held, rl=True)
    return Supplied(
        sft, rl_questions, {"reasoning_gym": _version(), "seed": wanted.seed}, told_fewer(len(sft), asked[False])
    )


def _questions(name: str, seed: int, size: int) -> Iterator[Question]:
    """Those of the entries that have a gold answer; raises ValueError where it has none, or fails."""
    with closing(_entries(name.removeprefix(PREFIX), request_seed(seed, name) % 2**31, size)) as entries:
        some = False
        for index, said in enumerate(entries):
            question = _question(name, said["entry"]) if "entry" in said else None
            some = some or question is not None
            if question is not None:
                yield question
            elif "failed" in said or (index > _WITHOUT_GOLD and not some):
                reason = said.get("failed", "its entries have no gold answer")
                raise ValueError(f"{name} cannot be asked with its default settings: {reason}")


def _entries(generator: str, seed: int, size: int) -> Generator[dict[str, Any]]:
    """What the process that makes them says, line by line; it ends when nobody asks any more."""
    # What this process can import the other can too, whatever made it so.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    command = [sys.executable, "-m", "generation.tasks.gym_entries", generator, str(seed), str(size)]
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
        finally:
            process.kill()


def _example(name: str) -> Question:
    return _supply(name, Wanted(1, 0, 0)).sft[0]


def _question(name: str, entry: Mapping[str, Any]) -> Question | None:
    """The entry as a question; None when it has no gold answer."""
    text, answer = entry["question"], entry["answer"]
    if not isinstance(answer, str) or not answer.strip():
        return None
    facts = {"generator": name.removeprefix(PREFIX), "entry": dict(entry)}
    return Question(HEADER + text.strip(), answer, name, "made by reasoning-gym", GRADER, _ANSWER_TYPE, facts)


def _version() -> str:
    return importlib.metadata.version("reasoning-gym")
