"""Evaluations compared on their common questions: differences, questions won, McNemar's test, arms, forcing."""

from __future__ import annotations

import json

import pytest

from generation.evaluation.changes import changes, changes_json, changes_markdown, changes_text
from generation.evaluation.compare import Comparison, Match, compare, compare_arms, comparison_json
from generation.evaluation.compare_report import comparison_markdown, comparison_text
from generation.evaluation.figures import Evaluation
from generation.evaluation.schema import CONTROL, FORCED, STOPPED
from generation.evaluation.statistics import mcnemar
from tests.replies import drawn, marked, row, shuffled, table

FIRST = {"a": "RR", "b": "R1", "c": "11", "d": "11", "only": "RR"}
SECOND = {"a": "R1", "b": "R1", "c": "RR", "d": "R2", "x": "R1", "y": "11"}


def _evaluation(name: str, *parts: list[dict[str, object]], order: tuple[str, ...] = ()) -> Evaluation:
    return Evaluation(name, f"own/{name}", table(*parts), order)


def _matches(comparison: Comparison) -> dict[str, Match]:
    return {match.name: match for match in comparison.pairs[0].matches}


def test_differences_by_hand() -> None:
    found = compare([_evaluation("A", marked(FIRST, tokens=10)), _evaluation("B", marked(SECOND, tokens=30))])
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.arm) == ("A", "B", "")
    assert (pair.both, pair.only_first, pair.only_second, pair.unanswered) == (4, 1, 2, 0)
    match = _matches(found)["sums"]
    assert match.questions == 4
    rate = match.figures["pass@1"]
    assert (rate.first, rate.second, rate.difference.value) == (3 / 8, 5 / 8, 1 / 4)
    assert rate.difference.low is not None
    assert rate.difference.high is not None
    assert rate.difference.low < 1 / 4 < rate.difference.high
    # Votes: 1, 1/2, 0, 0 and 1/2, 1/2, 1, 1/2.
    vote = match.figures["majority"]
    assert (vote.first, vote.second, vote.difference.value) == (1.5 / 4, 2.5 / 4, 1 / 4)
    assert match.figures["tokens_per_reply"].difference == (20, None, None, 4)
    assert (match.won, match.lost, match.tied) == (2, 1, 1)
    # Solved: a by the first alone, c by the second alone.
    assert (match.only_first, match.only_second, match.p) == (1, 1, 1.0)


def test_with_one_reply_mcnemar_is_of_replies() -> None:
    one = marked({f"q{place:02}": "R" if place < 8 else "1" for place in range(30)})
    other = marked({f"q{place:02}": "R" if place >= 6 else "1" for place in range(30)})
    match = _matches(compare([_evaluation("A", one), _evaluation("B", other)]))["sums"]
    assert (match.only_first, match.only_second) == (6, 22)
    assert (match.won, match.lost, match.tied) == (22, 6, 2)
    assert match.p == mcnemar(6, 22)


def test_counts_of_replies_may_differ() -> None:
    match = _matches(compare([_evaluation("A", marked({"a": "R11"})), _evaluation("B", marked({"a": "RR1111"}))]))[
        "sums"
    ]
    assert (match.won, match.lost, match.tied) == (0, 0, 1)
    assert match.figures["pass@1"].difference == (0, None, None, 1)


def test_paired_intervals_are_narrower_than_those_of_two_evaluations() -> None:
    """The questions, easy and hard, are the same ones."""
    sides = [_evaluation(f"S{seed}", drawn(seed, "one", 120, 8)) for seed in (1, 2)]
    paired = _matches(compare(sides))["one"].figures["pass@1"].difference
    assert paired.low is not None
    assert paired.high is not None
    assert paired.low <= 0 <= paired.high
    assert paired.high - paired.low < 0.08


