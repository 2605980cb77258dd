"""The summary of a RAW_DATA: shares, reasons, verdicts against outcomes, on a terminal of 80 columns."""

from __future__ import annotations

from collections import Counter

import pytest

from cluster.jobs.card import WIDTH
from generation.raw.counts import OUTCOMES, VERDICTS, RawCounts, TaskCounts, shares
from generation.raw.report import summary
from generation.raw.schema import PROVENANCE, SAMPLE_PROVENANCE
from tests.raw_rows import card_of

SUMS = TaskCounts(
    Counter({("original", "right"): 30, ("original", "wrong"): 20}),
    verdicts=Counter({("right", "Correct"): 45, ("right", "Incorrect"): 10, ("wrong", "Correct"): 15}),
)
PRODUCTS = TaskCounts(
    Counter({("original", "wrong"): 40, ("rephrase", "unknown"): 10}),
    Counter({"no answer": 7, "cut at the length limit": 3}),
    Counter({("right", "none"): 5, ("wrong", "Incorrect"): 100, ("wrong", "none"): 5}),
)
COUNTS = RawCounts({"sums": SUMS, "products": PRODUCTS}, questions={"a", "b", "c"})


def test_a_whole_summary() -> None:
    assert summary(COUNTS).splitlines() == [
        "100 samples of 3 questions",
        "                     right           wrong         unknown",
        "  original         30  33%         60  67%          0   0%",
        "  rephrase          0   0%          0   0%         10 100%",
        "by task              right           wrong         unknown",
        "  products          0   0%         40  80%         10  20%",
        "  sums             30  60%         20  40%          0   0%",
        "unknown because",
        "        7  no answer",
        "        3  cut at the length limit",
        "180 reflections, 170 with a verdict, 145 with a right one",
        "  on samples       Correct   Incorrect        none",
        "  right                 45          10           5",
        "  wrong                 15         100           5",
        "  verdict        precision      recall          F1",
        "  Correct            75.0%       75.0%       75.0%",
        "  Incorrect          90.9%       83.3%       87.0%",
        "",
        "task products: 50 samples",
        "                     right           wrong         unknown",
        "  original          0   0%         40 100%          0   0%",
        "  rephrase          0   0%          0   0%         10 100%",
        "unknown because",
        "        7  no answer",
        "        3  cut at the length limit",
        "110 reflections, 100 with a verdict, 100 with a right one",
        "  on samples       Correct   Incorrect        none",
        "  right                  0           0           5",
        "  wrong                  0         100           5",
        "  verdict        precision      recall          F1",
        "  Correct                -        0.0%        0.0%",
        "  Incorrect         100.0%       95.2%       97.6%",
        "",
        "task sums: 50 samples",
        "                     right           wrong         unknown",
        "  original         30  60%         20  40%          0   0%",
        "70 reflections, 70 with a verdict, 45 with a right one",
        "  on samples       Correct   Incorrect        none",
        "  right                 45          10           0",
        "  wrong                 15           0           0",
        "  verdict        precision      recall          F1",
        "  Correct            75.0%       81.8%       78.3%",
        "  Incorrect           0.0%        0.0%        0.0%",
    ]


def test_the_card_has_the_tables_of_each_task() -> None:
    card = card_of(COUNTS, {})
    assert "| `products` | 50 | 0 | 40 | 10 |" in card
    assert card.index("| `original` | 90 | 30 | 60 | 0 |") < card.index("### `products`") < card.index("### `sums`")
    of_sums = card[card.index("### `sums`") :]
    assert "| `original` | 50 | 30 | 20 | 0 |" in of_sums
    assert "| right | 45 | 10 | 0 |" in of_sums
    assert "###" not in card_of(RawCounts({"sums": SUMS}), {})


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("Correct", (45 / 60, 45 / 60, 0.75)),  # a reflection without a verdict is a miss
        ("Incorrect", (100 / 110, 100 / 120, 200 / 230)),
    ],
)
def test_precision_recall_and_f1_of_each_class(verdict: str, expected: tuple[float, float, float]) -> None:
    found = shares(COUNTS.all().verdicts, verdict)
    assert found == pytest.approx(expected)
    precision, recall, f1 = found
    assert precision is not None
    assert recall is not None
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("counts", [RawCounts(), RawCounts({"": TaskCounts(Counter({("", "unknown"): 3}))})])
def test_little_or_nothing_is_told_without_a_share_of_nothing(counts: RawCounts) -> None:
    said = summary(counts)
    assert "0 reflections, 0 with a verdict, 0 with a right one" in said
    assert shares(counts.all().verdicts, "Correct") == (None, None, None)


def test_one_class_alone_has_no_share_of_the_other() -> None:
    counts = RawCounts({"": TaskCounts(verdicts=Counter({("right", "Correct"): 2}))})
    assert "  Incorrect              -           -           -" in summary(counts)


def test_the_largest_run_with_the_longest_names_fits() -> None:
    long = [f"a_very_long_name_of_a_task_or_a_prompt_variant_{n}" for n in range(3)]
    tally = TaskCounts(
        Counter({(variant, one): 10**7 for variant in long for one in OUTCOMES}),
        Counter({f"{'x' * 300} {n}": 10**6 for n in range(30)}),
        Counter({(one, verdict): 10**7 for one in OUTCOMES for verdict in VERDICTS}),
    )
    counts = RawCounts(dict.fromkeys(long, tally), questions=set(long), lost=Counter({"y" * 300: 10**6}))
    said = summary(counts).splitlines()
    assert max(map(len, said)) <= WIDTH
    assert "  75,000,000  for 25 other reasons" in said
    assert any(line.startswith("  unknown  ") for line in said), "verdicts on samples of unknown outcome are shown"


@pytest.mark.parametrize(
    ("samples", "reflections", "told"),
    [
        ((1000, 903), (2000, 1410), ["prompt tokens found in the prefix cache: 90% of samples, 70% of reflections"]),
        ((1000, 500), None, ["prompt tokens found in the prefix cache: 50% of samples"]),
        ((1000, 0), (2000, 0), []),  # an engine without such a cache, or a server that does not tell
        (None, None, []),
    ],
)
def test_what_was_found_in_the_prefix_cache(
    samples: tuple[int, int] | None, reflections: tuple[int, int] | None, told: list[str]
) -> None:
    counts = RawCounts({"sums": SUMS}, questions={"a"})
    for column, found in ((SAMPLE_PROVENANCE, samples), (PROVENANCE, reflections)):
        if found:
            counts.tokens.update(dict(zip([(column, "prompt_tokens"), (column, "cached_tokens")], found, strict=True)))
    assert [line for line in summary(counts).splitlines() if "cache" in line] == told
