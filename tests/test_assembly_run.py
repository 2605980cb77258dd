"""python -m assembly.run, from a RAW_DATA folder to a set that training reads, and every wrong input."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import Features, disable_progress_bars, load_dataset

from assembly.assemble import assemble
from assembly.run import Config, main
from assembly.settings import SftSettings
from assembly.sft import SFT_SCHEMA
from generation.builtin import MODEL
from generation.raw.reader import open_parts
from generation.records import stable_hash
from tests.assembly_rows import PUBLISHED, published_row, settings, write_parquet
from tests.raw_rows import bytes_of
from tests.trace_texts import parse

CARD = "README.md"
# question a gives everything, b no correct attempt, c too few attempts
ROWS = [
    *(published_row("a", text, text.startswith("right")) for text in ("right 1", "right 2", "wrong 1", "wrong 2")),
    *(published_row("b", f"wrong {n}", False) for n in range(4)),
    published_row("c", "right 1", True),
    published_row("c", "silent", True) | {f"{PUBLISHED}_reflection": ["well"]},
]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "RAW_DATA" / "data" / "train-00000-of-00001.parquet", ROWS)
    return tmp_path / "RAW_DATA"


def _assemble(raw: Path, *flags: str) -> Path:
    main([f"--raw={raw}", "--attempts=3", *flags])
    return raw.parent / "SFT_DATA"


def _rows(folder: Path, cache: Path) -> Any:
    disable_progress_bars()
    return load_dataset(str(folder), split="train", cache_dir=str(cache))


def test_a_set_is_made_beside_the_raw_folder(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = _assemble(raw)
    assert capsys.readouterr().out.splitlines() == [
        "3 questions with 10 samples in all",
        "3 traces",
        "        1  1C of *C_full",
        "        1  2C of *C_full",
        "        1  3C of *C_full",
        "questions that could not give a format",
        "        1  *C_full: fewer usable attempts than asked for",
        "        1  *C_full: too few correct attempts",
        "samples that no trace may use",
        "        1  no reflection with the right verdict",
        "",
        f"made        {out}",
        f"report      {out}.html",
        f"next        train on {out.name}: docs/training.md",
    ]
    rows = _rows(out, tmp_path / "cache")
    assert rows.features == Features.from_arrow_schema(SFT_SCHEMA)
    assert rows["sft_template_type_idx"][:] == ["1C", "2C", "3C"]
    for row in rows:
        user, assistant = row["conversations"]
        assert user == {"role": "user", "content": "a"}
        assert assistant["role"] == "assistant"
        assert len(parse(assistant["content"]).steps) == int(row["sft_template_type_idx"][0])


def test_llama_factory_finds_the_set_by_its_dataset_info(raw: Path) -> None:
    out = _assemble(raw)
    info = json.loads((out / "dataset_info.json").read_text(encoding="utf-8"))
    assert info == {
        "skillfactory": {
            "file_name": "data",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
            },
        }
    }
    # it takes every file of the folder, and refuses one that holds two kinds
    files = [path.name for path in (out / info["skillfactory"]["file_name"]).iterdir()]
    assert files == ["train-00000-of-00001.parquet"]


def test_the_card_tells_what_is_there_and_what_is_not(raw: Path) -> None:
    card = (_assemble(raw, "--formats=*C_full,*CC,0C") / "README.md").read_text(encoding="utf-8")
    for line in [
        "6 traces from 3 questions with 10 samples.",
        "| `*C_full` | 3 |",
        "| `*CC` | 1 |",
        "| `0C` | 2 |",
        "| `3C` | 1 |",
        "| `*CC` | fewer usable attempts than asked for | 1 |",
        "| `*CC` | too few correct attempts | 1 |",
        "| `0C` | too few correct attempts | 1 |",
        "| no reflection with the right verdict | 1 |",
        '```json\n{\n  "formats": [\n    "*C_full",\n    "*CC",\n    "0C"\n  ],\n  "attempts": "3",\n  "seed": 0,',
    ]:
        assert f"\n{line}\n" in card
    question, shown = (block.split("\n```")[0] for block in card.split("```text\n")[1:3])
    assert question == "a"
    assert len(parse(shown).steps) > 1


def _same(first: Path, second: Path) -> bool:
    """Whether both hold the same, save what the card says of the files and the command they were made by."""
    files, others = bytes_of(first), bytes_of(second)
    cards = [one.pop(CARD).split(b"\n") for one in (files, others)]
    lines = [[line for line in card if b"digest" not in line] for card in cards]
    return lines[0] == lines[1] and files == others


def test_the_bytes_depend_on_seed_and_rows_and_not_on_their_order(raw: Path, tmp_path: Path) -> None:
    first = _assemble(raw)
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    write_parquet(tmp_path / "other" / "a.parquet", shuffled[:4])
    write_parquet(tmp_path / "other" / "b.parquet", shuffled[4:])
    _assemble(tmp_path / "other", f"--out={tmp_path / 'second'}")
    assert _same(first, tmp_path / "second")
    _assemble(raw, "--seed=1", f"--out={tmp_path / 'third'}")
    assert not _same(first, tmp_path / "third")


def test_a_former_set_is_replaced_and_nothing_is_left_of_it(raw: Path) -> None:
    out = _assemble(raw)
    later = "data/train-00009-of-00010.parquet"
    (out / later).touch()
    with (out / ".made-here").open("a") as mark:  # as of a set of ten files
        mark.write(f"{later}\n")
    assert _assemble(raw, "--formats=0C") == out
    assert [path.name for path in (out / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--formats=*D"],
            "unknown format *D; known are 0C, *C, *C_full, I*C, *C*IC, *CC, random, no_reflection, algorithm1, star",
        ),
        (["--formats=*C,,0C"], "comma list"),
        (["--attempts=0"], "--attempts must be a number such as 5, or a range such as 2-5, not '0'"),
        (["--attempts=1", "--formats=*C*IC"], "format *C*IC needs at least 2"),
        (["--attempts=few"], "--attempts must be a number"),
        (["--attempts=5-2"], "--attempts must be a number such as 5, or a range"),
        (["--repeats=0"], "--repeats must be between 1 and 1,000"),
        (["--max_similarity=1"], "--max_similarity must be at least 0 and below 1"),
        (["--max_trace_tokens=100"], "--max_trace_tokens needs the model to be trained: give --model too"),
        (["--model=./nowhere", "--max_trace_tokens=100"], "./nowhere"),
        (["--subsample=0"], "--subsample must be at least 1"),
        (["--processes=0"], "--processes must be between 1 and 1,024"),
        (["--atempts=3"], "unknown flag '--atempts'"),
        (["--raw=./not there"], "not there: no such file or folder"),
        (["--raw=empty"], "empty: holds no parquet file"),
        (["--raw=torn.parquet"], "torn.parquet: cannot be read as parquet"),
        (["--out=full"], "holds files that were not made here"),
        (["--out=made"], "made holds something else than an SFT_DATA"),
        (["--out=torn.parquet"], "is not a folder"),
        (["--out=torn.parquet/SFT_DATA"], "torn.parquet is not a folder"),
        (["--out=RAW_DATA"], "RAW_DATA would be replaced, and holds the RAW_DATA to read"),
        (["--out=."], "holds the RAW_DATA to read"),
        (["--out=" + "x" * 300], "cannot be used: File name too long"),
        (["--raw=" + "x" * 300], "File name too long"),
    ],
)
def test_wrong_input_ends_in_one_line_and_changes_nothing(
    flags: list[str],
    message: str,
    raw: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(raw.parent)
    for folder, name in [("full", "notes.txt"), ("made", ".made-here"), ("empty", "notes.txt")]:
        Path(folder).mkdir()
        Path(folder, name).touch()
    Path("torn.parquet").write_bytes(b"PAR1")
    before = sorted(raw.parent.rglob("*"))
    given = [] if flags[0].startswith("--raw") else ["--raw=RAW_DATA"]
    with pytest.raises(SystemExit) as ended:
        main([*given, *flags])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(raw.parent.rglob("*")) == before


def test_what_is_asked_for_without_a_flag() -> None:
    assert Config(("raw",)).settings == SftSettings(("*C_full",), "5", 0)
    # a hub repository lies nowhere here
    assert Config(("someone/RAW_DATA",)).destination == Path("SFT_DATA")


def test_the_set_does_not_depend_on_how_the_work_is_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three buckets from two parts, made by one process and by three."""
    monkeypatch.setattr("assembly.assemble.BUCKET_BYTES", 1000)
    rows = [published_row(f"q{q}", f"r{q}/{n}", n % 2 == 0) for q in range(40) for n in range(5)]
    random.Random(2).shuffle(rows)
    write_parquet(tmp_path / "raw" / "a.parquet", rows[:90])
    write_parquet(tmp_path / "raw" / "b.parquet", rows[90:])
    assert sum(part.size for part in open_parts(tmp_path / "raw")) > 3 * 1000
    wanted = settings("*C_full", "algorithm1", repeats=2, subsample=150)
    assert assemble(tmp_path / "raw", tmp_path / "few", settings("*C_full", subsample=3), 1).traces.total() == 3
    for processes in (1, 3):
        assemble(tmp_path / "raw", tmp_path / f"out-{processes}", wanted, processes)
    assert _same(tmp_path / "out-1", tmp_path / "out-3")
    keys = pq.read_table(tmp_path / "out-1" / "data")["question_key"].to_pylist()
    assert len(keys) == 150
    order = [stable_hash(key) for key in keys]
    assert order == sorted(order)


