"""Finding a model, a local folder or a hub id, and what its own files say of it, without loading it."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download

from cluster.inference import model_files as files
from cluster.inference.model_files import CONFIG, KNOWN, TEMPLATE, TOKENIZER, read_object
from cluster.inference.vllm_engine import has_encoder, in_transformers, vllm_source
from cluster.jobs.hub import HUB_TIMEOUT_S, asking_hub, offline
from cluster.texts import nearest

_CLOSE = 0.75
_EXAMPLE = "such as Qwen/Qwen2.5-1.5B-Instruct"
_WITHIN = ("*", "*/config.json", "*/*/config.json", "*/*.distcp")
"""Of a folder, what tells a model from what is taken for one."""
_HEAD = 1 << 20
_REGISTRY = "model_executor/models/registry.py"
_TABLE = re.compile(r"^(\w+)(?:: .*)? = \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_PLUGINS = "vllm.general_plugins"
WRITE_NOTHING = ("ForSequenceClassification", "ForTokenClassification", "ForRewardModel", "RewardModel", "ForMaskedLM")
"""What models for grades, labels and search are called."""
_WRITING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ChatModel")
"""What models that write are called, by vLLM's own rule: it finds a class under each of these endings."""
_SILENT = re.compile(r"EMBEDDING|INTERACTION|RETRIEVAL|CROSS_ENCODER|REWARD|CLASSIFICATION|SPECULATIVE")
"""Of the names of vLLM's tables, those of models that write nothing by themselves."""


@dataclass(frozen=True)
class Model:
    """A model that is there, and what its own files say."""

    name: str
    """As shown to people and kept in rows: hub id, folder name, or the built-in model's name."""
    path: str
    """Local folder or hub id, as engines load it."""
    revision: str
    """Hub commit, or a hash of the folder's files."""
    local: bool
    context: int
    """Longest prompt plus completion, in tokens."""
    sampling: dict[str, float]
    """temperature, top_p, top_k and repetition_penalty from generation_config.json, where given."""
    type: str
    """By which libraries know its configuration."""
    architectures: tuple[str, ...]
    """Its classes."""
    own_code: tuple[str, ...]
    """The configuration files that name code which comes with the model."""
    heads: int | None
    """Of attention, which the GPUs of an engine share evenly; None where it does not say."""
    weight_bytes: int
    """On the disk; 0 where they are not on this machine."""
    unused: tuple[str, ...]
    """Keys of generation_config.json that would change what is drawn, and are not used."""

    @property
    def hub_revision(self) -> str | None:
        """What to ask the hub's client for beside `path`; None for a folder."""
        return None if self.local else self.revision


def find(name: str, begun: Mapping[str, Any] | None = None, own: tuple[str, ...] = ()) -> Model:
    """Find the model of a local folder, a hub id, or a bare well-known name, the last two also with @COMMIT.

    `begun` is the configuration of the run that goes on: where it names this model of the hub, its commit is taken
    unless another is asked for. `own` are further names that may have been meant.
    Raises ValueError if it is not there, not whole, or cannot chat.
    """
    path = Path(name)
    if os.path.isdir(path):
        try:
            return _local(path)
        except OSError as error:
            raise ValueError(f"model folder {name} cannot be read: {error.strerror}") from error
    if os.path.exists(path):
        if path.suffix == ".gguf":
            raise ValueError(f"model {name} is a GGUF file, which is not read: give the model that it was made from")
        raise ValueError(f"model {name} is a file: give the folder that holds config.json and the weights")
    if name.startswith((".", "/", "~")):
        raise ValueError(f"model folder {name} is not there: give a folder that is, or a hub id")
    return _hub(name, begun or {}, own)


