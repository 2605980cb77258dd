"""python -m reflection.run on a scripted engine: what is added, what stays as it was, and every way to end."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import disable_progress_bars, load_dataset

from assembly.run import main as assemble
from generation import produce as producing
from generation.additions.rows import ADDED, ADDITION
from generation.additions.source import BLOCK_ROWS
from generation.raw_data import PROVENANCE, REFLECTIONS, SCHEMA
from reflection.prompts import PROMPTS
from reflection.run import main
from reflection.verdict import parse_verdict
from tests import drive_job, drive_reflections
from tests.assembly_rows import PUBLISHED, README, WRONG, published_row, write_parquet
from tests.killed import run_killed_at_rename

OURS = {REFLECTIONS, PROVENANCE, ADDED}
Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Add reflections; the folder of the RAW_DATA that comes out."""
    monkeypatch.setattr(producing, "SHARD_ROWS", producing.SHARD_ROWS)  # the drive changes it

    def run(raw: Path, *flags: str, reply: str = "judge", code: int = 0, out: str = "more") -> Path:
        assert drive_reflections.main(reply, [f"--raw={raw}", f"--out={tmp_path / out}", *flags]) == code
        return tmp_path / out / "RAW_DATA"

    return run


def rows_of(raw: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(raw.glob("**/*.parquet")) for row in pq.read_table(path).to_pylist()]


