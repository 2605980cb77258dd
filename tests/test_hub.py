"""Pushing to a hub and reading back: the real client against a hub on this machine, token and faults and all."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard

from cluster.atomic import MADE_HERE
from cluster.run_directory import RUN_FILE
from tests.assembly_rows import published_row, write_parquet
from tests.hub_server import serving
from tests.hub_state import TOKEN, Fault, Hub

NAME = "countdown_3arg-skillfactory-tiny-3m"
FOLDERS = ("RAW_DATA", "SFT_DATA", "RL_DATA")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub()) as hub:
        yield hub


class User:
    """Somebody at a terminal with a token, a folder and a hub."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.folder = folder
        self.hub = hub
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(folder / "hub-home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",  # the hub of the tests speaks LFS
            "HF_HUB_OFFLINE": "0",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }

    def start(self, module: str, *args: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment | environment,
        )

    def run(self, module: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(module, *args, **environment)
        try:
            said, complained = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{module} hangs: {process.communicate()}") from None
        return subprocess.CompletedProcess(args, process.returncode, said, complained)

    def job(self, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The job on a scripted engine, its out folder `run`."""
        flags = ("--questions=12", "--rl_questions=4", "--out=run", "--push_to=someone", *flags)
        return self.run("tests.drive_job", *flags, **environment)

    def push(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A folder of two large files and a card."""
        self.make_folder()
        return self.run("tests.push", str(self.folder / "data-set"), "someone", "a-set", *args, **environment)

    def make_folder(self, files: int = 2) -> None:
        for number in range(files):
            path = self.folder / "data-set" / "data" / f"train-{number:05}-of-{files:05}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_parquet(path, [published_row(f"question {number}", "right", True)])
        (self.folder / "data-set" / "README.md").write_text("# A set\n", encoding="utf-8")

    def held(self, name: str = "someone/a-set") -> dict[str, bytes]:
        return {path: body for path, body in self.hub.repositories[name].files.items() if path != ".gitattributes"}


@pytest.fixture
def user(hub: Hub, tmp_path: Path) -> User:
    return User(hub, tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset repository but the mark that it was made here."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != MADE_HERE]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def digest(folder: Path) -> str:
    return hashlib.sha256(repr(sorted(content(folder).items())).encode()).hexdigest()


def assert_token_is_nowhere(user: User, *runs: subprocess.CompletedProcess[str]) -> None:
    assert user.hub.leaked == []
    for run in runs:
        assert TOKEN not in run.stdout + run.stderr
    for path in user.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


# ---- the whole way there and back


def test_the_job_pushes_its_three_sets_and_the_assembly_reads_them_back(user: User) -> None:
    job = user.job("--formats=*C_full")
    assert job.returncode == 0, job.stderr
    for folder in FOLDERS:
        assert user.held(f"someone/{folder}-{NAME}") == content(user.folder / "run" / folder)
        assert user.hub.repositories[f"someone/{folder}-{NAME}"].private
        assert f"pushed      {user.hub.endpoint}/datasets/someone/{folder}-{NAME}, private" in job.stdout

    again = user.run("assembly.run", f"--raw=someone/RAW_DATA-{NAME}", "--formats=*C_full", "--out=again")
    assert again.returncode == 0, again.stderr
    there, here = (sorted((user.folder / place).glob("data/*.parquet")) for place in ("again", "run/SFT_DATA"))
    assert [path.read_bytes() for path in there] == [path.read_bytes() for path in here] != []
    assert_token_is_nowhere(user, job, again)


_LOAD = """
import sys
from datasets import load_dataset
for split, rows in load_dataset(sys.argv[1]).items():
    rows.to_parquet(f"{split}.parquet")
"""


def test_datasets_loads_what_was_pushed_with_equal_rows(user: User) -> None:
    assert user.job().returncode == 0
    (user.folder / "load_it.py").write_text(_LOAD, encoding="utf-8")
    loaded = user.run("load_it", f"someone/RAW_DATA-{NAME}", PYTHONPATH=str(user.folder))
    assert loaded.returncode == 0, loaded.stderr
    local = [row for path in sorted((user.folder / "run").glob("RAW_DATA/data/*")) for row in _rows(path)]
    assert _rows(user.folder / "train.parquet") == local
    assert len(local) == 12 * 4 * 2


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def test_the_cards_say_what_a_hub_page_needs(user: User) -> None:
    assert user.job().returncode == 0
    for folder in FOLDERS:
        card = DatasetCard(user.held(f"someone/{folder}-{NAME}")["README.md"].decode())
        data = card.data.to_dict()  # type: ignore[no-untyped-call]
        assert data["license"] == "unknown"
        assert data["size_categories"] == ["n<1K"]
        assert "skillfactory" in data["tags"]
        splits = data["dataset_info"]["splits"]
        assert all(split["num_examples"] > 0 and split["num_bytes"] > 0 for split in splits)
        assert data["dataset_info"]["features"]
        assert "How it was made" in card.text


# ---- who may see it


def test_public_is_for_everyone(user: User) -> None:
    assert "private=False" in user.push("public").stdout
    assert not user.hub.repositories["someone/a-set"].private


def test_public_opens_what_was_pushed_privately_and_nothing_closes_it(user: User) -> None:
    assert "private=True" in user.push().stdout
    assert "private=False" in user.push("public").stdout
    assert "private=False" in user.push().stdout
    assert not user.hub.repositories["someone/a-set"].private


# ---- before any work


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"token": "another"}, "a login is not here, and the hub says"),
        ({"role": "read"}, "the token may only read"),
        ({"user": "me"}, "the token is not of that namespace, but of me, anorg"),
    ],
)
def test_a_token_that_may_not_push_ends_the_job_before_any_work(user: User, change: dict[str, str], told: str) -> None:
    for name, value in change.items():
        setattr(user.hub, name, value)
    job = user.job()
    assert job.returncode == 2
    assert told in job.stderr
    assert job.stderr.count("\n") == 1
    assert not (user.folder / "run").exists()
    assert user.hub.repositories == {}
    assert_token_is_nowhere(user, job)


