"""The parts of one seed, each a command in a folder of its own, done once; what was killed goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.proof.plan import ARMS, BASE, MAX_TOKENS, NEEDED, Size
from cluster.jobs.atomic import atomic_write_text
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
        given = {"questions": pool, **amounts, "seed": self.number, "out": self.folder / "data"}
        return Part("data", ["generation.run", *_flags(given)])

    def _arm(self, name: str) -> Iterator[Part]:
        arm, start = ARMS[name], MODEL
        if arm.assembled:
            traces, trained = self.folder / f"traces-{name}", self.folder / f"sft-{name}"
            given = {"raw": self.folder / "data", "layout": "tokens", "model": MODEL, "subsample": self.size.traces}
            given |= {"max_trace_tokens": MAX_TOKENS, "seed": self.number, "out": traces}
            yield Part(f"traces-{name}", ["assembly.run", *arm.assembled, *_flags(given)])
            given = {"model": MODEL, "data": traces, "out": trained, "epochs": self.size.epochs}
            given |= {"batch": self.size.batch, "learning_rate": self.size.learning_rate, "seed": self.number}
            yield Part(f"sft-{name}", ["benchmarks.proof.sft", *_flags(given)])
            start = trained / "weights"
            yield self._evaluation(f"{name}-{BEFORE}", start, arm.variant)
        out, matched = self.folder / f"rl-{name}", self._tokens(name)
        given = {"model": start, "data": self.folder / "data" / "RL_DATA", "out": out, "steps": self.size.steps}
        given |= {"tokens": matched, "learning_rate": self.size.rl_learning_rate, "max_tokens": MAX_TOKENS}
        given |= {"variant": arm.variant, "seed": self.number}
        yield Part(f"rl-{name}", ["benchmarks.proof.grpo", *_flags(given)])
        yield self._evaluation(f"{name}-{AT_STEPS}", out / AT_STEPS, arm.variant)
        if matched:
            yield self._evaluation(f"{name}-{AT_TOKENS}", out / AT_TOKENS, arm.variant)

    def _tokens(self, name: str) -> int:
        """Return how many tokens the arm is to sample at least: as many as C in its steps, if that is done."""
        log = self.folder / f"rl-{NEEDED}" / "log.jsonl"
        if name == NEEDED or not self.size.matched or not log.exists():
            return 0
        return int(json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["sampled"])

    def _evaluation(self, name: str, weights: Path, variant: str = BARE.name) -> Part:
        given = {"model": weights, "questions": self.questions / "fresh.jsonl", "variants": variant}
        given |= {"samples": self.size.replies, "max_tokens": MAX_TOKENS, "seed": self.number}
        return Part(f"evals/{name}", ["generation.evaluate", *_flags(given | {"out": self.folder / "evals" / name})])

    def make(self, part: Part) -> float | None:
        """Make a part and return the seconds that took, None if it was made before. Raises PartFailedError."""
        done = self.folder / "parts" / f"{part.name.replace('/', '-')}.json"
        if done.exists():
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
        atomic_write_text(done, json.dumps({"seconds": round(seconds, 1), "command": list(part.command)}))
        return seconds


class PartFailedError(Exception):
    """A part's command has not ended with 0."""

    def __init__(self, part: Part, code: int, log: Path) -> None:
        self.code = code
        super().__init__(f"{part.name} ended with {code}: python -m {' '.join(part.command)}; its output is in {log}")


def _flags(given: dict[str, object]) -> list[str]:
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]
