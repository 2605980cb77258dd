"""The weights of a model on the hub: looked at before a run, downloaded once, and what goes wrong told in a line."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from cluster.inference.hosted import _output_to
from cluster.inference.model_files import Files
from cluster.inference.models import Model, find
from cluster.inference.weights import Weights, gigabytes, hub_weights
from cluster.jobs.hub import asking_hub
from cluster.machine import Gpu
from cluster.session import session
from generation.builtin import MODEL
from generation.downloads import download
from generation.placement import gpu_limits
from generation.plan import make_plan
from generation.settings import Settings
from tests.hub_state import Fault, Hub, Repository
from tests.hub_user import User

REPO = "someone/a-model"
SIZE = (MODEL / "model.safetensors").stat().st_size
FLAGS = (f"--model={REPO}", "--questions=2", "--rl_questions=0", "--max_tokens=64", "--out=run")


@pytest.fixture
def owner(user: User, hub: Hub) -> User:
    """The built-in model on the hub, its weights in the storage for large files."""
    files = {path.name: path.read_bytes() for path in MODEL.iterdir()}
    weights = files["model.safetensors"]
    hub.stored[hashlib.sha256(weights).hexdigest()] = weights
    hub.repositories[REPO] = Repository(private=False, files=files)
    return user


def folder_of(user: User) -> Path:
    return Path(user.environment["HF_HOME"], "hub", "models--someone--a-model", "snapshots")


def has_weights(user: User) -> bool:
    return any(folder_of(user).glob("*/model.safetensors"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.safetensors", "pytorch_model.bin", "model.pt"], ["model.safetensors"]),
        (["pytorch_model.bin", "training_args.txt"], ["pytorch_model.bin"]),
        (["consolidated.safetensors", "model.safetensors"], ["consolidated.safetensors"]),
        (
            ["model.safetensors", "original/model.safetensors", "head/a.safetensors"],
            ["head/a.safetensors", "model.safetensors"],
        ),
        (["head/a.safetensors", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["model.gguf"], []),
    ],
)
def test_the_files_are_those_that_vllm_takes(names: list[str], expected: list[str]) -> None:
    assert Files(set(names), Path).fetched() == expected


def test_an_index_says_which_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "b.safetensors", "c": "b.safetensors"}}'
    )
    names = {"model.safetensors.index.json", "b.safetensors", "other.safetensors"}
    assert Files(names, tmp_path.joinpath).fetched() == ["b.safetensors"]


def test_nothing_is_downloaded_of_a_folder_or_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    of_hub = Model("m", "o/m", "abc", "abc", 64, weight_files=("a",))
    assert hub_weights(of_hub) == Weights("m", "o/m", "abc", ("a",))
    assert hub_weights(of_hub, "dummy") is None
    assert hub_weights(find(str(MODEL))) is None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_weights(of_hub) is None


def test_a_dry_run_says_how_much_would_be_downloaded_and_downloads_nothing(owner: User) -> None:
    done = owner.run("generation.run", *FLAGS, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert f"the weights of model {REPO} are not here: {gigabytes(SIZE)} would be downloaded" in done.stdout
    assert owner.hub.count("GET /storage") == 0
    assert not has_weights(owner)


@pytest.mark.parametrize("flag", ["--dry_run", "--engines=1"])
def test_weights_behind_terms_are_told_before_an_engine(owner: User, flag: str) -> None:
    owner.hub.faults.append(Fault("HEAD .*safetensors", 403, headers={"X-Error-Code": "GatedRepo"}))
    done = owner.run("generation.run", *FLAGS, flag)
    told = done.stderr.strip().splitlines()
    assert (done.returncode, len(told)) == (2, 1), done.stdout
    assert f"model.safetensors of model {REPO} is not here, and the hub keeps it behind terms" in told[0]
    assert not Path(owner.folder, "run").exists()


def test_they_are_downloaded_once_in_a_process_of_their_own(owner: User) -> None:
    for _ in range(2):
        done = owner.run("tests.test_downloads", "fetch")
        assert done.returncode == 0, done.stderr
        assert has_weights(owner)
    assert owner.hub.count("GET /storage") == 1
    assert owner.hub.leaked == []


def test_a_hub_that_breaks_off_is_told_in_a_line(owner: User) -> None:
    owner.hub.faults.append(Fault("GET /storage", 404))
    done = owner.run("tests.test_downloads", "fetch")
    assert done.stdout.startswith(f"ValueError: model.safetensors of model {REPO} is not here, and the hub says: ")
    assert len(done.stdout.splitlines()) == 1


def test_a_disk_without_room_is_told_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = Weights("m", "o/m", "abc", ("a",))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(Weights, "size", lambda _: 10**15)
    with pytest.raises(ValueError, match=r"are 1,000,000\.0 GB, and there are .* GB left .* set HF_HOME to a folder"):
        weights.fetch()
    assert shutil.disk_usage(tmp_path).free < 10**15


def test_a_stop_does_not_wait_for_a_download(owner: User) -> None:
    hangs = threading.Event()
    owner.hub.faults.append(Fault("GET /storage", meanwhile=lambda: hangs.wait(60)))
    job = owner.start("generation.run", *FLAGS)
    try:
        while not owner.hub.count("GET /storage"):
            assert job.poll() is None, job.communicate()
            time.sleep(0.05)
        began = time.monotonic()
        job.terminate()
        said, complained = job.communicate(timeout=20)
        assert (job.returncode, complained) == (75, ""), said
        assert time.monotonic() - began < 10
        assert f"engines     downloading the weights of model {REPO}, {gigabytes(SIZE)}" in said
    finally:
        hangs.set()
        job.kill()


def test_a_hosted_engine_draws_no_bar_of_the_hub(tmp_path: Path) -> None:
    """vLLM downloads a model's small files in this process."""
    before = are_progress_bars_disabled()
    enable_progress_bars()
    with _output_to(tmp_path / "log"):
        assert are_progress_bars_disabled()
    assert not are_progress_bars_disabled()
    if before:
        disable_progress_bars()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_cache_that_cannot_be_written_is_not_a_hub_that_is_away(number: int) -> None:
    told = r"a\.bin is not here, and .* cannot be written .*: set HF_HOME"
    with pytest.raises(ValueError, match=told), asking_hub("a.bin"):
        raise OSError(number, os.strerror(number), "models--a")


