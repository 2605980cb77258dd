"""The revision of a model in a folder: a hash of its files that tells fine-tunes apart, in a second for 100 GB."""

import hashlib
import json
from collections.abc import Collection, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO

from cluster.inference.model_files import MORE_TEMPLATES

_KINDS = {".json", ".jinja", ".safetensors", ".bin", ".txt", ".model"}
_WHOLE = 8 << 20  # bytes; of larger files samples are read
_EDGE = 1 << 20  # bytes read at both ends of a file
_BLOCK = 4096  # bytes of one sample
_SAMPLES = 1024  # of all large files together, and as many of their tensors
_LEAST = 16  # of each file


def hash_of_folder(folder: Path, names: Collection[str]) -> str:
    """Return the hash of the files that make a model: of names and sizes, and of contents, large ones by samples.

    Samples lie evenly over a file, and in the middle of tensors evenly drawn: a fine-tune that changes one layer of
    many is seen too.
    """
    digest = hashlib.sha256()
    top = [name for name in sorted(names) if "/" not in name or fnmatch(name, MORE_TEMPLATES)]
    files = [(name, folder / name, (folder / name).stat().st_size) for name in top if Path(name).suffix in _KINDS]
    large = sum(size > _WHOLE for _, _, size in files)
    for name, path, size in files:
        digest.update(f"{name} {size}\n".encode())
        with path.open("rb") as file:
            if size <= _WHOLE:
                digest.update(file.read())
                continue
            for start, length in _pieces(file, size, max(_LEAST, _SAMPLES // large)):
                file.seek(start)
                digest.update(file.read(length))
    return digest.hexdigest()[:16]


def _pieces(file: BinaryIO, size: int, count: int) -> list[tuple[int, int]]:
    """Return start and length, in bytes, of what is read of a large file."""
    header, middles = 0, list[int]()
    if file.name.endswith(".safetensors"):
        header = 8 + int.from_bytes(file.read(8), "little")
        tensors: dict[str, dict[str, list[int]]] = json.loads(file.read(header - 8))
        middles = [header + sum(one["data_offsets"]) // 2 for name, one in tensors.items() if name != "__metadata__"]
    spread = _evenly(sorted(middles), count) + _evenly(range(0, size, _BLOCK), count)
    return [(0, max(header, _EDGE)), *((start, _BLOCK) for start in sorted(spread)), (size - _EDGE, _EDGE)]


def _evenly(places: Sequence[int], count: int) -> list[int]:
    """Return at most `count` of them, as far apart as can be."""
    return [places[number * len(places) // count] for number in range(count)] if len(places) > count else list(places)
