"""Evaluations of the same questions compared: paired differences with intervals, questions won, McNemar's test."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from generation.evaluation.averages import average, averages_over
from generation.evaluation.figures import Evaluation, in_order, interval_json, seed_of
from generation.evaluation.schema import ARM, CONTROL, FORCED
from generation.evaluation.statistics import Draws, Figure, Ratio, bootstrap, figures_of, mcnemar
from generation.evaluation.tallies import MAJORITY, TOKENS, Cell, Tally, tally

COMPARED = ("pass@1", MAJORITY, TOKENS)
SOLVED = (
    "McNemar's exact two-sided p is over the questions that only one of the two solved. A question is solved if the "
    "score of its majority vote is above one half; with one reply a question, if that reply is right."
)
PAIRED = (
    "Differences are the second less the first, on the same questions, with 95% intervals over questions, drawn in "
    "pairs. Won and lost are questions of which the second has the higher, and the lower, share of right replies."
)


class Difference(NamedTuple):
    """A figure on the questions of both: of the first, of the second, and the second less the first."""

    first: float | None
    second: float | None
    difference: Figure


class Match(NamedTuple):
    """Two sides on the common questions of a task, or of the tasks of an average."""

    name: str
    tasks: tuple[str, ...]  # that an average is over; empty for a task itself
    variant: str
    questions: int
    figures: Mapping[str, Difference]  # by COMPARED
    won: int
    lost: int
    tied: int
    only_first: int  # questions that only the first solved
    only_second: int

    @property
    def p(self) -> float:
        return mcnemar(self.only_first, self.only_second)


class Pair(NamedTuple):
    """The second side against the first."""

    first: str
    second: str
    arm: str  # "" without arms, or if the sides are arms
    both: int  # questions, once for each variant, that got a reply on both sides
    only_first: int
    only_second: int
    unanswered: int  # questions of either side all of whose requests failed
    matches: Sequence[Match]


class Comparison(NamedTuple):
    pairs: Sequence[Pair]
    seed: int


def compare(evaluations: Sequence[Evaluation], arm: str | None = None, seed: int = 0) -> Comparison:
    """Compare each other evaluation with the first, in the given arm if they have several.

    Raises ValueError for fewer than two, for an arm that one lacks, if none is named of several, and without a common
    question.
    """
    if len(evaluations) < 2:
        raise ValueError(f"--compare takes two evaluations or more, and got {len(evaluations)}")
    sides = [_of_arm(one, tally(one.replies), arm) for one in evaluations]
    first, *others = zip(evaluations, sides, strict=True)
    pairs = []
    for evaluation, (chosen, cells) in others:
        if chosen != first[1][0]:
            one, other = (_named(name) for name in (first[1][0], chosen))
            raise ValueError(
                f"--compare {first[0].name} has {one}, and {evaluation.name} {other}: only equal arms can be compared"
            )
        names = (first[0].name, evaluation.name)
        pairs.append(_pair(names, chosen, (first[1][1], cells), first[0].order, seed))
    return Comparison(pairs, seed)


def compare_arms(evaluation: Evaluation, one: str = FORCED, other: str = CONTROL, seed: int = 0) -> Comparison:
    """Compare arm `one` with arm `other` of an evaluation; differences are `one` less `other`.

    Raises ValueError for an arm that it lacks, and without a common question.
    """
    counted = tally(evaluation.replies)
    first, second = (_of_arm(evaluation, counted, arm)[1] for arm in (other, one))
    names = (f"{evaluation.name} {other}", f"{evaluation.name} {one}")
    return Comparison([_pair(names, "", (first, second), evaluation.order, seed)], seed)


def _named(arm: str) -> str:
    return f"arm {arm}" if arm else "no arms"


def _of_arm(evaluation: Evaluation, counted: Mapping[Cell, Tally], arm: str | None) -> tuple[str, dict[Cell, Tally]]:
    """Return the arm that is compared, and its cells under the arm ""."""
    there = sorted({cell.arm for cell in counted})
    if arm is None and len(there) > 1:
        raise ValueError(f"--{ARM} must say which to compare: {evaluation.name} has the arms {', '.join(there)}")
    chosen = arm if arm is not None else there[0] if there else ""
    if there and chosen not in there:
        has = f"the arms {', '.join(there)}" if any(there) else "no arms"
        raise ValueError(f"--{ARM} {chosen}: {evaluation.name} has {has}")
    return chosen, {cell._replace(arm=""): one for cell, one in counted.items() if cell.arm == chosen}


def _pair(
    names: tuple[str, str],
    arm: str,
    sides: tuple[Mapping[Cell, Tally], Mapping[Cell, Tally]],
    order: Sequence[str],
    seed: int,
) -> Pair:
    first, second = sides
    matches, both = list[Match](), 0
    for variant in sorted({cell.variant for cell in (*first, *second)}):
        found, drawn = dict[str, Match](), dict[str, Draws]()
        tasks = in_order([cell.task for cell in first if cell.variant == variant and cell in second], order)
        for task in tasks:
            cell = Cell(task, "", variant)
            _, *places = np.intersect1d(first[cell].keys, second[cell].keys, assume_unique=True, return_indices=True)
            if len(places[0]):
                paired = (first[cell].take(places[0]), second[cell].take(places[1]))
                drawn[task] = _drawn(paired, seed_of(seed, task))
                found[task] = _match(cell, paired, drawn[task])
        both += sum(match.questions for match in found.values())
        matches += found.values()
        matches += [
            _average(name, [found[task] for group in groups for task in group], average(groups, drawn))
            for name, groups in averages_over([*found]).items()
        ]
    asked = [sum(len(one.keys) for one in side.values()) for side in sides]
    if not both:
        raise ValueError(f"--compare {names[0]} and {names[1]} have no question in common")
    unanswered = sum(one.unanswered for side in sides for one in side.values())
    return Pair(*names, arm, both, asked[0] - both, asked[1] - both, unanswered, matches)


def _drawn(paired: tuple[Tally, Tally], seed: int) -> Draws:
    """Return the draws of differences by COMPARED, then those of the first side and of the second."""
    one = np.ones(len(paired[0].keys))
    rates = [side.counts["right"] / side.counts["replies"] for side in paired]
    votes = [side.counts[MAJORITY] for side in paired]
    tokens = [Ratio(side.counts["tokens"], side.counts["counted"], None) for side in paired]
    shares = [Ratio(second - first, one, (-1.0, 1.0)) for first, second in (rates, votes)]
    alone = [[Ratio(rates[side], one), Ratio(votes[side], one), tokens[side]] for side in (0, 1)]
    draws = bootstrap([*shares, *alone[0], *alone[1]], seed)
    of_tokens = draws.take([7]).minus(draws.take([4]))
    return draws.take([0, 1]).beside(of_tokens).beside(draws.take([2, 3, 4, 5, 6, 7]))


def _differences(drawn: Draws) -> dict[str, Difference]:
    found = figures_of(drawn)
    return {
        name: Difference(found[place + 3].value, found[place + 6].value, found[place])
        for place, name in enumerate(COMPARED)
    }


def _match(cell: Cell, paired: tuple[Tally, Tally], drawn: Draws) -> Match:
    first, second = paired
    # Crosswise, as whole numbers: 1 of 3 and 2 of 6 are tied.
    ahead = second.counts["right"] * first.counts["replies"] - first.counts["right"] * second.counts["replies"]
    solved = [side.counts[MAJORITY] > 0.5 for side in paired]
    won, lost = int((ahead > 0).sum()), int((ahead < 0).sum())
    alone = (int((solved[0] & ~solved[1]).sum()), int((solved[1] & ~solved[0]).sum()))
    questions = len(first.keys)
    return Match(cell.task, (), cell.variant, questions, _differences(drawn), won, lost, questions - won - lost, *alone)


def _average(name: str, matches: Sequence[Match], drawn: Draws) -> Match:
    """Return the average over tasks; questions are counted over all of them."""
    questions = sum(match.questions for match in matches)
    summed = ("won", "lost", "tied", "only_first", "only_second")
    counts = (sum(getattr(match, name) for match in matches) for name in summed)
    tasks = tuple(match.name for match in matches)
    return Match(name, tasks, matches[0].variant, questions, _differences(drawn), *counts)


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values: shares between 0 and 1, null where undefined."""
    pairs = [{**pair._asdict(), "matches": [_match_json(match) for match in pair.matches]} for pair in comparison.pairs]
    return {"interval": interval_json(comparison.seed), "solved": SOLVED, "pairs": pairs}


def _match_json(match: Match) -> dict[str, Any]:
    named = {"average": match.name, "tasks": [*match.tasks]} if match.tasks else {"task": match.name}
    counts = {name: getattr(match, name) for name in ("variant", "questions", "won", "lost", "tied")}
    solved = {"only_first": match.only_first, "only_second": match.only_second, "p": match.p}
    figures = {
        name: {"first": one.first, "second": one.second, **one.difference._asdict()}
        for name, one in match.figures.items()
    }
    figures = {
        name: {"difference" if key == "value" else key: it for key, it in one.items()} for name, one in figures.items()
    }
    return {**named, **counts, "mcnemar": solved, "figures": figures}
