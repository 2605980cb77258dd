"""A model's files before anything loads them: whether they are a model's, all there and whole; what they say.

transformers is asked, which takes seconds, only for a context that config.json leaves to its defaults.
"""

import json
import re
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from importlib import resources
from pathlib import Path
from typing import Any

from cluster.inference.vllm_engine import read_config
from cluster.texts import listed

CONFIG, TEMPLATE = "config.json", "chat_template.jinja"
GENERATION, TOKENIZER = "generation_config.json", "tokenizer_config.json"
KNOWN: dict[str, dict[str, Any]] = tomllib.loads(
    resources.files("cluster.inference").joinpath("models.toml").read_text(encoding="utf-8")
)
"""What is known of models in general."""

_FILES, _CONFIG = ({key: tuple(told) for key, told in KNOWN[table].items()} for table in ("files", "config"))
_ADAPTER = "adapter_config.json"
_WEIGHTS = (".safetensors", ".bin")
_PART = re.compile(r"(?P<name>.+)-\d{5}-of-(?P<count>\d{5})(?P<ending>\.\w+)")
_POINTER = b"version https://git-lfs.github.com/spec/v1"
_LONGEST_HEADER = 100 << 20
_MOST_PARTS = 10_000
_SHOWN = 3
_DRAWING = ("temperature", "top_p", "top_k", "repetition_penalty")


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
    found = [n for n in sorted(names) if n.endswith(_WEIGHTS) and "/" not in n and not n.startswith(_FILES["trainers"])]
    return [name for name in found if name.endswith(_WEIGHTS[0])] or found


def check_names(model: str, names: Set[str], read: Callable[[str], Mapping[str, Any]]) -> None:
    """Raise ValueError, saying what there is instead, where these are not the files of a whole model.

    `names` may hold files of folders within, by their paths; `read` returns the JSON object in one.
    """
    if _ADAPTER in names:
        base = read(_ADAPTER).get("base_model_name_or_path") or "a model that it does not name"
        raise ValueError(
            f"{model} is an adapter of {base}, not a whole model: give that one, or merge the adapter into it "
            f"(merge_and_unload of peft) and give the merged folder, without {_ADAPTER}"
        )
    if CONFIG not in names:
        raise ValueError(f"{model} has no {CONFIG}: {_instead(names)}")
    _check_parts(model, names, read)
    if not weights_of(names):
        others = [name for name in sorted(names) if name.endswith(_FILES["other_weights"])]
        instead = f", only {listed(others, _SHOWN)}, which is not read: convert it to safetensors" if others else ""
        raise ValueError(f"{model} has no weights: no *.safetensors file in it{instead}")
    if not names & {*_FILES["tokenizers"]}:
        trained = any(name.startswith(_FILES["trainers"]) for name in names)
        remedy = "; it is a trainer's checkpoint: copy the tokenizer's files of the model that was trained into it"
        raise ValueError(
            f"{model} has no tokenizer: none of {', '.join(_FILES['tokenizers'])} in it{remedy if trained else ''}"
        )


def _instead(names: Set[str]) -> str:
    """Say what these files are, where they are no model, and what to do."""
    top = {name for name in names if "/" not in name}
    if quantized := sorted(name for name in top if name.endswith(".gguf")):
        return f"it holds {listed(quantized, _SHOWN)}, and GGUF is not read; give the model that it was made from"
    if within := [name.removesuffix(f"/{CONFIG}") for name in names if name.endswith(f"/{CONFIG}")]:
        # By number: checkpoint-1000 comes behind checkpoint-200.
        last = max(
            within, key=lambda name: [(int(count or 0), word) for word, count in re.findall(r"(\D*)(\d*)", name)]
        )
        return f"a folder within has one; give {last} in it"
    if any(name.startswith(_FILES["pieces"]) or name.endswith(".distcp") for name in names):
        return "it holds a trainer's shards; convert them with the trainer's own script, and give what that makes"
    if top & {*_FILES["tokenizers"]} and not weights_of(top):
        return "it holds a tokenizer alone; give the folder that holds the weights too"
    if data := sorted(name for name in names if name.endswith(_FILES["data"])):
        return f"it holds data, such as {data[0]}; give a model in the layout of transformers"
    return "give one in the layout of transformers"


def _check_parts(model: str, names: Set[str], read: Callable[[str], Mapping[str, Any]]) -> None:
    """Raise ValueError where a file is missing that an index names, or that the names of others count."""
    weights = weights_of(names)
    kinds = {name.rpartition(".")[2] for name in weights}
    sets = []
    for index in _FILES["indexes"]:
        if index in names and (not kinds or index.split(".")[-3] in kinds):
            mapped = read(index).get("weight_map")
            if not isinstance(mapped, dict) or not mapped or not all(isinstance(one, str) for one in mapped.values()):
                raise ValueError(f"{model}: {index} has no weight_map of names to files: download it again")
            sets.append(sorted({*mapped.values()}))
    parts = [found for name in weights if (found := _PART.fullmatch(name))]
    for name, count, ending in dict.fromkeys((part["name"], part["count"], part["ending"]) for part in parts):
        if f"{name}-00000-of-{count}{ending}" not in names:  # some count from zero
            last = min(int(count), _MOST_PARTS)
            sets.append([f"{name}-{number:05d}-of-{count}{ending}" for number in range(1, last + 1)])
    for wanted in sets:
        if missing := [name for name in wanted if name not in names]:
            raise ValueError(
                f"{model} is not whole: {len(missing)} of its {len(wanted)} files of weights are not there,"
                f" {listed(missing, _SHOWN)}: download them"
            )


