"""The finished items of a run, in shards; all others are owed, but for the failed ones, which failures.py keeps.

A shard is a parquet file with all rows of its items, which are finished whatever failed.json says. In a run that has
grown, shards say how much was asked of their items; a later one holds all rows of an item again, with those it lacked.
"""

import errno
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, KeysView, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.errors import StoreGoneError, TornShardError
from cluster.jobs.atomic import TEMPORARY, Fill, replace_folder, sync, written_beside
from cluster.jobs.growth import Amounts, Asked

KEY = "question_key"
ROW_GROUP_ROWS = 1000  # a row group has whole items, up to this many rows; a merge keeps no more in memory
ROWS_PER_FILE = 50_000
_TORN = "torn"
_ASKED = b"skillfactory.asked"  # in a shard's metadata: how much was asked of its items, as JSON
_UNREADABLE = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError)  # raised for bytes that are no parquet file
_NUMBER = re.compile(r"([0-9]+)-")
WRITING = {
    "compression": "zstd",
    "compression_level": 3,
    "version": "2.6",
    "write_page_checksum": True,
    # The whole minimum and maximum text of each column would fill the footer, and pyarrow 26 now and then misses an
    # empty text, so that the same rows had different bytes, and a reader's filter could lose rows.
    "write_statistics": False,
}