def _local(folder: Path) -> Model:
    if folder.name.startswith("models--") and (folder / "snapshots").is_dir():
        owner, _, repo = folder.name.removeprefix("models--").partition("--")
        raise ValueError(f"model folder {folder} is of the hub's cache: give {owner}/{repo}, or a folder of snapshots/")
    names = {path.name for path in folder.iterdir() if path.is_file()}
    within = {path.relative_to(folder).as_posix() for pattern in _WITHIN for path in folder.glob(pattern)}
    files.check_names(f"model folder {folder}", names | within, lambda name: read_object(folder / name))
    held, path = files.check_bytes(folder, names), folder.resolve()
    return _described(path.name, str(path), _folder_hash(folder), names, folder.joinpath, held=held)


def _hub(name: str, begun: Mapping[str, Any], own: tuple[str, ...]) -> Model:
    asked, at, revision = name.partition("@")
    if at and not (asked and revision):
        raise ValueError(
            f"model {name!r} names no {'commit behind' if asked else 'model before'} @: give owner/name@COMMIT"
        )
    if any(letter.isspace() for letter in name):
        raise ValueError(
            f"model {name!r} is no folder, and a hub id has no spaces: give owner/name as the hub writes it, {_EXAMPLE}"
        )
    families = KNOWN["families"].items()
    owners = [owner for owner, family in families if asked.startswith(tuple(family["beginnings"]))]
    if "/" not in asked and not owners:
        raise ValueError(
            f"model {name!r} is no folder and no well-known name{_meant(asked, own)}: give a folder or a hub id"
            f" {_EXAMPLE}"
        )
    repo = asked if "/" in asked else f"{owners[0]}/{asked}"
    # What was committed to the hub meanwhile, if only to a card, would make it another configuration.
    of_run = not at and begun.get("model") == repo
    pinned = begun.get("model_revision") if of_run else revision or None
    shown = f"model {repo}" if pinned is None else f"model {repo} at commit {pinned}"
    shown += ", with which this run began," if of_run and pinned else ""
    if pinned is None and offline():
        pinned = _only_commit(repo)
    with asking_hub(f"{shown}{_meant(repo)}"):
        commit, names = _listed(repo, pinned)

    def file(name: str) -> Path:
        with asking_hub(shown):
            return _download(repo, name, commit)

    files.check_names(f"model {repo}", names, lambda name: read_object(file(name)))
    return _described(repo, repo, commit, names, file, held=None)


def _meant(name: str, own: tuple[str, ...] = ()) -> str:
    """Ask whether the known model with the nearest name was meant; "" if none is near, or it is the very one."""
    offered = (f"{owner}/{model}" for owner, family in KNOWN["families"].items() for model in family["models"])
    known = {shown.lower(): full for full in (*offered, *own) for shown in (full, full.rpartition("/")[2])}
    near = nearest(name, known, cutoff=_CLOSE)
    return f" (did you mean {known[near[0]]}?)" if near and name not in known.values() else ""


def _only_commit(repo: str) -> str | None:
    """Return the one commit of the model in the hub's cache, where that does not say which is main; else None.

    It says so only after somebody asked for main, and we ask for commits. Raises ValueError where there are several.
    """
    cache = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")
    if not os.path.isdir(cache / "snapshots") or os.path.exists(cache / "refs" / "main"):
        return None
    commits = sorted(path.name for path in (cache / "snapshots").iterdir() if files.weights_of(os.listdir(path)))
    if len(commits) > 1:
        raise ValueError(
            f"model {repo} is in the hub's cache on this machine at several commits, {', '.join(commits)}, none of them"
            f" known as main: run `hf download {repo}` where HF_HUB_OFFLINE does not keep it from the hub, or give one"
            f" of them as {repo}@COMMIT"
        )
    return commits[0] if commits else None


def _listed(repo: str, pinned: str | None) -> tuple[str, set[str]]:
    """Return commit and file names, from the hub or, offline, from its client's cache; of main unless pinned."""
    if offline():
        folder = _download(repo, CONFIG, pinned or "main").parent
        return folder.name, {path.name for path in folder.iterdir()}
    told = HfApi().model_info(repo, revision=pinned, timeout=HUB_TIMEOUT_S)
    return told.sha or "main", {sibling.rfilename for sibling in told.siblings or ()}


