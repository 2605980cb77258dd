"""One question of a RAW_DATA for its card, with a right and a wrong sample and a reflection on each."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa

from cluster.jobs.card import code, cut, fenced
from generation.raw.schema import lengths
from reflection.verdict import parse_verdicts

_LONGEST = 3_000  # characters of a text that is shown
_COLUMNS = ["question_key", "question", "answer", "variant", "outcome", "response", "reflections"]
_VERDICTS = {1: "says Correct", 0: "says Incorrect", -1: "has no verdict"}
_TRUE = {"right": 1, "wrong": 0}


class Shown(NamedTuple):
    """A sample with one reflection; `verdict` is 1 for Correct, 0 for Incorrect, -1 for none."""

    outcome: str
    variant: str
    response: str
    reflection: str | None
    verdict: int

    @property
    def rank(self) -> tuple[bool, int]:
        """Smaller is better: whose reflection is right, and short."""
        return self.verdict != _TRUE[self.outcome], len(self.response) + len(self.reflection or "")


class Example(NamedTuple):
    """A question with its best samples, the right one first; there may be one alone."""

    question: str
    answer: str
    samples: Sequence[Shown]

    @property
    def rank(self) -> tuple[int, int, int]:
        """Smaller is better: with both samples, right reflections, and short."""
        ranks = [sample.rank for sample in self.samples]
        return -len(ranks), sum(missed for missed, _ in ranks), len(self.question) + sum(size for _, size in ranks)

    @property
    def whole(self) -> bool:
        """Return True if nothing is missing."""
        return self.rank[:2] == (-2, 0)

    def markdown(self, text: str = "sample") -> str:
        """Return the section of the card, where a sample is called `text`. None can end the block it stands in."""
        both = f"with a right and a wrong {text} " if len(self.samples) > 1 else ""
        chosen = f"Of the questions {both}among the first rows the one with the shortest texts.\n"
        parts = ["## One question\n", chosen, _block(self.question), "Its gold answer:\n", _block(self.answer)]
        for sample in self.samples:
            under = f", under {code(_name(sample.variant))}" if sample.variant else ""
            parts += [f"A {sample.outcome} {text}{under}:\n", _block(sample.response)]
            if sample.reflection is not None:
                parts += [f"A reflection on it, which {_VERDICTS[sample.verdict]}:\n", _block(sample.reflection)]
        return "\n".join(parts)


def _name(text: str) -> str:
    """Return a name that cannot end the code it stands in."""
    return cut(" ".join(text.replace("`", "'").split()))


def _block(text: str) -> str:
    return fenced(cut(text, _LONGEST), "text")


def find_example(rows: pa.Table) -> Example | None:
    """Return the best example among rows of schema ROWS, or None if no sample is known to be right or wrong.

    The same rows give the same one. Rows of a question are found where they are neighbours.
    """
    lists = rows["reflections"].combine_chunks()
    verdicts = iter(parse_verdicts(lists.flatten()).tolist())
    told = [[next(verdicts) for _ in range(count)] for count in lengths(lists).tolist()]
    given = [row | {"verdicts": one} for row, one in zip(rows.select(_COLUMNS).to_pylist(), told, strict=True)]
    found = [
        Example(samples[0]["question"], samples[0]["answer"], best)
        for samples in (list(group) for _, group in groupby(given, itemgetter("question_key")))
        if (best := _best(samples))
    ]
    return min(found, key=lambda example: example.rank, default=None)


def _best(samples: Sequence[dict[str, Any]]) -> list[Shown]:
    """Return the best right and the best wrong sample, as far as there are such."""
    best = []
    for outcome in _TRUE:
        shown = [
            Shown(outcome, row["variant"] or "", row["response"], reflection, verdict)
            for row in samples
            if row["outcome"] == outcome
            for reflection, verdict in [*zip(row["reflections"], row["verdicts"], strict=True)] or [(None, -1)]
        ]
        best += [min(shown, key=lambda sample: sample.rank)] if shown else []
    return best
