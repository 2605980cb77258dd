"""A task: its name, how its answers are graded, and the questions that it supplies.

Most tasks draw their questions from a random generator. Knows no particular task.
"""

import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from generation.records import Question, collapse_spaces, request_seed, stable_hash

HEADER = (
    "Answer the following problem. Explain your reasoning step by step. When you are finished, give your answer in "
    "this format: <answer>(your answer)</answer>.\n\n# Problem\n"
)
"""Precedes every problem that is generated or loaded here, as published for countdown (arXiv 2512.04072)."""
DRAWN_QUESTIONS = 4000  # default number of SFT questions, as in the paper
EVALUATED_QUESTIONS = 250  # default number to evaluate a drawn task on, as in the paper
RL_SHARE = 0.2  # share of all questions that a task can make that is held out for RL
MOST = 10**7  # most questions per task

Splits = tuple[Sequence[Question], Sequence[Question]]  # SFT questions and RL questions, kept apart


class Wanted(NamedTuple):
    """How many questions a run wants from a task."""

    sft: int | None  # None for all of a loaded task, or a drawn task's default
    rl: int | None  # None for a quarter of the number for SFT, as in the paper
    seed: int


class Supplied(NamedTuple):
    """The questions of a task; SFT and RL have none in common."""

    sft: tuple[Question, ...]
    rl: tuple[Question, ...]
    config: Mapping[str, Any]  # everything that the questions depend on; JSON values only
    notes: tuple[str, ...] = ()  # shown to the user, e.g. how many rows were dropped and why


class Problem(NamedTuple):
    """The part of a question that differs within a task."""

    text: str
    answer: str
    facts: Mapping[str, Any] = {}  # what the grader needs besides the answer; JSON values only


class Dropped(ValueError):
    """A row gives no question. `reason` groups rows of the same fault; the message may name this row."""

    def __init__(self, reason: str, told: str = "") -> None:
        super().__init__(told or reason)
        self.reason = reason


@dataclass(frozen=True)
class Task:
    """An entry in the table of tasks."""

    name: str
    line: str  # what is asked, shown by --list_tasks
    grader: str  # one of ours; in a file of the user's own also "grade", its function
    answer_type: str  # fills {answer_type_str}; reads well after "your resulting" and "a correct"

    def supply(self, wanted: Wanted) -> Supplied:
        """Return the questions of a run. Raises ValueError, in one line, if there are not enough."""
        raise NotImplementedError

    def evaluation(self, count: int | None, seed: int) -> Supplied:
        """Return up to `count` questions to evaluate on, or all, those to be taken first in front; all as `sft`.

        Raises ValueError if there are none.
        """
        supplied = self.supply(Wanted(None, 0, seed))
        if count is None:
            return supplied
        order = sorted(supplied.sft, key=lambda question: stable_hash("evaluation", seed, question.key))
        return supplied._replace(sft=tuple(order[:count]))

    def example(self) -> Question:
        """Return a typical question, without network access."""
        return self.supply(Wanted(1, 0, 0)).sft[0]

    def question(self, problem: Problem, source: str) -> Question:
        text, answer, facts = problem
        return Question(text, answer, self.name, source, self.grader, self.answer_type, dict(facts))