def test_a_model_of_the_hub_may_be_too_large_for_a_gpu_too(owner: User) -> None:
    done = owner.run("tests.test_downloads", "small")
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 128
    assert not has_weights(owner)


@pytest.mark.ray
def test_each_node_downloads_them(owner: User) -> None:
    done = owner.run("tests.test_downloads", "nodes")
    assert done.returncode == 0, done.stderr
    assert f"engines     downloading the weights of model {REPO} on 1 of 1 nodes, {gigabytes(SIZE)}" in done.stdout
    assert done.stdout.count("downloading") == 1, "the second time they are there"
    assert has_weights(owner)
    owner.hub.faults.append(Fault("HEAD .*safetensors", 403, headers={"X-Error-Code": "GatedRepo"}))
    shutil.rmtree(folder_of(owner).parent)
    told = owner.run("tests.test_downloads", "nodes")
    assert "is not here, and the hub keeps it behind terms" in told.stderr


def fetch() -> None:
    weights = hub_weights(find(REPO))
    assert weights
    try:
        weights.fetch_apart()
    except ValueError as error:
        print(f"ValueError: {error}")


def fetch_on_nodes() -> None:
    plan = make_plan(Settings(model=REPO, questions=2, rl_questions=0))
    with session(None):
        for _ in range(2):
            download(plan, everywhere=True)


def ask_a_small_gpu() -> None:
    plan = make_plan(Settings(model=REPO, questions=2, rl_questions=0))
    with pytest.raises(ValueError, match=r"are 0\.0 GiB, and a GPU holds 0\.0: give --tensor_parallel 8 or more"):
        gpu_limits(plan, 1, Gpu("small", SIZE // 6))
    print(gpu_limits(plan, 1, Gpu("large", 80 << 30)).sequences)


if __name__ == "__main__":
    {"fetch": fetch, "nodes": fetch_on_nodes, "small": ask_a_small_gpu}[sys.argv[1]]()
