"""A task: what it is called, how its answers are graded, the questions that it supplies and an example of them.

Most tasks are drawn: from a random generator to one question. Knows no task in particular.
"""

import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from generation.records import Question, same_text, stable_hash

HEADER = (
    "Answer the following problem. Explain your reasoning step by step. When you are finished, give your answer in "
    "this format: <answer>(your answer)</answer>.\n\n# Problem\n"
)
"""Before every problem that is made or loaded here, as published for countdown (arXiv 2512.04072)."""
DRAWN_QUESTIONS = 4000
"""Drawn for SFT by default; the paper's number."""
RL_SHARE = 0.2
"""Of all questions that a task can make, held out for RL."""
MOST = 10**7
"""Questions of one task."""

Apart = tuple[Sequence[Question], Sequence[Question]]
"""SFT, RL."""


class Wanted(NamedTuple):
    """How many questions a run asks of a task."""

    sft: int | None
    """None for all that a loaded task has, or a drawn task's default."""
    rl: int | None
    """None for a quarter as many as for SFT, the paper's share."""
    seed: int


class Supplied(NamedTuple):
    """The questions of a task; SFT and RL share none."""

    sft: tuple[Question, ...]
    rl: tuple[Question, ...]
    config: Mapping[str, Any]
    """JSON values: all that the questions depend on."""
    notes: tuple[str, ...] = ()
    """For a person, such as how many rows were left out and why."""


class Problem(NamedTuple):
    """What differs from question to question of a task."""

    text: str
    answer: str
    facts: Mapping[str, Any] = {}
    """What the grader needs beside the answer; JSON values only."""


class Dropped(ValueError):
    """A row gives no question. `reason` is the same for all rows like it; the message may name this one."""

    def __init__(self, reason: str, told: str = "") -> None:
        super().__init__(told or reason)
        self.reason = reason


@dataclass(frozen=True)
class Task:
    """One row of the table of tasks."""

    name: str
    line: str
    """What is asked, for a list of tasks."""
    grader: str
    answer_type: str
    """Fills {answer_type_str}; reads well after "your resulting" and "a correct"."""

    def supply(self, wanted: Wanted) -> Supplied:
        """Return the questions of a run. Raises ValueError, in one line, if there are not that many."""
        raise NotImplementedError

    def example(self) -> Question:
        """Return a question that looks like all of them, without a network."""
        return self.supply(Wanted(1, 0, 0)).sft[0]

    def question(self, problem: Problem, source: str) -> Question:
        text, answer, facts = problem
        return Question(text, answer, self.name, source, self.grader, self.answer_type, dict(facts))


