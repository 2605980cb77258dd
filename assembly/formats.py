"""The trace formats: how each picks its attempts and how it ends. They are data, rows of `formats.toml`."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from cluster.text_tables import TextTable, open_table
from cluster.texts import nearest

TOO_FEW = "fewer usable attempts than asked for"
TOO_FEW_CORRECT = "too few correct attempts"
TOO_FEW_INCORRECT = "too few incorrect attempts"
TOO_ALIKE = "too few usable attempts that --unique_variants or --max_similarity lets stand in one trace"
NOT_RETRIED = "no retry mended a wrong attempt"
NO_FALSE_STEP = "no retry mended an attempt whose first false step is known"
FAULTY = "each trace that was drawn shows a fault of --drop_faults"

THINK, NO_TAG = "think", "none"
TAG = re.compile(r"[a-z][a-z0-9_]{0,31}")
KEPT_TAGS = {"answer", "verdict"}  # of what stands in a trace, and so not of its frame
Lengths = Literal["one", "all", "each", "used_up", "alone", "retried", "cut"]
"""1 attempt; N attempts; a trace for each of 1..N; until no correct one is left; each correct sample by itself; each
wrong sample with the retry that mended it, whole or cut behind its first false step."""
Review = Literal["backtrack", "confirm", "none"]
_BLOCKS = ("reflection", "glue", "ending")
_KEYS = ("label", "attempts", "last", "earlier", "earlier_correct", "whole_pool", "blocks", "review")
_NOT_OF_RETRIES = ("last", "earlier", "earlier_correct", "whole_pool", "review")
_CORRECTNESS = {"correct": True, "incorrect": False, "any": None}
_EARLIER = ("incorrect", "any")
_MOST = 1000


class Attempts(NamedTuple):
    """How many attempts a trace has: `most`, or if `least` is given, anything in between."""

    least: int | None
    most: int

    @property
    def fewest(self) -> int:
        return self.least or self.most


@cache
def read_attempts(text: str) -> Attempts:
    """Parse `5` or `2-5`. Raises ValueError."""
    found = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,4})", text)
    if found is None or not 1 <= int(found[1] or 1) <= int(found[2]) <= _MOST:
        raise ValueError(f"--attempts must be a number such as 5, or a range such as 2-5, not {text!r}")
    return Attempts(int(found[1]) if found[1] else None, int(found[2]))


class Marks(NamedTuple):
    """The tags of a trace, by name without brackets: around all attempts, around each sample and reflection."""

    frame: str = THINK
    sample: str = "sample"
    reflection: str = "reflect"

    @property
    def tags(self) -> set[str]:
        return {*self} - {NO_TAG}


OUR_MARKS = Marks()


@dataclass(frozen=True)
class Format:
    """What traces a format makes of a question; N is --attempts."""

    name: str
    label: str  # {n} stands for the number of attempts in the trace
    lengths: Lengths
    last: tuple[bool | None, ...] = (True,)  # required correctness of the last attempts, in order; None for either
    earlier: bool | None = None  # required correctness of all attempts before those
    earlier_correct: int = 0  # how many of them must be correct
    whole_pool: bool = True
    """Even its shorter traces need N usable attempts, as published, so that all labels cover the same questions."""
    blocks: frozenset[str] = frozenset(_BLOCKS)  # which of reflection, glue and ending stand in it
    review: Review = "none"
    marks: Marks = OUR_MARKS

    @property
    def reflections(self) -> bool:
        return "reflection" in self.blocks

    @property
    def shortest(self) -> int:
        """Return the number of attempts in the shortest trace."""
        return len(self.last) + self.earlier_correct

    @property
    def retried(self) -> bool:
        """Return True if its traces are a wrong attempt and the retry that saw it."""
        return self.lengths in ("retried", "cut")

    @property
    def reflected(self) -> bool:
        """Return True if each sample needs a reflection with the right verdict, shown or not, as published."""
        return self.lengths != "alone"

    def pool(self, attempts: Attempts) -> int:
        """Return the number of usable attempts that a question needs."""
        if not self.whole_pool:
            return 1
        return attempts.fewest if self.lengths == "all" else attempts.most

    def longest(self, incorrect: int, attempts: Attempts) -> int:
        """Return the most attempts in a trace of a question with so many usable incorrect ones."""
        return attempts.most if self.earlier is None else min(attempts.most, len(self.last) + incorrect)

    def shortage(self, correct: int, incorrect: int, attempts: Attempts) -> str | None:
        """Return why this many usable attempts cannot give the format; None if they can."""
        if correct + incorrect < self.pool(attempts):
            return TOO_FEW
        # As published, every format, even "random", leaves out questions without a correct attempt.
        if correct < max(1, self.last.count(True) + self.earlier_correct):
            return TOO_FEW_CORRECT
        wanted = self.last.count(False)
        if self.earlier is False:
            shortest = attempts.fewest if self.lengths == "all" else attempts.least or 1
            wanted += max(0, shortest - len(self.last))
        return TOO_FEW_INCORRECT if incorrect < wanted else None


def rows_of(formats: Sequence[Format]) -> dict[str, str]:
    """Return formats as rows of a formats.toml, by name, with all that they say."""
    names = {found: name for name, found in _CORRECTNESS.items()}
    rows = {}
    for one in formats:
        said: dict[str, Any] = {
            "label": one.label,
            "attempts": one.lengths,
            "last": [names[found] for found in one.last],
            "earlier": names[one.earlier],
            "earlier_correct": one.earlier_correct,
            "whole_pool": one.whole_pool,
            "blocks": [block for block in _BLOCKS if block in one.blocks],
            "review": one.review,
            **one.marks._asdict(),
        }
        keys = [key for key in said if not (one.retried and key in _NOT_OF_RETRIES)]
        rows[one.name] = "\n".join(f"{key} = {json.dumps(said[key], ensure_ascii=False)}" for key in keys)
    return rows


def read_formats(folder: Path | None = None) -> Mapping[str, Format]:
    """Return the formats of a folder's formats.toml by name, or ours. Raises ValueError, with file and line."""
    file = open_table("assembly", "formats.toml", folder)
    if not file.table:
        raise file.fault((), "there is no format: give one, [NAME] with label and attempts")
    return {name: _format(file, name) for name in file.table}


