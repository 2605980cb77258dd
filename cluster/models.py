"""Finding a model and reading what it says of itself, without loading it or any heavy package."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download

from cluster.hub import HUB_TIMEOUT_S, asking_hub, offline

OWNERS = {
    "DeepSeek-": "deepseek-ai",
    "Llama-": "meta-llama",
    "Mistral-": "mistralai",
    "Olmo-": "allenai",
    "OLMo-": "allenai",
    "Phi-": "microsoft",
    "Qwen": "Qwen",
    "SmolLM": "HuggingFaceTB",
    "gemma-": "google",
}
"""Who publishes a model, by the beginning of its bare name."""

_NEEDED = "config.json"
_OFFERED = ("generation_config.json", "tokenizer_config.json", "chat_template.jinja")
_TOKENIZERS = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json"})
_WEIGHTS = (".safetensors", ".bin")
_DRAWING = ("temperature", "top_p", "top_k", "repetition_penalty")
_HEAD = 1 << 20


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


def find(name: str, begun: Mapping[str, Any] | None = None) -> Model:
    """The model of a local folder, a hub id, or a bare well-known name.

    `begun` is the configuration of the run that goes on: where it names this model of the hub, its commit is taken.
    Raises ValueError, in words for a person, when it is not there or cannot chat.
    """
    if os.path.isdir(name):
        return _local(Path(name))
    if os.path.exists(name):
        raise ValueError(f"model {name} is a file: give the folder that holds config.json and the weights")
    if name.startswith((".", "/", "~")):
        raise ValueError(f"model folder {name} is not there: give a folder that is, or a hub id")
    return _hub(_full_id(name), begun or {})


def _full_id(name: str) -> str:
    if "/" in name:
        return name
    for beginning, owner in OWNERS.items():
        if name.startswith(beginning):
            return f"{owner}/{name}"
    raise ValueError(
        f"model {name!r} is no folder and no well-known name: give a folder or a hub id"
        " such as Qwen/Qwen2.5-1.5B-Instruct"
    )


def _local(folder: Path) -> Model:
    files = {path.name: path for path in folder.iterdir() if path.is_file()}
    _check_files(f"model folder {folder}", files)
    return _described(folder.resolve().name, str(folder.resolve()), _folder_hash(folder), files, local=True)


def _hub(repo: str, begun: Mapping[str, Any]) -> Model:
    # What was committed to the hub meanwhile, if only to a card, would make it another configuration.
    pinned = begun.get("model_revision") if begun.get("model") == repo else None
    shown = f"model {repo}" if pinned is None else f"model {repo} at commit {pinned}, with which this run began,"
    if pinned is None and offline():
        pinned = _only_commit(repo)
    with asking_hub(shown):
        revision, names = _listed(repo, pinned)
    _check_files(f"model {repo}", names)
    wanted = [name for name in (_NEEDED, *_OFFERED) if name in names]
    with asking_hub(shown):
        files = {name: Path(_download(repo, name, revision)) for name in wanted}
    return _described(repo, repo, revision, files, local=False)


def _only_commit(repo: str) -> str | None:
    """The one commit of the model in the hub's cache, where that does not say which is main; else None.

    It says so only after somebody asked for main, and we ask for commits. Raises ValueError where there are several.
    """
    cache = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")
    if not os.path.isdir(cache / "snapshots") or os.path.exists(cache / "refs" / "main"):
        return None
    commits = sorted({path.parent.name for ending in _WEIGHTS for path in cache.glob(f"snapshots/*/*{ending}")})
    if len(commits) > 1:
        raise ValueError(
            f"model {repo} is in the hub's cache on this machine at several commits, {', '.join(commits)}, none of them"
            f" known as main: run `hf download {repo}` where HF_HUB_OFFLINE does not keep it from the hub"
        )
    return commits[0] if commits else None


def _listed(repo: str, pinned: str | None) -> tuple[str, set[str]]:
    """Commit and file names, from the hub or, offline, from what its client keeps; of main unless a commit is given."""
    if offline():
        folder = Path(_download(repo, _NEEDED, pinned or "main")).parent
        return folder.name, {path.name for path in folder.iterdir()}
    told = HfApi().model_info(repo, revision=pinned, timeout=HUB_TIMEOUT_S)
    return told.sha or "main", {sibling.rfilename for sibling in told.siblings or ()}


def _download(repo: str, name: str, revision: str) -> str:
    return hf_hub_download(repo, name, revision=revision, local_files_only=offline())


def _check_files(model: str, names: Iterable[str]) -> None:
    held = set(names)
    if _NEEDED not in held:
        raise ValueError(f"{model} has no {_NEEDED}: give one in the layout of transformers")
    if not any(name.endswith(_WEIGHTS) for name in held):
        raise ValueError(f"{model} has no weights: no *.safetensors file in it")
    if not held & _TOKENIZERS:
        raise ValueError(f"{model} has no tokenizer: none of {', '.join(sorted(_TOKENIZERS))} in it")


def _described(name: str, path: str, revision: str, files: dict[str, Path], *, local: bool) -> Model:
    config = _json(files[_NEEDED])
    text = config.get("text_config") or config
    context = text.get("max_position_embeddings")
    if not isinstance(context, int) or context < 2:
        raise ValueError(f"model {name} does not say its context: config.json has no max_position_embeddings")
    told = _json(files["tokenizer_config.json"]) if "tokenizer_config.json" in files else {}
    if "chat_template.jinja" not in files and not told.get("chat_template"):
        raise ValueError(f"model {name} has no chat template: take an instruct model, or add chat_template.jinja")
    generation = _json(files["generation_config.json"]) if "generation_config.json" in files else {}
    sampling = {key: generation[key] for key in _DRAWING if generation.get(key) is not None}
    for key, value in sampling.items():
        if not isinstance(value, int | float):
            raise ValueError(f"model {name}: {key} in generation_config.json must be a number, not {value!r}")
    return Model(name, path, revision, local, context, {key: float(value) for key, value in sampling.items()})


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(read, dict):
        raise ValueError(f"{path} holds no JSON object")
    return read


def _folder_hash(folder: Path) -> str:
    """SHA-256 over names, sizes and the first mebibyte of each file of the folder: 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in {".json", ".jinja", ".safetensors", ".bin", ".txt", ".model"}:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(_HEAD))
    return digest.hexdigest()[:16]