class ShardStore:
    """The shards of one run, whose lock this process holds. Raises ValueError for a shard with other columns.

    Opening removes the half-written files of a dead driver, and moves shards that cannot be read into `torn/`.
    """

    def __init__(
        self, folder: Path, *, schema: pa.Schema, sort_by: Sequence[str], key: str = KEY, asked: Asked | None = None
    ) -> None:
        """Open the shards. Rows with the same `key` are an item; the columns `sort_by` order and distinguish them."""
        assert {key, *sort_by} <= set(schema.names)
        self._folder, self._schema, self._sort_by, self._key = folder, schema, [*sort_by], key
        self._asked = asked or Asked()
        self._shard_of, self._rows_of = dict[str, Path](), dict[str, int]()
        self._begun = dict[str, Path]()  # likewise of the items that lack something
        folder.mkdir(parents=True, exist_ok=True)
        self._opened = folder.stat()
        for stale in folder.glob(f"{TEMPORARY}*"):
            stale.unlink()
        self.torn: list[Path] = []  # shards that could not be read, where they are now; their items are owed again
        self.repeated: list[str] = []  # items in more than one shard; the first shard by name counts
        for shard in sorted(folder.glob("*.parquet")):
            try:
                table = self._read(shard, [key])
                self.repeated += self._add(shard, table, _asked_in(pq.read_schema(shard), self._asked))
            except TornShardError:
                self.torn.append(folder / _TORN / shard.name)
        # Including those of shards set aside: a number is never reused.
        numbers = (_NUMBER.match(path.name) for path in folder.rglob("*.parquet"))
        self._next = 1 + max((int(found[1]) for found in numbers if found), default=-1)

    def finished(self) -> KeysView[str]:
        """Return the keys of the finished items: a view that grows with each shard."""
        return self._shard_of.keys()

    def begun(self) -> KeysView[str]:
        """Return the keys of the items that have rows and lack others: a view that shrinks with each shard."""
        return self._begun.keys()

    def safe(self) -> list[str]:
        """Return the keys of the finished items whose shards still exist."""
        there = {shard for shard in set(self._shard_of.values()) if shard.exists()}
        return [key for key, shard in self._shard_of.items() if shard in there]

    def write_shard(self, table: pa.Table) -> Path:
        """Durably write all rows of new items. Raises OSError, StoreGoneError if the store's folder was replaced."""
        assert table.num_rows > 0
        assert table.schema.equals(self._schema)
        keys = sorted(set(table[self._key].to_pylist()))
        assert self._shard_of.keys().isdisjoint(keys), "an item is finished once"
        digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
        shard = self._folder / f"{self._next:08d}-{digest}.parquet"
        if not self._folder.exists() or not os.path.samestat(self._folder.stat(), self._opened):
            raise StoreGoneError(self._folder)
        try:
            with written_beside(shard) as temporary:
                pq.write_table(self._told(table), temporary, **WRITING)
        except FileNotFoundError as error:
            raise StoreGoneError(self._folder) from error
        self._next += 1
        self._add(shard, table, self._asked.now)
        return shard

    def _told(self, table: pa.Table) -> pa.Table:
        """Return the table as its shard says how much was asked of its items, if that is more than at first."""
        if self._asked.now == self._asked.first:
            return table
        return table.replace_schema_metadata({**(table.schema.metadata or {}), _ASKED: json.dumps(self._asked.now)})

    def _held(self, keys: Collection[str]) -> dict[Path, list[str]]:
        """Return which of these items each shard holds, as far as it counts."""
        held: dict[Path, list[str]] = {}
        for key in keys:
            held.setdefault(self._shard_of.get(key) or self._begun[key], []).append(key)
        return held

    def read(self, keys: Sequence[str]) -> pa.Table:
        """Return the rows of these items, in this order, each item's sorted. Raises TornShardError."""
        parts = [self._schema.empty_table()]
        for shard, of_shard in self._held(keys).items():
            table = self._read(shard)
            parts.append(table.filter(pc.is_in(table[self._key], value_set=pa.array(of_shard))))
        table = pa.concat_tables(parts)
        assert table.num_rows == sum(self._rows_of[key] for key in keys), "a row was lost"
        ranks = pc.index_in(table[self._key], value_set=pa.array(keys, pa.string()))
        places = table.select(self._sort_by).add_column(0, self._key, ranks)
        assert places.group_by(places.column_names).aggregate([]).num_rows == table.num_rows, "rows that sort alike"
        order = pc.sort_indices(places, sort_keys=[(name, "ascending") for name in places.column_names])
        # One chunk, or the shards' boundaries would show in the file's pages.
        return table.take(order).combine_chunks()

    def scan(self, keys: Collection[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of these items shard by shard, in `columns`, the key's among them, or in all.

        Raises TornShardError.
        """
        for shard, of_shard in sorted(self._held(keys).items()):
            table = self._read(shard, columns)
            yield table.filter(pc.is_in(table[self._key], value_set=pa.array(of_shard)))

    def merge(
        self,
        order: Sequence[str],
        destination: Path,
        *,
        others: Collection[str] = (),
        rows_per_file: int = ROWS_PER_FILE,
        rows_per_group: int = ROW_GROUP_ROWS,
        restate: Callable[[pa.Table], pa.Table] = lambda rows: rows,
        finish: Fill | None = None,
        split: str = "train",
    ) -> None:
        """Make `destination/data/SPLIT-*.parquet` from the items in `order`, whose keys have rows, in that order.

        A file has whole items, up to `rows_per_file` rows unless one item has more, and likewise its row groups. The
        same rows give the same bytes, whatever shards they are in. `restate` sets what rows say of the whole run, and
        `finish` adds the rest of the folder, such as its card. Raises ValueError if shards hold items that are neither
        in `order` nor among the `others` that stay in shards, TornShardError, and as replace_folder does.
        """
        if unknown := sorted((self._shard_of.keys() | self._begun.keys()) - {*order, *others}):
            problem = f"{len(unknown)} questions that this run does not ask, such as {unknown[0]}"
            raise ValueError(f"{self._folder} holds {problem}; give the folder of another run, or a new one")

        def build(folder: Path) -> None:
            (folder / "data").mkdir()
            files = pack(order, self._rows_of, rows_per_file)
            for number, keys in enumerate(files):
                path = folder / "data" / f"{split}-{number:05d}-of-{len(files):05d}.parquet"
                with pq.ParquetWriter(path, self._schema, **WRITING) as writer:
                    for group in pack(keys, self._rows_of, rows_per_group):
                        rows = restate(self.read(group))
                        writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
            if finish is not None:
                finish(folder)

        replace_folder(build, destination)

    def _add(self, shard: Path, table: pa.Table, asked: Amounts) -> list[str]:
        """Record which items are in a shard; return those that are finished by an earlier one."""
        assert table[self._key].null_count == 0
        repeated = []
        for key, count in Counter(table[self._key].to_pylist()).items():
            if key in self._shard_of:
                if self._asked.whole(key, asked):
                    repeated.append(key)
                continue
            # Of an item that lacked something the later shard has more.
            self._rows_of[key] = count
            if self._asked.whole(key, asked):
                self._begun.pop(key, None)
                self._shard_of[key] = shard
            else:
                self._begun[key] = shard
        return repeated

    def _read(self, shard: Path, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a shard. If its bytes are damaged, set it aside and raise TornShardError."""
        try:
            with pq.ParquetFile(shard, page_checksum_verification=True) as file:
                if differing := differing_columns(file.schema_arrow, self._schema):
                    problem = f"{shard} has other columns than are written now ({', '.join(differing)})"
                    raise ValueError(f"{problem}; go on with the version that made it, or give another folder")
                return file.read(columns).replace_schema_metadata(self._schema.metadata)
        except _UNREADABLE as error:
            # A missing permission, for example, says nothing about the bytes.
            if isinstance(error, OSError) and error.errno not in (None, errno.EIO):
                raise
            # Never deleted: someone may want to look at it.
            kept = self._folder / _TORN / shard.name
            kept.parent.mkdir(exist_ok=True)
            assert not kept.exists(), "shard numbers are never used again"
            os.replace(shard, kept)
            sync(kept.parent)
            sync(self._folder)
            for holders in (self._shard_of, self._begun):
                for key in [key for key, holder in holders.items() if holder == shard]:
                    del holders[key], self._rows_of[key]
            problem = f"{shard} could not be read and is kept as {kept}"
            raise TornShardError(f"{problem}; the same command makes its questions again") from error


def finished_in(folder: Path, key: str, asked: Asked | None = None) -> set[str]:
    """Return the keys in the readable shards of a folder, which need not exist, of what is asked. Changes nothing."""
    return {one for rows in rows_in(folder, key, asked, [key]) for one in rows[key].to_pylist()}


def rows_in(
    folder: Path, key: str, asked: Asked | None = None, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the rows in the readable shards of a folder, which need not exist, by name, if their items lack nothing.

    Changes nothing there.
    """
    asked = asked or Asked()
    for shard in _shards(folder):
        with suppress(*_UNREADABLE, KeyError), pq.ParquetFile(shard) as file:
            rows, had = file.read(columns), _asked_in(file.schema_arrow, asked)
            lacking = [one for one in rows[key].unique().to_pylist() if not asked.whole(one, had)]
            if lacking:
                rows = rows.filter(pc.invert(pc.is_in(rows[key], value_set=pa.array(lacking))))
            if rows.num_rows:
                yield rows.replace_schema_metadata(None)


def _asked_in(schema: pa.Schema, asked: Asked) -> Amounts:
    """Return how much was asked of the items of a shard."""
    told = (schema.metadata or {}).get(_ASKED)
    return asked.first if told is None else dict(json.loads(told))


def _shards(folder: Path) -> list[Path]:
    """Return the shards by name, without what a killed driver was writing, which may be whole and is no shard."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith(TEMPORARY))


def pack(keys: Sequence[str], rows: Mapping[str, int], limit: int) -> list[list[str]]:
    """Split the keys, in order, into one or more runs of up to `limit` rows, or of one key that has more."""
    runs: list[list[str]] = [[]]
    held = 0
    for key in keys:
        if runs[-1] and held + rows[key] > limit:
            runs.append([])
            held = 0
        runs[-1].append(key)
        held += rows[key]
    return runs


def differing_columns(one: pa.Schema, other: pa.Schema) -> list[str]:
    """Return the names of the columns that differ between the schemas; none if the schemas are equal."""
    if one.equals(other):
        return []
    # In lists, because equal fields may have different hashes.
    differing = {field.name for field in (*one, *other) if field not in [*one] or field not in [*other]}
    return sorted(differing) or ["their order"]
