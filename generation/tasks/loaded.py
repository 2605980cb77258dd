"""A task whose questions are loaded, not drawn: rows of a hub dataset at one commit, each read into a problem.

Rows that give no question are dropped and counted by reason. Knows no dataset in particular.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from generation.records import Question, same_text
from generation.tasks.gold import find_faults
from generation.tasks.hub_rows import Place, Rows, load, load_files
from generation.tasks.split import split
from generation.tasks.task import Problem, Supplied, Task, Wanted, held_out, rows_left_out

_AGAIN = "asked in an earlier row"


class Dropped(Exception):
    """A row that gives no question; its text is the reason."""


@dataclass(frozen=True)
class Loaded:
    """One dataset of the hub, and how its rows are read."""

    name: str
    line: str
    grader: str
    answer_type: str
    place: Place
    columns: tuple[str, ...]
    """Those that `read` needs."""
    read: Callable[[Mapping[str, Any]], Problem]
    """Raises Dropped."""
    sample: Mapping[str, Any]
    """A row of the same shape, made up here, for the list of tasks."""
    files: tuple[str, ...] = ()
    """Of a dataset too large to be loaded whole: read one after the other, in an order drawn from the seed."""
    usual: int | None = None
    """How many questions for SFT where nobody says; None for all."""

    @property
    def task(self) -> Task:
        """The row of the table."""
        return Task(self.name, self.line, self.grader, self.answer_type, self._supply, self._example)

    def _supply(self, wanted: Wanted) -> Supplied:
        reading = _Reading(self)
        if self.files:
            sft, rl = self._until_enough(reading, wanted)
        else:
            rows = load(self.place, reading.wanted)
            pool = reading.questions(rows)
            if not pool:
                raise ValueError(f"{reading.wanted} gives no questions: {', '.join(reading.notes()) or 'it is empty'}")
            sft, rl = split(pool, wanted, f"{self.name} (dataset {self.place.shown})")
        config = {
            "dataset": self.place.repository,
            "configuration": self.place.configuration,
            "split": self.place.split,
            "revision": reading.revision,
            "dropped": dict(sorted(reading.dropped.items())),
        }
        return Supplied(sft, rl, {**config, "seed": wanted.seed}, reading.notes())

    def _until_enough(self, reading: _Reading, wanted: Wanted) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
        """File by file; whether a question is for RL hangs on its own text, so runs of any size agree."""
        count = wanted.sft or self.usual or 1
        asked = {False: count, True: count // 4 if wanted.rl is None else wanted.rl}
        found: dict[bool, list[Question]] = {False: [], True: []}
        files = random.Random(f"{wanted.seed}/{self.name}").sample(self.files, len(self.files))
        for rows in load_files(self.place, reading.wanted, files):
            for question in reading.questions(rows):
                found[held_out(question.text)].append(question)
            if all(len(found[rl]) >= asked[rl] for rl in asked):
                break
        for rl, kind in ((False, "SFT"), (True, "RL")):
            if len(found[rl]) < asked[rl]:
                raise ValueError(
                    f"{self.name} (dataset {self.place.shown}) has only {len(found[rl]):,} {kind} questions of the "
                    f"{asked[rl]:,} wanted: ask for fewer with {'--rl_questions' if rl else '--questions'}"
                )
        return tuple(found[False][: asked[False]]), tuple(found[True][: asked[True]])

    def _example(self) -> Question:
        return self.question(self.read(self.sample))

    def question(self, problem: Problem) -> Question:
        """The problem, as this task asks it."""
        text, answer, facts = problem
        source = self.place.repository
        return Question(text, answer, self.name, source, self.grader, self.answer_type, dict(facts))


class _Reading:
    """One pass over rows: what was dropped, and at which commit they were."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._seen: set[str] = set()
        self._rows = 0
        self._unasked: tuple[str, ...] = ()
        self.dropped: Counter[str] = Counter()
        self.revision: str | None = None
        self.wanted = f"--task {loaded.name}: dataset {loaded.place.shown}"

    def questions(self, rows: Rows) -> list[Question]:
        """Return the questions of the rows, each once. Raises ValueError if a column is missing."""
        found = list(self._each(rows))
        faults = find_faults(found)
        self.dropped.update(fault.reason for fault in faults.by_key.values())
        self._unasked = (*self._unasked, *faults.notes)
        return [question for question in found if question.key not in faults.by_key]

    def _each(self, rows: Rows) -> Iterator[Question]:
        self.revision = rows.revision
        for column in self._loaded.columns:
            if column not in rows.columns:
                there = ", ".join(rows.columns)
                raise ValueError(f"{self.wanted} has no column {column!r}, only {there}: is it another version?")
        for row in rows.rows:
            self._rows += 1
            try:
                question = self._question(row)
                if same_text(question.text) in self._seen:
                    raise Dropped(_AGAIN)
            except Dropped as reason:
                self.dropped[str(reason)] += 1
                continue
            self._seen.add(same_text(question.text))
            yield question

    def _question(self, row: Mapping[str, Any]) -> Question:
        try:
            return self._loaded.question(self._loaded.read(row))
        except (TypeError, LookupError, AttributeError) as error:
            raise Dropped("not of the usual shape") from error

    def notes(self) -> tuple[str, ...]:
        """Say in sentences what was dropped or not looked at."""
        if not self.dropped:
            return self._unasked
        return (rows_left_out(self.dropped, self._rows), *self._unasked)
