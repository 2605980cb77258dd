"""Shards and merge: nothing finished is lost, nothing half written counts, and the same rows give the same bytes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import TornShardError
from cluster.jobs.store import ShardStore, pack
from tests.killed import run_killed_at_rename

SCHEMA = pa.schema(
    [
        pa.field("question_key", pa.string(), nullable=False),
        pa.field("variant", pa.string()),
        pa.field("index", pa.int32()),
        pa.field("texts", pa.list_(pa.string())),
    ],
    metadata={"made_by": "a test"},
)
WRITE = """
from pathlib import Path
from tests.test_store import open_store, rows_of
import pyarrow as pa
open_store(Path(sys.argv[1])).write_shard(rows_of({"new": 3}))
"""

Questions = Mapping[str, int]
questions = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 5), min_size=1, max_size=12)


def open_store(folder: Path) -> ShardStore:
    return ShardStore(folder / "shards", schema=SCHEMA, sort_by=["variant", "index"])


def rows_of(wanted: Questions) -> pa.Table:
    """So many rows of each question, the same whenever asked; a null and an empty list among them."""
    rows = []
    for key, count in wanted.items():
        draw = random.Random(key)
        for index in range(count):
            texts = [draw.choice(["é{", "", "long " * 50]) for _ in range(draw.randrange(3))]
            variant = draw.choice(["a", None])
            rows.append({"question_key": key, "variant": variant, "index": index, "texts": texts})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_in(store: ShardStore, wanted: Questions, *, shards: int, order: random.Random) -> None:
    """Deal the questions to shards, and the rows within each, in an order drawn."""
    keys = list(wanted)
    order.shuffle(keys)
    for part in (keys[start::shards] for start in range(shards)):
        table = rows_of({key: wanted[key] for key in part})
        if part:
            places = list(range(table.num_rows))
            order.shuffle(places)
            store.write_shard(table.take(places))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def read_all(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for path in sorted((folder / "data").iterdir()):
        rows += pq.read_table(path).to_pylist()
    return rows


@settings(deadline=None, max_examples=40)
@given(questions, st.integers(1, 4), st.randoms(use_true_random=False))
def test_what_is_written_is_finished_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, int], shards: int, order: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = open_store(folder)
    write_in(store, wanted, shards=shards, order=order)
    again = open_store(folder)
    assert store.finished() == again.finished() == frozenset(wanted)
    for one in (store, again):
        assert one.read(sorted(one.finished())).num_rows == sum(wanted.values())
    assert (again.torn, again.repeated) == ([], [])
    again.merge(sorted(wanted), folder / "made")
    found = read_all(folder / "made")
    expected = rows_of(dict(sorted(wanted.items()))).to_pylist()
    assert [row["question_key"] for row in found] == [row["question_key"] for row in expected]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    for row, after in pairwise(found):
        if row["question_key"] == after["question_key"]:
            places = [(one["variant"] is None, one["index"]) for one in (row, after)]
            assert places[0] < places[1], "sorted by variant, nulls last, then by index"


@settings(deadline=None, max_examples=40)
@given(questions, st.integers(1, 20), st.integers(1, 5), st.randoms(use_true_random=False))
def test_a_merge_has_the_same_bytes_whatever_the_shards(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, int], limit: int, shards: int, order: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("store")
    one, many = open_store(folder / "one"), open_store(folder / "many")
    one.write_shard(rows_of(wanted))
    write_in(many, wanted, shards=shards, order=order)
    keys = list(wanted)
    order.shuffle(keys)
    one.merge(keys, folder / "one" / "made", rows_per_file=limit)
    open_store(folder / "many").merge(keys, folder / "many" / "made", rows_per_file=limit)
    assert bytes_of(folder / "one" / "made") == bytes_of(folder / "many" / "made")


def test_row_groups_and_files_hold_whole_questions(tmp_path: Path) -> None:
    """More rows than a row group and than a file; dealt to many shards and to one, the bytes agree."""
    wanted = {f"q{number:03}": 64 for number in range(40)}
    layouts = []
    for shards in (1, 7):
        store = open_store(tmp_path / str(shards))
        write_in(store, wanted, shards=shards, order=random.Random(shards))
        store.merge(list(wanted), tmp_path / str(shards) / "made", rows_per_file=1500)
        layouts.append(bytes_of(tmp_path / str(shards) / "made"))
    assert layouts[0] == layouts[1]
    assert list(layouts[0]) == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    first = pq.ParquetFile(tmp_path / "1" / "made" / "data" / "train-00000-of-00002.parquet")
    assert [first.metadata.row_group(n).num_rows for n in range(first.num_row_groups)] == [960, 512]
    assert first.schema_arrow.equals(SCHEMA)
    assert first.schema_arrow.metadata == SCHEMA.metadata


@pytest.mark.parametrize(
    ("keys", "limit", "runs", "why"),
    [
        ("", 3, [""], "no rows are one empty file"),
        ("aaa", 1, ["a", "a", "a"], "one each"),
        ("abc", 3, ["ab", "c"], "a and b fill it"),
        ("cab", 3, ["c", "ab"], "never over the limit"),
        ("adb", 3, ["a", "d", "b"], "what is over the limit alone stands alone"),
    ],
)
def test_pack(keys: str, limit: int, runs: Sequence[str], why: str) -> None:
    assert pack(list(keys), {"a": 1, "b": 2, "c": 3, "d": 4}, limit) == [list(run) for run in runs], why


@settings(deadline=None, max_examples=40)
@given(questions, st.integers(1, 4), st.randoms(use_true_random=False), st.floats(0, 1, exclude_max=True))
def test_a_torn_shard_is_owed_again_and_nothing_else_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: dict[str, int],
    shards: int,
    order: random.Random,
    at: float,
) -> None:
    folder = tmp_path_factory.mktemp("store")
    write_in(open_store(folder), wanted, shards=shards, order=order)
    shard = order.choice(sorted((folder / "shards").glob("*.parquet")))
    lost = set(pq.read_table(shard, columns=["question_key"])["question_key"].to_pylist())
    torn = shard.read_bytes()[: int(at * shard.stat().st_size)]
    shard.write_bytes(torn)
    store = open_store(folder)
    assert store.finished() == wanted.keys() - lost
    assert [path.read_bytes() for path in store.torn] == [torn], "set aside, not deleted"
    assert open_store(folder).torn == [], "told once"
    redone = store.write_shard(rows_of({key: wanted[key] for key in sorted(lost)}))
    assert redone.name not in {path.name for path in store.torn}, "a number is never used again"
    assert open_store(folder).finished() == wanted.keys()


def test_a_byte_gone_bad_is_found_by_the_merge(tmp_path: Path) -> None:
    """The key column still reads; the checksum of another column's page tells."""
    open_store(tmp_path).write_shard(rows_of({"good": 2}))
    bad = open_store(tmp_path).write_shard(rows_of({"bad": 3}))
    column = pq.ParquetFile(bad).metadata.row_group(0).column(3)
    data = bytearray(bad.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start + column.total_compressed_size - 1] ^= 0xFF
    bad.write_bytes(data)
    store = open_store(tmp_path)
    with pytest.raises(TornShardError, match="the same command makes its questions again"):
        store.merge(["good", "bad"], tmp_path / "made")
    assert not (tmp_path / "made").exists()
    assert store.finished() == open_store(tmp_path).finished() == {"good"}
    assert (tmp_path / "shards" / "torn" / bad.name).read_bytes() == data


