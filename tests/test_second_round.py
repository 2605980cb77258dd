"""A second round: samples that are traces themselves are taken apart, graded inside, and give traces again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import disable_progress_bars, load_dataset

from assembly.candidates import FRAME_TAG, choose, has_frame_tag
from assembly.run import main as assemble
from cluster.inference.engine import Request
from generation.grading import find_answer
from generation.raw.reader import open_parts, read_part
from generation.raw.schema import ATTEMPTS, PREFIX, REFLECTIONS
from reflection.inner import attempts_in
from reflection.verdict import parse_verdict
from tests import scripted, tracing
from tests.assembly_rows import read, settings
from tests.drive_job import main as drive_job
from tests.reflection_rows import add_to, rows_of

FLAGS = ["--questions=12", "--rl_questions=2", "--variants=original,rephrase", "--samples=6", "--reflections=2"]


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("rounds") / "second"
    assert drive_job([*FLAGS, "--attempts=3", f"--out={run}"], tracing.reply) == 0
    return run


def test_rows_tell_what_stands_inside(second: Path) -> None:
    rows = rows_of(second / "RAW_DATA")
    traces = [row for row in rows if row[ATTEMPTS] is not None]
    assert len(rows) > len(traces) > len(rows) / 2
    assert {row["outcome"] for row in traces} == {"right", "wrong", "unknown"}
    for row in rows:
        (flags,), (answers,) = (
            row[f"{PREFIX}__internal_answers__eval_{of}"] for of in ("is_correct", "extracted_answers")
        )
        inside = row[ATTEMPTS] or []
        assert flags == [one["is_correct"] for one in inside]
        assert answers == [one["extracted"] for one in inside] == [find_answer(one["text"]) for one in inside]
        assert [one["text"] for one in inside] == [one.text for one in attempts_in(row["sample__thought"] or "")]
        for one in inside:
            for said in one["reflections"]:
                verdict = parse_verdict(said["text"])
                assert said["valid"] == (verdict is not None and verdict == one["is_correct"])
        finals = [one for one in inside if one["final"]]
        assert len(finals) <= 1
        if inside and row["outcome"] in ("right", "wrong"):
            assert [one["outcome"] for one in finals] == [row["outcome"]]
            assert finals[0]["extracted"] == row[f"{PREFIX}__eval_extracted_answers"][0]
    card = (second / "RAW_DATA" / "README.md").read_text()
    assert f"| samples that are traces themselves | {len(traces)} |" in card
    assert f"| attempts inside these | {sum(len(row[ATTEMPTS]) for row in traces)} |" in card


def _traces(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]


def _attempts_of(made: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """The attempts of a trace in the published layout, with nothing nested in it."""
    text = made["conversations"][1]["content"]
    thought, closed, _ = text.removeprefix("<think>\n").partition("\n</think>")
    assert text.startswith("<think>")
    assert closed
    found = attempts_in(thought)
    assert text.count("<sample>") == text.count("</sample>") == len(found) == len(made["variants"])
    assert not any(has_frame_tag(said) for one in found for said in (one.text, *one.reflections))
    return [(one.text, one.reflections) for one in found]


def test_traces_come_of_the_final_attempts(second: Path) -> None:
    made = _traces(second / "SFT_DATA")
    assert len(made) > 5
    rows = rows_of(second / "RAW_DATA")
    shown = {row[PREFIX][0]: row[REFLECTIONS] for row in rows if row[ATTEMPTS] is None}
    for row in rows:
        for one in row[ATTEMPTS] or []:
            if one["final"]:
                said = [*row[REFLECTIONS], *(said["text"] for said in one["reflections"] if said["valid"])]
                shown[one["text"]] = [*shown.get(one["text"], []), *said]
    stood = [one for trace in made for one in _attempts_of(trace)]
    assert all(reflection in shown[text] for text, (reflection,) in stood)
    inner = {said["text"] for row in rows for one in row[ATTEMPTS] or [] for said in one["reflections"]}
    assert inner & {reflection for _, (reflection,) in stood}, "some of what was said inside is shown again"


def _alone(folder: Path) -> set[str]:
    return {row["conversations"][1]["content"] for row in _traces(folder) if row["format"] == "star"}


def test_each_inner_attempt_may_stand_by_itself(second: Path, tmp_path: Path) -> None:
    flags = [f"--raw={second}", "--attempts=3", "--formats=*C,star"]
    assemble([*flags, f"--out={tmp_path / 'one'}"])
    assemble([*flags, "--inner_attempts", f"--out={tmp_path / 'each'}"])
    alone = {folder: _alone(tmp_path / folder) for folder in ("one", "each")}
    assert alone["one"] < alone["each"], "right attempts inside samples that are wrong, or that are cut"
    rows = rows_of(second / "RAW_DATA")
    inside = {one["text"]: one for row in rows for one in row[ATTEMPTS] or []}
    whole = {row[PREFIX][0] for row in rows if not any(one["final"] for one in row[ATTEMPTS] or [])}
    right = {text for text, one in inside.items() if one["outcome"] == "right"}
    assert alone["each"] <= right | whole
    assert right <= alone["each"]
    stood = [one for row in _traces(tmp_path / "each") if row["format"] == "*C" for one in _attempts_of(row)]
    not_final = {text for text, one in inside.items() if not one["final"]}
    assert not_final & {text for text, _ in stood}
    card = (tmp_path / "each" / "README.md").read_text()
    samples = len(inside_rows := [one for row in rows for one in row[ATTEMPTS] or []])
    samples += sum(not any(one["final"] for one in row[ATTEMPTS] or []) for row in rows)
    assert inside_rows
    assert f"{samples:,} samples" in card


def test_inner_attempts_give_the_same_set_in_any_order_of_rows(second: Path, tmp_path: Path) -> None:
    (path,) = (second / "RAW_DATA" / "data").glob("*.parquet")
    rows = pq.read_table(path)
    backwards = rows.take(pa.array(range(len(rows) - 1, -1, -1)))
    pq.write_table(rows, tmp_path / "one.parquet")
    pq.write_table(backwards, tmp_path / "other.parquet", row_group_size=7)
    made = []
    for name in ("one", "other"):
        assemble([f"--raw={tmp_path / name}.parquet", "--inner_attempts", "--attempts=3", f"--out={tmp_path / name}"])
        made.append([path.read_bytes() for path in sorted((tmp_path / name / "data").iterdir())])
    assert made[0] == made[1]


def test_more_reflections_are_on_the_final_attempt(second: Path, tmp_path: Path) -> None:
    before = rows_of(second / "RAW_DATA")
    after = rows_of(add_to(second, tmp_path / "more", "--reflections=1"))
    shown = [row.response for row in read(second)]
    finals = [[one["text"] for one in row[ATTEMPTS] or [] if one["final"]] for row in before]
    assert all(text == of[0] for text, of in zip(shown, finals, strict=True) if of)
    assert [row[ATTEMPTS] for row in after] == [row[ATTEMPTS] for row in before]
    grown = [len(row[REFLECTIONS]) - len(was[REFLECTIONS]) for row, was in zip(after, before, strict=True)]
    assert grown == [int(row["outcome"] != "unknown") for row in before]


def test_a_thought_that_is_a_trace_is_not_shown_as_a_thought(second: Path, tmp_path: Path) -> None:
    assemble([f"--raw={second}", "--thoughts=show", "--attempts=3", f"--out={tmp_path / 'shown'}"])
    rows = {row["response"]: row for row in _shown(second)}
    whole = [row for row in rows_of(second / "RAW_DATA") if row[ATTEMPTS] and row["outcome"] != "unknown"]
    finals = {one["text"] for row in whole for one in row[ATTEMPTS] if one["final"]}
    assert finals <= set(rows)
    assert all(rows[text]["left_out"] != FRAME_TAG for text in finals)
    assert all(map(_attempts_of, _traces(tmp_path / "shown")))


def _shown(raw: Path) -> list[dict[str, Any]]:
    tables = [choose(rows, settings("*C", thoughts="show")) for part in open_parts(raw) for rows in read_part(part)]
    return [row for table in tables for row in table.to_pylist()]


def test_rows_that_datasets_wrote_again_are_read_the_same(second: Path, tmp_path: Path) -> None:
    disable_progress_bars()
    rows = load_dataset(str(second / "RAW_DATA"), split="train", cache_dir=str(tmp_path / "cache"))
    rows.to_parquet(tmp_path / "again.parquet")
    assert read(tmp_path / "again.parquet") == read(second)


def test_a_third_round_is_as_the_second(second: Path, tmp_path: Path) -> None:
    """A model that has learned the second round's traces by heart."""
    learned: dict[str, list[str]] = {}
    for row in _traces(second / "SFT_DATA"):
        asked, answered = (turn["content"] for turn in row["conversations"])
        learned.setdefault(asked, []).append(answered)

    def say(request: Request) -> str:
        said = request.messages[-1]["content"]
        known = next((traces for asked, traces in learned.items() if asked in said), None)
        if "# Your attempt" in said or known is None:
            return scripted.reply(request)
        return random.Random(request.seed).choice(known)

    assert drive_job([*FLAGS, "--attempts=2", f"--out={tmp_path / 'third'}"], say) == 0
    rows = rows_of(tmp_path / "third" / "RAW_DATA")
    assert sum(row[ATTEMPTS] is not None for row in rows) > len(rows) / 2
    assert all(_attempts_of(row) for row in _traces(tmp_path / "third" / "SFT_DATA"))
