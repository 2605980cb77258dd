"""python -m reflection.run on a scripted engine: what is added, what stays as it was, and every way to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assembly.run import main as assemble
from cluster.jobs.status import read_status
from generation.raw.schema import PROVENANCE, REFLECTIONS, SCHEMA
from reflection.added.source import ADDED, ADDITION, BLOCK_ROWS
from reflection.prompts import PROMPTS
from reflection.run import main
from reflection.verdict import parse_verdict
from tests import drive_job
from tests.assembly_rows import PUBLISHED, published_row, write_parquet
from tests.killed import run_killed_at_rename
from tests.raw_rows import bytes_of
from tests.reflection_rows import add_to, assert_only_reflections_added, foreign_rows, rows_of

Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(raw: Path, *flags: str, reply: str = "judge", code: int = 0, out: str = "more") -> Path:
        return add_to(raw, tmp_path / out, *flags, reply=reply, code=code)

    return run


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of our own: 96 samples, some without an answer."""
    out = tmp_path_factory.mktemp("own") / "run"
    assert drive_job.main(["--questions=12", "--rl_questions=0", f"--out={out}"]) == 0
    return out / "RAW_DATA"


def of_this_start(out: Path) -> dict[Any, tuple[Any, ...]]:
    """Reflections as they were counted while they were made, by verdict: how many, and the share that agrees."""
    status = read_status(out)
    assert status is not None
    return {row[0]: tuple(row[1:]) for row in status.sections[0].table.rows}