@pytest.mark.parametrize(("nth", "finished"), [(1, {"old"}), (2, {"old", "new"})])
def test_a_writer_killed_at_its_rename_leaves_the_store_as_it_was(tmp_path: Path, nth: int, finished: set[str]) -> None:
    shard = open_store(tmp_path).write_shard(rows_of({"old": 2}))
    before = shard.read_bytes()
    assert run_killed_at_rename(nth, WRITE, tmp_path) == (nth == 1), "one rename finishes a shard"
    assert len(list((tmp_path / "shards").glob(".tmp-*"))) == (1 if nth == 1 else 0)
    store = open_store(tmp_path)
    assert store.finished() == finished
    assert not store.torn
    assert shard.read_bytes() == before
    assert not list((tmp_path / "shards").glob(".tmp-*")), "what the dead one left is gone"


def test_a_question_in_two_shards_counts_once_and_is_told(tmp_path: Path) -> None:
    """Two stores that do not know each other, as if the lock had failed."""
    one, two = open_store(tmp_path / "one"), open_store(tmp_path / "two")
    one.write_shard(rows_of({"a": 2}))
    two.write_shard(rows_of({"c": 1}))
    shard = two.write_shard(rows_of({"a": 2, "b": 1}))
    shard.rename(tmp_path / "one" / "shards" / shard.name)
    store = open_store(tmp_path / "one")
    assert store.repeated == ["a"]
    assert store.finished() == {"a", "b"}
    assert store.read(["a", "b"]).num_rows == 3
    store.merge(["a", "b"], tmp_path / "made")
    assert [row["question_key"] for row in read_all(tmp_path / "made")] == ["a", "a", "b"]
    with pytest.raises(AssertionError, match="finished once"):
        store.write_shard(rows_of({"b": 1}))


def test_rows_that_sort_alike_are_a_crash(tmp_path: Path) -> None:
    """Their order would depend on who made them."""
    store = open_store(tmp_path)
    table = rows_of({"a": 1})
    store.write_shard(pa.concat_tables([table, table]))
    with pytest.raises(AssertionError, match="sort alike"):
        store.merge(["a"], tmp_path / "made")


def test_shards_of_other_columns_or_questions_are_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    shard = store.write_shard(rows_of({"a": 1, "b": 1}))
    with pytest.raises(ValueError, match="2 questions that this run does not ask, such as a"):
        store.merge([], tmp_path / "made")
    pq.write_table(pq.read_table(shard).drop_columns(["index"]), shard)
    with pytest.raises(ValueError, match=r"other columns than are written now \(index\)"):
        open_store(tmp_path)
    assert shard.exists(), "not torn: only of another version"


def test_a_merge_without_rows_is_a_dataset_too(tmp_path: Path) -> None:
    def finish(folder: Path) -> None:
        (folder / "README.md").write_text("a card")

    open_store(tmp_path).merge([], tmp_path / "made", finish=finish)
    (path,) = (tmp_path / "made" / "data").iterdir()
    assert path.name == "train-00000-of-00001.parquet"
    assert pq.read_table(path).schema.equals(SCHEMA)
    assert (tmp_path / "made" / "README.md").read_text() == "a card"
