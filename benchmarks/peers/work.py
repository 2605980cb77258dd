"""What every contender is given and what it must leave: the same prompts, graders and verdicts in, rows out.

A job is a folder that `export` writes. A contender reads it here, asks its own library, and writes one row a sample.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.inference.engine import FinishReason
from cluster.texts import fill
from generation.grading import grade
from generation.records import Question
from reflection.verdict import parse_verdict

JOB, PROMPTS, ROWS = "job.json", "prompts.jsonl", "rows.parquet"
MARKS = "PEERS_MARKS"  # names the file that moments are written to
READY, REQUEST, TOKEN, END = "ready", "request", "token", "end"
"""Moments: an engine may be asked; vLLM has its first request, its first token; the rows of a stage are there."""


class Look(NamedTuple):
    """A reflection that is wanted."""

    prompt: str  # its name
    seed: int


class Sample(NamedTuple):
    """A sample that is wanted, and the reflections on it if it can be graded."""

    id: int
    seed: int
    looks: tuple[Look, ...]


class Prompt(NamedTuple):
    """What is asked once for each of its samples."""

    question: Question
    messages: list[dict[str, str]]
    tokens: int  # as the product encodes it
    samples: tuple[Sample, ...]

    def outcome(self, text: str, finish_reason: FinishReason = "stop") -> str:
        """Return the grade of a sample: right, wrong or unknown."""
        return grade(text, self.question, finish_reason).outcome


class Answer(NamedTuple):
    """A completion."""

    text: str
    tokens: int
    prompt_tokens: int
    seed: int | None = None  # None where the library was given none

    def reflection(self) -> dict[str, Any]:
        """Return the entry of a row for a completion that is a reflection."""
        return {**self._asdict(), "verdict": parse_verdict(self.text)}


@dataclass(frozen=True)
class Job:
    """A job as it was exported."""

    model: str  # a local folder
    context: int  # tokens
    sampling: Mapping[str, Any]  # of samples, named as vLLM does
    reflection_sampling: Mapping[str, Any]
    arguments: Mapping[str, Any]  # the product's own, of vLLM's engine
    environment: Mapping[str, str]  # the product's own, of its engines
    reflections: Mapping[str, str]  # the templates by name
    gpu: bool
    prompts: tuple[Prompt, ...] = ()

    def look(self, prompt: Prompt, look: Look, text: str) -> list[dict[str, str]]:
        """Return the chat that asks for a reflection."""
        asked = fill(self.reflections[look.prompt], {"question": prompt.question.text, "sample": text})
        return [{"role": "user", "content": asked}]

    def by_id(self) -> dict[int, tuple[Prompt, Sample]]:
        """Return the samples that are wanted."""
        return {sample.id: (prompt, sample) for prompt in self.prompts for sample in prompt.samples}


def read_job(folder: str | Path) -> Job:
    """Read a job."""
    told = json.loads(Path(folder, JOB).read_text(encoding="utf-8"))
    lines = Path(folder, PROMPTS).read_text(encoding="utf-8").splitlines()
    return Job(**told, prompts=tuple(_prompt(**json.loads(line)) for line in lines))


def read_arguments(about: str | None, *flags: str) -> argparse.Namespace:
    """Read what a contender is given: the folders `job` and `out`, and which of its forms is meant, by these flags."""
    parser = argparse.ArgumentParser(description=about)
    for name in ("job", "out"):
        parser.add_argument(name)
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def _prompt(question: dict[str, Any], samples: list[dict[str, Any]], **rest: Any) -> Prompt:
    asked = Question(**{**question, "answer_in": tuple(question["answer_in"])})
    wanted = (Sample(one["id"], one["seed"], tuple(Look(*look) for look in one["looks"])) for one in samples)
    return Prompt(question=asked, samples=tuple(wanted), **rest)


def row(sample: Sample, answer: Answer, outcome: str, looks: Iterable[Answer]) -> dict[str, Any]:
    """Return a row."""
    return {"id": sample.id, **answer._asdict(), "outcome": outcome, "looks": [look.reflection() for look in looks]}


def write_rows(out: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all rows, and mark the end of a stage."""
    pq.write_table(pa.Table.from_pylist(list(rows)), Path(out, ROWS))
    mark(END)


def mark(moment: str) -> None:
    """Write down that this moment has come in this process, if anyone wants to know."""
    if path := os.environ.get(MARKS):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"moment": moment, "at": time.monotonic(), "pid": os.getpid()}) + "\n")
