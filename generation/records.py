"""The records passed between stages: questions, grades, attempts, and the keys that identify them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

from cluster.inference.engine import Completion

Outcome = Literal["right", "wrong", "unknown"]
RlLayoutName = Literal["verl", "trl", "ms-swift", "openrlhf", "skyrl"]
"""The trainer whose columns RL_DATA has; assembly writes them."""

NO_ANSWER = "no answer"
CUT = "cut at the length limit"
ONLY_THOUGHT = "no answer, only a thought"
CUT_THOUGHT = "cut at the length limit, in its thought"
UNREADABLE = "cannot be read"
OUT_OF_BOUNDS = "out of bounds"
REQUEST_FAILED = "request failed"
SEVERAL = "more than one answer"
ANOTHER_UNIT = "another unit than the gold answer"
GOLD_UNREADABLE = "the gold answer cannot be read"
UNDECIDED = "neither equal to the gold answer nor unequal for sure"
GRADER_TIMED_OUT = "the grader ran out of time"
GRADER_DIED = "the grader died of it"

RETRY = "retry"  # the prompt variant of retries, which are asked by a prompt of their own

ANSWER_IN = ("tag",)  # where answers are looked for by default
WITHOUT_ANSWER = frozenset({NO_ANSWER, CUT, ONLY_THOUGHT, CUT_THOUGHT})
"""Reasons that mean no answer was found: published as False, not null (arXiv 2512.04072)."""


@dataclass(frozen=True)
class Question:
    text: str  # the user turn of a training example
    answer: str  # the gold answer as text; an expression for countdown
    task: str
    source: str  # where it comes from: the generator that made it, a file, or a hub repository
    grader: str  # name of a grader in `generation.grading`
    answer_type: str  # fills {answer_type_str} in the prompt variants, e.g. "equation"
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the grader needs besides the gold answer; JSON values only."""
    answer_in: tuple[str, ...] = ANSWER_IN
    """Where responses give their answers, in the order of trial, as `generation.grading.answers` reads --answer_in."""
    program: str = field(default="", repr=False)
    """The source of the user's own grader, whose name in `grader` ends in .py; empty for ours."""
    place: int = field(default=0, compare=False)  # index among the questions of a run
    held_out: bool = field(default=False, compare=False)  # True for a question of RL, sampled for its pass rate alone

    @cached_property
    def key(self) -> str:
        """A stable id, a hash of the task and the text alone."""
        return stable_hash(self.task, self.text)[:16]

    @property
    def grading(self) -> dict[str, Any]:
        """Return how responses are graded, besides the gold answer, as JSON values; `answer_in` only if unusual.

        The user's own grader is told by its name and hash.
        """
        unusual: dict[str, Any] = {"answer_in": list(self.answer_in)} if self.answer_in != ANSWER_IN else {}
        if self.program:
            unusual["grader_sha256"] = hash_of_program(self.program)
        return {"facts": dict(self.facts), "grader": self.grader, **unusual}


@dataclass(frozen=True)
class Grade:
    """The grade of a response. "unknown" is an outcome of its own, with a reason."""

    outcome: Outcome
    reason: str = ""  # empty when right
    extracted: str | None = None  # the answer as written in the response; None if there is none
    found: str = field(default="", compare=False)
    """Where the answer was found, one of `generation.grading.answers.PLACES`; ignored when grades are compared."""

    @property
    def is_correct(self) -> bool | None:
        """Return correctness as published: False also if there is no answer, None if undecided."""
        if self.outcome == "unknown":
            return False if self.reason in WITHOUT_ANSWER else None
        return self.outcome == "right"


@dataclass(frozen=True)
class Reflection:
    prompt_name: str
    completion: Completion
    seed: int
    verdict: bool | None  # True for Correct, False for Incorrect, None if there is no verdict
    valid: bool  # True if the verdict matches the sample's correctness


class InnerReflection(NamedTuple):
    text: str
    verdict: bool | None  # as Reflection.verdict


@dataclass(frozen=True)
class InnerAttempt:
    """An attempt inside a sample that is a trace itself, and what the model said of it there."""

    text: str
    grade: Grade
    reflections: tuple[InnerReflection, ...]
    is_final: bool  # True for the one that gives the sample's answer

    def is_valid(self, reflection: InnerReflection) -> bool:
        """Return True if the verdict matches the attempt's correctness."""
        return reflection.verdict is not None and reflection.verdict == self.grade.is_correct


@dataclass(frozen=True)
class Parent:
    """What a retry saw: a sample, and a reflection that called it incorrect; with what is known of that sample."""

    variant: str
    index: int  # of the sample
    number: int  # of the reflection, from 0
    sample: str  # as the retry saw it
    answer: str | None  # that it gives
    reflection: str
    outcome: Outcome
    cut: bool  # True if the sample was cut at the length limit
    mentions_hint: bool

    @property
    def name(self) -> str:
        return f"{self.variant}/{self.index}/{self.number}"


@dataclass(frozen=True)
class Attempt:
    """One sample of a question under one variant, or a retry after it, with its grade and reflections."""

    question: Question
    variant: str  # RETRY for a retry
    index: int  # index among the samples of this variant; of a retry that of its sample
    messages: tuple[Any, ...]
    completion: Completion
    seed: int
    grade: Grade
    mentions_hint: bool
    """True for a rationalized response that mentions its hint: kept in RAW_DATA, left out of traces."""
    reflections: tuple[Reflection, ...]
    inner: tuple[InnerAttempt, ...] = ()
    parent: Parent | None = None  # of a retry


_SPACES = re.compile("[\\s\u200b\u2060\ufeff]+")


def collapse_spaces(text: str) -> str:
    """Return the text with whitespace collapsed and stripped; questions that then agree are duplicates."""
    return _SPACES.sub(" ", text).strip()


def stable_hash(*parts: object) -> str:
    """Return the hex SHA-256 of the parts as text, each length-prefixed, so that ("ab",) != ("a", "b")."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


@lru_cache(maxsize=64)
def hash_of_program(source: str) -> str:
    """Return the hex SHA-256 of a program's text."""
    return hashlib.sha256(source.encode("utf-8")).hexdigest()


def request_seed(*parts: object) -> int:
    """Return a request's seed in [0, 2**63), hashed so that neighbours never collide (vLLM adds to seeds)."""
    return int(stable_hash(*parts)[:16], 16) >> 1
