"""Turns rows from any source into questions, without duplicates; unusable rows are dropped with a reason.

Also the task whose rows are on the hub, at one commit; `hub.toml` lists the ones that ship.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from string import ascii_uppercase
from typing import Any

from cluster.texts import counted, load_table
from generation.grading.text import boxed
from generation.records import Question, collapse_spaces, stable_hash
from generation.tasks.gold import find_faults
from generation.tasks.hub_rows import Place, Rows, load, load_files
from generation.tasks.task import (
    HEADER,
    Dropped,
    Problem,
    Supplied,
    Task,
    Wanted,
    as_evaluation,
    split,
    supply_made,
    take_distinct,
)

Row = Mapping[str, Any]
_WHOLE = re.compile(r"(-?[0-9]+)\.0+")


class Intake:
    """Turns rows into questions and counts the rows it drops."""

    def __init__(self, read: Callable[[str, Row], Question], *, strict: bool = False) -> None:
        """`read` turns a row, given its place, into a question; a Dropped is counted, or re-raised if strict."""
        self._read, self._strict = read, strict
        self._places: dict[str, str] = {}
        self._rows = 0
        self._untried: list[str] = []
        self.dropped: Counter[str] = Counter()
        self.first = ""  # the message for the first dropped row
        self.revision: str | None = None
        self.said: list[str] = []  # further notes for the user

    def take(self, rows: Rows) -> list[Question]:
        """Return the distinct questions of these rows whose gold answers can be given."""
        self.revision = rows.revision
        found: dict[str, tuple[str, Question]] = {}
        for place, row in rows.rows:
            self._rows += 1
            try:
                question = self._read(place, row)
                first = self._places.setdefault(collapse_spaces(question.text), place)
                if first != place:
                    told = f"{place} asks the same question as {first}: each must be asked once, whatever its spaces"
                    raise Dropped("asked in an earlier row", told)
            except Dropped as dropped:
                self._drop(dropped)
            else:
                found[question.key] = (place, question)
        faults = find_faults([question for _, question in found.values()])
        for key, fault in faults.by_key.items():
            self._drop(Dropped(fault.reason, f"{found.pop(key)[0]}: {fault}"))
        self._untried.extend(faults.notes)
        return [question for _, question in found.values()]

    def _drop(self, dropped: Dropped) -> None:
        if self._strict:
            raise dropped
        self.dropped[dropped.reason] += 1
        self.first = self.first or str(dropped)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return notes on rows dropped and why, on the questions, and on checks that were skipped."""
        left_out = f"{self.dropped.total():,} of {self._rows:,} rows give no question: {counted(self.dropped)}"
        return (*([left_out] if self.dropped else []), *self.said, *self._untried)


