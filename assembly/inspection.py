"""What a trainer, or a chat template alone, would train of a set: the trainer's examples, and what befell each row."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembly.asked import lengths_of, notes_on_template
from assembly.layouts import LAYOUTS, LayoutName, layout_of
from assembly.sets import asked_in, check_rows, copy_rows, find_set, written_in_full
from assembly.settings import find_model
from assembly.sft import DATASET_INFO, VERL_TOKENS
from assembly.trained import Asked, Hurt, Report, compare
from assembly.trainers import TEMPLATE, TRAINERS, Answer, Job, ask, settings_of
from cluster.inference.chat import Prompt, fit, probe
from cluster.inference.chat_templates import own_template
from cluster.inference.models import Model
from cluster.inference.tokenizer import ChatFormat, ChatTokenizer
from cluster.texts import first_line

EXAMPLES = 3  # of each damage
_LONGEST = 200  # characters of a text that is shown
_OF_A_LIMIT = {"dropped", "cut"}
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
    total: int  # traces in the set
    traces: int  # of these looked at
    hurt: int
    damage: Mapping[str, int]  # traces that show each
    remedies: Mapping[str, str]
    refused: str  # the trainer's words
    longest: int  # row, in tokens, by the model's chat template
    limit: int | None  # the trainer's for a row, in tokens; None if it has none
    limit_name: str
    notes: Sequence[str]  # on the chat template
    examples: Sequence[Example]


@dataclass(frozen=True)
class _Subject:
    """The rows that are looked at, and the model's part in them."""

    source: Path
    total: int  # rows in it
    data: Path  # where those that are looked at are by themselves
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
        described = trainer == "llamafactory" and LAYOUTS[self.layout].takes is not None
        read = trainer == "verl" and self.layout == "tokens"
        for name, needed in ((DATASET_INFO, described), (VERL_TOKENS, read)):
            if needed and not (self.data / name).exists():
                shown = TRAINERS[trainer]["shown"]
                raise ValueError(f"{self.source} has no {name}, which {shown} reads: make the set anew")
        return Job(self.data, self.model.path, settings_of(trainer, self.layout, config, self.chat.template))

    def notes(self) -> list[str]:
        try:
            return notes_on_template(self.chat)
        except Exception:
            # What it raises is told of its rows.
            return []

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
    chat = ChatTokenizer(model.path, model.hub_revision, ChatFormat(own_template(model), wanted.chat_kwargs or {}))
    with suppress(ValueError):
        # What is wrong with a template is told by what it does to the rows.
        chat = fit(chat, [Prompt("", probe(("user",)))]).chat
    table, total = copy_rows(source, wanted.rows, data)
    layout, rows = layout_of(table.schema), table.to_pylist()
    check_rows(rows)
    return _Subject(source, total, data, layout, rows, chat, model)


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
        total=subject.total,
        traces=len(asked),
        hurt=len(asked) if answer.refused else len(report.hurts),
        damage=counts,
        remedies={name: _remedy(trainer, subject.layout, name, longest, answer) for name in counts},
        refused=answer.refused,
        longest=longest,
        limit=answer.longest,
        limit_name=answer.setting,
        notes=subject.notes(),
        examples=list(_examples(report, asked)),
    )


def _remedy(trainer: Mapping[str, Any], layout: str, damage: str, longest: int, answer: Answer) -> str:
    remedies: Mapping[str, str] = trainer["remedies"]
    taken = trainer.get("settings", {layout: {}})
    if damage == "refused" and layout not in taken:
        return f"--layout {' or '.join(taken)} of assembly.run: it does not take {layout}"
    if damage in _OF_A_LIMIT and answer.longest is not None and longest <= answer.longest:
        return "no row is too long: look for a setting that leaves rows out, such as their number or a split"
    return remedies.get(damage, remedies["otherwise"])


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