def supply_made(
    few: str, wanted: Wanted, config: Mapping[str, Any], make: Callable[[int, int], Splits], widen: str = ""
) -> Supplied:
    """Supply what `make(sft, rl)` returns, which may be fewer questions than that.

    Raises ValueError, starting with `few` with its {found} filled in, if there are fewer than requested; where no
    number was requested, only if there are none.
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


def as_evaluation(supply: Callable[[Wanted], Supplied], count: int | None, seed: int) -> Supplied:
    """Return what is held out for RL under a seed that no run has, as questions to evaluate on. Raises ValueError."""
    other = request_seed(seed, "evaluation")
    try:
        supplied = supply(Wanted(1, EVALUATED_QUESTIONS if count is None else count, other))
    except ValueError as error:
        told = str(error).replace("--rl_questions", "--questions").replace(" RL questions", " questions")
        raise ValueError(told) from error
    return supplied._replace(sft=supplied.rl, rl=(), config={**supplied.config, "held_out": True})


def held_out(*family: Hashable) -> bool:
    """Return True if questions of this family are for RL."""
    return int(stable_hash(*family)[:8], 16) < RL_SHARE * 2**32


def take_distinct(questions: Iterable[Question], sft: int, rl: int) -> Splits:
    """Take distinct questions until there are enough; the text alone, not the run, decides between RL and SFT."""
    seen: set[str] = set()
    found: dict[bool, list[Question]] = {False: [], True: []}
    for question in questions:
        if (text := collapse_spaces(question.text)) not in seen:
            seen.add(text)
            found[held_out(question.text)].append(question)
            if len(found[False]) >= sft and len(found[True]) >= rl:
                break
    return found[False][:sft], found[True][:rl]


def split(pool: Sequence[Question], wanted: Wanted, place: str) -> Splits:
    """Split the questions by hash, so that the order of rows does not matter.

    RL is served first and gets the same ones whatever the seed; without a count, SFT gets all the others. Raises
    ValueError, naming the `place`, if there are too few.
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
    kept = {question.key for question in sorted(pool, key=lambda question: stable_hash("rl", question.key))[:held]}
    rest = [question for question in pool if question.key not in kept]
    if wanted.sft is not None:
        rest = sorted(rest, key=lambda question: stable_hash("sft", wanted.seed, question.key))[:count]
    return rest, [question for question in pool if question.key in kept]


@dataclass(frozen=True)
class Drawn(Task):
    """A task whose questions are drawn at random, one at a time."""

    draw: Callable[[random.Random], Problem | None]
    """Returns a problem, or None if the draw failed; deterministic given the generator's state."""
    identity: Callable[[Problem], tuple[Hashable, ...]] = lambda problem: (collapse_spaces(problem.text),)
    """Equal for duplicates; by default, texts that differ only in whitespace."""
    family: Callable[[Problem], tuple[Hashable, ...]] = lambda problem: (problem.text,)
    """Decides between SFT and RL; equal for problems whose answers reveal each other's."""
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Inclusive ranges that numbers are drawn from, by the flag that sets each."""
    source: str = "made from a seed"  # where the questions come from, as RAW_DATA records it
    effort: int = 10_000  # how many draws may fail before the first problem

    def supply(self, wanted: Wanted) -> Supplied:
        def make(sft: int, rl: int) -> Splits:
            return self._drawn(sft, rl=False, seed=wanted.seed), self._drawn(rl, rl=True, seed=wanted.seed)

        few, widen = f"{self.name} gave only {{found}} different", ""
        if self.ranges:
            within = " and ".join(f"{name} {low}-{high}" for name, (low, high) in self.ranges.items())
            few = few.replace(self.name, f"{self.name} with {within}")
            widen = f", or widen {' or '.join(f'--{name}' for name in self.ranges)}"
        return supply_made(few, wanted, {name: list(ends) for name, ends in self.ranges.items()}, make, widen)

    def evaluation(self, count: int | None, seed: int) -> Supplied:
        """As Task.evaluation: of the families that are held out for RL, and so in no SFT set, but drawn anew."""
        found = self._drawn(EVALUATED_QUESTIONS if count is None else count, rl=True, seed=seed, stream="evaluation")
        if not found:
            raise ValueError(f"{self.name} gave no questions to evaluate on")
        config = {name: list(ends) for name, ends in self.ranges.items()}
        return Supplied(tuple(found), (), {**config, "seed": seed, "held_out": True})

    def _drawn(self, count: int, *, rl: bool, seed: int, stream: str = "") -> list[Question]:
        """Draw up to `count` questions; content alone decides between RL and SFT, so no run mixes them."""
        found: dict[tuple[Hashable, ...], Problem] = {}
        rng = random.Random(f"{seed}/{self.name}/{stream or ('rl' if rl else 'sft')}")
        draws, last, patience = 0, 0, self.effort
        while len(found) < count and draws - last <= patience:
            problem = self.draw(rng)
            draws += 1
            if problem is not None and held_out(*self.family(problem)) == rl and self.identity(problem) not in found:
                found[self.identity(problem)] = problem
                last = draws
                # Give up only after forty times the average wait: rare questions do not mean there are no more.
                patience = (self.effort + 40 * draws) // len(found)
        return [self.question(problem, self.source) for problem in found.values()]
