"""Finding a model and reading what it says of itself, without loading it or any heavy package."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

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


def find(name: str) -> Model:
    """The model of a local folder, a hub id, or a bare well-known name.

    Raises ValueError, in words for a person, when it is not there or cannot chat.
    """
    if Path(name).is_dir():
        return _local(Path(name))
    if name.startswith((".", "/", "~")):
        raise ValueError(f"model folder {name} is not there")
    return _hub(_full_id(name))


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
    if not (folder / _NEEDED).is_file():
        raise ValueError(f"model folder {folder} has no config.json")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise ValueError(f"model folder {folder} has no weights: no *.safetensors file in it")
    files = {name: folder / name for name in (_NEEDED, *_OFFERED) if (folder / name).is_file()}
    return _described(folder.resolve().name, str(folder.resolve()), _folder_hash(folder), files, local=True)


def _hub(repo: str) -> Model:
    revision, files = "", {}
    try:
        if not _offline():
            revision = HfApi().model_info(repo, timeout=10).sha or ""
        config = Path(hf_hub_download(repo, _NEEDED, revision=revision or None, local_files_only=_offline()))
    except (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        OSError,
    ) as error:
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise ValueError(f"model {repo} is not there: no such folder, and the hub says: {reason}") from error
    files[_NEEDED] = config
    revision = revision or config.parent.name
    for name in _OFFERED:
        try:
            files[name] = Path(hf_hub_download(repo, name, revision=revision, local_files_only=_offline()))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError):
            continue
    return _described(repo, repo, revision, files, local=False)


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


def _described(name: str, path: str, revision: str, files: dict[str, Path], *, local: bool) -> Model:
    config = _json(files[_NEEDED])
    text = config.get("text_config") or config
    context = text.get("max_position_embeddings")
    if not isinstance(context, int):
        raise ValueError(f"model {name} does not say its context: config.json has no max_position_embeddings")
    told = _json(files["tokenizer_config.json"]) if "tokenizer_config.json" in files else {}
    if "chat_template.jinja" not in files and not told.get("chat_template"):
        raise ValueError(f"model {name} has no chat template: take an instruct model, or add chat_template.jinja")
    generation = _json(files["generation_config.json"]) if "generation_config.json" in files else {}
    wanted = ("temperature", "top_p", "top_k", "repetition_penalty")
    sampling = {key: float(generation[key]) for key in wanted if generation.get(key) is not None}
    return Model(name, path, revision, local, context, sampling)


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
