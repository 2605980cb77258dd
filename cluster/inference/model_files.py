"""Checks of a model's files before anything loads them: whether they are a model, all present and intact."""

import fnmatch
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from cluster.texts import fill, first_line, listed, load_table

CONFIG, TEMPLATE = "config.json", "chat_template.jinja"
MORE_TEMPLATES, PROCESSOR_TEMPLATE = "additional_chat_templates/*.jinja", "chat_template.json"
GENERATION, TOKENIZER = "generation_config.json", "tokenizer_config.json"
KNOWN = load_table("cluster.inference", "models.toml")
_NAMED = {kind: tuple(names) for kind, names in KNOWN["files"].items()}
ADAPTER = "adapter_config.json"
_PART = re.compile(r"(?P<name>.+)-\d{5}-of-(?P<count>\d{5})(?P<ending>\.\w+)")
_POINTER = b"version https://git-lfs.github.com/spec/v1"
_MISTRAL = "consolidated*.safetensors"  # what vLLM takes before all others
_NOT_TAKEN = "original/"
_MOST_PARTS = 10_000
_SHOWN = 3
_LONGEST = 160


class Files(NamedTuple):
    """The files of a model, in a folder or on the hub."""

    names: Set[str]  # paths relative to the folder
    file: Callable[[str], Path]  # returns the path of one on this machine, downloading it if necessary

    def read(self, name: str) -> dict[str, Any]:
        """Read the JSON object in a file; it is empty if there is no such file. Raises ValueError."""
        if name not in self.names:
            return {}
        path = self.file(name)
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} cannot be read as JSON: {error}") from error
        if not isinstance(read, dict):
            raise ValueError(f"{path} holds no JSON object")
        return read

    @property
    def weights(self) -> list[str]:
        """Return the names of the files that an engine would load weights from."""
        top = [name for name in sorted(self.names) if "/" not in name and not name.startswith(_NAMED["trainers"])]
        best = [name for name in top if name.endswith(".safetensors")]
        return best or [name for name in top if name.endswith(".bin")]

    def fetched(self) -> list[str]:
        """Return the names of the files that vLLM (0.25 to 0.33) downloads from the hub, to load weights from."""
        if own := sorted(fnmatch.filter(self.names, _MISTRAL)):
            return own
        if mapped := self.read(_NAMED["indexes"][0]).get("weight_map"):
            return sorted({*mapped.values()})
        for pattern in ("*.safetensors", "*.bin"):
            # It looks for them at the top, and takes all of the kind that it finds there.
            if any("/" not in name for name in fnmatch.filter(self.names, pattern)):
                return sorted(one for one in fnmatch.filter(self.names, pattern) if not one.startswith(_NOT_TAKEN))
        return []

    def templates(self) -> dict[str, str]:
        """Read the chat templates by name, "default" the one that is meant if none is named. Raises ValueError."""
        found = dict[str, str]()
        for name in (PROCESSOR_TEMPLATE, TOKENIZER):
            given = self.read(name).get("chat_template") or {}
            given = {"default": given} if isinstance(given, str) else given
            try:
                found |= given if isinstance(given, dict) else {one["name"]: one["template"] for one in given}
            except (KeyError, TypeError):
                found[name] = None  # type: ignore[assignment]
            if not all(isinstance(text, str) for pair in found.items() for text in pair):
                wanted = "a text, or a list of objects with name and template"
                raise ValueError(f"{self.file(name)}: chat_template must be {wanted}")
        for name in sorted(self.names):
            if name == TEMPLATE or fnmatch.fnmatch(name, MORE_TEMPLATES):
                try:
                    text = self.file(name).read_text(encoding="utf-8")
                except (OSError, ValueError) as error:
                    raise ValueError(f"{self.file(name)} cannot be read as text: {error}") from error
                found["default" if name == TEMPLATE else Path(name).stem] = text
        return {name: text for name, text in found.items() if text.strip()}

    def check(self, kind: str, given: str) -> None:
        """Raise ValueError, saying what these are instead, if they are not the files of a complete model.

        `kind` and `given` are what the message begins with, such as "model folder" and its path.
        """
        if fault := next(_faults(self, given), ""):
            raise ValueError(f"{kind} {given}{fault}")


