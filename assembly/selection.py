"""Which traces of those made stand in a set, and on which side of a split: pure functions of values.

Knows nothing of files and texts: a trace is a row of its marks, with a random number that is its own.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa

from cluster.texts import nearest
from generation.records import stable_hash
from generation.tasks.registry import share
from generation.tasks.same import identity_of

TRAIN, VALIDATION = "train", "validation"
MOST_WEIGHT = 100.0
_CapKind = Literal["question", "task", "variant"]
_KINDS: tuple[_CapKind, ...] = get_args(_CapKind)
_COUNT = re.compile(r"[0-9]{1,9}")
_WEIGHT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?|\.[0-9]{1,6}")

MARKS = pa.schema(
    [
        *((name, pa.string()) for name in ("format", "sft_template_type_idx", "question_key", "task")),
        ("variants", pa.list_(pa.string())),
        ("score", pa.uint64()),
        ("more", pa.bool_()),
        ("side", pa.float64()),
    ]
)
"""What is known of a trace when it is chosen. `score` is random, and the smallest are kept; `more` is true for a trace
that was drawn only because its task weighs more than 1; `side` is its question's place in [0, 1), as `side_of`."""

Told = Counter[tuple[str, str]]
"""Counts of what a choice kept and left out, by (the flag as given, what is counted)."""


class Picked(NamedTuple):
    places: np.ndarray  # sorted indices, int64, of the traces that are kept
    told: Told


def read_caps(words: Sequence[str]) -> dict[_CapKind, int]:
    """Parse `3`, for each question, or `task=1000,question=3,variant=500`. Raises ValueError."""
    caps: dict[_CapKind, int] = {}
    for word in words:
        kind, given, count = word.rpartition("=")
        kind = kind if given else "question"
        if kind not in _KINDS:
            meant = "".join(f"; did you mean {one}?" for one in nearest(kind, _KINDS))
            raise ValueError(f"--cap {word}: traces are capped by {', '.join(_KINDS)}, not by {kind!r}{meant}")
        if not _COUNT.fullmatch(count) or not int(count):
            raise ValueError(f"--cap {word}: {count!r} must be a whole number of traces, at least 1")
        if kind in caps:
            raise ValueError(f"--cap {','.join(words)} caps by {kind} twice: give one number for it")
        caps[kind] = int(count)
    return caps


def read_weights(words: Sequence[str]) -> dict[str, float]:
    """Parse `TASK=0.5,TASK=2`, the number of traces of each task as a multiple of what it has. Raises ValueError."""
    weights: dict[str, float] = {}
    for word in words:
        task, given, weight = word.rpartition("=")
        if not given or not task:
            raise ValueError(f"--weights {word}: give TASK=WEIGHT, such as countdown_3arg=0.5")
        if not _WEIGHT.fullmatch(weight) or not float(weight) <= MOST_WEIGHT:
            raise ValueError(f"--weights {word}: {weight!r} must be a number from 0 to {MOST_WEIGHT:g}")
        if task in weights:
            raise ValueError(f"--weights {','.join(words)} weighs {task} twice: give one number for it")
        weights[task] = float(weight)
    return weights


def check_tasks(weights: Mapping[str, float], there: Sequence[str]) -> None:
    """Raise ValueError for a weighted task that no question has."""
    for task in (task for task in weights if task not in there):
        named = sorted(filter(None, there))
        if not named:
            raise ValueError(f"--weights {task}: this RAW_DATA names no tasks; leave --weights out")
        hint = "".join(f"; did you mean {near}?" for near in nearest(task, named))
        raise ValueError(f"--weights {task}: the RAW_DATA has no such task, only {', '.join(named)}{hint}")


def repeats_for(weight: float, repeats: int) -> int:
    """Return how often a question is drawn from, so that its task can weigh this much."""
    return repeats * max(1, math.ceil(weight))


def side_of(seed: int, question: str) -> float:
    """Return where a question stands in [0, 1): a hash of it and the seed, so that no other question moves it.

    Questions that are the same, as `identity_of` tells, stand at the same place, whatever task asks them.
    """
    return int(stable_hash(seed, VALIDATION, *identity_of(question))[:13], 16) / 16**13


def cut_at(sides: np.ndarray, validation: float) -> float:
    """Return where questions are parted: those whose side is below it are of the validation split.

    It is `validation`, save that the lowest question is always below it, and the highest never. Raises ValueError if
    there is only one.
    """
    lowest, highest = float(sides.min()), float(sides.max())
    if lowest == highest:
        told = "all traces are of one question, which stands on one side of a split"
        raise ValueError(f"--validation {validation:g}: {told}; leave it out")
    return min(max(validation, math.nextafter(lowest, 1)), highest)