def test_our_own_rows_get_reflections_with_their_origin(
    own: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    after = run(own, "--reflections=3", "--temperature=0.5")
    assert_only_reflections_added(own, after)
    seeds = []
    for old, new in zip(rows_of(own), rows_of(after), strict=True):
        there = len(old[REFLECTIONS])
        wanted = 0 if old["outcome"] == "unknown" else 3
        assert len(new[REFLECTIONS]) == len(new[PROVENANCE]) == there + wanted
        for text, entry in zip(new[REFLECTIONS], new[PROVENANCE], strict=True):
            verdict = parse_verdict(text)
            assert entry["verdict"] == (None if verdict is None else "Correct" if verdict else "Incorrect")
            assert entry["valid"] is (verdict is not None and verdict == (old["outcome"] == "right"))
            seeds.append(entry["seed"])
        if wanted:
            assert {entry["prompt_name"] for entry in new[PROVENANCE]} == set(PROMPTS), "others than before come first"
            (added,) = new[ADDED]
            assert (added["first"], added["count"], added["model"], added["engine"]) == (
                there,
                3,
                "scripted",
                "scripted",
            )
            assert added["sampling"]["temperature"] == 0.5
        else:
            assert new[ADDED] == []
    assert len(set(seeds)) == len(seeds), "no request is drawn twice, those of the first run included"
    told = of_this_start(after.parent)
    ours = [look for row in rows_of(after) for look in row[PROVENANCE][-3:] if row["outcome"] != "unknown"]
    assert told["all"] == (len(ours), sum(look["valid"] for look in ours) / len(ours))
    for name in ("Correct", "Incorrect"):
        assert told[name][0] == sum(look["verdict"] == name for look in ours)
    counted, served = capsys.readouterr().out.split("\n\n")[1:3]
    assert counted.startswith("96 samples of 12 questions\n")
    assert served.startswith("questions that can serve a format with --attempts 5, of 12\n")
    assert max(map(len, (*counted.splitlines(), *served.splitlines()))) <= 80
    assert {row["outcome"] for row in rows_of(own)} == {"right", "wrong", "unknown"}
    card = (after / "README.md").read_text()
    assert f"\n````markdown\n{(own / 'README.md').read_text().rstrip()}\n````\n" in card


def test_added_again_they_are_others(own: Path, run: Run) -> None:
    twice = run(run(own, "--reflections=2"), "--reflections=2", out="again")
    for row in rows_of(twice):
        texts = row[REFLECTIONS]
        if row["outcome"] != "unknown":
            assert [one["first"] for one in row[ADDED]] == [2, 4]
            assert len({entry["seed"] for entry in row[PROVENANCE]}) == len(texts) == 6
    assert_only_reflections_added(own, twice)


def test_unknown_correctness_gets_none(run: Run, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {f"{PUBLISHED}__eval_is_correct": [None]},
        {f"{PUBLISHED}__eval_is_correct": [False], f"{PUBLISHED}__eval_extracted_answers": [None]},
        {f"{PUBLISHED}__eval_is_correct": [False]},
    ]
    write_parquet(tmp_path / "raw.parquet", [published_row("q", "7", True, **change) for change in changes])
    rows = rows_of(run(tmp_path / "raw.parquet", "--reflections=5"))
    assert [len(row[REFLECTIONS]) for row in rows] == [6, 1, 1, 6]
    assert [row[PROVENANCE][0]["valid"] for row in rows] == [True, False, False, False]
    assert [len(row[ADDED]) for row in rows] == [1, 0, 0, 1]


def test_blocks_without_any_graded_sample_are_passed_by(run: Run, tmp_path: Path) -> None:
    rows = foreign_rows(3 * BLOCK_ROWS)
    for row in rows[BLOCK_ROWS : 2 * BLOCK_ROWS]:
        row[f"{PUBLISHED}__eval_is_correct"] = [None]
    write_parquet(tmp_path / "raw.parquet", rows)
    counts = [len(row[ADDED]) for row in rows_of(run(tmp_path / "raw.parquet"))]
    assert counts == [1] * BLOCK_ROWS + [0] * BLOCK_ROWS + [1] * BLOCK_ROWS


def test_the_assembly_uses_them(run: Run, tmp_path: Path) -> None:
    """Before, no reflection has the right verdict and no trace comes."""
    rows = foreign_rows(60)
    for row in rows:
        row[REFLECTIONS] = ["I cannot tell."]
    write_parquet(tmp_path / "raw" / "data" / "train-0.parquet", rows)
    with pytest.raises(SystemExit) as ended:
        assemble([f"--raw={tmp_path / 'raw'}", "--attempts=3", f"--out={tmp_path / 'none'}"])
    assert ended.value.code == 2
    assert not (tmp_path / "none").exists()
    after = run(tmp_path / "raw", "--reflections=8")
    for raw in (after, after.parent):
        assemble([f"--raw={raw}", "--attempts=3", f"--out={tmp_path / 'sft'}"])
        traces = [row["conversations"][1]["content"] for row in rows_of(tmp_path / "sft")]
        assert len(traces) == 7 * 3
        assert all("Thought " in trace for trace in traces)
    assemble([f"--raw={after.parent}", "--attempts=3"])
    assert len(rows_of(after.parent / "SFT_DATA")) == 7 * 3, "beside the RAW_DATA of the run"


def test_rows_that_fail_stay_as_they_were_until_tried_again(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = foreign_rows(3 * BLOCK_ROWS)
    for row in rows[BLOCK_ROWS : 2 * BLOCK_ROWS]:
        row[PUBLISHED] = ["unspeakable"]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    after = run(raw, code=1)
    said = capsys.readouterr().out
    assert "16 rows failed and stay as they were:\n       16  that cannot be said\n" in said
    assert f"failed      16 of 48 rows, which stay as they were, see {tmp_path / 'more' / 'failed.json'}" in said
    assert [len(row[ADDED]) for row in rows_of(after)] == [1] * 16 + [0] * 16 + [1] * 16
    assert "| `that cannot be said` | 16 |" in (after / "README.md").read_text()
    told = json.loads((tmp_path / "more" / "failed.json").read_text())
    assert [entry["question"] for entry in told.values()] == ["rows 16 to 31 of raw.parquet"]
    run(raw, code=1, reply="speak")
    assert [len(row[ADDED]) for row in rows_of(after)][16] == 0, "not tried again unless asked for"
    run(raw, "--retry_failed", reply="speak")
    assert [len(row[ADDED]) for row in rows_of(after)] == [1] * 48


def test_a_single_refused_reflection_is_data_on_its_row(run: Run, tmp_path: Path) -> None:
    rows = foreign_rows(4)
    rows[2][PUBLISHED] = ["unspeakable"]
    row = rows_of(run(write_parquet(tmp_path / "raw.parquet", rows), "--reflections=1"))[2]
    assert row[REFLECTIONS][1:] == [""]
    assert row[PROVENANCE][1]["error"] == "that cannot be said"


_DIE_AND_RESUME = "from tests.drive_reflections import main\nsys.exit(main('judge', sys.argv[1:]))"


def test_killed_at_every_rename_it_goes_on_to_the_same_bytes(run: Run, tmp_path: Path) -> None:
    raw = write_parquet(tmp_path / "raw" / "train.parquet", foreign_rows(120)).parent
    quiet = bytes_of(run(raw))
    nth = 1
    while run_killed_at_rename(nth, _DIE_AND_RESUME, f"--raw={raw}", f"--out={tmp_path / 'killed'}"):
        nth += 2
    assert nth > 6
    assert bytes_of(tmp_path / "killed" / "RAW_DATA") == quiet


def test_what_is_done_is_not_done_again(run: Run, tmp_path: Path) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", foreign_rows())
    first = rows_of(run(raw))
    assert rows_of(run(raw, reply="never")) == first


def test_a_torn_shard_is_done_again(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", foreign_rows(120))
    first = rows_of(run(raw))
    shard = sorted((tmp_path / "more" / "shards").glob("*.parquet"))[1]
    shard.write_bytes(shard.read_bytes()[:-9])
    capsys.readouterr()
    assert rows_of(run(raw)) == first
    assert f"{shard.name} was torn and is kept in shards/torn; its rows are asked again" in capsys.readouterr().out


def test_another_configuration_is_refused_by_name(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", foreign_rows())
    run(raw)
    for flags, told in [
        (["--reflections=1"], "--reflections was 2, now 1"),
        (["--seed=1"], "seed was 0, now 1"),
        (["--top_p=0.5"], "sampling.top_p was 0.95, now 0.5"),
    ]:
        with pytest.raises(SystemExit) as ended:
            main([f"--raw={raw}", f"--out={tmp_path / 'more'}", *flags])
        assert ended.value.code == 2
        assert told in capsys.readouterr().err
    write_parquet(raw, foreign_rows(44))
    with pytest.raises(SystemExit):
        main([f"--raw={raw}", f"--out={tmp_path / 'more'}"])
    said = capsys.readouterr().err
    assert "raw_hash was" in said
    assert "raw_rows was 45, now 44" in said


def test_where_the_raw_data_lies_does_not_matter(run: Run, tmp_path: Path) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", foreign_rows())
    first = rows_of(run(raw))
    assert rows_of(run(raw.rename(tmp_path / "moved.parquet"), reply="never")) == first


def _row(**changes: Any) -> dict[str, Any]:
    return published_row("q", "7", True, **changes)


@pytest.mark.parametrize(
    ("rows", "flags", "told"),
    [
        ([_row()], ["--reflections=0"], "--reflections must be between 1 and 1,000, not 0"),
        ([_row()], ["--max_tokens=0"], "--max_tokens must be between 1"),
        ([_row()], ["--model=./none"], "model folder ./none is not there"),
        ([], [], "raw: holds no parquet file"),
        ([_row()], ["--out={raw}"], "holds the RAW_DATA to read; give another folder"),
        ([_row()], ["--public"], "--public is for what --push_to pushes"),
        ([_row() | {f"{PUBLISHED}__eval_is_correct": [None]}], [], "no sample is known to be right or wrong"),
        ([_row() | {PROVENANCE: "mine"}], [], f"column '{PROVENANCE}' is not as written here; expected list<"),
        ([_row() | {ADDED: [1]}], [], f"column '{ADDED}' is not as written here"),
        ([{"question": "q"}], [], "no column 'answer', which gives the answer"),
    ],
)
def test_wrong_input_is_told_before_anything_is_made(
    rows: list[dict[str, Any]], flags: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    if rows:
        write_parquet(raw / "train.parquet", rows)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                f"--raw={raw}",
                *([] if "--out={raw}" in flags else [f"--out={tmp_path / 'out'}"]),
                *(flag.replace("{raw}", str(raw)) for flag in flags),
            ]
        )
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert {path.name for path in tmp_path.rglob("*")} <= {"raw", "train.parquet"}


def test_files_with_different_columns_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_parquet(tmp_path / "raw" / "0.parquet", [_row()])
    write_parquet(tmp_path / "raw" / "1.parquet", [_row(more=1)])
    with pytest.raises(SystemExit):
        main([f"--raw={tmp_path / 'raw'}", f"--out={tmp_path / 'out'}"])
    assert "1.parquet: other columns than 0.parquet: more" in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_asked(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--raw={own}", f"--out={tmp_path / 'out'}", "--reflections=3", "--dry_run"]) == 0
    said = capsys.readouterr().out
    graded = sum(row["outcome"] != "unknown" for row in rows_of(own))
    assert f"samples     {graded} graded ones get 3 more, {96 - graded} of unknown outcome none" in said
    assert f"requests    {3 * graded} reflections" in said
    first = next(row for row in rows_of(own) if row["outcome"] != "unknown")
    shown = said.split("--- first prompt, on row ")[1]
    assert first["question"] in shown
    assert first[PUBLISHED][0] in shown
    assert not (tmp_path / "out").exists()


def test_the_columns_added_are_those_of_the_schema() -> None:
    """Whoever reads the added entries relies on these names."""
    assert [field.name for field in ADDITION][:3] == ["first", "count", "model"]
    assert ADDITION.field("sampling").type == SCHEMA.field("sampling").type