@dataclass(frozen=True)
class Loaded(Task):
    """A hub dataset and how its rows are read."""

    place: Place
    columns: tuple[str, ...]  # the columns that `read` needs
    read: Callable[[Row], Problem]  # reads a row. Raises Dropped.
    sample: Row  # a made-up row of the same shape, for --list_tasks
    files: tuple[str, ...] = ()
    """For a dataset too large to load whole: read one at a time, in an order drawn from the seed."""
    usual: int | None = None  # default number of SFT questions; None for all
    tests: Place | None = None  # where its test questions are, if elsewhere than the questions to train on

    def evaluation(self, count: int | None, seed: int) -> Supplied:
        if self.files:
            return as_evaluation(self.supply, count, seed)
        task = self if self.tests is None else replace(self, place=self.tests, tests=None)
        return super(Loaded, task).evaluation(count, seed)

    def supply(self, wanted: Wanted) -> Supplied:
        dataset, named = f"--task {self.name}: dataset {self.place.shown}", f"{self.name} (dataset {self.place.shown})"
        intake = Intake(self._question)

        def take(rows: Rows) -> list[Question]:
            if lacking := [column for column in self.columns if column not in rows.columns]:
                there = ", ".join(rows.columns)
                raise ValueError(f"{dataset} has no column {lacking[0]!r}, only {there}: is it another version?")
            return intake.take(rows)

        if self.files:
            files = random.Random(f"{wanted.seed}/{self.name}").sample(self.files, len(self.files))
            questions = chain.from_iterable(map(take, load_files(self.place, dataset, files)))
            count = wanted.sft or self.usual or 1
            wanted = wanted._replace(sft=count, rl=count // 4 if wanted.rl is None else wanted.rl)
            sft, rl, *_ = supply_made(f"{named} has only {{found}}", wanted, {}, partial(take_distinct, questions))
        else:
            pool = take(load(self.place, dataset))
            if not pool:
                raise ValueError(f"{dataset} gives no questions: {', '.join(intake.notes) or 'it is empty'}")
            sft, rl = map(tuple, split(pool, wanted, named))
        repository, configuration, part, _ = self.place
        origin = {"dataset": repository, "configuration": configuration, "split": part}
        config = {**origin, "revision": intake.revision, "dropped": dict(intake.dropped), "seed": wanted.seed}
        return Supplied(sft, rl, config, intake.notes)

    def example(self) -> Question:
        return self.question(self.read(self.sample), self.place.repository)

    def _question(self, _: str, row: Row) -> Question:
        try:
            return self.question(self.read(row), self.place.repository)
        except (TypeError, LookupError, AttributeError) as error:
            raise Dropped("not of the usual shape") from error


def lettered(texts: Any) -> dict[str, str]:
    """Label options A, B, C and so on. Raises Dropped if any is not text, or for duplicates, too few or too many."""
    if not isinstance(texts, list) or not all(isinstance(text, str | int) for text in texts):
        raise Dropped("choices that are no list of texts")
    plain = [str(text).strip() for text in texts]
    if not 2 <= len(plain) <= len(ascii_uppercase):
        raise Dropped(f"{len(plain)} choices, where 2 to {len(ascii_uppercase)} can be asked")
    if not all(plain):
        raise Dropped("an empty choice")
    if len({text.casefold() for text in plain}) < len(plain):
        raise Dropped("two choices that are the same")
    return dict(zip(ascii_uppercase, plain, strict=False))


def with_choices(text: str, choices: Mapping[str, str]) -> str:
    """Return the question followed by its options and how to answer."""
    shown = "\n".join(f"{letter}) {choice}" for letter, choice in choices.items())
    return f"{text.strip()}\n\n{shown}\n\nAnswer with the letter of the right choice."


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Dropped("no question or answer text")
    return value.strip()


def _problem(question: Any, answer: Any) -> Problem:
    gold = "" if answer is None else str(answer).strip()
    whole = _WHOLE.fullmatch(gold)  # a float in the file
    return Problem(HEADER + _text(question), _text(whole[1] if whole else gold))


def _gsm8k(row: Row) -> Problem:
    _, mark, gold = _text(row["answer"]).rpartition("####")
    if not mark:
        raise Dropped("no answer after ####")
    return _problem(row["question"], gold.replace(",", ""))


def _choice(question: str, texts: list[str], right: int) -> Problem:
    found = lettered(texts)
    return Problem(HEADER + with_choices(question, found), list(found)[right], {"choices": found})


def _commonsense(row: Row) -> Problem:
    listed = row["choices"]
    if isinstance(listed, list):  # some readers give a list of {label, text}
        listed = {name: [one[name] for one in listed] for name in ("label", "text")}
    labels = list(listed["label"])
    if row["answerKey"] not in labels:  # the test split has no answers
        raise Dropped("no answerKey")
    return _choice(_text(row["question"]), list(listed["text"]), labels.index(row["answerKey"]))


def _gpqa(row: Row) -> Problem:
    """Shuffle the options, the same way in every run: in the file the right one is always first."""
    question = _text(row["Question"])
    texts = [_text(row[name]) for name in ("Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))]
    order = list(range(len(texts)))
    random.Random(stable_hash("gpqa", question)).shuffle(order)
    return _choice(question, [texts[place] for place in order], order.index(0))


def _openthoughts(row: Row) -> Problem:
    turns = [(t.get("from") or t.get("role"), t.get("value") or t.get("content")) for t in row["conversations"]]
    asked = next((text for speaker, text in turns if speaker in ("human", "user")), "")
    responses = [text for speaker, text in turns if speaker in ("gpt", "assistant")]
    _, thought, after = (responses[-1] if responses else "").rpartition("</think>")
    if not thought:
        raise Dropped("no </think>")
    found = [answer for answer in boxed(after) if answer]
    if not found:
        raise Dropped(r"no \boxed{} after </think>")
    if len({"".join(answer.split()) for answer in found}) > 1:
        raise Dropped(r"several different \boxed{}")
    return _problem(asked, found[-1])


_READERS = {"gsm8k": _gsm8k, "commonsenseQA": _commonsense, "gpqa": _gpqa, "openthoughts": _openthoughts}


def _of_table(name: str, place: Mapping[str, str], columns: Sequence[str], shards: int = 0, **row: Any) -> Loaded:
    where = Place(**place)
    if (split := row.pop("tests", None)) is not None:
        row["tests"] = where._replace(split=split)
    read = _READERS.get(name) or (lambda row: _problem(row[columns[0]], row[columns[1]]))
    files = tuple(f"data/{where.split}-{shard:05}-of-{shards:05}.parquet" for shard in range(shards))
    return Loaded(name, place=where, columns=tuple(columns), read=read, files=files, **row)


HUB_TASKS = tuple(_of_table(name, **row) for name, row in load_table("generation.tasks", "hub.toml").items())
