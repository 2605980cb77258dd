"""The weights of a model on the hub, downloaded once on each machine, before engines would do it all at once.

`python -m cluster.inference.weights REPOSITORY COMMIT NAME FILE...` downloads in a process that can be killed.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.utils import disable_progress_bars

from cluster.inference.models import Model
from cluster.jobs.hub import HUB_TIMEOUT_S, asking_hub

_LIKE_VLLM = {"auto", "hf", "safetensors"}  # values of load_format for which `Model.weight_files` are what it takes
_OURS = (signal.SIGINT, signal.SIGUSR1)  # sent to all processes of a terminal, or of a Slurm job


@dataclass(frozen=True)
class Weights:
    """Files of a model on the hub."""

    model: str  # as shown to users
    repo: str
    commit: str
    files: tuple[str, ...]

    @property
    def shown(self) -> str:
        return f"the weights of model {self.model}"

    @property
    def first(self) -> str:
        return f"{self.files[0]} of model {self.model}"

    def missing(self) -> "Weights":
        """Return those that are not in the hub's cache of this machine."""
        cached = (try_to_load_from_cache(self.repo, name, revision=self.commit) for name in self.files)
        lacking = [name for name, path in zip(self.files, cached, strict=True) if not isinstance(path, str)]
        return Weights(self.model, self.repo, self.commit, tuple(lacking))

    def size(self) -> int:
        """Return their size in bytes, by the hub. Raises ValueError if they cannot be downloaded."""
        if not self.files:
            return 0
        with asking_hub(self.first):
            get_hf_file_metadata(hf_hub_url(self.repo, self.files[0], revision=self.commit), timeout=HUB_TIMEOUT_S)
            found = HfApi().get_paths_info(self.repo, list(self.files), revision=self.commit)
        return sum(getattr(one, "size", 0) for one in found)

    def fetch(self) -> None:
        """Download what is missing on this machine. Raises ValueError if there is no room, or nothing comes."""
        lacking = self.missing()
        if not lacking.files:
            return
        cache = Path(constants.HF_HUB_CACHE)
        with asking_hub(lacking.first):
            cache.mkdir(parents=True, exist_ok=True)
        size, free = lacking.size(), shutil.disk_usage(cache).free
        if size > free:
            told = f"are {gigabytes(size)}, and there are {gigabytes(free)} left in the hub's cache, {cache}"
            raise ValueError(f"{self.shown} {told}: make room there, or set HF_HOME to a folder on a larger disk")
        with asking_hub(lacking.first):
            snapshot_download(self.repo, revision=self.commit, allow_patterns=list(lacking.files))

    def fetch_apart(self) -> None:
        """Do the same in another process: a stop does not wait for the client's threads. Raises as `fetch` does."""
        command = [sys.executable, "-m", __name__, self.repo, self.commit, self.model, *self.files]
        # It ends when its standard input does, with this process.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            said = process.stdout.read().strip()
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code:
            raise ValueError(said or f"{self.shown} are not here: the process that downloads them ended with {code}")


def hub_weights(model: Model, load_format: str = "auto") -> Weights | None:
    """Return the weights that engines would download; None for a folder, offline, or where vLLM takes other files."""
    if model.hub_revision is None or constants.HF_HUB_OFFLINE or load_format not in _LIKE_VLLM:
        return None
    return Weights(model.name, model.path, model.hub_revision, model.weight_files)


def gigabytes(size: int) -> str:
    """Return a number of bytes for a person."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def main(repo: str, commit: str, model: str, *files: str) -> int:
    for number in _OURS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        Weights(model, repo, commit, files).fetch()
    except ValueError as error:
        print(error, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
