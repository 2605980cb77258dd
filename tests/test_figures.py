"""The figures of an evaluation, against tables that can be counted by hand."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest

from generation.evaluation.averages import PAPER_TASKS, averages_over
from generation.evaluation.figures import NAMES, Evaluation, Row, figures, figures_json
from generation.evaluation.report import figures_markdown, figures_text
from generation.evaluation.schema import CONTROL, FORCED, STOPPED
from generation.evaluation.statistics import Figure
from generation.raw.counts import shares
from tests.replies import drawn, marked, row, shuffled, table

# By question: right, wrong (a digit for each answer), undecided, no answer, cut.
SUMS = {"a": "RR1n", "b": "R12u", "c": "11R2", "d": "ccn1"}


def _evaluation(*parts: list[dict[str, object]], order: tuple[str, ...] = ()) -> Evaluation:
    return Evaluation("mine", "own/model", table(*parts), order)


def _rows(*parts: list[dict[str, object]], order: tuple[str, ...] = ()) -> dict[str, Row]:
    return {one.name: one for one in figures(_evaluation(*parts, order=order))}


def _values(one: Row) -> dict[str, float | None]:
    return {name: figure.value for name, figure in one.figures.items()}


def test_shares_passes_and_the_majority_by_hand() -> None:
    found = _rows(marked(SUMS))["sums"]
    assert (found.questions, found.replies, found.failed, found.unanswered, found.samples) == (4, 16, 0, 0, 4)
    values = _values(found)
    expected = {
        **{"pass@1": 4 / 16, "pass@2": 11 / 24, "pass@3": 5 / 8, "pass@4": 3 / 4},
        "majority": (1 + 1 / 4) / 4,
        **{"right": 4 / 16, "wrong": 7 / 16, "no_answer": 2 / 16, "cut": 2 / 16, "undecided": 1 / 16},
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    assert sum(values[name] or 0 for name in ("right", "wrong", "no_answer", "cut", "undecided")) == 1
    assert found.figures["pass@1"].questions == 4
    low, high = found.figures["pass@1"][1:3]
    assert low is not None
    assert high is not None
    assert 0 <= low < 0.25 < high <= 0.5


def test_failed_requests_are_no_replies_and_are_counted() -> None:
    found = _rows(marked({"a": "RF1", "b": "FFF", "c": "111"}))["sums"]
    assert (found.questions, found.replies, found.failed, found.unanswered, found.samples) == (2, 5, 4, 1, 3)
    assert _values(found)["pass@1"] == 1 / 4
    assert _values(found)["pass@2"] == 1 / 2
    assert found.figures["pass@3"].questions == 1
    assert "pass@4" not in found.figures
    text = figures_text(_evaluation(marked({"a": "RF1", "b": "FFF", "c": "111"})))
    assert "Failed requests: 4. Questions without a reply, which are in no figure: 1." in text


def test_nothing_but_failures_has_no_figure() -> None:
    evaluation = _evaluation(marked({"a": "FF"}))
    (found,) = figures(evaluation)
    assert (found.questions, found.failed, found.unanswered, found.samples) == (0, 2, 1, 0)
    assert set(found.figures.values()) == {Figure(None, None, None, 0)}
    assert "Failed requests: 2." in figures_text(evaluation)
    assert "Failed requests: 2." in figures_markdown(evaluation)
    json.dumps(figures_json(evaluation), allow_nan=False)
    assert figures(_evaluation([])) == []


def test_tokens_a_reply_a_right_reply_and_spent_for_one() -> None:
    marks = [("R", "a", 10), ("1", "a", 30), ("R", "b", 20), ("n", "b", 40), ("1", "c", 50), ("1", "c", None)]
    values = _values(_rows([row(mark, key, tokens=tokens) for mark, key, tokens in marks])["sums"])
    assert values["tokens_per_reply"] == 150 / 5
    assert values["tokens_per_right_reply"] == 15
    assert values["tokens_spent_per_right_reply"] == 150 / 2


def test_tokens_that_nobody_counted_are_none_and_not_0() -> None:
    evaluation = _evaluation(marked(SUMS))
    (found, _) = figures(evaluation)
    for name in ("tokens_per_reply", "tokens_per_right_reply", "tokens_spent_per_right_reply"):
        assert found.figures[name] == (None, None, None, 0)
        assert figures_json(evaluation)["tasks"][0]["figures"][name]["value"] is None
    assert "tokens" not in figures_markdown(evaluation)


VERDICTS = {"right_correct": 3, "right_incorrect": 1, "right_none": 1, "wrong_correct": 1, "wrong_incorrect": 4}


def test_traces_have_attempts_and_verdicts_as_raw_data_counts_them() -> None:
    one = row("R", "a", attempts=3, reflections=5) | VERDICTS | {"wrong_none": 0}
    other = row("1", "b", attempts=2, reflections=0) | dict.fromkeys([*VERDICTS, "wrong_none"], 0)
    plain = [row("1", key, verification=key == "c", backtracking=True, restart=False) for key in ("c", "d")]
    values = _values(_rows([one, other, *plain])["sums"])
    assert values["traces"] == 1 / 2
    assert values["attempts_per_trace"] == 2.5
    assert values["reflections_per_trace"] == 2.5
    assert values["verification"] == 1 / 2
    assert values["backtracking"] == 1
    assert values["restart"] == 0
    names = {"correct": "Correct", "incorrect": "Incorrect", "none": "none"}
    from_raw = Counter[tuple[str, str]]()
    for name, count in VERDICTS.items():
        outcome, _, verdict = name.partition("_")
        from_raw[outcome, names[verdict]] = count
    for verdict in ("correct", "incorrect"):
        counted = shares(from_raw, names[verdict])
        found = [values[f"{verdict}_{score}"] for score in ("precision", "recall", "f1")]
        assert found == pytest.approx(list(counted))
    assert values["correct_precision"] == 3 / 4
    assert values["correct_recall"] == 3 / 5


def test_without_traces_their_figures_are_undefined() -> None:
    found = _rows(marked(SUMS))["sums"].figures
    assert found["traces"].value == 0
    for name in ("attempts_per_trace", "reflections_per_trace", "correct_f1", "incorrect_precision", "verification"):
        assert found[name] == (None, None, None, 0)


def test_arms_and_variants_have_rows_of_their_own() -> None:
    parts = [marked(SUMS, arm=STOPPED), marked(SUMS, arm=CONTROL)]
    forced = [one | {"trigger": "Wait" if one["sample"] == 0 else None} for one in marked(SUMS, arm=FORCED)]
    forced[1]["answer_forced"] = True
    evaluation = _evaluation(*parts, forced, marked(SUMS, arm=STOPPED, variant="hinted"))
    found = [one for one in figures(evaluation) if not one.tasks]
    assert [one.cell[1:] for one in found] == [
        *((STOPPED, "hinted"), (STOPPED, "question"), (FORCED, "question"), (CONTROL, "question"))
    ]
    assert found[2].figures["forced"].value == 4 / 16
    assert found[2].figures["answer_forced"].value == 1 / 16
    assert "forced" not in found[0].figures
    text, page = figures_text(evaluation), figures_markdown(evaluation)
    assert "\narm stopped, variant hinted:\n" in text
    assert "### Arm forced, variant question\n" in page
    assert "answer forced" in text
    assert "arm" not in figures_text(_evaluation(marked(SUMS, arm=FORCED))).replace("answer", "")


def test_the_papers_tasks_and_averages() -> None:
    assert len(PAPER_TASKS) == 15
    assert sum(PAPER_TASKS.values()) == 3291
    found = averages_over([*PAPER_TASKS])
    assert {name: len(groups) for name, groups in found.items()} == {
        **{"overall": 15, "6 groups": 6, "13 configurations": 13, "10 configurations": 10}
    }
    whole = {task for groups in found.values() for group in groups for task in group}
    assert whole == {*PAPER_TASKS}
    for name, groups in found.items():
        tasks = [task for group in groups for task in group]
        assert len(tasks) == len({*tasks}) == (15 if name == "overall" else 13)
    assert [*averages_over([task for task in PAPER_TASKS if task != "gsm8k"])] == ["overall"]


def test_averages_are_means_of_tasks_and_of_groups() -> None:
    parts = [
        marked({f"{task}{n}": "R" if n <= place else "1" for n in range(20)}, task)
        for place, task in enumerate(PAPER_TASKS)
    ]
    found = _rows(*parts, order=tuple(PAPER_TASKS))
    assert [*found][:15] == [*PAPER_TASKS]
    rates = {task: (place + 1) / 20 for place, task in enumerate(PAPER_TASKS)}
    assert _values(found["overall"])["pass@1"] == pytest.approx(sum(rates.values()) / 15)
    countdown = sum(rates[f"countdown_{n}arg"] for n in (4, 5, 6)) / 3
    longmult = sum(rates[f"longmult_{n}dig"] for n in (2, 3, 4, 5)) / 4
    letters = [sum(rates[f"{name}_{n}o"] for n in (4, 5)) / 2 for name in ("acronym", "letter_countdown")]
    single = [rates["commonsenseQA"], rates["gsm8k"]]
    assert _values(found["6 groups"])["pass@1"] == pytest.approx(
        (countdown + longmult + sum(letters) + sum(single)) / 6
    )
    thirteen = sum(rates.values()) - rates["countdown_2arg"] - rates["countdown_3arg"]
    assert _values(found["13 configurations"])["pass@1"] == pytest.approx(thirteen / 13)
    ten = _values(found["10 configurations"])["pass@1"]
    assert ten == pytest.approx((thirteen - 3 * longmult) / 10)
    assert found["6 groups"].questions == 13 * 20


def test_an_average_has_a_figure_only_if_all_of_its_tasks_have_it() -> None:
    found = _rows(marked({"a": "R1", "b": "11"}, "one", tokens=5), marked({"c": "R1R", "d": "R11"}, "two"))
    assert "pass@3" not in found["overall"].figures
    assert _values(found["overall"])["pass@2"] == pytest.approx((1 / 2 + (1 + 2 / 3) / 2) / 2)
    assert found["one"].figures["tokens_per_reply"].value == 5
    assert found["overall"].figures["tokens_per_reply"] == (None, None, None, 0)


def test_intervals_of_a_task_do_not_hang_on_the_others_or_on_the_order_of_rows() -> None:
    one, two = drawn(1, "one", 30, 3), drawn(2, "two", 40, 4)
    evaluation = _evaluation(one, two, order=("two", "one"))
    whole = figures(evaluation)
    assert [each.name for each in whole] == ["two", "one", "overall"]
    assert figures(_evaluation(two))[0] == whole[0]
    for seed in range(3):
        assert figures(evaluation._replace(replies=shuffled(evaluation.replies, seed))) == whole
    assert figures(evaluation) == whole
    assert figures(evaluation, seed=1) != whole
    assert [each.figures["pass@1"].value for each in figures(evaluation, seed=1)] == [
        each.figures["pass@1"].value for each in whole
    ]


def test_every_share_lies_in_its_interval_and_passes_grow() -> None:
    found = _rows(drawn(3, "one", 50, 6), drawn(4, "two", 20, 6))
    for one in found.values():
        passes = [one.figures[f"pass@{k}"] for k in range(1, 7)]
        for less, more in pairwise(passes):
            assert less.value is not None
            assert more.value is not None
            assert less.value <= more.value
        for name in ("pass@1", "pass@6", "majority", "wrong", "cut", "tokens_per_reply", "verification"):
            value, low, high, _ = one.figures[name]
            assert value is not None
            assert low is not None
            assert high is not None
            assert low <= value <= high
            assert low < high


def test_json_holds_every_figure_and_no_nan() -> None:
    told = json.loads(
        json.dumps(figures_json(_evaluation(drawn(1, "one", 9, 3), drawn(2, "two", 9, 3))), allow_nan=False)
    )
    assert told["interval"] == {
        **{"level": 0.95, "method": "cluster bootstrap over questions", "resamples": 2000, "seed": 0}
    }
    assert [one["task"] for one in told["tasks"]] == ["one", "two"]
    assert told["averages"][0]["tasks"] == ["one", "two"]
    names = [*(f"pass@{k}" for k in (1, 2, 3)), *NAMES]
    for one in (*told["tasks"], *told["averages"]):
        assert [*one["figures"]] == names
        assert set(one["figures"]["majority"]) == {"value", "low", "high", "questions"}


def test_text_fits_a_terminal_and_markdown_is_whole_tables() -> None:
    traces = [
        one | {"attempts": 12, "reflections": 20, **VERDICTS, "wrong_none": 0}
        for one in drawn(5, "letter_countdown_4o", 40, 34)
    ]
    large = [one | {"tokens": 123_456 + place} for place, one in enumerate(drawn(6, "a" * 40, 30, 34))]
    evaluation = _evaluation(traces, large, marked({"x": "R" * 34}, "one_question"))
    text = figures_text(evaluation)
    assert max(map(len, text.splitlines())) <= 80
    assert "letter_countdown_4o " in text
    assert "pass@34" in text
    assert "124k" in text
    assert " 12.0 " in text
    page = figures_markdown(evaluation)
    for k in (1, 2, 4, 8, 16, 32, 34):
        assert f" pass@{k} " in page
    assert "pass@3 " not in page
    widths = [line.count("|") for line in page.splitlines() if line.startswith("|")]
    assert len(widths) == 4 * 6
    assert "bootstrap" in page
    assert "a proxy" in page


def test_with_unequal_numbers_of_replies_the_pass_that_all_have_is_shown() -> None:
    text = figures_text(
        _evaluation(marked({"a": "R111", "b": "1111"}, "few"), marked({"c": "R" * 8, "d": "1" * 8}, "many"))
    )
    assert "pass@4" in text
    assert "pass@8" not in text
    alone = figures_text(_evaluation(marked({"a": "R", "b": "1"})))
    assert "pass@1" in alone
    assert "majority" not in alone


def test_no_average_of_a_single_task_is_shown() -> None:
    evaluation = _evaluation(marked(SUMS))
    assert "overall" not in figures_text(evaluation)
    assert "overall" not in figures_markdown(evaluation)
    average = figures_json(evaluation)["averages"][0]
    assert average["figures"] == figures_json(evaluation)["tasks"][0]["figures"]
