"""Tells what grading again changed: on the terminal, in the card, and as JSON."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.jobs import card
from cluster.jobs.card import NONE, Split, Table
from cluster.texts import shortened
from generation.evaluation.schema import COLUMNS as EVAL_COLUMNS
from generation.evaluation.schema import TAGS as EVAL_TAGS
from generation.raw import schema
from generation.raw.counts import OUTCOMES
from generation.raw.files import RawSource
from generation.raw.questions import Chosen
from generation.raw.report import TAGS, reasons_table
from generation.regrading.changes import NO_LONGER, NOW, Changes, Example
from generation.regrading.columns import BEFORE, EVAL, Kind

Figures = Callable[[Path], str]
"""Returns the figures of a set in this folder, as Markdown for its card."""
_SAID = 3  # reasons and kinds of examples on the terminal
_SHOWN = 2  # examples of a kind on the terminal
_ANSWER = 17  # characters of an answer on the terminal


def summary(changes: Changes) -> str:
    """Summarize the changes in lines that fit a terminal, with examples."""
    lines = [_headline(changes)]
    rows = [(f"{task or NONE}: {before}", counts) for task, before, counts in changes.table()]
    names = min(max(len(name) for name, _ in rows), 38)
    table = Table(("task: before, then now", *OUTCOMES), [(name, *counts) for name, counts in rows])
    lines += table.text(max(names, 22), 12)
    lines += [f"{what}: {count:,}" for what, count in _counts(changes)]
    by_grader = [f"{task or NONE} by {grader} {count:,}" for (task, grader), count in _by_count(changes)]
    lines.append(card.cut(f"rows graded: {'; '.join(by_grader) or 'none'}"))
    if changes.kept:
        lines.append(f"{changes.kept.total():,} rows keep a grade because they cannot be graded:")
        lines += map(card.cut, card.counts_text(changes.kept.most_common(_SAID)))
        lines += [card.cut(f"    {changes.first_kept[reason]}") for reason, _ in changes.kept.most_common(_SAID)]
        if more := len(changes.kept) - _SAID:
            lines += [f"  and {more:,} other reasons: see the card"] if more > 0 else []
    for kind, examples in _kinds(changes):
        lines += ["", f"{kind}:"]
        for one in examples[:_SHOWN]:
            lines += [card.cut(f"  {line}") for line in _told(one)]
    return "\n".join(lines)


def _headline(changes: Changes) -> str:
    of_rows = f"{changes.responses:,} responses in {changes.rows:,} rows"
    return f"{of_rows} graded again, {changes.moved:,} have another outcome"


def _by_count(changes: Changes) -> list[tuple[tuple[str, str], int]]:
    return sorted(changes.graders.items(), key=lambda one: (-one[1], one[0]))


def _counts(changes: Changes) -> Iterator[tuple[str, int]]:
    yield "same outcome, another answer", changes.answers
    yield "same outcome and answer, another reason", changes.reasons
    yield "verdicts of reflections that are now true", changes.verdicts[NOW]
    yield "verdicts of reflections that are no longer true", changes.verdicts[NO_LONGER]
    if changes.inner or changes.inner_verdicts:
        yield "attempts inside responses with another outcome", changes.inner
        yield "verdicts inside responses that are now true", changes.inner_verdicts[NOW]
        yield "verdicts inside responses that are no longer true", changes.inner_verdicts[NO_LONGER]


def _kinds(changes: Changes) -> Iterator[tuple[str, list[Example]]]:
    for before in OUTCOMES:
        for now in OUTCOMES:
            if examples := changes.examples.get((before, now)):
                yield f"{before} to {now}" if before != now else f"still {now}, by another answer or reason", examples


def _told(one: Example) -> list[str]:
    """Return the lines of an example; each may be too long."""
    question = " ".join(one.question.split())
    return [
        one.place,
        f"  question: …{question[-60:]}",
        f"  gold {_short(one.gold)}, read before {_short(one.answer_before)}, now {_short(one.answer)}",
        f"  {one.before} -> {one.now}",
    ]


def _short(text: str | None) -> str:
    return "none" if text is None else shortened(repr(text), _ANSWER)


def as_json(changes: Changes, chosen: Chosen) -> dict[str, Any]:
    """Return the changes as JSON values."""
    told = {
        **{name: getattr(changes, name) for name in ("rows", "responses", "answers", "reasons", "inner", "first_kept")},
        **{name: dict(getattr(changes, name)) for name in ("verdicts", "inner_verdicts", "kept")},
        "moves": [{"task": task, "before": before, **_named(counts)} for task, before, counts in changes.table()],
        "graders": [{"task": task, "grader": grader, "rows": rows} for (task, grader), rows in _by_count(changes)],
        "examples": [{"kind": kind, **example._asdict()} for kind, examples in _kinds(changes) for example in examples],
    }
    by = chosen._asdict()
    if (own := by.pop("own")) is not None:
        by["grader_sha256"] = own.sha256
    return {"regraded": {"by": by, **told}}


def _named(counts: Sequence[int]) -> dict[str, int]:
    return dict(zip(OUTCOMES, counts, strict=True))


def card_of(
    changes: Changes,
    splits: Sequence[Split],
    written: pa.Schema,
    origin: RawSource,
    told: Mapping[str, Any],
) -> str:
    """Return the README.md of the set; `told` holds its `kind`, `chosen`, `license`, `starts` and `figures`."""
    kind: Kind = told["kind"]
    tags = EVAL_TAGS if kind is EVAL else TAGS
    rows = [(task, before, *counts) for task, before, counts in changes.table()]
    graders = [(task, grader, count) for (task, grader), count in _by_count(changes)]
    kept = reasons_table(
        "Rows of which a response cannot be graded, and keeps its grade:", ("reason", "rows"), changes.kept
    )
    firsts = "".join(f"- {card.code(first)}\n" for first in changes.first_kept.values())
    given = card.fenced(origin.card.rstrip(), "markdown")
    values = {
        "split": splits[0].name,
        "header": card.header(
            written, splits, tags=tags, license=told["license"], models=origin.models, sources=[origin.repository]
        ),
        "name": origin.name,
        "what": "The evaluation" if kind is EVAL else "The samples",
        "source": f"{card.code(origin.name)} ({', '.join(_contents(origin))})",
        "how": _how(told["chosen"]),
        "changed": "\n".join(
            [
                f"{_headline(changes)}.\n",
                Table(("task", "before", *(f"now {one}" for one in OUTCOMES)), rows).markdown(2),
                Table(("what", "count"), [*_counts(changes)]).markdown(),
                Table(("task", "grader", "rows"), graders).markdown(2),
            ]
        ),
        "kept": f"{kept}\nThe first of each:\n\n{firsts}" if changes.kept else "",
        "figures": told["figures"],
        "columns": _columns(written, kind),
        "examples": _examples(changes),
        "run": card.run_section(told["starts"]),
        "given": f"## The card that the rows came with\n\n{given}" if origin.card.strip() else "",
    }
    return card.fill_card("generation.regrading", values)


def _contents(origin: RawSource) -> Iterator[str]:
    yield f"contents {origin.digest}"
    if origin.revision:
        yield f"commit {origin.revision}"


def _how(chosen: Chosen) -> str:
    which = f"Rows of the task {card.code(chosen.task)}" if chosen.task else "All rows"
    own = "" if chosen.own is None else f" (SHA-256 {chosen.own.sha256}: {chosen.own.line})"
    how = [f"by the grader {card.code(chosen.grader)}{own}"] if chosen.grader else []
    how += [f"with answers looked for in {card.code(chosen.answer_in)}"] if chosen.answer_in else []
    if how:
        return f"{which} were graded {', '.join(how)}."
    return "Each row was graded by its own question: as its `metadata` says, or else as wording and gold answer show."


def _columns(written: pa.Schema, kind: Kind) -> str:
    meanings = {column.name: column.meaning for column in (EVAL_COLUMNS if kind is EVAL else schema.COLUMNS)}

    def meaning(name: str) -> str:
        if name.endswith(BEFORE):
            return f"{card.code(name.removesuffix(BEFORE))} as it was before this grading"
        return meanings.get(name, "as it was given")

    return schema.columns_table([schema.Column(field.name, field.type, meaning(field.name)) for field in written])


def _examples(changes: Changes) -> str:
    parts = ["## Examples\n"] if changes.examples else []
    for kind, examples in _kinds(changes):
        parts.append(f"### {kind}\n")
        for one in examples:
            answers = {"gold": one.gold, "read before": one.answer_before, "read now": one.answer}
            read = [f"{what}: {'none' if text is None else repr(text)}" for what, text in answers.items()]
            graded = f"{one.before} -> {one.now}"
            lines = [one.place, "", f"…{one.question}", "", f"…{one.response}", "", *read, graded]
            parts.append(card.fenced("\n".join(lines), "text"))
    return "\n".join(parts)
