"""Says what a trainer would train of a set, trace by trace: python -m assembly.check --sft DIR --model M."""

import html
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from assembly.layouts import layout_of
from assembly.sets import asked_in, copy_rows, find_set, written_in_full
from assembly.trained import DAMAGE, Asked, Hurt, Report, compare
from assembly.trainers import TEMPLATE, TRAINERS, Answer, ask, settings_of
from cluster.flags import fail, flag, page, parse
from cluster.inference.chat_templates import own_template
from cluster.inference.models import Model, find
from cluster.inference.tokenizer import ChatFormat, ChatTokenizer
from cluster.inference.values import check_range
from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.card import counts_text
from cluster.jobs.progress import stage_line, wrapped
from cluster.paths import folder, local, local_or_name
from cluster.texts import first_line

_EXAMPLES = 3
_LONGEST = 200  # characters of a text that is shown
_AT_ITS_END = {"cut", "early", "end"}  # damage that is seen where a text ends


@dataclass(frozen=True)
class Config:
    """Check that a trainer, or the model's chat template alone, trains whole traces."""

    sft: Path = flag(MISSING, "the SFT_DATA, or the run that holds it", local)
    model: str = flag(MISSING, "the model to be trained: a folder, hub id or well-known name", local_or_name)
    trainer: Literal["llamafactory", "trl", "verl"] | None = flag(None, "default: the model's chat template alone")
    config: Path | None = flag(None, "the trainer's own configuration, as YAML", local)
    python: Path | None = flag(None, "of the trainer's environment (default: the one that runs this)", local)
    rows: int = flag(1000, "look at so many rows of the set, evenly spread")
    chat_kwargs: dict[str, Any] | None = flag(None, "JSON: variables of the chat template, as in generation.run")
    json: Path | None = flag(None, "write what was found to this file, for scripts", folder)
    html: Path | None = flag(None, "write it to this file, for people", folder)

    def __post_init__(self) -> None:
        check_range("--rows", self.rows, 1, 10**9)
        for name in ("config", "python"):
            if getattr(self, name) is not None and self.trainer is None:
                raise ValueError(f"--{name} is for a trainer: give --trainer too")
        for path in filter(None, (self.json, self.html)):
            if not path.absolute().parent.is_dir() or path.is_dir():
                raise ValueError(f"{path} cannot be written: give a file in a folder that is there")


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
    examples: Sequence[Mapping[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the check; return 0 if every trace is whole, else 1. Exits with 2 on wrong input."""
    config = parse(Config, argv)
    try:
        found = check(config)
        for path, text in (
            (config.json, json.dumps(asdict(found), indent=1, ensure_ascii=False)),
            (config.html, _html(found)),
        ):
            if path is not None:
                atomic_write_text(path, f"{text}\n")
    except ValueError as error:
        fail(str(error))
    page("\n".join(_lines(found)))
    return 1 if found.hurt else 0


def check(config: Config) -> Found:
    """Have the trainer, or the template, make its examples of the set. Raises ValueError for wrong input."""
    model, source = find(config.model), find_set(config.sft)
    chat = ChatTokenizer(model.path, model.hub_revision, ChatFormat(own_template(model), config.chat_kwargs or {}))
    with tempfile.TemporaryDirectory() as name:
        data = Path(name, "set")
        table = copy_rows(source, config.rows, data)
        layout, rows = layout_of(table.schema), table.to_pylist()
        asked, longest = _asked(model, chat, rows)
        answer = _answer(config, layout, model, chat, data, rows, asked)
    report = compare(asked, answer.examples) if not answer.refused else Report()
    remedies = TRAINERS[config.trainer or TEMPLATE]["remedies"]
    counts = {"refused": len(rows)} if answer.refused else report.counts()
    return Found(
        set=str(source),
        model=config.model,
        trainer=TRAINERS[config.trainer or TEMPLATE]["shown"],
        versions=answer.versions,
        settings=answer.settings,
        traces=len(rows),
        hurt=len(rows) if answer.refused else len(report.hurts),
        damage=counts,
        remedies={name: remedies[name] for name in counts if name in remedies},
        refused=answer.refused,
        longest=longest,
        limit=answer.longest,
        limit_name=answer.setting,
        examples=[asdict(one) for one in _examples(report, asked)],
    )


def _asked(model: Model, chat: ChatTokenizer, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Asked], int]:
    """Return the rows as vLLM asks them, and the longest in tokens."""
    try:
        asked = asked_in(chat, rows)
        texts = (one.head + one.question + one.tail + one.trace[one.opened :] + one.ends[0] for one in asked)
        return asked, max(map(len, chat.tokenize(list(texts))))
    except Exception as error:
        # A template is a program, and can raise anything.
        raise ValueError(f"model {model.name} cannot be asked these questions: {first_line(error)}") from error


def _answer(
    config: Config,
    layout: str,
    model: Model,
    chat: ChatTokenizer,
    data: Path,
    rows: Sequence[Mapping[str, Any]],
    asked: Sequence[Asked],
) -> Answer:
    if config.trainer is not None:
        settings = settings_of(config.trainer, layout, config.config, chat.template)
        return ask(config.trainer, config.python, data, model.path, settings)
    answer = Answer({})
    try:
        answer.examples += written_in_full(chat, rows, asked)
    except Exception as error:
        # As above.
        answer.refused = first_line(error)
    return answer


@dataclass(frozen=True)
class Example:
    """A hurt trace, to be shown."""

    damage: str
    row: int  # among those looked at
    question: str
    was: str
    found: str


def _examples(report: Report, asked: Sequence[Asked]) -> Iterator[Example]:
    """Yield the first few traces with each damage."""
    for name in report.counts():
        shown = [(row, hurt) for row, of in report.hurts.items() for hurt in of if hurt.damage == name][:_EXAMPLES]
        for row, hurt in shown:
            yield Example(name, row, asked[row].question[:_LONGEST], *_texts(hurt))


def _texts(hurt: Hurt) -> tuple[str, str]:
    if hurt.damage in _AT_ITS_END:
        return f"…{hurt.was[len(hurt.found) :][:_LONGEST]}", f"…{hurt.found[-_LONGEST:]}"
    return hurt.was[:_LONGEST], hurt.found[:_LONGEST]


def _lines(found: Found) -> Iterator[str]:
    """Yield what is shown in the terminal."""
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    yield stage_line("set", f"{found.set}, {found.traces:,} traces looked at, the longest of {found.longest:,} tokens")
    yield stage_line("model", found.model)
    yield stage_line("trainer", f"{found.trainer}{f' ({versions})' if versions else ''}")
    if found.refused:
        yield wrapped(stage_line("refused", found.refused))
    if not found.hurt:
        yield stage_line("whole", "every trace is trained whole, and nothing else")
        return
    yield stage_line("hurt", f"{found.hurt:,} of {found.traces:,} traces")
    yield from counts_text((f"{name:<9} {DAMAGE[name]}", count) for name, count in found.damage.items())
    for name, words in found.remedies.items():
        yield wrapped(stage_line("remedy", f"{name}: {words}"))
    if found.limit is not None and found.longest > found.limit:
        yield stage_line("limit", f"{found.limit_name} is {found.limit:,}, and the longest row has {found.longest:,}")
    for one in found.examples:
        yield f"\nrow {one['row']}, {one['damage']}: {DAMAGE[one['damage']]}"
        yield wrapped(f"  trace     {one['was']!r}")
        yield wrapped(f"  trained   {one['found']!r}")


def _html(found: Found) -> str:
    """Return a page of its own, without network; every text of the set and the trainer is inert in it."""
    rows = "".join(
        f"<tr><td>{count:,}<td>{html.escape(DAMAGE[name])}<td>{html.escape(found.remedies.get(name, ''))}"
        for name, count in found.damage.items()
    )
    shown = "".join(
        f"<h3>row {one['row']}: {html.escape(DAMAGE[one['damage']])}</h3><p>{html.escape(one['question'])}</p>"
        f"<pre class=was>{html.escape(one['was'])}</pre><pre class=found>{html.escape(one['found'])}</pre>"
        for one in found.examples
    )
    told = html.escape("\n".join(_lines(found)).partition("\n\n")[0])
    return _PAGE.format(told=told, rows=rows, shown=shown)


_PAGE = """<!doctype html><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>What is trained</title>
<style>:root{{color-scheme:light dark}}body{{font:16px system-ui;max-width:60em;margin:2em auto;padding:0 1em}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere;padding:.5em;border-left:4px solid gray}}
.was{{border-color:seagreen}}.found{{border-color:firebrick}}td{{padding:.2em .8em;vertical-align:top}}</style>
<h1>What is trained</h1><pre>{told}</pre><table><tr><th>traces<th>damage<th>remedy{rows}</table>{shown}
"""


if __name__ == "__main__":
    sys.exit(main())