def supply_made(
    few: str, wanted: Wanted, config: Mapping[str, Any], make: Callable[[int, int], Apart], widen: str = ""
) -> Supplied:
    """Supply what `make(sft, rl)` makes, which may be less.

    Raises ValueError, beginning with `few` with its {found} filled in, if that is less than was asked for; where no
    number was named, only if it is nothing.
    """
    count = DRAWN_QUESTIONS if wanted.sft is None else wanted.sft
    sft, rl = make(count, count // 4 if wanted.rl is None else wanted.rl)
    held = len(sft) // 4 if wanted.rl is None else wanted.rl
    least = (1 if wanted.sft is None else count, min(held, 1) if wanted.rl is None else held)
    for found, asked, kind, flag in ((sft, least[0], "SFT", "questions"), (rl, least[1], "RL", "rl_questions")):
        if len(found) < asked:
            told = few.replace("{found}", str(len(found)))
            raise ValueError(f"{told} {kind} questions of the {asked} wanted: ask for fewer with --{flag}{widen}")
    notes = (f"gave {len(sft):,} different questions for SFT and no more",) if len(sft) < count else ()
    return Supplied(tuple(sft), tuple(rl[:held]), {**config, "seed": wanted.seed}, notes)


def held_out(*family: Hashable) -> bool:
    """Return True if questions of this family are for RL."""
    return int(stable_hash(*family)[:8], 16) < RL_SHARE * 2**32


def fill(questions: Iterable[Question], sft: int, rl: int) -> Apart:
    """Take different questions until there are enough; the text alone decides between RL and SFT, whatever the run."""
    seen: set[str] = set()
    found: dict[bool, list[Question]] = {False: [], True: []}
    for question in questions:
        if (text := same_text(question.text)) not in seen:
            seen.add(text)
            found[held_out(question.text)].append(question)
            if len(found[False]) >= sft and len(found[True]) >= rl:
                break
    return found[False][:sft], found[True][:rl]


def split(pool: Sequence[Question], wanted: Wanted, place: str) -> Apart:
    """Divide the questions by hash, so that the order of rows does not matter.

    RL gets the same ones first whatever the seed; without a count all others are for SFT. Raises ValueError, naming
    the `place`, if there are too few.
    """
    total = len(pool)
    held = wanted.rl
    if held is None:
        held = int(total * RL_SHARE) if wanted.sft is None else min(wanted.sft // 4, max(0, total - wanted.sft))
    count = total - held if wanted.sft is None else wanted.sft
    if held >= total:
        raise ValueError(f"--rl_questions {held} leaves none of the {total} questions of {place} for SFT")
    if held + count > total:
        more = f"{count:,} for SFT and {held:,} for RL are more"
        raise ValueError(f"{place} has {total:,} questions: {more}; ask for fewer")
    by_hash = sorted(pool, key=lambda question: stable_hash("rl", question.key))
    kept = {question.key for question in by_hash[:held]}
    rest = [question for question in pool if question.key not in kept]
    if wanted.sft is not None:
        rest = sorted(rest, key=lambda question: stable_hash("sft", wanted.seed, question.key))[:count]
    return rest, [question for question in pool if question.key in kept]


@dataclass(frozen=True)
class Drawn(Task):
    """A task whose questions are drawn, one by one."""

    draw: Callable[[random.Random], Problem | None]
    """One problem, or None for a draw that came to nothing; the same for the same generator."""
    identity: Callable[[Problem], tuple[Hashable, ...]] = lambda problem: (same_text(problem.text),)
    """The same for problems that count as one; by default texts that differ only by spaces."""
    family: Callable[[Problem], tuple[Hashable, ...]] = lambda problem: (problem.text,)
    """Decides between SFT and RL: the same for problems whose answers reveal each other's."""
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """What the numbers of a question are drawn from, by the flag that sets it; both ends included."""
    source: str = "made from a seed"
    """Where the questions come from, for RAW_DATA."""
    effort: int = 10_000
    """How many draws may come to nothing before the first problem."""

    def supply(self, wanted: Wanted) -> Supplied:
        def make(sft: int, rl: int) -> Apart:
            return self._drawn(sft, rl=False, seed=wanted.seed), self._drawn(rl, rl=True, seed=wanted.seed)

        few, widen = f"{self.name} gave only {{found}} different", ""
        if self.ranges:
            within = " and ".join(f"{name} {low}-{high}" for name, (low, high) in self.ranges.items())
            few = few.replace(self.name, f"{self.name} with {within}")
            widen = f", or widen {' or '.join(f'--{name}' for name in self.ranges)}"
        return supply_made(few, wanted, {name: list(ends) for name, ends in self.ranges.items()}, make, widen)

    def _drawn(self, count: int, *, rl: bool, seed: int) -> list[Question]:
        """Draw up to `count`. Content alone decides between RL and SFT, so no run mixes them."""
        found: dict[tuple[Hashable, ...], Problem] = {}
        rng = random.Random(f"{seed}/{self.name}/{'rl' if rl else 'sft'}")
        draws = last = 0
        patience = self.effort
        while len(found) < count and draws - last <= patience:
            problem = self.draw(rng)
            draws += 1
            if problem is not None and held_out(*self.family(problem)) == rl and self.identity(problem) not in found:
                found[self.identity(problem)] = problem
                last = draws
                # Rare is not exhausted; forty times the usual wait is, once there is a usual one.
                patience = (self.effort + 40 * draws) // len(found)
        return [self.question(problem, self.source) for problem in found.values()]
