"""What a trainer, or a chat template alone, would train of a set: the trainer's examples, and what befell each row."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembly.asked import lengths_of
from assembly.layouts import LayoutName, layout_of
from assembly.sets import asked_in, copy_rows, find_set, written_in_full
from assembly.settings import find_model
from assembly.trained import Asked, Hurt, Report, compare
from assembly.trainers import TEMPLATE, TRAINERS, Answer, Job, ask, settings_of
from cluster.inference.chat_templates import own_template
from cluster.inference.models import Model
from cluster.inference.tokenizer import ChatFormat, ChatTokenizer
from cluster.texts import first_line

EXAMPLES = 3  # of each damage
_LONGEST = 200  # characters of a text that is shown
_AT_ITS_END = {"cut", "early", "end"}  # damage that is seen where a text ends


@dataclass(frozen=True)
class Wanted:
    """What is to be looked at, and by whom."""

    sft: Path
    model: str
    trainer: str | None = None  # None for the chat template alone
    config: Path | None = None
    python: Path | None = None
    rows: int = 1000
    chat_kwargs: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Example:
    """A hurt trace, to be shown."""

    damage: str
    row: int  # among those looked at
    question: str
    was: str
    found: str


@dataclass(frozen=True)
class Found:
    """What was found, as it is written for scripts."""

    set: str
    model: str
    trainer: str
    versions: Mapping[str, str]
    settings: Mapping[str, Any]
    traces: int  # looked at
    hurt: int
    damage: Mapping[str, int]  # traces that show each
    remedies: Mapping[str, str]
    refused: str  # the trainer's words
    longest: int  # row, in tokens, by the model's chat template
    limit: int | None  # the trainer's for a row, in tokens; None if it has none
    limit_name: str
    examples: Sequence[Example]


@dataclass(frozen=True)
class _Subject:
    """The rows that are looked at, and the model's part in them."""

    source: Path
    data: Path  # where the rows are by themselves
    layout: LayoutName
    rows: Sequence[Mapping[str, Any]]
    chat: ChatTokenizer
    model: Model

    def asked(self) -> tuple[list[Asked], int]:
        """Return the rows as vLLM asks them, and the longest in tokens. Raises ValueError if they cannot be asked."""
        try:
            asked = asked_in(self.chat, self.rows)
            return asked, max(lengths_of(self.chat, asked))
        except Exception as error:
            # A template is a program, and can raise anything.
            raise ValueError(f"model {self.model.name} cannot be asked these questions: {first_line(error)}") from error

    def job(self, trainer: str, config: Path | None) -> Job:
        return Job(self.data, self.model.path, settings_of(trainer, self.layout, config, self.chat.template))

    def by_template(self) -> Answer:
        try:
            return Answer({}, examples=written_in_full(self.chat, self.rows))
        except Exception as error:
            # As above.
            return Answer({}, refused=first_line(error))


def inspect(wanted: Sequence[Wanted]) -> list[Found]:
    """Have one trainer, or the template, make its examples of each set. Raises ValueError for wrong input."""
    trainer, python = wanted[0].trainer, wanted[0].python
    with tempfile.TemporaryDirectory() as name:
        subjects = [_subject(one, Path(name, str(place))) for place, one in enumerate(wanted)]
        asked = [subject.asked() for subject in subjects]
        if trainer is None:
            answers = [subject.by_template() for subject in subjects]
        else:
            jobs = [subject.job(trainer, one.config) for subject, one in zip(subjects, wanted, strict=True)]
            answers = ask(trainer, python, jobs)
    return [_found(*one) for one in zip(wanted, subjects, asked, answers, strict=True)]


def _subject(wanted: Wanted, data: Path) -> _Subject:
    model, source = find_model(wanted.model), find_set(wanted.sft)
    trainer = TRAINERS[wanted.trainer or TEMPLATE]
    if model.own_code and trainer.get("runs_model_code"):
        files = " and ".join(model.own_code)
        told = f"would run the code that {files} of {wanted.model} names, and is not asked about that model"
        raise ValueError(f"{trainer['shown']} {told}")
    format_ = ChatFormat(own_template(model), wanted.chat_kwargs or {})
    chat = ChatTokenizer(model.path, model.hub_revision, format_)
    table = copy_rows(source, wanted.rows, data)
    return _Subject(source, data, layout_of(table.schema), table.to_pylist(), chat, model)


def _found(wanted: Wanted, subject: _Subject, rows: tuple[list[Asked], int], answer: Answer) -> Found:
    asked, longest = rows
    report = Report() if answer.refused else compare(asked, answer.examples)
    trainer = TRAINERS[wanted.trainer or TEMPLATE]
    counts = {"refused": len(asked)} if answer.refused else report.counts()
    return Found(
        set=str(subject.source),
        model=wanted.model,
        trainer=trainer["shown"],
        versions=answer.versions,
        settings=answer.settings,
        traces=len(asked),
        hurt=len(asked) if answer.refused else len(report.hurts),
        damage=counts,
        remedies={name: trainer["remedies"].get(name, trainer["remedies"]["otherwise"]) for name in counts},
        refused=answer.refused,
        longest=longest,
        limit=answer.longest,
        limit_name=answer.setting,
        examples=list(_examples(report, asked)),
    )


def _examples(report: Report, asked: Sequence[Asked]) -> Iterator[Example]:
    """Yield the first few traces with each damage."""
    for name in report.counts():
        shown = [(row, hurt) for row, of in report.hurts.items() for hurt in of if hurt.damage == name][:EXAMPLES]
        for row, hurt in shown:
            yield Example(name, row, asked[row].question[: 2 * _LONGEST], *_texts(hurt))


def _texts(hurt: Hurt) -> tuple[str, str]:
    if hurt.damage in _AT_ITS_END:
        return f"…{hurt.was[len(hurt.found) :][:_LONGEST]}", f"…{hurt.found[-_LONGEST:]}"
    return hurt.was[:_LONGEST], hurt.found[:_LONGEST]