def assert_only_reflections_added(before: Path, after: Path) -> None:
    """Files, rows, their order, values and types: but for our columns the same."""
    given, made = sorted(before.glob("**/*.parquet")), sorted(after.glob("data/*.parquet"))
    assert len(given) == len(made)
    for one, other in zip(given, made, strict=True):
        old, new = pq.read_table(one), pq.read_table(other)
        assert [name for name in new.schema.names if name not in OURS] == [n for n in old.schema.names if n not in OURS]
        for name in set(old.schema.names) - OURS:
            assert new.schema.field(name).equals(old.schema.field(name), check_metadata=True)
            assert new[name].equals(old[name]), name
        for name in OURS & set(old.schema.names):
            for was, now in zip(old[name].to_pylist(), new[name].to_pylist(), strict=True):
                if isinstance(was, str):
                    assert now[0] == was
                else:
                    assert now is None if was is None and not now else (now or [])[: len(was or [])] == (was or [])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of our own: 96 samples, some without an answer."""
    out = tmp_path_factory.mktemp("own") / "run"
    assert drive_job.main(["--questions=12", "--rl_questions=0", f"--out={out}"]) == 0
    return out / "RAW_DATA"


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
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 200
    assert {row["outcome"] for row in rows_of(own)} == {"right", "wrong", "unknown"}


def test_added_again_they_are_others(own: Path, run: Run) -> None:
    twice = run(run(own, "--reflections=2"), "--reflections=2", out="again")
    for row in rows_of(twice):
        texts = row[REFLECTIONS]
        if row["outcome"] != "unknown":
            assert [one["first"] for one in row[ADDED]] == [2, 4]
            assert len({entry["seed"] for entry in row[PROVENANCE]}) == len(texts) == 6
    assert_only_reflections_added(own, twice)


def foreign_rows(count: int = 45) -> list[dict[str, Any]]:
    """In the published names; the rows of a question do not lie together."""
    rng = random.Random(5)
    return [
        published_row(f"What is {n % 7} + 4?", f"answer {n}", rng.random() < 0.5, all_other_columns='{"a": 1}', place=n)
        for n in range(count)
    ]


def readme_row(n: int, *, lists: bool) -> dict[str, Any]:
    return {
        "question": f"What is {n} + 4?",
        "answer": "7",
        README: [f"answer {n}"] if lists else f"answer {n}",
        f"{README}__eval_is_correct": [n % 3 == 0],
        f"{README}__eval_extracted_answers": ["7"] if lists else "7",
        "prompt_type": "plan",
        f"{PUBLISHED}_reflection": [f"On it: {WRONG}"],
    }


def with_type(rows: list[dict[str, Any]], column: str, type_: pa.DataType) -> pa.Table:
    table = pa.Table.from_pylist(rows)
    place = table.schema.get_field_index(column)
    values = [row.get(column) for row in rows]
    return table.set_column(place, column, pa.array(values, type_)) if place >= 0 else table


SHAPES: dict[str, pa.Table] = {
    "published": pa.Table.from_pylist(foreign_rows()),
    "readme, plain values": pa.Table.from_pylist([readme_row(n, lists=False) for n in range(20)]),
    "readme, lists": pa.Table.from_pylist([readme_row(n, lists=True) for n in range(20)]),
    "no reflections yet": pa.Table.from_pylist(foreign_rows()).drop_columns([f"{PUBLISHED}_reflection"]),
    "one reflection, not in a list": with_type(
        [row | {f"{PUBLISHED}_reflection": f"On it: {WRONG}"} for row in foreign_rows()], REFLECTIONS, pa.string()
    ),
    "no list where there are none": with_type(
        [row | {REFLECTIONS: None if row["place"] % 4 else ["", None]} for row in foreign_rows()],
        REFLECTIONS,
        pa.list_(pa.string()),
    ),
    "large lists of large texts": with_type(foreign_rows(), REFLECTIONS, pa.large_list(pa.large_string())),
    "lists of one length": with_type(foreign_rows(), REFLECTIONS, pa.list_(pa.string(), 1)),
    "nothing known of any list": with_type(
        [row | {REFLECTIONS: None} for row in foreign_rows()], REFLECTIONS, pa.null()
    ),
    "texts from a dictionary": with_type(foreign_rows(), "question", pa.dictionary(pa.int32(), pa.string())),
    "a column of dates": with_type(foreign_rows(), "place", pa.timestamp("ms", "UTC")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_any_published_shape_gets_reflections_and_keeps_the_rest(shape: str, run: Run, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "data").mkdir(parents=True)
    half = SHAPES[shape].num_rows // 2
    pq.write_table(SHAPES[shape].slice(0, half), raw / "data" / "train-0.parquet", row_group_size=7)
    pq.write_table(SHAPES[shape].slice(half), raw / "data" / "train-1.parquet")
    after = run(raw, "--reflections=2")
    assert_only_reflections_added(raw, after)
    for old, new in zip(rows_of(raw), rows_of(after), strict=True):
        was = old.get(REFLECTIONS)
        there = [was] if isinstance(was, str) else list(was or [])
        assert new[REFLECTIONS][: len(there)] == there
        assert len(new[REFLECTIONS]) == len(new[PROVENANCE]) == len(there) + 2
        for text, entry in zip(there, new[PROVENANCE], strict=False):
            assert entry["verdict"] == ("Incorrect" if text and "Incorrect" in text else entry["verdict"])
            assert (entry["prompt_name"], entry["seed"]) == (None, None), "nobody wrote that down"
        assert [one["first"] for one in new[ADDED]] == [len(there)]
    disable_progress_bars()
    loaded = load_dataset(str(after), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == SHAPES[shape].num_rows


def test_what_the_datasets_library_wrote_down_stays_true(run: Run, tmp_path: Path) -> None:
    disable_progress_bars()
    plain = write_parquet(tmp_path / "plain" / "a.parquet", foreign_rows())
    dataset = load_dataset("parquet", data_files=str(plain), split="train", cache_dir=str(tmp_path / "cache"))
    (tmp_path / "raw").mkdir()
    dataset.to_parquet(tmp_path / "raw" / "train.parquet")
    before = pq.read_schema(tmp_path / "raw" / "train.parquet").metadata[b"huggingface"]
    after = load_dataset(str(run(tmp_path / "raw")), split="train", cache_dir=str(tmp_path / "cache"))
    assert {name: after.features[name] for name in dataset.features} == dataset.features
    assert list(after.features)[-2:] == [PROVENANCE, ADDED]
    written = pq.read_schema(next((tmp_path / "more" / "RAW_DATA" / "data").iterdir())).metadata[b"huggingface"]
    features = json.loads(written)["info"]["features"]
    assert features.items() > json.loads(before)["info"]["features"].items()


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
    assemble([f"--raw={tmp_path / 'raw'}", "--attempts=3", f"--out={tmp_path / 'none'}"])
    assert rows_of(tmp_path / "none") == []
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
    quiet = {path.name: path.read_bytes() for path in run(raw).rglob("*") if path.is_file()}
    nth = 1
    while run_killed_at_rename(nth, _DIE_AND_RESUME, f"--raw={raw}", f"--out={tmp_path / 'killed'}"):
        nth += 2
    assert nth > 6
    made = tmp_path / "killed" / "RAW_DATA"
    assert {path.name: path.read_bytes() for path in made.rglob("*") if path.is_file()} == quiet


def test_what_is_done_is_not_done_again(run: Run, tmp_path: Path) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", foreign_rows())
    first = rows_of(run(raw))
    assert rows_of(run(raw, reply="never")) == first


def test_another_configuration_is_refused_by_name(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", foreign_rows())
    run(raw)
    for flags, told in [
        (["--reflections=3"], "reflections was 2, now 3"),
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
    assert not (tmp_path / "out").exists()


def test_the_columns_added_are_those_of_the_schema() -> None:
    """Whoever reads the added entries relies on these names."""
    assert [field.name for field in ADDITION][:3] == ["first", "count", "model"]
    assert ADDITION.field("sampling").type == SCHEMA.field("sampling").type
