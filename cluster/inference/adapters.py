"""LoRA adapters in the layout of PEFT: found in a folder or on the hub, and checked before vLLM loads one."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from cluster.inference.engine_arguments import argument_types
from cluster.inference.hub_files import download, list_files, pinned_to
from cluster.inference.model_files import ADAPTER, CONFIG, TEMPLATE, Files, fault_of
from cluster.inference.values import is_count
from cluster.texts import listed, load_table

_TABLE = load_table("cluster.inference", "adapters.toml")
_WEIGHTS: Sequence[str] = _TABLE["files"]["weights"]
_PREFIX, _ENDS = "base_model.model.", (".lora_A.weight", ".lora_B.weight")
_SHOWN = 3
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that was found."""

    name: str  # as shown to users and stored in rows: hub id or folder name
    path: str  # local folder or hub id
    revision: str  # hub commit, or a hash of the folder's files
    hub_revision: str | None  # None for a folder
    files: tuple[str, ...]  # that vLLM reads
    rank: int  # that vLLM is told to make room for, at least its own
    base: str  # the model that it was made for, by its own word; "" if it does not say
    template: bool  # True if a chat template lies beside it, which is not used

    def on_this_machine(self) -> str:
        """Return the path of a folder with its files, downloading them if necessary."""
        if self.hub_revision is None:
            return self.path
        paths = [download(self.path, file, self.hub_revision, f"adapter {self.name}") for file in self.files]
        return str(paths[0].parent)


def find_adapter(name: str, begun: Mapping[str, Any], base: str) -> Adapter:
    """Find a LoRA adapter by local folder or hub id, also with @COMMIT; its weights are downloaded, as they are small.

    `begun` is the configuration of the run to continue, whose commit is taken unless another is given. `base` is the
    path of the model: if that is a folder, the adapter must fit its weights. Raises ValueError if there is none, or
    none that vLLM can use.
    """
    if os.path.isdir(name):
        folder = Path(name).resolve()
        files = Files({path.name for path in folder.iterdir() if path.is_file()}, folder.joinpath)
        return _described(folder.name, files, base, shown=f"adapter folder {name}", path=str(folder), commit=None)
    repo, at, given = name.partition("@")
    if "/" not in repo.strip("/") or repo.startswith((".", "/", "~")) or bool(at) != bool(given):
        raise ValueError(f"adapter {name!r} is no folder that is there: give one, or a hub id, owner/name[@COMMIT]")
    of_run = begun.get("adapter_revision") if not at and begun.get("adapter") == repo else None
    pinned, shown = pinned_to("adapter", repo, given, of_run)
    commit, names = list_files(repo, pinned, shown, ADAPTER)
    files = Files(names, lambda file: download(repo, file, commit, shown))
    return _described(repo, files, base, shown=f"adapter {repo}", path=repo, commit=commit)


def _described(name: str, files: Files, base: str, *, shown: str, path: str, commit: str | None) -> Adapter:
    """Read the adapter's files. `commit` is None for a folder. Raises ValueError, calling it `shown`."""
    if ADAPTER not in files.names:
        whole = ": it is a whole model, give it as --model" if CONFIG in files.names else ""
        raise ValueError(f"{shown} has no {ADAPTER}{whole or ': give a LoRA adapter in the layout of PEFT'}")
    config = files.read(ADAPTER)
    weights = next((file for file in _WEIGHTS if file in files.names), None)
    if weights is None:
        raise ValueError(f"{shown} has no weights: none of {', '.join(_WEIGHTS)} in it")
    file = files.file(weights)
    if fault := next(_faults(config), "") or (f"{weights} {why}" if (why := fault_of(file)) else ""):
        raise ValueError(f"{shown} cannot be used: {fault}")
    if file.suffix == ".safetensors" and (fault := next(_misfits(shapes_of(file), base), "")):
        raise ValueError(f"{shown} {fault}")
    digest = hashlib.sha256(files.file(ADAPTER).read_bytes() + file.read_bytes()).hexdigest()[:16]
    return Adapter(
        name,
        path,
        commit or digest,
        hub_revision=commit,
        files=(ADAPTER, weights),
        rank=min(rank for rank in _ranks() if rank >= _rank(config)),
        base=str(config.get("base_model_name_or_path") or ""),
        template=TEMPLATE in files.names,
    )


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    """Say what vLLM cannot do of a configuration, and what to do."""
    merge = "merge it into its model (merge_and_unload of peft) and give what that makes as --model"
    if (kind := config.get("peft_type")) != "LORA":
        yield f"{ADAPTER} says peft_type {kind!r}, and vLLM runs LORA alone; {merge}"
    for key, known in _TABLE["refused"].items():
        if (value := config.get(key)) not in (None, False, [], {}) and value not in known.get("neutral", ()):
            yield f"{known['says']} ({key} {value!r}), which vLLM does not do; {merge}"
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if not all(is_count(rank, 1) for rank in ranks):
        yield f"{ADAPTER} must say its rank as r, a whole number above 0, not {config.get('r')!r}"
    elif _rank(config) > max(_ranks()):
        yield f"its rank is {_rank(config)}, and vLLM takes {max(_ranks())} at most; {merge}"


def _rank(config: Mapping[str, Any]) -> int:
    return max(1, int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values()))


def _ranks() -> Sequence[int]:
    known = argument_types().get("max_lora_rank")
    return known.choices if known and known.choices else _TABLE["files"]["ranks"]


def _misfits(shapes: Shapes, base: str) -> Iterator[str]:
    """Say what of an adapter's tensors is no LoRA, or does not fit the weights of the base, if that is a folder."""
    if odd := [name for name in shapes if not name.endswith(_ENDS)]:
        yield f"holds more than a LoRA, {listed(odd, _SHOWN)}: give one without new embeddings or whole modules"
    if not shapes:
        yield "holds no weights"
    there = dict[str, tuple[str, tuple[int, ...]]]()
    for file in sorted(Path(base).glob("*.safetensors")) if os.path.isdir(base) else ():
        there |= {_tail(name.rpartition(".")[0]): (name, shape) for name, shape in shapes_of(file).items()}
    for name, shape in shapes.items() if there else ():
        module, _, end = name.removeprefix(_PREFIX).rpartition(".lora_")
        if _tail(module) not in there:
            yield f"does not fit the model {base}, which has no {module}: give the one that it was made for"
            continue
        found, size = there[_tail(module)]
        side = 1 if end.startswith("A") else 0
        if found.endswith(".weight") and len(size) == 2 and shape[side] != size[side]:
            told = f"where the adapter's part has {shape[side]}: give the one that it was made for"
            yield f"does not fit the model {base}: {found} has {size[side]} {('rows', 'columns')[side]}, {told}"


def _tail(module: str) -> str:
    """Return a module's name from its layer on: classes for the same weights differ in what stands before."""
    return module[at:] if (at := module.find("layers.")) >= 0 else module


def shapes_of(file: Path) -> Shapes:
    """Return the shapes of the tensors in a file of safetensors, by name, from its header."""
    with safe_open(file, framework="numpy") as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