def test_no_token_at_all_names_the_login(user: User) -> None:
    del user.environment["HF_TOKEN"]
    job = user.job()
    assert job.returncode == 2
    assert "hf auth login" in job.stderr
    assert job.stderr.count("\n") == 1


def test_a_member_pushes_into_the_organization(user: User) -> None:
    user.make_folder()
    assert user.run("tests.push", str(user.folder / "data-set"), "anorg", "a-set").returncode == 0
    assert "anorg/a-set" in user.hub.repositories


def test_offline_and_push_exclude_each_other(user: User) -> None:
    job = user.job(HF_HUB_OFFLINE="1")
    assert job.returncode == 2
    assert "HF_HUB_OFFLINE" in job.stderr
    assert not user.hub.asked


def test_no_hub_at_the_endpoint_is_one_line(user: User) -> None:
    job = user.job(HF_ENDPOINT="http://127.0.0.1:1")
    assert job.returncode == 2
    assert "the hub cannot be reached" in job.stderr
    assert job.stderr.count("\n") == 1


def test_public_without_a_push_is_refused(user: User) -> None:
    refused = user.run("tests.drive_job", "--public", "--out=run")
    assert refused.returncode == 2
    assert "--public is for what --push_to pushes" in refused.stderr


# ---- a hub that is busy


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "where", ["whoami", "repos/create", "preupload", r"objects/batch", "PUT /storage", "commit", "GET /api/datasets"]
)
def test_a_busy_hub_is_asked_again(user: User, where: str, status: int) -> None:
    fault = Fault(where, status, times=2, headers={"Retry-After": "1"} if status == 429 else {})
    user.hub.faults.append(fault)
    done = user.push()
    assert done.returncode == 0, done.stderr
    assert fault.times == 0
    assert user.held() == content(user.folder / "data-set")


def test_a_hub_that_stays_busy_ends_the_push_and_nothing_else(user: User) -> None:
    user.hub.faults.append(Fault("commit", 503))
    job = user.job()
    assert job.returncode == 1
    assert re.search(r"not pushed: someone/RAW_DATA-\S+: the hub says: .*503", job.stderr)
    assert "the same command pushes it without a new rollout" in job.stderr
    before = [digest(user.folder / "run" / folder) for folder in FOLDERS]

    user.hub.faults.clear()
    again = user.job()
    assert again.returncode == 0, again.stderr
    assert [digest(user.folder / "run" / folder) for folder in FOLDERS] == before
    assert user.held(f"someone/RAW_DATA-{NAME}") == content(user.folder / "run" / "RAW_DATA")