def test_a_subsample_has_its_share_of_each_label(tmp_path: Path) -> None:
    rows = [published_row(f"q{q}", f"r{n}", n < 2) for q in range(30) for n in range(4)]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    whole = assemble(raw, tmp_path / "whole", settings("*C_full", "0C"), 1)
    part = assemble(raw, tmp_path / "part", settings("*C_full", "0C", subsample=41), 1)
    assert whole.traces.total() == 120
    assert part.traces.total() == 41
    assert all(count in (10, 11) for count in part.traces.values())
    whole_texts, part_texts = (
        {row["conversations"][1]["content"] for row in pq.read_table(tmp_path / name / "data").to_pylist()}
        for name in ("whole", "part")
    )
    assert part_texts < whole_texts


def test_traces_longer_than_asked_for_are_left_out_and_counted(raw: Path) -> None:
    flags = ["--model", str(MODEL), "--max_trace_tokens"]
    assert len(pq.read_table(_assemble(raw, *flags, "1000") / "data")) == 3
    out = _assemble(raw, *flags, "150")
    labels = pq.read_table(out / "data")["sft_template_type_idx"].to_pylist()
    assert "1C" in labels
    assert "3C" not in labels
    assert "| `*C_full` | `3C` | 1 |" in (out / "README.md").read_text(encoding="utf-8")


def test_it_runs_as_a_module(raw: Path) -> None:
    command = [sys.executable, "-m", "assembly.run", f"--raw={raw}", "--formats", "*CC,0C", "--attempts", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1  *CC\n" in done.stdout
