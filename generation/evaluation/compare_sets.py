"""Evaluations compared as the command does it: read, compared, and written down where that is wanted."""

import json
import os
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cluster.jobs.atomic import atomic_write_text, check_parent, make_folder
from cluster.jobs.card import WIDTH
from generation.evaluation.compare import compare, comparison_json
from generation.evaluation.compare_report import comparison_markdown, comparison_text
from generation.evaluation.figures import Evaluation
from generation.evaluation.reader import read_evaluation
from generation.evaluation.schema import ARM, FORCED, REPLIES

_FILES = ("comparison.md", "comparison.json")


def compare_sets(names: Sequence[str], arm: str | None, out: str | None, seed: int) -> str:
    """Return the comparison of these evaluations for a terminal, and write it into the folder `out`, if given.

    Of those with budget forcing the `arm`, by default the forced one, is compared. Evaluations that ask under one
    variant each are compared whatever these are. Raises ValueError for what is no evaluation, for evaluations that
    cannot be compared, and for a folder that holds something else or cannot be written.
    """
    folder = None if out is None else Path(out)
    if folder is not None:
        _check(folder)
    evaluations = _alike([read_evaluation(name) for name in names], names, arm)
    comparison, notes = compare(evaluations, None, seed), [*notes_on_golds(evaluations), *notes_on_replies(evaluations)]
    if folder is not None:
        told = {**comparison_json(comparison), "notes": notes}
        shown = "\n".join([*(f"Note: {note}.\n" for note in notes), comparison_markdown(comparison)])
        texts = (shown, json.dumps(told, indent=1) + "\n")
        try:
            make_folder(folder)
            for name, text in zip(_FILES, texts, strict=True):
                atomic_write_text(folder / name, text)
        except OSError as error:
            raise ValueError(f"--out {folder} cannot be written: {error.strerror}; give another folder") from error
    lines = [line for note in notes for line in textwrap.wrap(f"Note: {note}.", WIDTH)]
    return "\n".join([*lines, comparison_text(comparison)])


def notes_on_golds(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return a note for each evaluation with other gold answers than the first to some of the same questions."""
    first, *others = [
        dict(zip(*(one.replies[name].to_pylist() for name in ("question_key", "gold")), strict=True))
        for one in evaluations
    ]
    notes = []
    for one, golds in zip(evaluations[1:], others, strict=True):
        common = [key for key in golds if None not in (golds[key], first.get(key))]
        if differing := sum(golds[key] != first[key] for key in common):
            told = f"{differing:,} of {len(common):,} questions have another gold answer in {one.name}"
            notes.append(f"{told} than in {evaluations[0].name}, so that their replies were graded by another truth")
    return notes


def notes_on_replies(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return a note for each evaluation with another number of replies than the first to some of the same questions."""
    first, *others = [
        Counter(zip(*(one.replies[name].to_pylist() for name in ("question_key", "variant")), strict=True))
        for one in evaluations
    ]
    notes = []
    for one, asked in zip(evaluations[1:], others, strict=True):
        common = first.keys() & asked.keys()
        if differing := sum(asked[key] != first[key] for key in common):
            told = f"{differing:,} of {len(common):,} questions have another number of replies in {one.name}"
            # The expectation of pass@1 is the same for any number, that of a vote is not.
            notes.append(f"{told} than in {evaluations[0].name}: compare pass@1, as more replies make a surer majority")
    return notes


def _alike(evaluations: Sequence[Evaluation], names: Sequence[str], arm: str | None) -> list[Evaluation]:
    """Return the evaluations with one arm each, under one variant if each has one, and the first one's tasks."""
    several = len({one.name for one in evaluations}) < len(evaluations)
    variants = [one.replies["variant"].unique().to_pylist() for one in evaluations]
    differ = all(len(of) == 1 for of in variants) and len({*map(tuple, variants)}) > 1
    if arm is not None and not any(_arms(one) for one in evaluations):
        raise ValueError(f"--arm {arm}: none of these evaluations has arms: leave it out")
    made = list[Evaluation]()
    for one, name, of in zip(evaluations, names, variants, strict=True):
        replies, told = one.replies, [name if several else one.name]
        if there := _arms(one):
            chosen = arm or FORCED
            if chosen not in there:
                raise ValueError(f"--arm {chosen}: {name} has the arms {', '.join(there)}")
            replies = replies.filter(pc.equal(replies[ARM], chosen))
            replies = _with(replies, ARM, pa.nulls(len(replies), pa.string()).fill_null(""))
            told.append(chosen)
        if differ:
            told.append(f"under {of[0]}")
            replies = _with(replies, "variant", pa.nulls(len(replies), pa.string()).fill_null(""))
        made.append(_named_as(made[0] if made else None, one._replace(name=", ".join(told), replies=replies)))
    return made


def _arms(evaluation: Evaluation) -> list[str]:
    return sorted(filter(None, evaluation.replies[ARM].unique().to_pylist()))


def _with(replies: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return replies.set_column(replies.schema.get_field_index(name), REPLIES.field(name), values)


def _named_as(first: Evaluation | None, other: Evaluation) -> Evaluation:
    """Return the other evaluation with the first one's names of the tasks of the questions that both have."""
    if first is None:
        return other
    keys = first.replies["question_key"].combine_chunks()
    places = pc.index_in(other.replies["question_key"], value_set=keys.unique())
    # The first task of each key: a question that two tasks ask is refused when it is asked.
    tasks = first.replies["task"].take(pc.index_in(keys.unique(), value_set=keys))
    return other._replace(replies=_with(other.replies, "task", pc.coalesce(tasks.take(places), other.replies["task"])))


def _check(folder: Path) -> None:
    """Raise ValueError unless the folder is absent, empty, or of an earlier comparison."""
    try:
        check_parent(folder)
        there = sorted(os.listdir(folder)) if folder.exists() else []
    except OSError as error:
        raise ValueError(f"--out {folder} cannot be used: {error.strerror}; give another folder") from error
    if others := [name for name in there if name not in _FILES]:
        raise ValueError(f"--out {folder} holds {others[0]!r}: give another folder for the comparison")
