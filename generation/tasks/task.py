"""What a task is: data and two functions, one that supplies questions and one that shows an example.

Most tasks are drawn: from a random generator to one question. Knows no task in particular.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cluster.messages import counted
from generation.records import Question, same_text, stable_hash

HEADER = (
    "Answer the following problem. Explain your reasoning step by step. When you are finished, give your answer in "
    "this format: <answer>(your answer)</answer>.\n\n# Problem\n"
)
"""Before every problem that is made or loaded here, as published for countdown (skillfactory.md §6)."""

DRAWN_QUESTIONS = 4000
"""How many are drawn for SFT where nobody says; the paper's number."""
RL_SHARE = 0.2
"""Of all questions that a task can make, how many are kept for RL."""


class Wanted(NamedTuple):
    """How many questions a run asks of a task."""

    sft: int | None
    """None for all that a loaded task has, or a drawn task's default."""
    rl: int | None
    """None for a quarter as many as for SFT, the paper's share."""
    seed: int


class Supplied(NamedTuple):
    """What a task gives; the two never meet."""

    sft: tuple[Question, ...]
    rl: tuple[Question, ...]
    config: Mapping[str, Any]
    """JSON values: whatever the questions depend on."""
    notes: tuple[str, ...] = ()
    """What a person should know about them, such as rows that were left out and why."""


@dataclass(frozen=True)
class Task:
    """One row of the table of tasks."""

    name: str
    line: str
    """What is asked, for a list of tasks."""
    grader: str
    answer_type: str
    """Fills {answer_type_str}; reads well after "your resulting" and "a correct"."""
    supply: Callable[[Wanted], Supplied]
    """Raises ValueError, in one line, when there are not that many."""
    example: Callable[[], Question]
    """A question that looks like all of them; needs no network."""


class Problem(NamedTuple):
    """What one draw gives; the rest of a question is the same for the whole task."""

    text: str
    answer: str
    facts: Mapping[str, Any] = {}
    """What the grader needs beside the answer; JSON values only."""


def by_text(problem: Problem | Question) -> tuple[Hashable, ...]:
    """Return a family that questions of the same text share."""
    return (problem.text,)


def but_for_spaces(problem: Problem | Question) -> tuple[Hashable, ...]:
    """Return an identity that questions share if their texts differ by spaces at most."""
    return (same_text(problem.text),)


def rows_left_out(dropped: Counter[str], rows: int) -> str:
    """Return a note on the rows, of `rows`, that give no question, by reason."""
    return f"{dropped.total():,} of {rows:,} rows give no question: {counted(dropped)}"


@dataclass(frozen=True)
class Drawn:
    """A task whose questions are drawn, one by one."""

    name: str
    line: str
    grader: str
    answer_type: str
    draw: Callable[[random.Random], Problem | None]
    """One problem, or None for a draw that came to nothing; the same for the same generator."""
    identity: Callable[[Problem], tuple[Hashable, ...]] = but_for_spaces
    """What makes two problems the same."""
    family: Callable[[Problem], tuple[Hashable, ...]] = by_text
    """What decides between SFT and RL: the same for problems whose answers tell each other's."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: the settings behind `draw`."""
    source: str = "made from a seed"
    """Where the questions are from, as RAW_DATA tells it."""
    within: str = ""
    """What bounds the task, put after its name when there are too few."""
    widen: str = ""
    """What else may be done about that."""
    effort: int = 10_000
    """How many draws may come to nothing before the first problem."""

    @property
    def task(self) -> Task:
        """The row of the table."""
        return Task(self.name, self.line, self.grader, self.answer_type, self._supply, self._example)

    def _supply(self, wanted: Wanted) -> Supplied:
        count = DRAWN_QUESTIONS if wanted.sft is None else wanted.sft
        sft = make(self, count, rl=False, seed=wanted.seed, exact=wanted.sft is not None)
        held = len(sft) // 4 if wanted.rl is None else wanted.rl
        rl = make(self, held, rl=True, seed=wanted.seed, exact=wanted.rl is not None)
        return Supplied(sft, rl, {**self.config, "seed": wanted.seed}, told_fewer(len(sft), count))

    def _example(self) -> Question:
        return make(self, 1, rl=False, seed=0)[0]


def make(drawn: Drawn, count: int, *, rl: bool, seed: int, exact: bool = True) -> tuple[Question, ...]:
    """`count` different questions; the same seed gives the same ones, and a higher count only adds.

    Raises ValueError when the task does not hold that many; where it need not be exact, only when it holds none.
    """
    found = _draw(drawn, count, rl=rl, seed=seed)
    check_enough(drawn.name + drawn.within, len(found), count if exact else min(count, 1), rl=rl, else_=drawn.widen)
    return tuple(_question(drawn, problem) for problem in found)


def check_enough(name: str, found: int, count: int, *, rl: bool, else_: str = "") -> None:
    """Raise ValueError where fewer than `count` different questions were found."""
    if found < count:
        kind, flag = ("RL", "--rl_questions") if rl else ("SFT", "--questions")
        raise ValueError(
            f"{name} gave only {found} different {kind} questions of the {count} wanted: "
            f"ask for fewer with {flag}{else_}"
        )


def told_fewer(found: int, count: int) -> tuple[str, ...]:
    """What to say where nobody named a number and there are fewer questions than the default."""
    return (f"gave {found:,} different questions for SFT and no more",) if found < count else ()


def _draw(drawn: Drawn, count: int, *, rl: bool, seed: int) -> list[Problem]:
    """Fewer than `count` where no more come.

    A question belongs to RL or to SFT by a hash of its own content, so the two never meet, in one run or
    between runs.
    """
    found: dict[tuple[Hashable, ...], Problem] = {}
    rng = random.Random(f"{seed}/{drawn.name}/{'rl' if rl else 'sft'}")
    draws = last = 0
    patience = drawn.effort
    while len(found) < count and draws - last <= patience:
        problem = drawn.draw(rng)
        draws += 1
        if problem is not None and held_out(*drawn.family(problem)) == rl and drawn.identity(problem) not in found:
            found[drawn.identity(problem)] = problem
            last = draws
            # Rare is not exhausted; forty times the usual wait is, once there is a usual one.
            patience = (drawn.effort + 40 * draws) // len(found)
    return list(found.values())


def held_out(*family: Hashable) -> bool:
    """Whether questions of this family are kept for RL."""
    return int(stable_hash(*family)[:8], 16) < RL_SHARE * 2**32


def _question(drawn: Drawn, problem: Problem) -> Question:
    text, answer, facts = problem
    return Question(text, answer, drawn.name, drawn.source, drawn.grader, drawn.answer_type, dict(facts))
