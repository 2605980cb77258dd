"""The page of a run or a set: what it counts, which rows it shows, and that no text in it can end its place."""

from __future__ import annotations

import json
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import generation.run
from assembly.report import main
from assembly.reporting.gather import Contents, find_sets
from assembly.reporting.sample import LONGEST, Sample, inert, shown
from benchmarks.big_raw_data import make, rows_of
from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs.run_directory import JSON, fingerprint
from cluster.jobs.status import Moment, add_moment
from generation.raw.counts import count_folder
from generation.raw.schema import SCHEMA
from generation.records import REQUEST_FAILED
from tests.assembly_rows import PUBLISHED, published_row, write_parquet
from tests.raw_rows import bytes_of
from tests.report_pages import HOSTILE, TOLD, hostile_rows, page_of, rows_in, told_in, write_raw, write_traces
from tests.scripted import reply

MIB = 1 << 20


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four thousand rows of the benchmark, more than a page shows."""
    folder = tmp_path_factory.mktemp("big")
    make(folder, 4096)
    return folder


def test_a_page_counts_all_rows_as_the_card_does(big: Path, tmp_path: Path) -> None:
    (side,) = told_in(page_of(big, out=tmp_path / "page.html"))["sides"]
    (contents,) = side["contents"]
    counted = count_folder(big)
    whole = counted.all()
    assert contents["rows"] == whole.samples == 4096
    assert side["sets"][0]["models"] == ["Qwen/Qwen2.5-1.5B-Instruct"]
    outcomes = Counter[tuple[str, str]]()
    verdicts = Counter[tuple[str, str]]()
    for one in contents["groups"]:
        outcomes[one["variant"], one["outcome"]] += one["samples"]
        for name in ("right", "wrong"):
            for verdict in ("Correct", "Incorrect", "none"):
                verdicts[name, verdict] += one[f"{name}_{verdict.lower()}"]
    assert outcomes == whole.outcomes
    assert +verdicts == +whole.verdicts
    assert sum(one["tokens"] for one in contents["groups"]) == counted.tokens["sample__provenance", "output_tokens"]
    assert sum(questions for *_, questions in contents["rates"]) == len(counted.questions) == 64
    assert sum(right * questions for _, right, _, questions in contents["rates"]) == whole.outcome("right")
    assert (contents["measure"], sum(one["rows"] for one in contents["lengths"])) == ("tokens", 4096)
    assert contents["width"] * {one["length"] for one in contents["lengths"]}.pop() <= 150


def test_the_rows_shown_are_of_each_kind_and_always_the_same(big: Path, tmp_path: Path) -> None:
    page = page_of(big, out=tmp_path / "page.html")
    rows = rows_in(page)
    assert 100 < len(rows) < 4096
    assert page.stat().st_size < 2 * MIB
    assert rows_in(page_of(big, out=tmp_path / "again.html")) == rows
    every = [row for number in range(64) for row in rows_of(number, 0)]

    def kinds(found: list[Any]) -> Counter[Any]:
        return Counter((variant, outcome, frozenset(said)) for variant, outcome, said in found)

    there = kinds([(row["prompt_variant"], row["outcome"], _said(row)) for row in every])
    have = kinds([(row["variant"], row["outcome"], [one[0] for one in row["said"]]) for row in rows])
    assert {kind: min(4, count) for kind, count in there.items()} == {kind: min(4, n) for kind, n in have.items()}
    assert [row["row"] for row in rows] == sorted({row["row"] for row in rows})
    for row in rows:
        asked = every[row["row"]]
        assert row["response"] == asked[PUBLISHED][0]
        assert (row["variant"], row["outcome"], row["tokens"]) == (asked["prompt_variant"], asked["outcome"], 150)
    questions = Counter(row["key"] for row in rows)
    assert max(questions.values()) > 16, "whole questions, not a row of each"


def _said(row: dict[str, Any]) -> list[str]:
    texts = row[f"{PUBLISHED}_reflection"]
    return ["Incorrect" if "Incorrect" in text else "Correct" for text in texts]


def test_all_rows_of_a_small_set_are_shown(tmp_path: Path) -> None:
    rows = [published_row(f"q{q}", f"r{n}", n == 0) for q in range(5) for n in range(4)]
    page = page_of(write_raw(tmp_path / "raw", rows), out=tmp_path / "page.html")
    assert [row["response"] for row in rows_in(page)] == [row[PUBLISHED][0] for row in rows]
    (shown_rows,) = told_in(page)["shown"]
    assert set(shown_rows["questions"]) == set(shown_rows["rates"]) == {row["key"] for row in shown_rows["rows"]}
    assert {tuple(rate) for rate in shown_rows["rates"].values()} == {(1, 4)}
    (contents,) = told_in(page)["sides"][0]["contents"]
    assert contents["measure"] == "characters"


def test_rows_without_a_record_of_their_request_are_counted(tmp_path: Path) -> None:
    rows = rows_of(0, 0)
    for row in rows[::3]:
        row["sample__provenance"] = None
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "data" / "train-00000-of-00001.parquet")
    page = page_of(tmp_path, out=tmp_path / "page.html")
    (contents,) = told_in(page)["sides"][0]["contents"]
    known = [row for row in rows if row["sample__provenance"]]
    assert sum(one["counted"] for one in contents["groups"]) == len(known) < len(rows)
    assert sum(one["tokens"] for one in contents["groups"]) == 150 * len(known)
    assert [row["tokens"] for row in rows_in(page)] == [150 if row["sample__provenance"] else None for row in rows]


def test_many_tasks_and_reasons_leave_less_room_for_rows(tmp_path: Path) -> None:
    rows = [row for number in range(64) for row in rows_of(number, 0)]
    for number, row in enumerate(rows):
        letters = "".join(chr(97 + number // power % 26) for power in (1, 26, 676))
        row |= {"task": f"task {letters}", "outcome": "wrong", "outcome_reason": f"of its own kind, as is {letters}"}
    page = page_of(write_raw(tmp_path / "set", rows), out=tmp_path / "page.html")
    (contents,) = told_in(page)["sides"][0]["contents"]
    assert sum(one["samples"] for one in contents["groups"]) == len(rows) == 4096
    assert len({one["task"] for one in contents["groups"]}) == 61, "the most frequent, and the others"
    assert 1_200_000 < page.stat().st_size < 2_000_000
    assert rows_in(page)


def test_a_request_that_failed_has_no_length(tmp_path: Path) -> None:
    """It is no sample of 0 tokens that ended by itself."""
    refused = Completion("", "error", 7, error="not now", final=True)

    def some(request: Request) -> str | Completion:
        return refused if request.seed % 4 == 0 else reply(request)

    argv = ["--questions=12", "--rl_questions=0", "--samples=2", "--attempts=2", f"--out={tmp_path / 'run'}"]
    assert generation.run.main(argv, fleet=Fleet(ScriptedSettings(some))) == 0
    (contents, *_) = told_in(tmp_path / "run" / "report.html")["sides"][0]["contents"]
    rows = pq.read_table(tmp_path / "run" / "RAW_DATA" / "data").to_pylist()
    made = [row for row in rows if row["outcome_reason"] != REQUEST_FAILED]
    assert 0 < len(made) < len(rows)
    assert sum(one["rows"] for one in contents["lengths"] if one["length"] is not None) == len(made)
    assert sum(one["counted"] for one in contents["groups"]) == len(made)
    assert sum(one["samples"] for one in contents["groups"]) == len(rows)


@pytest.mark.parametrize("size", [2_000, 20_000])
def test_a_sample_holds_little_and_has_something_of_each_stratum(size: int) -> None:
    sample, held = Sample(size), 0
    for batch in range(40):
        strata = [f"{number % 7}" for number in range(500)]
        keys = [f"{batch}/{number // 50}" for number in range(500)]
        shown_rows = [("?", [key, "x" * 80]) for key in keys]
        sample.add(strata, keys, partial(map, shown_rows.__getitem__))
        held = max(held, sum(len(row) for rows in sample._held.values() for *_, row in rows))
    rows, questions = sample.taken()
    assert sample.rows == 20_000
    assert held <= 3 * size
    assert sum(map(len, rows)) < size
    assert len(rows) > size / 200
    assert {json.loads(row)[0] for row in rows} == set(questions)


@pytest.mark.parametrize("text", [*HOSTILE.values(), "\ud800 alone", "\udcff"])
def test_no_text_can_end_its_place(text: str) -> None:
    written = inert({text: [text]}).decode("utf-8")
    assert not {"<", ">", "&", "\u2028", "\u2029"} & {*written}
    assert json.loads(written) == {text: [text]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", ""),
        ("x" * LONGEST, "x" * LONGEST),
        ("a" + "x" * LONGEST + "b", ["a" + "x" * 5_999, 2, "x" * 1_999 + "b"]),
    ],
    ids=["none", "empty", "just", "longer"],
)
def test_a_long_text_is_cut_and_says_by_how_much(text: str | None, expected: object) -> None:
    assert shown(text) == expected


def test_hostile_rows_are_data(tmp_path: Path) -> None:
    page = page_of(write_raw(tmp_path / "raw", hostile_rows()), out=tmp_path / "page.html")
    assert page.stat().st_size < 2 * MIB
    assert page.read_text("utf-8").count("<script") == 2
    rows = rows_in(page)
    assert {row["response"] for row in rows if isinstance(row["response"], str)} >= {*HOSTILE.values()}
    (cut,) = [row for row in rows if isinstance(row["response"], list)]
    assert (cut["response"][1], cut["response"][2][-len(TOLD) :]) == (10_000_000 + len(TOLD) - LONGEST, TOLD)


def test_a_trace_is_shown_in_any_layout(tmp_path: Path) -> None:
    trace = "<think>\n<sample>\na\n</sample>\n</think>\n\n<answer>\n7\n</answer>"
    (conversation,) = told_in(page_of(write_traces(tmp_path / "set", {"1C": trace}), out=tmp_path / "a.html"))["shown"]
    assert [row["text"] for row in conversation["rows"]] == [trace]
    turns = [
        {"role": "user", "content": "3 + 4?", "reasoning_content": None},
        {"role": "assistant", "content": "<answer>7</answer>", "reasoning_content": "<sample>\na\n</sample>"},
    ]
    apart = write_parquet(tmp_path / "apart.parquet", [{"messages": turns}])
    (row,) = rows_in(page_of(apart, out=tmp_path / "b.html"), "SFT_DATA")
    assert row["text"] == "<think>\n<sample>\na\n</sample>\n</think>\n<answer>7</answer>"
    tokens = [{"input_ids": [1, 2], "attention_mask": [1, 1], "labels": [-100, 2], "faults": ["names_hint"]}]
    (row,) = rows_in(page_of(write_parquet(tmp_path / "t.parquet", tokens), out=tmp_path / "c.html"), "SFT_DATA")
    assert (row["text"], row["faults"]) == ("", ["names_hint"])


def test_a_run_tells_how_it_went(tmp_path: Path) -> None:
    write_raw(tmp_path / "run" / "RAW_DATA", [published_row("q", "r", True)])
    (tmp_path / "run" / "logs").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(_record()))
    for number in range(1000):
        add_moment(tmp_path / "run", Moment("2026-11-30T00:00:00+00:00", 0, 5.0 * number, number, 0, 9 * number, 2, 0))
    assert main([str(tmp_path / "run")]) == 0
    (side,) = told_in(tmp_path / "run" / "report.html")["sides"]
    assert side["configuration"] == [["model", '"m"'], ["sampling.temperature", "0.8"]]
    assert side["starts"][0]["command"] == "python -m generation.run --out ~/runs"
    assert 250 <= len(side["history"]) <= 300
    assert side["texts"] == [["variants original", "[system]\nBe good.\n[user]\n{question}"], ["phrases glue", "a\nb"]]
    assert find_sets(tmp_path / "run" / "RAW_DATA").run == tmp_path / "run"


def _record() -> dict[str, Any]:
    configuration: dict[str, JSON] = {"model": "m", "sampling": {"temperature": 0.8}}
    from_home = f"python -m generation.run --out {os.path.expanduser('~')}/runs"
    return {
        "configuration": configuration,
        "fingerprint": fingerprint(configuration),
        "starts": [{"command": from_home, "state": "done"}],
        "texts": {
            "variants": {"original": {"system": "Be good.", "user": "{question}"}},
            "phrases": {"glue": ["a", "b"]},
            "examples": {},
        },
    }


def test_a_report_changes_no_set(tmp_path: Path) -> None:
    folder = write_raw(tmp_path / "raw", [published_row("q", "r", True)])
    (folder / "README.md").write_text("# a set\n")
    before = bytes_of(folder)
    page_of(folder, out=tmp_path / "page.html")
    assert bytes_of(folder) == before
    assert Contents("RAW_DATA", folder, 1000).sample.rows == 1