def test_a_hub_that_says_come_back_tomorrow_is_not_waited_for(user: User) -> None:
    user.hub.faults.append(Fault("commit", 429, headers={"Retry-After": "86400"}))
    done = user.push()
    assert done.returncode == 1
    assert "429" in done.stderr
    assert user.hub.count("commit") <= 2


# ---- broken off


def test_a_token_withdrawn_in_mid_run_leaves_the_repositories_whole(user: User) -> None:
    user.hub.faults.append(Fault("repos/create", 401, text=b'{"error": "Invalid credentials"}'))
    job = user.job()
    assert job.returncode == 1
    assert "the hub does not take the token" in job.stderr
    assert job.stderr.count("\n") == 1
    assert [len(_rows(path)) for path in sorted((user.folder / "run").glob("RAW_DATA/data/*"))] == [96]
    assert all((user.folder / "run" / folder / "README.md").exists() for folder in FOLDERS)
    assert '"state": "done"' in (user.folder / "run" / RUN_FILE).read_text(encoding="utf-8")
    assert_token_is_nowhere(user, job)


def test_a_broken_upload_is_taken_up_again(user: User) -> None:
    """The second large file does not get through; the first is not sent twice."""
    user.make_folder()
    second = hashlib.sha256((user.folder / "data-set/data/train-00001-of-00002.parquet").read_bytes()).hexdigest()
    user.hub.faults.append(Fault(f"PUT /storage/{second}"))
    broken = user.push()
    assert broken.returncode == 1
    assert "broke off" in broken.stderr
    first = next(iter(user.hub.stored))
    sent = user.hub.count(f"PUT /storage/{first}")

    user.hub.faults.clear()
    assert user.push().returncode == 0
    assert user.hub.count(f"PUT /storage/{first}") == sent == 1
    assert user.held() == content(user.folder / "data-set")


def test_a_push_that_was_killed_is_taken_up_again(user: User) -> None:
    user.make_folder()
    pushing: list[subprocess.Popen[str]] = []
    user.hub.faults.append(Fault("commit", times=1, meanwhile=lambda: pushing[0].send_signal(signal.SIGKILL)))
    pushing.append(user.start("tests.push", str(user.folder / "data-set"), "someone", "a-set"))
    pushing[0].communicate(timeout=60)
    assert pushing[0].returncode == -signal.SIGKILL
    sent = user.hub.count("PUT /storage")
    assert sent == 2
    assert user.push().returncode == 0
    assert user.hub.count("PUT /storage") == sent
    assert user.held() == content(user.folder / "data-set")


def test_a_large_file_goes_in_parts(user: User) -> None:
    user.hub.part_bytes = 2000
    assert user.push().returncode == 0
    assert user.hub.count(r"PUT /storage/\w+/2") == 2
    assert user.held() == content(user.folder / "data-set")


def test_files_of_an_earlier_push_do_not_stay(user: User) -> None:
    user.make_folder(files=3)
    assert user.run("tests.push", str(user.folder / "data-set"), "someone", "a-set").returncode == 0
    for path in (user.folder / "data-set/data").iterdir():
        path.unlink()
    assert user.push().returncode == 0
    assert set(user.held()) == {
        "README.md",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
    }


def test_nothing_is_sent_where_nothing_changed(user: User) -> None:
    assert user.push().returncode == 0
    sent = user.hub.count("PUT /storage")
    assert user.push().returncode == 0
    assert user.hub.count("PUT /storage") == sent


def test_an_interrupt_while_the_hub_is_waited_for_stops_the_push(user: User) -> None:
    """The hub takes the connection and says nothing."""
    job_of: list[subprocess.Popen[str]] = []

    def interrupt_and_wait() -> None:
        job_of[0].send_signal(signal.SIGINT)
        deadline = time.monotonic() + 30
        while job_of[0].poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)

    user.hub.faults.append(Fault("repos/create", times=1, meanwhile=interrupt_and_wait))
    flags = ("--questions=12", "--rl_questions=4", "--out=run", "--push_to=someone")
    job_of.append(user.start("tests.drive_job", *flags))
    said, complained = job_of[0].communicate(timeout=120)
    assert job_of[0].returncode == 75, complained
    assert "the same command pushes it" in said
    assert "Traceback" not in complained
    assert user.job().returncode == 0
