"""What was made of a user's own rows, and what a person should know about it."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from cluster.messages import counted
from generation.records import Question
from generation.tasks.final import WHOLE, says_none
from generation.tasks.task import rows_left_out

_LONG = 200
"""Characters of a gold answer that hardly any sample repeats word by word."""
_AS = {
    "answer": "by its text",
    "number": "as a number",
    "math": "as mathematics",
    "countdown": "as countdown",
    "choice": "as a choice",
}
_BY_TEXT = frozenset({"answer", "exact"})
_WORD = re.compile(r"[^\W\d_]{2}")
_COUNT = re.compile(r"[-+]?\d[\d.,]*(?: [^\W\d_]+){1,2}")
_SIGN = re.compile(r"[\^=+*/(){}\[\]<>]|\d")


class Checked(NamedTuple):
    """The questions of a user's own rows."""

    grader: str | None
    """That was asked for."""
    kept: dict[str, Question]
    """By key."""
    dropped: Counter[str]
    """Rows of a hub dataset that give no question, by reason."""
    places: dict[str, str]
    """Where the final answer stood in the gold answer, by question key; only if it was not all of it."""
    unasked: list[str]
    """What was not looked at, in sentences."""

    @property
    def questions(self) -> tuple[Question, ...]:
        return tuple(self.kept.values())

    def add(self, question: Question, where: str) -> None:
        """Keep a question whose final answer stood at `where` in its gold answer."""
        self.kept[question.key] = question
        if where != WHOLE:
            self.places[question.key] = where

    def remove(self, key: str) -> None:
        """Take back a question that was kept."""
        del self.kept[key]
        self.places.pop(key, None)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say in sentences which rows are left out, how gold answers are read, and which can hardly be met."""
        notes = []
        if self.dropped:
            notes.append(rows_left_out(self.dropped, len(self.kept) + self.dropped.total()))
        if self.grader is None and self.kept:
            notes.append(f"graded as the gold answers look, without --grader: {self._graded()}")
        if self.places:
            where = counted(Counter(self.places.values()))
            notes.append(f"of {len(self.places):,} gold answers the final answer alone is taken: {where}")
        return (*notes, *self._doubts(), *self.unasked)

    def _graded(self) -> str:
        first = {question.grader: question.answer for question in reversed(self.questions)}
        count = Counter(question.grader for question in self.questions)
        return ", ".join(f"{n:,} {_AS[grader]} (first {first[grader][:40]!r})" for grader, n in count.most_common())

    def _doubts(self) -> list[str]:
        golds = [question.answer for question in self.questions if question.grader in _BY_TEXT]
        said = {
            "say only that there is none, and are taken as texts": [gold for gold in golds if says_none(gold)],
            "are long texts, which a sample must repeat; --answer_column names one with the final answer alone": [
                gold for gold in golds if len(gold) > _LONG or "\n" in gold.strip()
            ],
        }
        if self.grader is None:
            formulas = [gold for gold in golds if _SIGN.search(gold) and not _WORD.search(gold)]
            what = "look like numbers or mathematics and are compared as texts; --grader math compares what they say"
            said[what] = formulas
            counts = [gold for gold in golds if _COUNT.fullmatch(gold.strip())]
            said["are a number and words and are compared as texts; --grader number compares the number"] = counts
        return [
            f"{len(found):,} gold answers {what} (first {found[0][:40]!r})" for what, found in said.items() if found
        ]