def _download(repo: str, name: str, revision: str) -> Path:
    return Path(hf_hub_download(repo, name, revision=revision, local_files_only=offline()))


def _described(
    name: str, path: str, revision: str, names: Set[str], file: Callable[[str], Path], *, held: int | None
) -> Model:
    """Read the model's own files; `held` are the bytes of a folder's weights, None for a model of the hub."""
    config, generation, tokenizer = (
        read_object(file(one)) if one in names else {} for one in (CONFIG, files.GENERATION, TOKENIZER)
    )
    if TEMPLATE in names:
        file(TEMPLATE)
    elif not tokenizer.get("chat_template"):
        raise ValueError(f"model {name} has no chat template: take an instruct model, or add chat_template.jinja")
    longest = tokenizer.get("model_max_length")
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int | float)):
        raise ValueError(f"model {name}: model_max_length in {TOKENIZER} must be a number, not {longest!r}")
    classes = config.get("architectures")
    return Model(
        name,
        path,
        revision,
        local=held is not None,
        context=files.context_of(name, config, path, revision if held is None else None),
        sampling=files.sampling_of(name, generation),
        type=str(config.get("model_type") or ""),
        architectures=tuple(map(str, classes)) if isinstance(classes, list) else (),
        own_code=tuple(one for one, said in ((CONFIG, config), (TOKENIZER, tokenizer)) if said.get("auto_map")),
        heads=files.heads_of(config),
        weight_bytes=held or 0,
        unused=files.unused_of(generation),
    )


def _folder_hash(folder: Path) -> str:
    """SHA-256 over names, sizes and the first mebibyte of each file of the folder: 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in {".json", ".jinja", ".safetensors", ".bin", ".txt", ".model"}:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(_HEAD))
    return digest.hexdigest()[:16]


def vllm_reads(model_type: str) -> bool:
    """Return True if vLLM has a configuration class of its own for this model type."""
    pattern = rf"[\s\"]{re.escape(model_type)}\"?[=:] ?\"\w+Config\""
    return re.search(pattern, vllm_source("transformers_utils/config.py")) is not None


def runs(architecture: str) -> bool:
    """Return True if vLLM or transformers has code for the architecture, or if vLLM is not installed here."""
    registry = vllm_source(_REGISTRY)
    return not registry or f'"{architecture}"' in registry or in_transformers(architecture)


def why_silent(model: Model) -> str:
    """Return why the vLLM installed here gets no text out of the model; empty if it does, or none is installed."""
    writing, silent, classes = set[str](), set[str](), model.architectures
    for name, table in _TABLE.findall(vllm_source(_REGISTRY)):
        (silent if _SILENT.search(name) else writing).update(re.findall(r'^    "(\w+)": \(', table, re.MULTILINE))
    stems = [name.removesuffix(ending) for name in classes for ending in _WRITING if name.endswith(ending)]
    aliases = {*classes, *(stem + ending for stem in stems for ending in _WRITING)}
    if not writing or not classes or not writing.isdisjoint(aliases):
        return ""
    shown = f"{', '.join(classes)} by config.json"
    if not silent.isdisjoint(classes) or any(name.endswith(WRITE_NOTHING) for name in classes):
        return f"writes no text, it is a {shown}"
    if any(point.dist and not point.dist.name.startswith("vllm") for point in entry_points(group=_PLUGINS)):
        return ""  # another package adds models to vLLM, which its tables do not hold
    if not any(name.endswith(_WRITING) and in_transformers(name) for name in classes):
        return f"is a {shown}, a class that the vLLM installed here does not know as one that writes text"
    return f"is a {shown}, a class that the vLLM installed here does not run" if any(map(has_encoder, classes)) else ""


def check_writes(model: Model) -> None:
    """Raise ValueError where the vLLM of this machine gets no text out of the model.

    What needs code of its own is left to those who look at that.
    """
    if CONFIG not in model.own_code and (why := why_silent(model)):
        raise ValueError(f"model {model.name} {why}: give one that chats, of a class that vLLM runs")