def _faults(files: Files, given: str) -> Iterator[str]:
    names, weights, wanted = files.names, files.weights, set[str]()
    if ADAPTER in names:
        base = files.read(ADAPTER).get("base_model_name_or_path")
        remedy = f"give --model {base or 'with that one'} --adapter {given}"
        merged = f"or the two merged (merge_and_unload of peft), without {ADAPTER}"
        yield f" is an adapter of {base or 'a model that it does not name'}, not a whole model: {remedy}, {merged}"
    if CONFIG not in names:
        yield f" has no {CONFIG}: {_instead(names)}"
    kind = Path(weights[0]).suffix if weights else ""
    for index in [name for name in _NAMED["indexes"] if name in names and kind in name][:1]:
        mapped = files.read(index).get("weight_map")
        if not isinstance(mapped, dict) or not mapped or not all(isinstance(one, str) for one in mapped.values()):
            yield f": {index} has no weight_map of names to files: download it again"
        else:
            wanted.update(mapped.values())
    for name, count, ending in {found.groups() for weight in weights if (found := _PART.fullmatch(weight))}:
        if f"{name}-00000-of-{count}{ending}" not in names:  # some count from zero
            parts = range(1, min(int(count), _MOST_PARTS) + 1)
            wanted.update(f"{name}-{number:05d}-of-{count}{ending}" for number in parts)
    if missing := sorted(wanted - names):
        lacking = f"{len(missing)} of its {len(wanted)} files of weights are not there, {listed(missing, _SHOWN)}"
        yield f" is not whole: {lacking}: download them"
    if not weights:
        others = [name for name in sorted(names) if name.endswith(_NAMED["other_weights"])]
        instead = f", only {listed(others, _SHOWN)}, which is not read: convert it to safetensors" if others else ""
        yield f" has no weights: no *.safetensors file in it{instead}"
    if names.isdisjoint(_NAMED["tokenizers"]):
        trained = any(name.startswith(_NAMED["trainers"]) for name in names)
        remedy = "; it is a trainer's checkpoint: copy the tokenizer's files of the model that was trained into it"
        yield f" has no tokenizer: none of {', '.join(_NAMED['tokenizers'])} in it{remedy if trained else ''}"


def _instead(names: Set[str]) -> str:
    """Say what these files are, as they are no model's, and what to do."""
    for rule in KNOWN["instead"]:
        if found := {name for pattern in rule["names"] for name in fnmatch.filter(names, pattern)}:
            folder, shown = max(found, key=lambda name: (len(name), name)).rpartition("/")[0], sorted(found)
            return fill(rule["says"], {"found": listed(shown, _SHOWN), "first": shown[0], "folder": folder})
    return "give one in the layout of transformers"


def check_bytes(folder: Path, files: Files) -> int:
    """Return the size of a folder's weights, in bytes. Raises ValueError if a file is empty, an LFS pointer or cut."""
    total = 0
    others = {CONFIG, GENERATION, TOKENIZER, TEMPLATE, *_NAMED["indexes"], *_NAMED["tokenizers"]}
    for name in (*sorted(files.names & others), *files.weights):
        try:
            fault = fault_of(folder / name)
            total += (folder / name).stat().st_size if name not in others else 0
        except OSError as error:
            raise ValueError(f"{folder / name} cannot be read: {error.strerror}") from error
        if fault:
            raise ValueError(f"model folder {folder}: {name} {fault}")
    return total


def fault_of(path: Path) -> str:
    """Say what is wrong with a file, judging by its bytes; "" if nothing is."""
    with path.open("rb") as file:
        first = file.read(len(_POINTER))
    if not first:
        return "is empty: download it again"
    if first == _POINTER:
        return "is a pointer of Git LFS, not the file itself: run `git lfs pull` in the folder"
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="numpy"):  # reads the header, and checks the size by it
                return ""
        except SafetensorError as error:
            return f"is no safetensors file, or cut off ({first_line(error)[:_LONGEST]}): download it again"
    return "is cut off: download it again" if first.startswith(b"PK") and not zipfile.is_zipfile(path) else ""