def pick(marks: pa.Table, weights: Mapping[str, float], caps: Mapping[_CapKind, int], subsample: int | None) -> Picked:
    """Choose among traces of schema MARKS: first by weight, then by cap, and a subsample of what is left.

    With other numbers the same traces come first, so that what a smaller one keeps a larger one keeps too.
    """
    places, told = np.arange(marks.num_rows), Told()
    labels = _codes(marks, ("format", "sft_template_type_idx"))
    scores = marks["score"].to_numpy()
    if weights:
        places = _weighted(marks, weights, labels, told)
    if caps:
        places = _capped(marks, places, caps, told)
    if subsample is not None:
        before = len(places)
        if subsample < before:
            places = _stratified(places, labels, (scores,), subsample)
        flag = f"--subsample {subsample}"
        told[flag, "traces kept, of each label its share"] = len(places)
        told[flag, "traces left out"] = before - len(places)
    return Picked(np.sort(places), told)


def _codes(marks: pa.Table, names: Sequence[str]) -> np.ndarray:
    """Return a number for each row by its values in these columns, in their sorted order."""
    columns = [np.asarray(marks[name].to_pylist(), dtype=str) for name in names]
    codes = np.zeros(marks.num_rows, np.int64)
    for column in columns:
        _, one = np.unique(column, return_inverse=True)
        codes = codes * (int(one.max(initial=0)) + 1) + one
    return codes


def _stratified(places: np.ndarray, labels: np.ndarray, keys: Sequence[np.ndarray], wanted: int) -> np.ndarray:
    """Return `wanted` of the places, of each label its share: those smallest by the keys, the first of which counts
    most.
    """
    _, inside = np.unique(labels[places], return_inverse=True)
    counts = np.bincount(inside)
    return _first(places, inside, keys, np.array(share(wanted, counts.tolist())))


def _first(places: np.ndarray, inside: np.ndarray, keys: Sequence[np.ndarray], wanted: np.ndarray) -> np.ndarray:
    """Return of each group, by the number of it that `inside` gives, as many of its places as are wanted of it."""
    order = np.lexsort((places, *(key[places] for key in reversed(keys)), inside))
    sorted_groups = inside[order]
    ranks = np.arange(len(order)) - np.searchsorted(sorted_groups, sorted_groups)
    chosen: np.ndarray = places[order[ranks < wanted[sorted_groups]]]
    return chosen


def _weighted(marks: pa.Table, weights: Mapping[str, float], labels: np.ndarray, told: Told) -> np.ndarray:
    """Return the places left by the weights: of each label of a task its share, those of weight 1 first."""
    tasks = np.asarray(marks["task"].to_pylist(), dtype=str)
    more, scores = marks["more"].to_numpy(), marks["score"].to_numpy()
    kept = [np.flatnonzero(~np.isin(tasks, [*weights]))]
    for task, weight in weights.items():
        places = np.flatnonzero(tasks == task)
        _, inside = np.unique(labels[places], return_inverse=True)
        counts = np.bincount(inside[~more[places]], minlength=int(inside.max(initial=-1)) + 1)
        base = int(counts.sum())
        wanted = round(weight * base)
        shares = np.array(share(wanted, counts.tolist()) if base else counts)
        kept.append(_first(places, inside, (more, scores), shares))
        flag, lacking = f"--weights {task}={weight:g}", wanted - len(kept[-1])
        told[flag, "traces that the task has by itself"] = base
        told[flag, "traces kept"] = len(kept[-1])
        if weight > 1:
            told[flag, "of these drawn anew"] = int(more[kept[-1]].sum())
            told[flag, "traces lacking, since other draws gave no other trace"] = lacking
    return np.sort(np.concatenate(kept))


def _capped(marks: pa.Table, places: np.ndarray, caps: Mapping[_CapKind, int], told: Told) -> np.ndarray:
    """Return the places of traces that no cap leaves out, taken in the order of their scores.

    A trace counts once for its question, for its task, and for each prompt variant among its attempts.
    """
    columns = {"question": "question_key", "task": "task", "variant": "variants"}
    values = {kind: marks[columns[kind]].to_pylist() for kind in caps}
    counts, full, kept = Counter[tuple[str, str]](), Counter[_CapKind](), []
    for place in places[np.argsort(marks["score"].to_numpy()[places], kind="stable")].tolist():
        groups = [
            (kind, one) for kind, of in values.items() for one in ({*of[place]} if kind == "variant" else (of[place],))
        ]
        if (reached := next((kind for kind, one in groups if counts[kind, one] >= caps[kind]), None)) is not None:
            full[reached] += 1
            continue
        counts.update(groups)
        kept.append(place)
    for kind, cap in caps.items():
        flag = f"--cap {kind}={cap}"
        told[flag, f"traces left out, beyond those of their {kind}"] = full[kind]
        told[flag, f"{kind}s that have as many"] = sum(count == cap for (of, _), count in counts.items() if of == kind)
    return np.sort(np.array(kept, np.int64))
