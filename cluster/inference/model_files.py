"""The files of a model before anything loads them: whether they are a model's, all there, and whole."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from cluster.messages import listed

NEEDED = "config.json"
GENERATION = "generation_config.json"
TOKENIZER = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
OFFERED = (GENERATION, TOKENIZER, TEMPLATE)
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
ADAPTER = "adapter_config.json"

_TOKENIZERS = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json"})
_WEIGHTS = (".safetensors", ".bin")
_OF_TRAINERS = (
    *("adapter_model", "optimizer", "scheduler", "training_args", "trainer_state", "rng_state", "random_states"),
    *("scaler", "zero_to_fp32", "model_world_size_", "optim_world_size_", "mp_rank_"),
)
_PIECES = ("model_world_size_", "mp_rank_", "zero_to_fp32", "optim_world_size_", "__0_0.distcp", ".metadata")
_OTHER_WEIGHTS = (".gguf", ".pth", ".pt", ".ckpt", ".h5", ".msgpack", ".onnx", ".nemo", ".npz")
_DATA = (".parquet", ".jsonl", ".arrow", ".csv")
_PART = re.compile(r"(?P<name>.+)-\d{5}-of-(?P<count>\d{5})(?P<ending>\.\w+)")
_POINTER = b"version https://git-lfs.github.com/spec/v1"
_LONGEST_HEADER = 100 << 20
_SHOWN = 3

Read = Callable[[str], Mapping[str, Any]]
"""The JSON object in the file of this name."""


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file. Raises ValueError if there is none."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(read, dict):
        raise ValueError(f"{path} holds no JSON object")
    return read


def weights_of(names: Iterable[str]) -> list[str]:
    """Return the names of the files that an engine would load weights from."""
    found = [
        name
        for name in sorted(names)
        if name.endswith(_WEIGHTS) and "/" not in name and not name.startswith(_OF_TRAINERS)
    ]
    return [name for name in found if name.endswith(_WEIGHTS[0])] or found


def check_names(model: str, names: Set[str], read: Read) -> None:
    """Raise ValueError, saying what there is instead, where these are not the files of a whole model.

    `names` may hold files of folders within, by their paths.
    """
    if ADAPTER in names:
        base = read(ADAPTER).get("base_model_name_or_path") or "a model that it does not name"
        raise ValueError(
            f"{model} is an adapter of {base}, not a whole model: give that one, or merge the adapter into it "
            f"(merge_and_unload of peft) and give the merged folder, without {ADAPTER}"
        )
    if NEEDED not in names:
        raise ValueError(f"{model} has no {NEEDED}: {_instead(names)}")
    _check_parts(model, names, read)
    if not weights_of(names):
        others = [name for name in sorted(names) if name.endswith(_OTHER_WEIGHTS)]
        instead = f", only {listed(others, _SHOWN)}, which is not read: convert it to safetensors" if others else ""
        raise ValueError(f"{model} has no weights: no *.safetensors file in it{instead}")
    if not names & _TOKENIZERS:
        trained = any(name.startswith(_OF_TRAINERS) for name in names)
        remedy = "; it is a trainer's checkpoint: copy the tokenizer's files of the model that was trained into it"
        raise ValueError(
            f"{model} has no tokenizer: none of {', '.join(sorted(_TOKENIZERS))} in it{remedy if trained else ''}"
        )


def _instead(names: Set[str]) -> str:
    """What these files are, where they are no model, and what to do."""
    top = {name for name in names if "/" not in name}
    quantized = sorted(name for name in top if name.endswith(".gguf"))
    within = sorted((name.removesuffix(f"/{NEEDED}") for name in names if name.endswith(f"/{NEEDED}")), key=_natural)
    data = sorted(name for name in names if name.endswith(_DATA))
    if quantized:
        return f"it holds {listed(quantized, _SHOWN)}, and GGUF is not read; give the model that it was made from"
    if within:
        return f"a folder within has one; give {within[-1]} in it"
    if any(name.startswith(_PIECES) or name.endswith(".distcp") for name in names):
        return "it holds a trainer's shards; convert them with the trainer's own script, and give what that makes"
    if top & _TOKENIZERS and not weights_of(top):
        return "it holds a tokenizer alone; give the folder that holds the weights too"
    if data:
        return f"it holds data, such as {data[0]}; give a model in the layout of transformers"
    return "give one in the layout of transformers"


def _natural(name: str) -> list[tuple[int, str]]:
    """So that checkpoint-1000 comes behind checkpoint-200."""
    return [(int(digits or 0), words) for words, digits in re.findall(r"(\D*)(\d*)", name)]


def _check_parts(model: str, names: Set[str], read: Read) -> None:
    """Raise ValueError where a file is missing that an index names, or that the names of others count."""
    kinds = {name.rpartition(".")[2] for name in weights_of(names)}
    for index in INDEXES:
        if index in names and (not kinds or index.split(".")[-3] in kinds):
            mapped = read(index).get("weight_map")
            if not isinstance(mapped, dict) or not mapped or not all(isinstance(one, str) for one in mapped.values()):
                raise ValueError(f"{model}: {index} has no weight_map of names to files: download it again")
            _check_there(model, sorted({*mapped.values()}), names)
    parts = [found for name in weights_of(names) if (found := _PART.fullmatch(name))]
    for name, count, ending in dict.fromkeys((part["name"], int(part["count"]), part["ending"]) for part in parts):
        wanted = [f"{name}-{number:05d}-of-{count:05d}{ending}" for number in range(1, min(count, 10_000) + 1)]
        if f"{name}-00000-of-{count:05d}{ending}" not in names:  # some count from zero
            _check_there(model, wanted, names)


def _check_there(model: str, wanted: list[str], names: Set[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"{model} is not whole: {len(missing)} of its {len(wanted)} files of weights are not there,"
            f" {listed(missing, _SHOWN)}: download them"
        )


def check_bytes(folder: Path, names: Set[str]) -> int:
    """Look into the files of a model folder; return the bytes of its weights.

    Raises ValueError if a file is empty, a Git LFS pointer, or cut off.
    """
    weights = weights_of(names)
    for name in (*sorted(names & {NEEDED, *OFFERED, *INDEXES, *_TOKENIZERS}), *weights):
        try:
            with (folder / name).open("rb") as file:
                first = file.read(len(_POINTER))
            fault = _fault(folder / name, first)
        except OSError as error:
            raise ValueError(f"{folder / name} cannot be read: {error.strerror}") from error
        if fault:
            raise ValueError(f"model folder {folder}: {name} {fault}")
    return sum((folder / name).stat().st_size for name in weights)


def _fault(path: Path, first: bytes) -> str:
    if not first:
        return "is empty: download it again"
    if first == _POINTER:
        return "is a pointer of Git LFS, not the file itself: run `git lfs pull` in the folder"
    if path.suffix == ".safetensors":
        return _safetensors_fault(path)
    if first.startswith(b"PK") and not zipfile.is_zipfile(path):
        return "is cut off: download it again"
    return ""


def _safetensors_fault(path: Path) -> str:
    """What is wrong by the file's own header: 8 bytes of its length, then JSON with the place of each tensor."""
    held = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if held < 8 or length > min(held, _LONGEST_HEADER):
            return f"is no safetensors file, or cut off within its header ({held:,} bytes): download it again"
        try:
            header = json.loads(file.read(length))
            ends = [int(told["data_offsets"][1]) for name, told in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return "has a header that cannot be read: download it again"
    wanted = 8 + length + max(ends, default=0)
    return "" if held == wanted else f"has {held:,} bytes, and by its header {wanted:,}: download it again"
