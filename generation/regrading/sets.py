"""A set graded again, part by part on several processes; its bytes do not depend on how many.

Each part, some row groups of a file, becomes a file of its own, so that nothing has to be put together.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.jobs.atomic import check_replaceable, replace_folder
from cluster.jobs.card import UNKNOWN, Split
from cluster.jobs.processes import workers
from cluster.jobs.progress import follow
from cluster.jobs.run_directory import now, this_command
from cluster.jobs.store import ROW_GROUP_ROWS, WRITING, differing_columns
from cluster.paths import check_dataset_folder
from generation.raw.files import find_files, origin_of, reading
from generation.raw.questions import Chosen
from generation.records import Question
from generation.regrading.changes import Changes, changes_in
from generation.regrading.columns import Kind, Layout, layout_of
from generation.regrading.report import Figures, as_json, card_of
from generation.regrading.rows import new_rows, reader_of, rows_of, work_on
from generation.tasks.gold import MOST_OWN, check_own

CHANGES = "regraded.json"  # the file of a set made here that says what was changed
_PART_BYTES = 64 << 20  # of all columns, uncompressed
_BATCH_BYTES = 16 << 20
_FEWEST = 16  # rows of a batch, and so of a row group, however long they are
_LONGEST = 500  # characters of a message
_SPLIT = re.compile(r"(?P<split>[A-Za-z]\w*)-\d{5}-of-\d{5}")


class Piece(NamedTuple):
    """Consecutive row groups of a file, and the file that they become."""

    path: Path
    layout: Layout
    groups: tuple[int, ...]
    first_row: int  # index of its first row in the file
    rows: int
    size: int  # bytes of all its columns, uncompressed
    split: str

    @property
    def batch_rows(self) -> int:
        """Return how many rows are held in memory at a time: an evaluation's may hold many long replies."""
        return max(_FEWEST, min(ROW_GROUP_ROWS, _BATCH_BYTES * self.rows // max(self.size, 1)))


def regrade(
    what: str,
    kind: Kind,
    out: Path,
    chosen: Chosen,
    processes: int | None = None,
    *,
    license: str = UNKNOWN,
    figures: Figures | None = None,
) -> Changes:
    """Replace `out` with the set, its responses graded again, and return what that changed.

    Uses as many processes as cores by default. `figures` is asked once the files are there, for the card. Raises
    ValueError for paths, files and rows that cannot be used, CannotStartError; `out` is unchanged then.
    """
    begun, command = time.monotonic(), this_command(state="graded again")
    files = find_files(what, kind.name)
    check_destination(out, what, files)
    pieces = pieces_of(what, files, kind)
    if chosen.task is not None:
        _check_task(chosen.task, what, pieces)
    if chosen.own is not None:
        _check_golds(chosen, pieces)
    origin, changes = origin_of(what, files), Changes()

    def build(folder: Path) -> None:
        splits = _write(pieces, folder, changes, chosen, processes)
        if not changes.graders:
            why, first = next(iter(changes.first_kept.items()))
            raise ValueError(f"{what}: no row can be graded: {why}; the first: {first}"[:_LONGEST])
        told = json.dumps(as_json(changes, chosen), indent=2, ensure_ascii=False)
        (folder / CHANGES).write_text(f"{told}\n", encoding="utf-8")
        ended = {"ended": now(), "seconds": time.monotonic() - begun, "rows": changes.rows}
        facts = {
            "kind": kind,
            "chosen": chosen,
            "license": license,
            "starts": [command | ended],
            "figures": figures(folder) if figures else "",
        }
        card = card_of(changes, splits, pieces[0].layout.written, origin, facts)
        (folder / "README.md").write_text(card, encoding="utf-8")

    replace_folder(build, out)
    return changes


def _write(
    pieces: Sequence[Piece], folder: Path, changes: Changes, chosen: Chosen, processes: int | None
) -> list[Split]:
    """Write the files of all pieces, add what changed, and return the splits that they are of."""
    (folder / "data").mkdir()
    totals = Counter(piece.split for piece in pieces)
    files: dict[str, list[Path]] = {split: [] for split in totals}
    paths = []
    for piece in pieces:
        number = len(files[piece.split])
        paths.append(folder / "data" / f"{piece.split}-{number:05}-of-{totals[piece.split]:05}.parquet")
        files[piece.split].append(paths[-1])
    pool = workers(min(processes or os.cpu_count() or 1, len(pieces)))
    memory = Counter[str]()
    with pool or nullcontext():
        made = (pool.map if pool else map)(partial(regrade_piece, chosen=chosen), pieces, paths)
        for piece, found in zip(pieces, follow(made, len(pieces), "regrading", "parts"), strict=True):
            changes.extend(found)
            memory[piece.split] += found.memory
    rows = Counter[str]()
    for piece in pieces:
        rows[piece.split] += piece.rows
    assert changes.rows == rows.total(), "rows were lost on the way"
    return [Split(rows[split], memory[split], files[split], split, f"data/{split}-*") for split in totals]


def check_destination(out: Path, what: str, files: Sequence[Path]) -> None:
    """Raise ValueError unless `out` is absent, empty or a set that was graded again, and apart from the set to read."""
    check_dataset_folder(out)
    if out.suffix == ".py":
        raise ValueError(f"--out {out}: `datasets` takes a folder that ends in .py for a script; give another")
    try:
        real = out.resolve()
        held = files[0].resolve().parent
        held = held.parent if held.name == "data" else held
        whole = Path(what).is_dir() or files[0].parent.name == "data"  # not one file among others
        if Path(what).exists() and (held == real or (whole and held in real.parents)):
            raise ValueError(f"--out {out} is in the set to read, which stays as it is: give another folder")
        if Path(what).exists() and any(real in path.resolve().parents for path in files):
            raise ValueError(f"--out {out} would be replaced, and holds the set to read: give another folder")
        check_replaceable(out)
        if out.exists() and any(out.iterdir()) and not _is_regraded(out):
            raise ValueError(f"--out {out} holds something else than a set graded again: give another folder")
    except OSError as error:
        raise ValueError(f"--out {out} cannot be used: {error.strerror}; give another folder") from error


def _is_regraded(folder: Path) -> bool:
    with suppress(OSError, ValueError, TypeError):
        return "regraded" in json.loads((folder / CHANGES).read_text(encoding="utf-8"))
    return False


def pieces_of(what: str, files: Sequence[Path], kind: Kind, part_bytes: int = _PART_BYTES) -> list[Piece]:
    """Return the pieces of a set, in order. Raises ValueError if it has no rows, or files of different columns."""
    pieces: list[Piece] = []
    first: pa.Schema | None = None
    for path in files:
        with reading(path), pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            layout, row = layout_of(schema, path, kind), 0
            first = first or schema
            if names := differing_columns(schema, first):
                raise ValueError(f"{path}: other columns than {files[0].name}: {', '.join(names)}")
            found = _SPLIT.match(path.name)
            split = found["split"] if found else ("test" if layout.is_eval else "train")
            for number in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(number)
                size = group.total_byte_size
                if row and (last := pieces[-1]).size + size <= part_bytes:
                    groups = (*last.groups, number)
                    pieces[-1] = last._replace(groups=groups, rows=last.rows + group.num_rows, size=last.size + size)
                elif group.num_rows:
                    pieces.append(Piece(path, layout, (number,), row, group.num_rows, size, split))
                row += group.num_rows
    if not pieces:
        raise ValueError(f"{what}: holds no rows")
    return pieces


def _check_task(task: str, what: str, pieces: Sequence[Piece]) -> None:
    """Raise ValueError unless a row is of this task."""
    seen: dict[str, None] = {}
    for piece in pieces:
        if (column := piece.layout.there.get("task")) is None:
            continue
        with reading(piece.path), pq.ParquetFile(piece.path) as file:
            for batch in file.iter_batches(65_536, row_groups=list(piece.groups), columns=[column]):
                seen |= dict.fromkeys(map(str, pc.unique(batch.column(0)).to_pylist()))
        if task in seen:
            return
    there = ", ".join(list(seen)[:8]) or "none, as it has no such column"
    raise ValueError(f"--task: no row of {what} is of the task {task!r}; its tasks are {there}")


def _check_golds(chosen: Chosen, pieces: Sequence[Piece]) -> None:
    """Raise ValueError if the user's own grader fails the first gold answers, as at the beginning of a run."""
    read, found = reader_of(chosen), dict[str, Question]()
    for piece in pieces:
        for batch in _batches(piece):
            rows = (read(row).question for row in rows_of(batch, piece.layout))
            found |= {question.key: question for question in rows if question is not None and question.program}
            if len(found) >= MOST_OWN:
                break
        if found:
            break
    check_own([*found.values()])


def _batches(piece: Piece) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a piece. Raises ValueError, naming the row, for a file that cannot be read."""
    row = piece.first_row
    with reading(piece.path):
        file = pq.ParquetFile(piece.path)

    def read() -> pa.RecordBatch | None:
        # Not around the yield: what befalls a batch afterwards is no fault of the file.
        with reading(piece.path, lambda: row):
            if (batch := next(batches, None)) is not None:
                batch.validate(full=True)
            return batch

    with file:
        batches = file.iter_batches(piece.batch_rows, row_groups=list(piece.groups))
        while (batch := read()) is not None:
            yield batch
            row += batch.num_rows


def regrade_piece(piece: Piece, path: Path, *, chosen: Chosen) -> Changes:
    """Write the rows of a piece, graded again, to `path`. Raises ValueError, naming the row, for what cannot be."""
    read, found, row = reader_of(chosen), Changes(), piece.first_row
    layout = piece.layout
    with pq.ParquetWriter(path, layout.written, **WRITING) as writer:
        for batch in _batches(piece):
            rows = rows_of(batch, layout)
            questions = [read(one) for one in rows]
            for place, one in enumerate(questions):
                if one.needed:
                    raise ValueError(f"--grader: row {row + place:,} of {piece.path}: {one.told}")
            work = work_on(batch, layout, questions)
            written = new_rows(work)
            more = changes_in(work, rows, piece.path.name, row)
            more.memory = written.nbytes
            writer.write_batch(written, row_group_size=written.num_rows)
            found.extend(more)
            row += batch.num_rows
    assert row == piece.first_row + piece.rows, "a row was lost"
    return found
