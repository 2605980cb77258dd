"""Replies counted: for each task, arm and variant the sums of each question, of which all figures are ratios."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from generation.evaluation.schema import CONTROL, REPLIES, SKILLS, VERDICTS
from generation.evaluation.schema import FORCED as FORCED_ARM
from generation.evaluation.statistics import Ratio, majority, pass_at_each
from generation.records import CUT, CUT_THOUGHT, REQUEST_FAILED, WITHOUT_ANSWER

_CUT = (CUT, CUT_THOUGHT)
_WITHOUT = tuple(sorted(WITHOUT_ANSWER - {*_CUT}))
SHARES = ("right", "wrong", "no_answer", "cut", "undecided")
"""What becomes of a reply. "cut" and "no_answer" have no answer; "undecided" are all others that nobody could grade."""
MAJORITY, TOKENS, TRACES = "majority", "tokens_per_reply", "traces"
RIGHT_TOKENS, SPENT = "tokens_per_right_reply", "tokens_spent_per_right_reply"
ATTEMPTS, REFLECTIONS = "attempts_per_trace", "reflections_per_trace"
FORCED, ANSWER_FORCED = "forced", "answer_forced"


class Cell(NamedTuple):
    task: str
    arm: str
    variant: str


class Tally(NamedTuple):
    """The questions of a cell that got a reply, sorted by key, and what was counted of their replies."""

    keys: np.ndarray  # of the questions
    counts: dict[str, np.ndarray]  # by what is counted, an element for each question
    failed: int  # requests, of these questions and of others
    unanswered: int  # questions all of whose requests failed

    @property
    def samples(self) -> int:
        """Return the greatest number of replies that a question got."""
        return int(self.counts["replies"].max(initial=0))

    def take(self, places: np.ndarray) -> "Tally":
        return self._replace(
            keys=self.keys[places], counts={name: counted[places] for name, counted in self.counts.items()}
        )


FORCING_OF = {FORCED_ARM: (FORCED, ANSWER_FORCED), CONTROL: (ANSWER_FORCED,)}
"""Shares of replies, by the arm that has them."""


def pass_name(k: int) -> str:
    return f"pass@{k}"


def tally(replies: pa.Table) -> dict[Cell, Tally]:
    """Count a table of schema REPLIES, whose rows may come in any order; cells are sorted."""
    assert replies.schema.equals(REPLIES), replies.schema
    codes, names = zip(*(_coded(replies[name]) for name in (*Cell._fields, "question_key")), strict=True)
    cells = codes[0] * (len(names[1]) * len(names[2])) + codes[1] * len(names[2]) + codes[2]
    indicators = _indicators(replies)
    failed = indicators.pop("failed")
    answer = pc.fill_null(replies["same_answer"], -1).to_numpy().astype(np.int64)
    found = {}
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells == cell)
        kept = rows[~failed[rows]]
        asked = np.unique(codes[3][rows])
        keys, question = np.unique(codes[3][kept], return_inverse=True)
        counts = {
            name: np.bincount(question, weights=counted[kept], minlength=len(keys))
            for name, counted in indicators.items()
        }
        counts[MAJORITY] = majority(question, answer[kept], indicators["right"][kept], len(keys))
        places = [codes[part][rows[0]] for part in range(3)]
        name = Cell(*(str(names[part][place]) for part, place in enumerate(places)))
        found[name] = Tally(names[3][keys], counts, len(rows) - len(kept), len(asked) - len(keys))
    return found


def _coded(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return each value's place among the different ones, and these, sorted."""
    encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
    names = np.asarray(encoded.dictionary.to_pylist(), dtype=str)
    order = np.argsort(names)
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[order] = np.arange(len(names))
    return ranks[encoded.indices.to_numpy()], names[order]


def _indicators(replies: pa.Table) -> dict[str, np.ndarray]:
    """Return what each reply adds to the counts of its question, an array for each count."""

    def whole(name: str) -> np.ndarray:
        return np.asarray(pc.fill_null(replies[name], 0).to_numpy())

    def flag(name: str) -> np.ndarray:
        return np.asarray(pc.fill_null(replies[name], False).to_numpy())

    def known(name: str) -> np.ndarray:
        return np.asarray(replies[name].is_valid().to_numpy())

    def among(name: str, values: Sequence[str]) -> np.ndarray:
        return np.asarray(pc.is_in(replies[name], pa.array(values, pa.string())).to_numpy())

    right, wrong = among("outcome", ["right"]), among("outcome", ["wrong"])
    unknown = ~(right | wrong)
    cut, without = unknown & among("reason", _CUT), unknown & among("reason", _WITHOUT)
    counted = known("tokens")
    return {
        "failed": unknown & among("reason", [REQUEST_FAILED]),
        "replies": np.ones(len(replies), dtype=np.int64),
        **{"right": right, "wrong": wrong, "cut": cut, "no_answer": without, "undecided": unknown & ~cut & ~without},
        **{"tokens": whole("tokens"), "counted": counted},
        **{"right_tokens": whole("tokens") * right, "right_counted": counted & right},
        **{TRACES: known("attempts"), "attempts": whole("attempts"), "reflections": whole("reflections")},
        **{name: whole(name) for name in VERDICTS},
        **{name: flag(name) for name in SKILLS},
        "worded": known(SKILLS[0]),
        **{FORCED: known("trigger"), ANSWER_FORCED: flag("answer_forced")},
    }


def ratios(counted: Tally, arm: str) -> dict[str, Ratio]:
    """Return the figures of a cell by name, without those that are undefined: of tokens if nobody counted them."""
    if not len(counted.keys):
        return {}
    counts = counted.counts
    replies, one = counts["replies"], np.ones(len(counted.keys))
    passed = pass_at_each(replies, counts["right"], counted.samples)
    # Of pass@k the questions with as many replies.
    enough = {k: (replies >= k).astype(float) for k in range(1, counted.samples + 1)}
    found = {pass_name(k): Ratio(passed[:, k - 1] * has, has) for k, has in enough.items()}
    found[MAJORITY] = Ratio(counts[MAJORITY], one)
    found |= {name: Ratio(counts[name] / replies, one) for name in SHARES}
    found[TOKENS] = Ratio(counts["tokens"], counts["counted"], None)
    found[RIGHT_TOKENS] = Ratio(counts["right_tokens"], counts["right_counted"], None)
    found[SPENT] = Ratio(counts["tokens"], counts["right_counted"], None)
    found[TRACES] = Ratio(counts[TRACES] / replies, one)
    found[ATTEMPTS] = Ratio(counts["attempts"], counts[TRACES], None)
    found[REFLECTIONS] = Ratio(counts["reflections"], counts[TRACES], None)
    for verdict, outcome, other in (("correct", "right", "wrong"), ("incorrect", "wrong", "right")):
        hits, false = counts[f"{outcome}_{verdict}"], counts[f"{other}_{verdict}"]
        there = np.sum([counts[f"{outcome}_{said}"] for said in ("correct", "incorrect", "none")], axis=0)
        found[f"{verdict}_precision"] = Ratio(hits, hits + false)
        found[f"{verdict}_recall"] = Ratio(hits, there)
        found[f"{verdict}_f1"] = Ratio(2 * hits, hits + false + there)
    found |= {name: Ratio(counts[name], counts["worded"]) for name in SKILLS}
    found |= {name: Ratio(counts[name] / replies, one) for name in FORCING_OF.get(arm, ())}
    return {name: ratio for name, ratio in found.items() if ratio.denominator.any()}