def test_averages_are_means_of_differences_and_sums_of_questions() -> None:
    first = _evaluation("A", drawn(1, "one", 40, 3), drawn(2, "two", 30, 3), order=("two", "one"))
    second = _evaluation("B", drawn(3, "one", 40, 3, 0.2), drawn(4, "two", 30, 3), drawn(5, "three", 9, 3))
    found = _matches(compare([first, second]))
    assert [*found] == ["two", "one", "overall"]
    overall, tasks = found["overall"], (found["one"], found["two"])
    for name in overall.figures:
        values = [match.figures[name].difference.value for match in tasks]
        assert overall.figures[name].difference.value == pytest.approx(sum(one or 0 for one in values) / 2)
    for name in ("questions", "won", "lost", "tied", "only_first", "only_second"):
        assert getattr(overall, name) == sum(getattr(match, name) for match in tasks)
    assert overall.won + overall.lost + overall.tied == overall.questions == 70
    rate = found["one"].figures["pass@1"].difference
    assert rate.low is not None
    assert rate.low > 0


def test_the_same_rows_in_another_order_compare_the_same() -> None:
    sides = [_evaluation(f"S{seed}", drawn(seed, "one", 20, 3), drawn(seed, "two", 20, 3)) for seed in (1, 2)]
    mixed = [side._replace(replies=shuffled(side.replies, 7)) for side in sides]
    assert comparison_json(compare(mixed)) == comparison_json(compare(sides))
    assert comparison_json(compare(sides, seed=1)) != comparison_json(compare(sides))


def test_each_other_one_is_compared_with_the_first() -> None:
    sides = [_evaluation(name, drawn(place, "one", 20, 3)) for place, name in enumerate("ABC")]
    assert [(pair.first, pair.second) for pair in compare(sides).pairs] == [("A", "B"), ("A", "C")]


def test_an_evaluation_against_itself_has_an_interval_around_0() -> None:
    side = _evaluation("A", drawn(1, "one", 50, 4))
    match = _matches(compare([side, side]))["one"]
    limit = 1 - 0.025 ** (1 / 50)
    assert match.figures["pass@1"].difference == (0, -limit, limit, 50)
    assert match.figures["tokens_per_reply"].difference == (0, None, None, 50)
    assert (match.won, match.lost, match.tied, match.p) == (0, 0, 50, 1.0)


def test_variants_are_compared_apart() -> None:
    parts = [marked(FIRST), marked(FIRST, variant="hinted")]
    other = [marked(SECOND), marked(FIRST, variant="hinted")]
    found = compare([_evaluation("A", *parts), _evaluation("B", *other)])
    (pair,) = found.pairs
    assert (pair.both, pair.only_first, pair.only_second) == (9, 1, 2)
    assert [(match.name, match.variant, match.questions) for match in pair.matches if not match.tasks] == [
        ("sums", "hinted", 5),
        ("sums", "question", 4),
    ]
    assert "variant hinted:" in comparison_text(found)
    assert "Variant `hinted`:" in comparison_markdown(found)


def test_failed_requests_are_told() -> None:
    sides = [_evaluation("A", marked({"a": "R1", "b": "FF"})), _evaluation("B", marked({"a": "RF", "b": "11"}))]
    found = compare(sides)
    assert found.pairs[0][3:7] == (1, 0, 1, 1)
    assert "Questions: 1 in both, 0 only in A, 1 only in B; 1 without a reply" in comparison_text(found)


PLAIN = _evaluation("plain", marked(FIRST))
ARMS = _evaluation("arms", *(marked(FIRST, arm=arm) for arm in (STOPPED, FORCED, CONTROL)))


