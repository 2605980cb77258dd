"""Finding a model and reading what it says of itself, without loading it.

transformers is asked, which takes seconds, only for a context that config.json leaves to its defaults.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download

from cluster.inference.model_config import (
    Kind,
    check_tokenizer_config,
    context_of,
    heads_of,
    kind_of,
    sampling_of,
    unused_of,
)
from cluster.inference.model_files import (
    GENERATION,
    NEEDED,
    OFFERED,
    TEMPLATE,
    TOKENIZER,
    check_bytes,
    check_names,
    read_object,
    weights_of,
)
from cluster.inference.model_names import HubName, hub_name, meant
from cluster.jobs.hub import HUB_TIMEOUT_S, asking_hub, offline

_WITHIN = ("*", "*/config.json", "*/*/config.json", "*/*.distcp")
"""Of a folder, what tells a model from what is taken for one."""
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
    kind: Kind
    heads: int | None = None
    """Of attention, which the GPUs of an engine share evenly; None where it does not say."""
    weight_bytes: int = 0
    """On the disk; 0 where they are not on this machine."""
    unused: tuple[str, ...] = ()
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
    return _hub(hub_name(name, own), begun or {})


def _local(folder: Path) -> Model:
    if folder.name.startswith("models--") and (folder / "snapshots").is_dir():
        owner, _, repo = folder.name.removeprefix("models--").partition("--")
        raise ValueError(f"model folder {folder} is of the hub's cache: give {owner}/{repo}, or a folder of snapshots/")
    files = {path.name: path for path in folder.iterdir() if path.is_file()}
    within = {path.relative_to(folder).as_posix() for pattern in _WITHIN for path in folder.glob(pattern)}
    check_names(f"model folder {folder}", files.keys() | within, lambda name: read_object(folder / name))
    held = check_bytes(folder, files.keys())
    name, path = folder.resolve().name, str(folder.resolve())
    return _described(name, path, _folder_hash(folder), files, held=held)


def _hub(asked: HubName, begun: Mapping[str, Any]) -> Model:
    repo = asked.repo
    # What was committed to the hub meanwhile, if only to a card, would make it another configuration.
    of_run = asked.revision is None and begun.get("model") == repo
    pinned = begun.get("model_revision") if of_run else asked.revision
    shown = f"model {repo}" if pinned is None else f"model {repo} at commit {pinned}"
    shown += ", with which this run began," if of_run and pinned else ""
    if pinned is None and offline():
        pinned = _only_commit(repo)
    with asking_hub(f"{shown}{meant(repo)}"):
        revision, names = _listed(repo, pinned)

    def file(name: str) -> Path:
        with asking_hub(shown):
            return Path(_download(repo, name, revision))

    check_names(f"model {repo}", names, lambda name: read_object(file(name)))
    files = {name: file(name) for name in (NEEDED, *OFFERED) if name in names}
    return _described(repo, repo, revision, files, held=None)


def _only_commit(repo: str) -> str | None:
    """The one commit of the model in the hub's cache, where that does not say which is main; else None.

    It says so only after somebody asked for main, and we ask for commits. Raises ValueError where there are several.
    """
    cache = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")
    if not os.path.isdir(cache / "snapshots") or os.path.exists(cache / "refs" / "main"):
        return None
    commits = sorted(path.name for path in (cache / "snapshots").iterdir() if weights_of(os.listdir(path)))
    if len(commits) > 1:
        raise ValueError(
            f"model {repo} is in the hub's cache on this machine at several commits, {', '.join(commits)}, none of them"
            f" known as main: run `hf download {repo}` where HF_HUB_OFFLINE does not keep it from the hub, or give one"
            f" of them as {repo}@COMMIT"
        )
    return commits[0] if commits else None


def _listed(repo: str, pinned: str | None) -> tuple[str, set[str]]:
    """Commit and file names, from the hub or, offline, from what its client keeps; of main unless a commit is given."""
    if offline():
        folder = Path(_download(repo, NEEDED, pinned or "main")).parent
        return folder.name, {path.name for path in folder.iterdir()}
    told = HfApi().model_info(repo, revision=pinned, timeout=HUB_TIMEOUT_S)
    return told.sha or "main", {sibling.rfilename for sibling in told.siblings or ()}


def _download(repo: str, name: str, revision: str) -> str:
    return hf_hub_download(repo, name, revision=revision, local_files_only=offline())


def _described(name: str, path: str, revision: str, files: dict[str, Path], *, held: int | None) -> Model:
    """`held` are the bytes of a folder's weights; None for a model of the hub."""
    read = {file: read_object(files[file]) if file in files else {} for file in (NEEDED, GENERATION, TOKENIZER)}
    config, told = read[NEEDED], read[TOKENIZER]
    if TEMPLATE not in files and not told.get("chat_template"):
        raise ValueError(f"model {name} has no chat template: take an instruct model, or add chat_template.jinja")
    check_tokenizer_config(name, told)
    return Model(
        name,
        path,
        revision,
        held is not None,
        context_of(name, config, path, revision if held is None else None),
        sampling_of(name, read[GENERATION]),
        kind_of(config, told),
        heads_of(config),
        held or 0,
        unused_of(read[GENERATION]),
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
