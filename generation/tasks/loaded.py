"""Rows into questions, whatever they are read from: each asked once, those that give none dropped with a reason.

Also the task whose rows lie on the hub, at one commit. Knows no dataset in particular.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from cluster.texts import counted
from generation.records import Question, same_text
from generation.tasks.gold import find_faults
from generation.tasks.hub_rows import Place, Rows, load, load_files
from generation.tasks.task import Dropped, Problem, Supplied, Task, Wanted, fill, split

__all__ = ["Dropped", "Intake", "Loaded", "lettered", "with_choices"]

Row = Mapping[str, Any]


class Intake:
    """Rows on their way into questions, and what was dropped."""

    def __init__(self, read: Callable[[str, Row], Question], *, strict: bool = False) -> None:
        """Make a question of each row, given with its place, by `read`; a Dropped is counted, or raised if strict."""
        self._read, self._strict = read, strict
        self._places: dict[str, str] = {}
        self._untried: list[str] = []
        self._rows = 0
        self.dropped: Counter[str] = Counter()
        self.first = ""
        """What is told of the first row that was dropped."""
        self.revision: str | None = None
        self.said: list[str] = []
        """What else a person should know of the questions."""

    def take(self, rows: Rows) -> list[Question]:
        """Return the questions of these rows, each asked once and with a gold answer that can be given."""
        self.revision = rows.revision
        found: dict[str, tuple[str, Question]] = {}
        for place, row in rows.rows:
            self._rows += 1
            try:
                question = self._read(place, row)
                first = self._places.setdefault(same_text(question.text), place)
                if first != place:
                    told = f"{place} asks the same question as {first}: each must be asked once, whatever its spaces"
                    raise Dropped("asked in an earlier row", told)
            except Dropped as dropped:
                self._drop(dropped)
            else:
                found[question.key] = (place, question)
        faults = find_faults([question for _, question in found.values()])
        for key, fault in faults.by_key.items():
            place, _ = found.pop(key)
            self._drop(Dropped(fault.reason, f"{place}: {fault}"))
        self._untried.extend(faults.notes)
        return [question for _, question in found.values()]

    def _drop(self, dropped: Dropped) -> None:
        if self._strict:
            raise dropped
        self.dropped[dropped.reason] += 1
        self.first = self.first or str(dropped)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say in sentences how many rows give no question and why, what else there is, and what was not tried."""
        left_out = f"{self.dropped.total():,} of {self._rows:,} rows give no question: {counted(self.dropped)}"
        return (*([left_out] if self.dropped else []), *self.said, *self._untried)


def lettered(texts: Sequence[str]) -> dict[str, str]:
    """Name options A, B, C and so on. Raises ValueError if they cannot be told apart, or are too few or many."""
    plain = [text.strip() for text in texts]
    if not 2 <= len(plain) <= len(ascii_uppercase):
        raise ValueError(f"{len(plain)} choices, where 2 to {len(ascii_uppercase)} can be asked")
    if not all(plain):
        raise ValueError("an empty choice")
    if len({text.casefold() for text in plain}) < len(plain):
        raise ValueError("two choices that are the same")
    return dict(zip(ascii_uppercase, plain, strict=False))


def with_choices(text: str, choices: Mapping[str, str]) -> str:
    """Return the question with its options below it, and how to answer."""
    shown = "\n".join(f"{letter}) {choice}" for letter, choice in choices.items())
    return f"{text.strip()}\n\n{shown}\n\nAnswer with the letter of the right choice."


@dataclass(frozen=True)
class Loaded(Task):
    """One dataset of the hub, and how its rows are read."""

    place: Place
    columns: tuple[str, ...]
    """Those that `read` needs."""
    read: Callable[[Row], Problem]
    """Raises Dropped."""
    sample: Row
    """A row of the same shape, made up here, for the list of tasks."""
    files: tuple[str, ...] = ()
    """Of a dataset too large to be loaded whole: read one after the other, in an order drawn from the seed."""
    usual: int | None = None
    """How many questions for SFT where nobody says; None for all."""

    def supply(self, wanted: Wanted) -> Supplied:
        dataset, named = f"--task {self.name}: dataset {self.place.shown}", f"{self.name} (dataset {self.place.shown})"
        intake = Intake(self._question)

        def take(rows: Rows) -> list[Question]:
            for column in self.columns:
                if column not in rows.columns:
                    there = ", ".join(rows.columns)
                    raise ValueError(f"{dataset} has no column {column!r}, only {there}: is it another version?")
            return intake.take(rows)

        if self.files:
            count = wanted.sft or self.usual or 1
            held = count // 4 if wanted.rl is None else wanted.rl
            files = random.Random(f"{wanted.seed}/{self.name}").sample(self.files, len(self.files))
            batches = map(take, load_files(self.place, dataset, files))
            sft, rl = fill((question for batch in batches for question in batch), count, held)
            for found, asked, kind, flag in ((sft, count, "SFT", "questions"), (rl, held, "RL", "rl_questions")):
                if len(found) < asked:
                    few = f"{named} has only {len(found):,} {kind} questions of the {asked:,} wanted"
                    raise ValueError(f"{few}: ask for fewer with --{flag}")
        else:
            pool = take(load(self.place, dataset))
            if not pool:
                raise ValueError(f"{dataset} gives no questions: {', '.join(intake.notes) or 'it is empty'}")
            sft, rl = split(pool, wanted, named)
        config = {
            "dataset": self.place.repository,
            "configuration": self.place.configuration,
            "split": self.place.split,
            "revision": intake.revision,
            "dropped": dict(sorted(intake.dropped.items())),
            "seed": wanted.seed,
        }
        return Supplied(tuple(sft), tuple(rl), config, intake.notes)

    def example(self) -> Question:
        return self.question(self.read(self.sample), self.place.repository)

    def _question(self, _: str, row: Row) -> Question:
        try:
            return self.question(self.read(row), self.place.repository)
        except (TypeError, LookupError, AttributeError) as error:
            raise Dropped("not of the usual shape") from error
