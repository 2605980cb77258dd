"""What a trainer, or a chat template alone, would train of a set: the trainer's examples, and what befell each row."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembly.layouts import LayoutName, layout_of
from assembly.sets import asked_in, copy_rows, find_set, written_in_full
from assembly.trained import Asked, Hurt, Report, compare
from assembly.trainers import TEMPLATE, TRAINERS, Answer, ask, settings_of
from cluster.inference.chat_templates import own_template
from cluster.inference.models import Model, find
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

    data: Path
    layout: LayoutName
    rows: Sequence[Mapping[str, Any]]
    chat: ChatTokenizer
    model: Model

    def asked(self) -> tuple[list[Asked], int]:
        """Return the rows as vLLM asks them, and the longest in tokens. Raises ValueError if they cannot be asked."""
        try:
            asked = asked_in(self.chat, self.rows)
            texts = (f"{one.head}{one.question}{one.tail}{one.trace[one.opened :]}{one.ends[0]}" for one in asked)
            return asked, max(map(len, self.chat.tokenize(list(texts))))
        except Exception as error:
            # A template is a program, and can raise anything.
            raise ValueError(f"model {self.model.name} cannot be asked these questions: {first_line(error)}") from error

    def by_template(self) -> Answer:
        try:
            return Answer({}, examples=written_in_full(self.chat, self.rows))
        except Exception as error:
            # As above.
            return Answer({}, refused=first_line(error))


def inspect(wanted: Wanted) -> Found:
    """Have the trainer, or the template, make its examples of the set. Raises ValueError for wrong input."""
    model, source = find(wanted.model), find_set(wanted.sft)
    trainer = TRAINERS[wanted.trainer or TEMPLATE]
    if model.own_code and trainer.get("runs_model_code"):
        files = " and ".join(model.own_code)
        raise ValueError(
            f"{trainer['shown']} would run the code that {files} of {wanted.model} names: that is not asked"
        )
    format_ = ChatFormat(own_template(model), wanted.chat_kwargs or {})
    chat = ChatTokenizer(model.path, model.hub_revision, format_)
    with tempfile.TemporaryDirectory() as name:
        table = copy_rows(source, wanted.rows, Path(name, "set"))
        subject = _Subject(Path(name, "set"), layout_of(table.schema), table.to_pylist(), chat, model)
        asked, longest = subject.asked()
        if wanted.trainer is None:
            answer = subject.by_template()
        else:
            settings = settings_of(wanted.trainer, subject.layout, wanted.config, chat.template)
            answer = ask(wanted.trainer, wanted.python, subject.data, model.path, settings)
    report = Report() if answer.refused else compare(asked, answer.examples)
    counts = {"refused": len(asked)} if answer.refused else report.counts()
    return Found(
        set=str(source),
        model=wanted.model,
        trainer=trainer["shown"],
        versions=answer.versions,
        settings=answer.settings,
        traces=len(asked),
        hurt=len(asked) if answer.refused else len(report.hurts),
        damage=counts,
        remedies={name: trainer["remedies"][name] for name in counts if name in trainer["remedies"]},
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
            yield Example(name, row, asked[row].question[:_LONGEST], *_texts(hurt))


def _texts(hurt: Hurt) -> tuple[str, str]:
    if hurt.damage in _AT_ITS_END:
        return f"…{hurt.was[len(hurt.found) :][:_LONGEST]}", f"…{hurt.found[-_LONGEST:]}"
    return hurt.was[:_LONGEST], hurt.found[:_LONGEST]
