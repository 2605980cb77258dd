"""How two sets differ: figures of both with 95% intervals over questions, and the lines of what they were made by."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.faults import FAULTS
from assembly.reporting.gather import Contents
from assembly.sft import SFT_DATA
from cluster.jobs.run_directory import differing, texts_of
from generation.evaluation.schema import VERDICTS
from generation.evaluation.statistics import RESAMPLES, Ratio, bootstrap, figures_of

_LARGE = 20_000  # questions, of which a quarter of the resamples is enough to wait for
Side = Mapping[str, np.ndarray]  # by name of a sum, its part of each question; and the questions' keys


def differences(first: Contents, second: Contents) -> Iterator[dict[str, Any]]:
    """Yield each figure of both, of all rows and by task and variant, and the second less the first.

    They are of the questions that both have, and drawn in pairs, where these are at least half of those of either.
    """
    group = "label" if first.kind == SFT_DATA else "variant"
    tables = [
        one.sums.by(("task", group, *(() if group == "label" else ("outcome",)), "key")) for one in (first, second)
    ]
    found = [{*zip(one["task"].to_pylist(), one[group].to_pylist(), strict=True)} for one in tables]
    labels = sorted({label for _, label in found[0] | found[1]}) if group == "label" else []
    for place in [None, *sorted(set() if labels else found[0] & found[1])]:
        task, variant = place or ("", "")
        first_side, second_side = (_side(one, labels, place) for one in tables)
        for told in _compared(first_side, second_side, labels):
            yield {"task": task, "variant": variant, **told}


def _side(table: pa.Table, labels: Sequence[str], place: tuple[str, str] | None) -> Side:
    """Return the sums of each question: also of its samples by outcome, or of its traces by label."""
    if place is not None:
        table = table.filter(pc.and_(pc.equal(table["task"], place[0]), pc.equal(table["variant"], place[1])))
    name, counted, values = ("label", "traces", labels) if labels else ("outcome", "samples", ("right", "unknown"))
    for value in values:
        there = pc.equal(table[name], value).cast(pa.int64())
        table = table.append_column(f"{name} {value}", pc.multiply(there, table[counted]))
    summed = [one for one in table.column_names if pa.types.is_integer(table.schema.field(one).type)]
    made = table.group_by("key").aggregate([(one, "sum") for one in summed]).sort_by("key")
    keys = np.array(made["key"].to_pylist(), dtype=object)
    return {one: made[f"{one}_sum"].to_numpy() for one in summed} | {"key": keys, "one": np.ones(len(keys))}


def _ratios(side: Side, labels: Sequence[str]) -> dict[str, Ratio]:
    if labels:
        found = {f"label {label}": Ratio(side[f"label {label}"], side["traces"]) for label in labels}
        found |= {f"fault {name}": Ratio(side[name], side["traces"]) for name in FAULTS}
        per_trace = Ratio(side["attempts"], side["traces"], None)
        return {"traces a question": Ratio(side["traces"], side["one"], None), "attempts a trace": per_trace, **found}
    agree, said = side["right_correct"] + side["wrong_incorrect"], np.sum([side[name] for name in VERDICTS], axis=0)
    return {
        "right": Ratio(side["outcome right"], side["samples"]),
        "unknown": Ratio(side["outcome unknown"], side["samples"]),
        "cut": Ratio(side["cut"], side["samples"]),
        "verdicts that are right": Ratio(agree, said),
        "tokens a sample": Ratio(side["tokens"], side["counted"], None),
    }


def _compared(first: Side, second: Side, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    sides, sizes = [first, second], (len(first["key"]), len(second["key"]))
    _, *places = np.intersect1d(first["key"], second["key"], assume_unique=True, return_indices=True)
    if paired := 2 * len(places[0]) >= max(min(sizes), 4):
        sides = [{name: sums[at] for name, sums in one.items()} for one, at in zip(sides, places, strict=True)]
    ratios = [_ratios(one, labels) for one in sides]
    names = [name for name in ratios[0] if all(one[name].denominator.any() for one in ratios)]
    chosen = [[one[name] for name in names] for one in ratios]
    if not names:
        return
    resamples = RESAMPLES // (4 if max(sizes) > _LARGE else 1)
    if paired:
        both, count = bootstrap([*chosen[0], *chosen[1]], 0, resamples), len(names)
        one, other = both.take(range(count)), both.take(range(count, 2 * count))
    else:
        one, other = (bootstrap(of, seed, resamples) for seed, of in enumerate(chosen))
    told = zip(names, *(figures_of(draws) for draws in (one, other, other.minus(one))), strict=True)
    asked = [len(of["key"]) for of in sides]
    for name, *figures in told:
        shown = zip(("first", "second", "difference"), (figure[:3] for figure in figures), strict=True)
        share = ratios[0][name].bounds is not None
        yield {"figure": name, "paired": paired, "questions": asked, "share": share, **dict(shown)}


def changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of two run.json that differ, and their texts that do, as lines of a unified diff."""
    one, other = dict(texts_of(first)), dict(texts_of(second))
    diffs = [
        [name, [*difflib.unified_diff(one.get(name, []), other.get(name, []), lineterm="")]] for name in one | other
    ]
    return {
        "configuration": differing(first.get("configuration", {}), second.get("configuration", {})),
        "texts": [[name, lines[2:]] for name, lines in diffs if lines],
    }
