"""The parts of one seed, each a command in a folder of its own, done once; what was killed goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from benchmarks.proof.plan import ARMS, BASE, MAX_TOKENS, NEEDED, Size
from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.run_directory import code_version, versions
from generation.builtin import MODEL
from generation.variants import BARE

ROOT = Path(__file__).parents[2]
AT_STEPS, AT_TOKENS, BEFORE = "steps", "tokens", "sft"
"""When an arm's weights are evaluated: after all steps, when as many tokens are sampled as C's, and before RL."""


class Part(NamedTuple):
    name: str
    command: Sequence[str]
    """Of Python, behind -m."""


class Seed:
    """All parts of one seed, in the order in which they are made."""

    def __init__(self, state: Path, size: Size, number: int) -> None:
        self.size, self.number = size, number
        self.questions, self.folder = state / "questions", state / f"seed-{number}"
        self.result = state / f"seed-{number}.json"

    def parts(self, arms: Sequence[str]) -> Iterator[Part]:
        """Yield what is to be made; a part may need what was made before."""
        yield self._data()
        yield self._evaluation(BASE, MODEL, "original")
        # First, as the others may sample as many tokens.
        for name in sorted(arms, key=lambda name: (name != NEEDED, name)):
            yield from self._arm(name)

    def _data(self) -> Part:
        size = self.size
        pool = f"{self.questions / 'pool.jsonl'}:{size.sft_questions}"
        amounts = {"rl_questions": size.rl_questions, "samples": size.samples, "reflections": size.reflections}
        given: dict[str, object] = {"questions": pool, **amounts, "seed": self.number, "out": self.folder / "data"}
        return Part("data", ["generation.run", *_flags(given)])

    def _arm(self, name: str) -> Iterator[Part]:
        arm, start = ARMS[name], MODEL
        if arm.assembled:
            traces, trained = self.folder / f"traces-{name}", self.folder / f"sft-{name}"
            given: dict[str, object] = {
                "raw": self.folder / "data",
                "layout": "tokens",
                "model": MODEL,
                "repeats": self.size.repeats,
                "subsample": self.size.traces,
            }
            given |= {"max_trace_tokens": MAX_TOKENS, "seed": self.number, "out": traces}
            yield Part(f"traces-{name}", ["assembly.run", *arm.assembled, *_flags(given)])
            given = {"model": MODEL, "data": traces, "out": trained, "epochs": self.size.epochs}
            given |= {"batch": self.size.batch, "learning_rate": self.size.learning_rate, "seed": self.number}
            yield Part(f"sft-{name}", ["benchmarks.proof.sft", *_flags(given)])
            start = trained / "weights"
            yield self._evaluation(f"{name}-{BEFORE}", start, arm.variant)
        given = {"model": start, "data": self.folder / "data" / "RL_DATA", "max_tokens": MAX_TOKENS}
        given |= {"learning_rate": self.size.rl_learning_rate, "variant": arm.variant, "seed": self.number}
        yield from self._training(f"{name}-{AT_STEPS}", given | {"steps": self.size.steps}, arm.variant)
        # A training of its own, so that its learning rate falls over all of it.
        if name != NEEDED and (tokens := self._tokens()):
            yield from self._training(f"{name}-{AT_TOKENS}", given | {"tokens": tokens}, arm.variant)

    def _training(self, name: str, given: dict[str, object], variant: str) -> Iterator[Part]:
        out = self.folder / f"rl-{name}"
        yield Part(f"rl-{name}", ["benchmarks.proof.grpo", *_flags(given | {"out": out})])
        yield self._evaluation(name, out / "weights", variant)

    def _tokens(self) -> int:
        """Return how many tokens the other arms are to sample too: as many as C, 0 if that is not asked or not done."""
        done = self.folder / f"rl-{NEEDED}-{AT_STEPS}" / "done.json"
        if not self.size.matched or not done.exists():
            return 0
        return int(json.loads(done.read_text(encoding="utf-8"))["sampled"])

    def _evaluation(self, name: str, weights: Path, variant: str = BARE.name) -> Part:
        given: dict[str, object] = {"model": weights, "questions": self.questions / "fresh.jsonl", "variants": variant}
        given |= {"samples": self.size.replies, "max_tokens": MAX_TOKENS, "seed": self.number}
        return Part(f"evals/{name}", ["generation.evaluate", *_flags(given | {"out": self.folder / "evals" / name})])

    def make(self, part: Part) -> float | None:
        """Make a part and return the seconds that took, None if it was made before.

        Raises PartFailedError, and ValueError if another command has made it.
        """
        done = self.folder / "parts" / f"{part.name.replace('/', '-')}.json"
        command = [word.replace(str(self.folder.parent), "STATE") for word in part.command]
        if done.exists():
            if json.loads(done.read_text(encoding="utf-8"))["command"] != command:
                raise ValueError(f"{self.folder} has {part.name} of another command: give another --state")
            return None
        log = done.with_suffix(".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with log.open("ab") as file:
            ended = subprocess.run(
                [sys.executable, "-m", *part.command], stdout=file, stderr=file, cwd=ROOT, check=False
            )
        seconds = time.monotonic() - began
        if ended.returncode:
            raise PartFailedError(part, ended.returncode, log)
        # Of a part that was killed and went on these are the seconds of its last start.
        made_by = {"date": date.today().isoformat(), "commit": code_version()["commit"], "versions": versions()}
        atomic_write_text(done, json.dumps({"seconds": round(seconds, 1), "command": command, **made_by}))
        return seconds


class PartFailedError(Exception):
    """A part's command has not ended with 0."""

    def __init__(self, part: Part, code: int, log: Path) -> None:
        super().__init__(f"{part.name} ended with {code}: python -m {' '.join(part.command)}; its output is in {log}")


def _flags(given: dict[str, object]) -> list[str]:
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]
