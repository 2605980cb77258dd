"""python -m reflection.run on every shape that RAW_DATA is published in: the rest stays as it was, types included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import disable_progress_bars, load_dataset

from generation.raw.schema import PROVENANCE, REFLECTIONS, REFLECTIONS_THOUGHT
from reflection.added.source import ADDED
from tests.assembly_rows import PUBLISHED, README, WRONG, write_parquet
from tests.hub_user import NAME, User, content
from tests.reflection_rows import add_to, assert_only_reflections_added, foreign_rows, rows_of


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
def test_any_published_shape_gets_reflections_and_keeps_the_rest(shape: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "data").mkdir(parents=True)
    half = SHAPES[shape].num_rows // 2
    pq.write_table(SHAPES[shape].slice(0, half), raw / "data" / "train-0.parquet", row_group_size=7)
    pq.write_table(SHAPES[shape].slice(half), raw / "data" / "train-1.parquet")
    after = add_to(raw, tmp_path / "more", "--reflections=2")
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


def test_what_the_datasets_library_wrote_down_stays_true(tmp_path: Path) -> None:
    disable_progress_bars()
    plain = write_parquet(tmp_path / "plain" / "a.parquet", foreign_rows())
    dataset = load_dataset("parquet", data_files=str(plain), split="train", cache_dir=str(tmp_path / "cache"))
    (tmp_path / "raw").mkdir()
    dataset.to_parquet(tmp_path / "raw" / "train.parquet")
    before = pq.read_schema(tmp_path / "raw" / "train.parquet").metadata[b"huggingface"]
    made = add_to(tmp_path / "raw", tmp_path / "more")
    after = load_dataset(str(made), split="train", cache_dir=str(tmp_path / "cache"))
    assert {name: after.features[name] for name in dataset.features} == dataset.features
    assert list(after.features)[-3:] == [REFLECTIONS_THOUGHT, PROVENANCE, ADDED]
    written = pq.read_schema(next((made / "data").iterdir())).metadata[b"huggingface"]
    features = json.loads(written)["info"]["features"]
    assert features.items() > json.loads(before)["info"]["features"].items()


def test_from_the_hub_to_the_hub(user: User) -> None:
    """A dataset that was pushed gets reflections where its run is not, and is pushed under another name."""
    pushed = user.job()
    assert pushed.returncode == 0, pushed.stderr
    given = user.folder / "run" / "RAW_DATA"
    flags = (f"--raw=someone/RAW_DATA-{NAME}", "--out=more", "--push_to=someone")
    done = user.run("tests.drive_reflections", "judge", *flags)
    assert done.returncode == 0, done.stderr
    made = user.folder / "more" / "RAW_DATA"
    assert_only_reflections_added(given, made)
    name = f"someone/RAW_DATA-{NAME}-reflected-skillfactory-tiny-3m"
    assert f"pushed      {user.hub.endpoint}/datasets/{name}, private" in done.stdout
    assert user.held(name) == content(made)
