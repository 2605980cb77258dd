"""The revision of a model's folder: fine-tunes that differ anywhere have another one, and large files take no time."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from cluster.inference.revision import hash_of_folder

MIB = 1 << 20


def lay_out(folder: Path, tensors: int = 32, each: int = MIB) -> Path:
    """A file of weights of zeros, sparse on the disk, with a tensor for each layer."""
    folder.mkdir()
    sizes = {
        f"layer.{n}": {"dtype": "U8", "shape": [each], "data_offsets": [n * each, (n + 1) * each]}
        for n in range(tensors)
    }
    header = json.dumps({"__metadata__": {"format": "pt"}, **sizes}).encode()
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + tensors * each)
    (folder / "config.json").write_text("{}")
    return path


def revision(folder: Path) -> str:
    return hash_of_folder(folder, os.listdir(folder))


def overwrite(path: Path, start: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\x01" * length)


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.77, 1.0])
def test_a_change_anywhere_is_another_revision(tmp_path: Path, place: float) -> None:
    """One layer of 32: at least so much differs in any fine-tune."""
    path = lay_out(tmp_path / "model")
    before, size = revision(path.parent), path.stat().st_size
    assert revision(path.parent) == before
    overwrite(path, size - 32 * MIB + int(place * 31 * MIB), MIB)
    assert revision(path.parent) != before
    assert path.stat().st_size == size


def test_each_tensor_is_looked_at_whatever_its_size(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "model", tensors=500, each=100_000)
    before = revision(path.parent)
    for number in range(3, 500, 71):
        size = path.stat().st_size
        overwrite(path, size - (500 - number) * 100_000, 100_000)
        after = revision(path.parent)
        assert after != before
        before = after


def test_a_small_file_counts_whole_and_so_do_names(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "model", tensors=1).parent
    seen = {revision(folder)}
    overwrite(folder / "model.safetensors", 500_000, 1)
    seen.add(revision(folder))
    (folder / "config.json").rename(folder / "tokenizer_config.json")
    seen.add(revision(folder))
    (folder / "notes.md").write_text("of no weight")
    (folder / "tokenizer_config.json").write_text("{ }")
    seen.add(revision(folder))
    assert len(seen) == 4
    (folder / "notes.md").write_text("other notes")
    assert revision(folder) in seen


def test_a_hundred_gigabytes_take_no_time(tmp_path: Path) -> None:
    """Their holes are read from the disk's own table; on a disk the samples are 100 MB at most."""
    for number in range(20):
        lay_out(tmp_path / "model", tensors=40, each=128 * MIB).rename(tmp_path / f"model-{number:05d}.safetensors")
        (tmp_path / "model" / "config.json").unlink()
        (tmp_path / "model").rmdir()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 100 << 30
    begun = time.process_time()
    revision(tmp_path)
    assert time.process_time() - begun < 5
