"""The user's own questions: a .jsonl or .parquet file, or a hub dataset.

Each row needs a question and an answer. Without --grader, custom_facts chooses one for each row.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.texts import counted, first_line
from generation.grading import own
from generation.records import Question
from generation.tasks.custom_facts import Reading, perhaps, read_row
from generation.tasks.gold import WHOLE, is_placeholder
from generation.tasks.hub_rows import Place, Rows, json_object, load, parquet_rows
from generation.tasks.loaded import Intake, Row
from generation.tasks.task import MOST, Supplied, Task, Wanted, split

_KINDS = ".jsonl or .parquet"
_OBJECT = '{"question": "...", "answer": "..."}'
_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?::(?P<configuration>[^@]+))?(?:@(?P<revision>[\w./-]+))?")
_PACKED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz"})
_AS = {"number": "as a number", "math": "as mathematics", "countdown": "as countdown", "choice": "as a choice"}
"""How each grader reads a gold answer; "answer" compares its text."""
_WORD = re.compile(r"[^\W\d_]{2}")
_COUNT = re.compile(r"\s*[-+]?\d[\d.,]*(?: [^\W\d_]+){1,2}\s*")
_SIGN = re.compile(r"[\^=+*/(){}\[\]<>]|\d")
_DOUBTS: Sequence[tuple[str, Callable[[str], object]]] = (
    ("say only that there is none, and are taken as texts", is_placeholder),
    (
        "are long texts, which a sample must repeat; --answer_column names one with the final answer alone",
        lambda gold: len(gold) > 200 or "\n" in gold.strip(),
    ),
    (
        "look like numbers or mathematics and are compared as texts; --grader math compares what they say",
        lambda gold: _SIGN.search(gold) and not _WORD.search(gold),
    ),
    ("are a number and words and are compared as texts; --grader number compares the number", _COUNT.fullmatch),
)
"""Why a gold answer is hard to match, with a test for each; the last two only if no grader was named."""


def parse(text: str) -> tuple[str, int | None]:
    """Split PLACE or PLACE:COUNT; without a count it is None, for all. Raises ValueError for an impossible count."""
    where, colon, count = text.rpartition(":")
    if colon and where and re.fullmatch(r"[0-9]{1,12}", count):
        if not 1 <= int(count) <= MOST:
            raise ValueError(f"--questions {text}: the count after the colon must be between 1 and {MOST:,}")
        return where, int(count)
    if colon and Path(where).suffix in _READERS and Path(text).suffix not in _READERS:
        told = f"what follows the colon is {count!r}, and must be a count, as in {where}:500"
        raise ValueError(f"--questions {text}: {told}")
    return text, None


def task(text: str, reading: Reading) -> Task:
    """Return the task of this file or dataset. Like its `supply`, raises ValueError for whatever is wrong."""
    where, sft = parse(text)
    path = Path(where)
    if reading.grader is not None and reading.grader.endswith(own.SUFFIX):
        loaded = own.load(reading.grader)
        reading = reading._replace(grader=loaded.name, own=loaded)
    # Only the file's name, not its folder, so that moving it does not change the questions.
    name = path.stem if path.suffix in _READERS else where.partition(":")[0].partition("@")[0]
    kind = reading.own.answer_type if reading.own else "answer"
    return _Custom(name, f"questions of {where}", reading.grader or "answer", kind, where, sft, reading)


@dataclass(frozen=True)
class _Custom(Task):
    where: str
    sft: int | None
    reading: Reading

    def supply(self, wanted: Wanted) -> Supplied:
        where, reading = self.where, self.reading
        taken: dict[str, str] = {}

        def read(place: str, row: Row) -> Question:
            question, stood = read_row(place, row, reading, self.name, where)
            if stood != WHOLE:
                taken[question.key] = stood
            return question

        on_hub, rows = _find(where, reading)
        # Users cannot fix the rows of a hub dataset.
        intake = Intake(read, strict=not on_hub)
        questions = intake.take(rows)
        if not questions:
            dropped = f"{intake.notes[0]}; the first: {intake.first}" if intake.dropped else ""
            why = dropped or f"give at least one row; {reading.needs}"
            raise ValueError(f"--questions {where} holds no questions: {why}")
        intake.said.extend(_notes(questions, reading, taken))
        sft, rl = split(questions, wanted._replace(sft=self.sft), where)
        graders = Counter(question.grader for question in questions) if reading.grader is None else {}
        found = {"revision": intake.revision, "dropped": dict(intake.dropped), "graders": dict(graders)}
        given = reading._replace(own=None)._asdict()
        if reading.own:
            given["grader_sha256"] = reading.own.sha256
        config = {
            "questions": where,
            **{name: value for name, value in given.items() if value != Reading._field_defaults.get(name)},
            **{name: value for name, value in found.items() if value},
        }
        return Supplied(tuple(sft), tuple(rl), config, intake.notes)


def _notes(questions: Sequence[Question], reading: Reading, taken: Mapping[str, str]) -> Iterator[str]:
    """Yield notes on how gold answers were read, and which are hard to match; `taken` has FinalAnswer.where by key."""
    if reading.grader is None:
        first = {question.grader: question.answer for question in reversed(questions)}
        count = Counter(question.grader for question in questions).most_common()
        graded = (f"{n:,} {_AS.get(name, 'by its text')} (first {first[name][:40]!r})" for name, n in count)
        yield f"graded as the gold answers look, without --grader: {', '.join(graded)}"
    if places := Counter(taken[question.key] for question in questions if question.key in taken):
        yield f"of {places.total():,} gold answers the final answer alone is taken: {counted(places)}"
    if reading.own:
        yield f"graded by {reading.own.name}: {reading.own.line}"
    golds = [question.answer for question in questions if question.grader in ("answer", "exact")]
    for what, is_doubtful in _DOUBTS[: None if reading.grader is None else 2]:
        if doubtful := [gold for gold in golds if is_doubtful(gold)]:
            yield f"{len(doubtful):,} gold answers {what} (first {doubtful[0][:40]!r})"


def _find(where: str, reading: Reading) -> tuple[bool, Rows]:
    """Return True for a hub dataset, and the rows. Raises ValueError, also later, during iteration."""
    path, hub = Path(where), _HUB.fullmatch(where)
    is_file = path.suffix in _READERS
    if os.path.isdir(path):
        # No deeper: it may be the root of a file system.
        there = sorted(one for kind in _READERS for depth in ("*", "*/*") for one in path.glob(depth + kind))[:5]
        such = f", such as {', '.join(map(str, there))}" if there else ""
        raise ValueError(f"--questions {where} is a folder: give a {_KINDS} file{such}")
    if reading.split is not None and (hub is None or is_file):
        raise ValueError(f"--split {reading.split} is for a hub dataset: leave it out with --questions {where}")
    if is_file:
        if not os.path.exists(path):
            several = "give one file, and join several into it"
            remedy = several if "," in where else "give one that is, or how many to make"
            raise ValueError(f"--questions file {where} is not there: {remedy}")
        if not os.path.isfile(path):
            raise ValueError(f"--questions {where} is no ordinary file: give one that is")
        return False, Rows(_READERS[path.suffix](path, reading))
    if os.path.exists(path):
        remedy = f"give one of these, such as a .jsonl file with a line {_OBJECT} for each question"
        if path.suffix in _PACKED:
            remedy = "unpack it first"
        elif path.suffix.lower() in _READERS:
            remedy = f"rename it to end in {path.suffix.lower()}"
        raise ValueError(f"--questions {where} is no {_KINDS} file: {remedy}")
    if hub is None:
        raise ValueError(f"--questions {where!r} is no count, no {_KINDS} file, and no hub dataset (owner/name)")
    place = Place(hub["repository"], hub["configuration"], reading.split or "train", hub["revision"])
    rows = load(place, f"--questions dataset {place.shown}", reading.columns)
    _check_columns(f"dataset {place.shown}", rows.columns, reading)
    return True, rows


def json_lines(path: Path, such: str = _OBJECT) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place, for the user, and object of each line that is not blank. Raises ValueError, advising `such`."""
    row = f"each line must be one object such as {such}"
    try:
        # -sig: some editors write a byte order mark.
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                place = f"{path} line {number}"
                if line.strip():
                    yield place, json_object(line)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text: {error}; save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; give a file that can be") from error
    except KeyError as error:
        raise ValueError(f"{place} gives {error.args[0][:60]!r} twice: give it once") from error
    except TypeError as error:
        raise ValueError(f"{place} is no JSON object; {row}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is no JSON, torn perhaps: {error}; {row}") from error


def _parquet(path: Path, reading: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(str(path), file.schema_arrow.names, reading)
            yield from parquet_rows(str(path), file, reading.columns)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as parquet: {first_line(error)}; write the file again") from error


def _check_columns(place: str, names: Sequence[str], reading: Reading) -> None:
    """Raise ValueError, listing the columns there are, if one is missing or duplicated."""
    for flag in ("question_column", "answer_column"):
        column = getattr(reading, flag)
        if column not in names:
            there = ", ".join(names)[:200] or "none"
            meant = perhaps(flag, column, names)
            raise ValueError(f"{place} has no column {column!r}: name the right one with --{flag}, of {there}{meant}")
        if list(names).count(column) > 1:
            raise ValueError(f"{place} has two columns {column!r}: rename one of them")


_READERS: dict[str, Callable[[Path, Reading], Iterator[tuple[str, dict[str, Any]]]]] = {
    ".jsonl": lambda path, _: json_lines(path),
    ".parquet": _parquet,
}