def check_bytes(folder: Path, names: Set[str]) -> int:
    """Look into the files of a model folder; return the bytes of its weights.

    Raises ValueError if a file is empty, a Git LFS pointer, or cut off.
    """
    weights = weights_of(names)
    for name in (
        *sorted(names & {CONFIG, GENERATION, TOKENIZER, TEMPLATE, *_FILES["indexes"], *_FILES["tokenizers"]}),
        *weights,
    ):
        try:
            fault = _fault(folder / name)
        except OSError as error:
            raise ValueError(f"{folder / name} cannot be read: {error.strerror}") from error
        if fault:
            raise ValueError(f"model folder {folder}: {name} {fault}")
    return sum((folder / name).stat().st_size for name in weights)


def _fault(path: Path) -> str:
    """Say what is wrong with a file by its own words; empty where nothing is.

    The header of safetensors: 8 bytes of its length, then JSON with the place of each tensor.
    """
    with path.open("rb") as file:
        first = file.read(len(_POINTER))
        if not first:
            return "is empty: download it again"
        if first == _POINTER:
            return "is a pointer of Git LFS, not the file itself: run `git lfs pull` in the folder"
        if path.suffix != ".safetensors":
            cut = first.startswith(b"PK") and not zipfile.is_zipfile(path)
            return "is cut off: download it again" if cut else ""
        held, length = path.stat().st_size, int.from_bytes(first[:8], "little")
        if held < 8 or length > min(held, _LONGEST_HEADER):
            return f"is no safetensors file, or cut off within its header ({held:,} bytes): download it again"
        try:
            file.seek(8)
            header = json.loads(file.read(length))
            ends = [int(told["data_offsets"][1]) for name, told in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return "has a header that cannot be read: download it again"
    wanted = 8 + length + max(ends, default=0)
    return "" if held == wanted else f"has {held:,} bytes, and by its header {wanted:,}: download it again"


def heads_of(config: Mapping[str, Any]) -> int | None:
    """Return the number of attention heads of the text model, or None if config.json does not say it."""
    heads = [part.get("num_attention_heads", part.get("n_head")) for part in _parts(config)]
    return next((count for count in heads if _counts(count, 1)), None)


def context_of(name: str, config: Mapping[str, Any], path: str, revision: str | None) -> int:
    """Return the longest prompt plus completion, in tokens, as vLLM reads it. Raises ValueError if nothing says it."""
    inner = next(_parts(config))
    said = [inner[key] for key in _CONFIG["context"] if inner.get(key) is not None]
    if not said:
        try:
            text = read_config(path, revision).get_text_config()
            said = [value for key in _CONFIG["context"] if (value := getattr(text, key, None)) is not None]
        except Exception:
            # A configuration is anyone's file, and fails in its own ways; transformers may not know the model.
            said = []
    said = said or [config[key] for key in _CONFIG["context"] if config.get(key) is not None]
    if not said or not all(_counts(context, 2) for context in said):
        raise ValueError(f"model {name} does not say its context: config.json has no max_position_embeddings")
    return int(inner.get("model_max_length") or min(said))


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configuration of the part for texts first, then of what it lies in."""
    inner = next((config[key] for key in _CONFIG["text"] if isinstance(config.get(key), Mapping)), None)
    if inner is not None:
        yield from _parts(inner)
    yield config


def _counts(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def unused_of(generation: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what generation_config.json says that would change what is drawn, and that engines are not told."""
    said = {key: value for key, value in generation.items() if value is not None and value is not False}
    return tuple(key for key, value in said.items() if key in KNOWN["unused"] and value not in KNOWN["unused"][key])


def sampling_of(name: str, generation: Mapping[str, Any]) -> dict[str, float]:
    """Read temperature, top_p, top_k and repetition_penalty from generation_config.json, as far as they are given.

    As everywhere, `do_sample: false` means temperature 0; a top_k of -1 keeps all, which is 0 here. Raises ValueError.
    """
    told = {key: generation[key] for key in _DRAWING if generation.get(key) is not None}
    for key, value in told.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"model {name}: {key} in generation_config.json must be a number, not {value!r}")
    if generation.get("do_sample") is False:
        told["temperature"] = 0
    if told.get("top_k") == -1:
        told["top_k"] = 0
    return {key: float(value) for key, value in told.items()}
