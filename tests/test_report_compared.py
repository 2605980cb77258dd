"""Two beside each other on one page: figures with intervals, paired where questions are the same, and what differs."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from cluster.jobs.run_directory import JSON, fingerprint
from tests.assembly_rows import published_row, write_parquet
from tests.report_pages import page_of, told_in, write_raw, write_traces


def _raw(folder: Path, share: float, questions: range, **changes: Any) -> Path:
    rng = random.Random(0)
    rows = [
        published_row(f"q{question}", f"r{place}", rng.random() < share, **changes)
        for question in questions
        for place in range(8)
    ]
    return write_raw(folder, rows)


def _figure(page: Path, name: str, variant: str = "") -> dict[str, Any]:
    kinds = told_in(page)["differences"].values()
    (found,) = [one for rows in kinds for one in rows if (one["figure"], one["variant"]) == (name, variant)]
    assert isinstance(found, dict)
    return found


def test_the_same_questions_are_compared_in_pairs(tmp_path: Path) -> None:
    sets = [_raw(tmp_path / name, share, range(40)) for name, share in (("a", 0.3), ("b", 0.6))]
    right = _figure(page_of(*sets, out=tmp_path / "page.html"), "right")
    assert (right["paired"], right["questions"], right["share"]) == (True, [40, 40], True)
    value, low, high = right["difference"]
    assert value == pytest.approx(right["second"][0] - right["first"][0])
    assert 0.15 < low < value < high < 0.45
    assert _figure(tmp_path / "page.html", "right", "original")["difference"] == right["difference"]
    agreement = _figure(tmp_path / "page.html", "verdicts that are right")
    assert agreement["difference"][0] == 0


def test_a_set_does_not_differ_from_itself(tmp_path: Path) -> None:
    one = _raw(tmp_path / "a", 0.5, range(20))
    page = page_of(one, one, out=tmp_path / "page.html")
    assert {figure["difference"][0] for rows in told_in(page)["differences"].values() for figure in rows} == {0.0}
    assert told_in(page)["changes"] == {"configuration": [], "texts": []}


@pytest.mark.parametrize(
    ("questions", "paired", "asked"),
    [(range(40, 80), False, [40, 40]), (range(30, 60), False, [40, 30]), (range(10, 50), True, [30, 30])],
    ids=["none in common", "a third", "most"],
)
def test_other_questions_are_two_samples(tmp_path: Path, questions: range, paired: bool, asked: list[int]) -> None:
    sets = [_raw(tmp_path / "a", 0.5, range(40)), _raw(tmp_path / "b", 0.5, questions)]
    right = _figure(page_of(*sets, out=tmp_path / "page.html"), "right")
    assert (right["paired"], right["questions"]) == (paired, asked)
    _, low, high = right["difference"]
    assert low < 0 < high


def test_what_was_asked_otherwise_is_told(tmp_path: Path) -> None:
    told: list[tuple[dict[str, JSON], dict[str, Any]]] = [
        ({"model": "m", "sampling": {"temperature": 0.8}}, {"variants": {"original": {"user": "{question}\nThink."}}}),
        (
            {"model": "m", "sampling": {"temperature": 1.0}, "seed": 1},
            {"variants": {"original": {"user": "{question}"}}},
        ),
    ]
    for name, (configuration, texts) in zip("ab", told, strict=True):
        write_raw(tmp_path / name / "RAW_DATA", [published_row("q", "r", True)])
        record = {"configuration": configuration, "fingerprint": fingerprint(configuration), "texts": texts}
        (tmp_path / name / "run.json").write_text(json.dumps(record))
    changes = told_in(page_of(tmp_path / "a", tmp_path / "b", out=tmp_path / "page.html"))["changes"]
    assert changes["configuration"] == [["sampling.temperature", "0.8", "1.0"], ["seed", None, "1"]]
    assert changes["texts"] == [["variants original", ["@@ -1,3 +1,2 @@", " [user]", " {question}", "-Think."]]]


def test_two_of_one_name_are_told_apart(tmp_path: Path) -> None:
    sets = [_raw(tmp_path / name / "RAW_DATA", 0.5, range(4)) for name in "ab"]
    sides = told_in(page_of(*sets, out=tmp_path / "page.html"))["sides"]
    assert [side["name"] for side in sides] == [*map(str, sets)]


def test_traces_are_compared_by_label_and_fault(tmp_path: Path) -> None:
    sample = "<sample>\na\n</sample>\n"
    sets = [
        write_traces(tmp_path / "a", {"1C": sample, "2C": 2 * sample}),
        write_traces(tmp_path / "b", {"1C": sample, "2C": 2 * sample, "3C": 3 * sample, "whole": sample}),
    ]
    page = page_of(*sets, out=tmp_path / "page.html")
    assert [_figure(page, name)["first"][0] for name in ("attempts a trace", "label 1C", "label 3C")] == [1.5, 0.5, 0.0]
    assert _figure(page, "fault names_hint")["second"][0] == 0.75
    assert _figure(page, "traces a question")["difference"][0] == 2.0


def test_evaluations_are_compared_by_task(tmp_path: Path) -> None:
    for name, right in (("a", [True, False]), ("b", [True, True])):
        rows = [
            {
                "question": f"{number} + 1?",
                "answer": str(number + 1),
                "task_source": "sums",
                "model_responses": [f"<answer>{number}</answer>", "<answer>0</answer>"],
                "model_responses__eval_is_correct": right if number else [False, False],
                "model_responses__eval_extracted_answers": [str(number), "0"],
            }
            for number in range(12)
        ]
        write_parquet(tmp_path / name / "EVAL_DATA" / "data" / "test-00000-of-00001.parquet", rows)
    page = page_of(tmp_path / "a", tmp_path / "b", out=tmp_path / "page.html")
    right_share = _figure(page, "right", "question")
    assert right_share["task"] == "sums"
    assert right_share["difference"][0] == pytest.approx(11 / 24)
    sides = told_in(page)["sides"]
    assert [side["figures"]["tasks"][0]["figures"]["pass@2"]["value"] for side in sides] == pytest.approx([11 / 12] * 2)
    assert len(told_in(page)["shown"][0]["rows"]) == 24
