"""What wandb wrote of a run, read from its .wandb file: records of its own protobuf in LevelDB's log format."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from wandb.proto.wandb_internal_pb2 import Record

_HEADER, _BLOCK = 7, 32768
_WHOLE, _LAST = 1, 4  # types of a piece of a record


class Written(NamedTuple):
    """Of one start: the run's id, configuration, figures in order, summary, exit code, whether it is to go on."""

    id: str
    name: str
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    exit_code: int | None
    preempted: bool


def _records(file: Path) -> Iterator[Record]:
    data, place, pieces = file.read_bytes(), _HEADER, b""
    while place + _HEADER <= len(data):
        if _BLOCK - place % _BLOCK < _HEADER:  # zeros fill a block
            place += _BLOCK - place % _BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        pieces += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_WHOLE, _LAST):
            yield Record.FromString(pieces)
            pieces = b""


def _put(into: dict[str, Any], items: Any) -> None:
    into.update({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})


def written(file: Path) -> Written:
    """Return what a .wandb file holds."""
    id, name, preempted = "", "", False
    exit_code: int | None = None
    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for record in _records(file):
        match record.WhichOneof("record_type"):
            case "run":
                id, name = record.run.run_id, record.run.display_name
                _put(config, record.run.config.update)
            case "history":
                history.append({})
                _put(history[-1], record.history.item)
            case "summary":
                _put(summary, record.summary.update)
            case "exit":
                exit_code = record.exit.exit_code
            case "preempting":
                preempted = True
    return Written(id, name, config, history, summary, exit_code, preempted)


def runs_in(folder: Path) -> list[Written]:
    """Return what the starts of a run wrote, the oldest first."""
    return [written(file) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]