def _format(file: TextTable, name: str) -> Format:
    if not re.fullmatch(r"[\w*]{1,40}", name):
        raise file.fault([name], f"the name {name!r} must be letters, digits, _ and *")
    row = file.check_keys([name], (*_KEYS, *Marks._fields), ("label", "attempts"))
    blocks, last = (_listed(file, name, key, row) for key in ("blocks", "last"))
    correct, whole = row.get("earlier_correct", 0), row.get("whole_pool", True)
    if type(correct) is not int or not 0 <= correct <= _MOST:
        raise file.fault([name, "earlier_correct"], f"earlier_correct must be a number from 0 to {_MOST}")
    if not isinstance(whole, bool):
        raise file.fault([name, "whole_pool"], "whole_pool must be true or false")
    made = Format(
        name,
        file.text([name, "label"], known=("n",)).strip(),
        cast(Lengths, _one_of(file, [name, "attempts"], get_args(Lengths))),
        tuple(_CORRECTNESS[one] for one in last),
        _CORRECTNESS[_one_of(file, [name, "earlier"], _EARLIER)] if "earlier" in row else None,
        correct,
        whole,
        frozenset(blocks),
        cast(Review, _one_of(file, [name, "review"], get_args(Review)) if "review" in row else "none"),
        Marks(**{part: _tag(file, [name, part]) for part in Marks._fields if part in row}),
    )
    _check_whole(file, made)
    return made


def _listed(file: TextTable, name: str, key: str, row: Mapping[str, Any]) -> list[str]:
    known, otherwise = {"blocks": (_BLOCKS, [*_BLOCKS]), "last": ([*_CORRECTNESS], ["correct"])}[key]
    found = row.get(key, otherwise)
    if not isinstance(found, list) or any(one not in known for one in found) or (key == "last" and not found):
        raise file.fault([name, key], f"{key} must be a list of {', '.join(known)}")
    return found


def _one_of(file: TextTable, keys: Sequence[str], known: Sequence[str]) -> str:
    found = file.text(keys)
    if found not in known:
        raise file.fault(keys, f"{keys[-1]} must be one of {', '.join(known)}, not {found!r}")
    return found


def _tag(file: TextTable, keys: Sequence[str]) -> str:
    found = file.text(keys)
    if not TAG.fullmatch(found) or found in KEPT_TAGS:
        raise file.fault(keys, f"{keys[-1]} must be none or the name of a tag such as think, not {found!r}")
    return found


def _check_whole(file: TextTable, made: Format) -> None:
    """Raise ValueError for a row whose parts do not go together."""
    for key in _NOT_OF_RETRIES if made.retried else ():
        if key in file.table[made.name]:
            told = f"attempts {made.lengths} are a wrong one and its retry: leave {key} out"
            raise file.fault([made.name, key], told)
    if made.review == "backtrack" and not (made.earlier_correct or True in made.last):
        told = "review backtrack returns to a correct attempt: give earlier_correct 1 or more"
        raise file.fault([made.name, "review"], told)
    if made.review != "backtrack" and made.last[-1] is False and made.lengths not in ("used_up", "alone"):
        told = "its last attempt is incorrect, and so would its answer be: give review backtrack"
        raise file.fault([made.name, "last"], told)
    if made.earlier is False and (made.earlier_correct or made.lengths not in ("all", "each")):
        raise file.fault([made.name, "earlier"], "earlier incorrect takes attempts all or each, and no earlier_correct")
    tags = [tag for tag in made.marks if tag != NO_TAG]
    if len(set(tags)) < len(tags):
        raise file.fault([made.name], "frame, sample and reflection must be different tags")


FORMATS = read_formats()


def choose_formats(
    names: Sequence[str], attempts: Attempts, among: Mapping[str, Format] = FORMATS
) -> tuple[Format, ...]:
    """Return the distinct formats of these names. Raises ValueError for an unknown one, or if N is too small for it."""
    unknown = [name for name in names if name not in among]
    if unknown or not names:
        near = [one for name in unknown for one in nearest(name, among)]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"unknown format {', '.join(unknown) or '(none)'}; known are {', '.join(among)}{hint}")
    formats = tuple(among[name] for name in dict.fromkeys(names))
    for format_ in formats:
        if attempts.fewest < format_.shortest and format_.lengths == "all":
            raise ValueError(f"attempts is {attempts.fewest}; format {format_.name} needs at least {format_.shortest}")
    return formats
