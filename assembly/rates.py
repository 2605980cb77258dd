"""Pass rates of the questions held out for RL: read from a run's shards, selected by, and told of."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from assembly.contrast import SIZES, Share, foretell
from cluster.jobs.card import Table
from cluster.jobs.store import KEY
from generation.raw.schema import SAMPLE_PROVENANCE

COLUMNS = [KEY, "outcome", SAMPLE_PROVENANCE]
RATES_TITLE = "## Pass rates"
BELOW, ABOVE, UNKNOWN = "below", "above", "unknown, since its requests failed"
_HEAD = ("groups without contrast", *(f"of {size} answers" for size in SIZES))
_METHOD = (
    "The share of groups without contrast, in which all answers are right or all are wrong, is foretold for the model"
    " as it was sampled: a question's chance of a right answer is taken as drawn from a Beta distribution, fitted to"
    " all sampled questions by maximum likelihood (beta-binomial; Skellam 1948), and the interval is the 95% of a"
    " bootstrap over questions."
)


class Rate(NamedTuple):
    """What samples of a question gave."""

    right: int
    n: int  # samples whose request did not fail

    @property
    def value(self) -> float | None:
        """Return the pass rate, None without a sample."""
        return self.right / self.n if self.n else None


NO_RATE = Rate(0, 0)


def rates_of(tables: Iterable[pa.Table]) -> dict[str, Rate]:
    """Count the samples in rows with COLUMNS, all of a question in one table, by its key."""
    rates = dict[str, Rate]()
    for table in tables:
        asked = table.filter(pc.is_null(pc.struct_field(table[SAMPLE_PROVENANCE], "error")))
        right = Counter(asked.filter(pc.equal(asked["outcome"], "right"))[KEY].to_pylist())
        answered = Counter(asked[KEY].to_pylist())
        rates |= {key: Rate(right[key], answered[key]) for key in table[KEY].unique().to_pylist()}
    return rates


def rates_in(pool: pa.Table) -> dict[str, Rate]:
    """Count the samples in rows of a POOL whose correctness is decided, right and all, by question_key."""
    counts = pool.group_by("question_key", use_threads=False).aggregate([("rated", "sum"), ("rated", "count")])
    columns = (counts[name].to_pylist() for name in ("question_key", "rated_sum", "rated_count"))
    return {key: Rate(right or 0, n) for key, right, n in zip(*columns, strict=True)}


@dataclass(frozen=True)
class PassRates:
    """The pass rates of a run's RL questions, and which are wanted. Each question is in `rates`."""

    rates: Mapping[str, Rate]
    between: tuple[float, float] | None = None  # the least and the greatest that are kept; None keeps all questions
    seed: int = 0

    def why_left_out(self, rate: Rate) -> str:
        """Return why a question with this rate is left out, "" if it is kept."""
        if self.between is None:
            return ""
        if rate.value is None:
            return UNKNOWN
        return BELOW if rate.value < self.between[0] else ABOVE if rate.value > self.between[1] else ""

    @property
    def kept(self) -> set[str]:
        """Return the keys of the questions that are kept."""
        return {key for key, rate in self.rates.items() if not self.why_left_out(rate)}

    def rows(self) -> list[tuple[str, int]]:
        """Return counts of questions, each with what is counted."""
        known = [rate for rate in self.rates.values() if rate.n]
        some = sum(0 < rate.right < rate.n for rate in known)
        left_out = Counter(map(self.why_left_out, self.rates.values()))
        return [
            ("RL questions", len(self.rates)),
            ("no sample right", sum(not rate.right for rate in known)),
            ("some right, some not", some),
            ("every sample right", sum(rate.right == rate.n for rate in known)),
            ("failed, without a rate", len(self.rates) - len(known)),
            *((f"left out: {why}", left_out[why]) for why in (BELOW, ABOVE, UNKNOWN) if left_out[why]),
        ]

    def foretold(self) -> list[tuple[str, dict[int, Share]]]:
        """Return, for all questions and for those that are kept, the share of groups without contrast by their size."""
        counts = [(rate.right, rate.n) for rate in self.rates.values() if rate.n]
        found = [("all questions", foretell(counts, seed=self.seed))]
        if self.between is not None:
            kept = foretell(counts, lambda *cell: not self.why_left_out(Rate(*cell)), seed=self.seed)
            found.append(("those kept", kept))
        return [(which, shares) for which, shares in found if shares]

    def text(self) -> str:
        """Describe the rates in lines of 80 columns at most."""
        right, n = (sum(getattr(rate, name) for rate in self.rates.values()) for name in Rate._fields)
        share = f", {right / n:.1%} of them right" if n else ""
        lines = [f"{n:,} samples of {len(self.rates):,} RL questions{share}"]
        lines += [f"  {count:>7,}  {what}" for what, count in self.rows()[1:] if count]
        if rows := self._foretold_rows():
            lines += Table(_HEAD, rows).text(24, 26)
        return "\n".join(lines)

    def markdown(self) -> str:
        """Return the card's section on the rates."""
        asked = Table(("questions", "count"), self.rows()).markdown()
        parts = [f"{RATES_TITLE}\n", "Of the model of the run, asked the plain question:\n", asked]
        if self.between is not None:
            parts.append("Kept are those with a `pass_rate` from {:g} to {:g}.\n".format(*self.between))
        if rows := self._foretold_rows():
            parts += [*textwrap.wrap(_METHOD, 120), "", Table(_HEAD, rows).markdown()]
        return "\n".join(parts)

    def _foretold_rows(self) -> list[tuple[str, ...]]:
        told = "{:.1%} ({:.1%} to {:.1%})"
        return [(which, *(told.format(*share) for share in shares.values())) for which, shares in self.foretold()]
