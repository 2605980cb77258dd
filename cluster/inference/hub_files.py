"""The files of a model or an adapter on the hub: which there are, at which commit, and one of them on this machine."""

import os
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download

from cluster.inference.model_files import MORE_TEMPLATES, Files
from cluster.jobs.hub import HUB_TIMEOUT_S, asking_hub


def pinned_to(kind: str, repo: str, given: str, of_run: str | None) -> tuple[str | None, str]:
    """Return the commit to take, that of the run to continue before the one given, and what messages call it all."""
    pinned = of_run or given or None
    at = f" at commit {pinned}" if pinned else ""
    return pinned, f"{kind} {repo}{at}{', with which this run began,' if of_run else ''}"


def list_files(repo: str, pinned: str | None, shown: str, marker: str) -> tuple[str, set[str]]:
    """Return commit and file names, from the hub or, offline, from its client's cache; of main unless pinned.

    `marker` is the name of a file that each such repository has. Raises ValueError if they are not there, or if the
    cache has several commits and does not know which one is main: it only does after someone asked for main, while we
    ask for commits.
    """
    if not constants.HF_HUB_OFFLINE:
        with asking_hub(shown):
            info = HfApi().model_info(repo, revision=pinned, timeout=HUB_TIMEOUT_S)
        return info.sha or "main", {sibling.rfilename for sibling in info.siblings or ()}
    cache = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")
    if pinned is None and os.path.isdir(cache / "snapshots") and not os.path.exists(cache / "refs" / "main"):
        snapshots = (cache / "snapshots").iterdir()
        commits = sorted(path.name for path in snapshots if Files({*os.listdir(path)}, path.joinpath).weights)
        if len(commits) > 1:
            found = f"in the hub's cache on this machine at several commits, {', '.join(commits)}"
            remedy = f"run `hf download {repo}` where HF_HUB_OFFLINE does not keep it from the hub"
            problem = f"{shown.split(' ')[0]} {repo} is {found}, none of them known as main"
            raise ValueError(f"{problem}: {remedy}, or give one of them as {repo}@COMMIT")
        pinned = commits[0] if commits else None
    folder = download(repo, marker, pinned or "main", shown).parent
    paths = [path for pattern in ("*", MORE_TEMPLATES) for path in folder.glob(pattern)]
    return folder.name, {path.relative_to(folder).as_posix() for path in paths}


def download(repo: str, name: str, revision: str, shown: str) -> Path:
    """Return the file's path on this machine, downloading it if necessary. Raises ValueError, calling it `shown`."""
    with asking_hub(shown):
        return Path(hf_hub_download(repo, name, revision=revision, local_files_only=constants.HF_HUB_OFFLINE))
