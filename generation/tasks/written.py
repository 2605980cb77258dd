"""What stands in a file, as it stands there: rows of JSON, and cells of typed columns.

A number with a point becomes the text that was written, so that no digit is lost or added on the way. A float
that is left as one cannot be told exactly. Knows nothing of questions.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

_GZIP = ".gz"


class RepeatedNameError(ValueError):
    """A JSON object that gives one name twice: which of the two is meant?"""


def json_object(text: str) -> dict[str, Any]:
    """Read one JSON object, its decimals as texts.

    Raises RepeatedNameError for a name that comes twice, TypeError for another kind of JSON, and ValueError or
    RecursionError for what is no JSON.
    """
    row = json.loads(text, parse_float=str, object_pairs_hook=_each_once)
    if not isinstance(row, dict):
        raise TypeError(f"is no JSON object but {type(row).__name__}")
    return row


def json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON file, one a line or all in one list, perhaps compressed by gzip.

    Raises ValueError, RecursionError, TypeError or OSError if it holds anything else.
    """
    with (gzip.open if path.suffix == _GZIP else open)(path, "rt", encoding="utf-8-sig") as file:
        first = next((line for line in file if line.strip()), "")
        if first.lstrip().startswith("["):
            for row in json.loads(first + file.read(), parse_float=str):
                if not isinstance(row, dict):
                    raise TypeError("is no list of JSON objects")
                yield row
            return
        for line in (first, *([] if not first else file)):
            if line.strip():
                yield json_object(line)


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedNameError(f"gives {twice[:60]!r} twice")
    return found


def as_written(value: Any, kind: pa.DataType) -> Any:
    """Return a cell of a column of this kind with its floats and decimals as texts of just their own digits.

    A float stays one where its digits are not those of the file: NaN, and a whole number beyond what its width holds.
    """
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and pa.types.is_floating(kind):
        return _digits(value, kind)
    if isinstance(value, list) and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return [as_written(one, kind.value_type) for one in value]
    if isinstance(value, dict) and pa.types.is_struct(kind):
        return {name: as_written(one, kind.field(name).type) for name, one in value.items()}
    return value


def _digits(value: float, kind: pa.DataType) -> str | float:
    exact = {16: 2**11, 32: 2**24}.get(kind.bit_width, 2**53)
    if not math.isfinite(value) or (value.is_integer() and abs(value) >= exact):
        return value
    # A column of floats cannot tell 7 from 7.0: most were whole numbers, made floats by a neighbour.
    return str(int(value)) if value.is_integer() else str(kind.to_pandas_dtype()(value))


def may_differ(kind: pa.DataType) -> bool:
    """Return True if a column that a loader gave this kind may hold something else than its file."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return may_differ(kind.value_type)
    if pa.types.is_struct(kind):
        return any(may_differ(kind.field(place).type) for place in range(kind.num_fields))
    return not (pa.types.is_string(kind) or pa.types.is_large_string(kind))