def test_arms_are_compared_with_their_like() -> None:
    more = _evaluation("more", *(marked(SECOND, arm=arm) for arm in (STOPPED, FORCED)))
    assert compare([ARMS, more], STOPPED).pairs[0].arm == STOPPED
    assert "arm stopped" in comparison_text(compare([ARMS, more], STOPPED))
    refused = [
        ([PLAIN], None, "--compare takes two evaluations or more, and got 1"),
        ([ARMS, more], None, "--arm must say which to compare: arms has the arms control, forced, stopped"),
        ([ARMS, more], CONTROL, "--arm control: more has the arms forced, stopped"),
        ([ARMS, PLAIN], FORCED, "--arm forced: plain has no arms"),
        ([PLAIN, _evaluation("one", marked(FIRST, arm=FORCED))], None, "only equal arms can be compared"),
        ([PLAIN, _evaluation("others", marked({"z": "R"}))], None, "plain and others have no question in common"),
        ([PLAIN, _evaluation("empty")], None, "have no question in common"),
    ]
    for evaluations, arm, message in refused:
        with pytest.raises(ValueError, match=message):
            compare(evaluations, arm)


def test_two_arms_of_one_evaluation() -> None:
    evaluation = _evaluation("E", marked(FIRST, arm=CONTROL), marked(SECOND, arm=FORCED), marked(FIRST, arm=STOPPED))
    found = compare_arms(evaluation)
    match = _matches(found)["sums"]
    assert match.figures["pass@1"].difference.value == 1 / 4
    assert "E forced (second) against E control (first)" in comparison_text(found)
    with pytest.raises(ValueError, match="--arm control: plain has no arms"):
        compare_arms(PLAIN)


def test_what_forcing_changed_is_paired_by_sample() -> None:
    before, after = {"a": "R1", "b": "cc", "c": "RR"}, {"a": "1R", "b": "Rc", "c": "RF"}
    other = marked({"d": "c"}, "other", arm=STOPPED), marked({"d": "R"}, "other", arm=FORCED)
    evaluation = _evaluation("E", marked(before, arm=STOPPED), marked(after, arm=FORCED), *other, order=("sums",))
    found = {one.name: one for one in changes(evaluation)}
    assert [*found] == ["sums", "other", "overall"]
    # a: one each of two; b: one of two to right; c: none of one, as the other request failed.
    assert found["sums"].figures["changed to right"].value == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert found["sums"].figures["changed to wrong"].value == pytest.approx((1 / 2) / 3)
    assert found["other"].figures["changed to right"] == (1, None, None, 1)
    assert found["overall"].figures["changed to right"].value == pytest.approx((1 / 3 + 1) / 2)
    assert found["overall"].questions == 4
    mixed = evaluation._replace(replies=shuffled(evaluation.replies, 3))
    assert changes(mixed) == changes(evaluation)
    told = json.loads(json.dumps(changes_json(changes(evaluation)), allow_nan=False))
    assert told[0]["figures"]["changed_to_right"]["questions"] == 3
    assert max(map(len, changes_text(changes(evaluation)))) <= 80
    assert "| `overall` | 4 | 66.7% |" in changes_markdown(changes(evaluation))
    with pytest.raises(ValueError, match="--arm: plain has no arms stopped and forced"):
        changes(PLAIN)


def test_text_fits_a_terminal_and_everything_is_in_markdown_and_json() -> None:
    tasks = ["letter_countdown_4o", "gym:" + "a" * 40, "one"]
    sides = [
        _evaluation(name, *(drawn(seed, task, 60, 4, better) for task in tasks), [row("R", name, "one")])
        for seed, (name, better) in enumerate([("a name of some length " * 3, 0), ("another", 0.6)])
    ]
    found = compare(sides)
    text = comparison_text(found)
    assert max(map(len, text.splitlines())) <= 80
    assert "Questions: 180 in both, 1 only in a name" in " ".join(text.split())
    assert "<1e-4" in text
    page = comparison_markdown(found)
    assert "Questions: 180 in both, 1 only in a name" in page
    assert len([line for line in page.splitlines() if line.startswith("|")]) == 2 + 4
    told = json.loads(json.dumps(comparison_json(found), allow_nan=False))
    assert [one.get("task") for one in told["pairs"][0]["matches"]] == [*sorted(tasks), None]
    assert told["pairs"][0]["matches"][3]["average"] == "overall"
    assert set(told["pairs"][0]["matches"][0]["figures"]["pass@1"]) == {
        *("first", "second", "difference", "low", "high", "questions")
    }
