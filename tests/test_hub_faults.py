"""A hub that is busy, a token that is withdrawn, pushes that break off: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import time

import pytest

from cluster.jobs.run_directory import RUN_FILE
from tests.hub_state import Fault
from tests.hub_user import FOLDERS, NAME, User, assert_token_is_nowhere, content, digest, rows_of

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
    assert [len(rows_of(path)) for path in sorted((user.folder / "run").glob("RAW_DATA/data/*"))] == [96]
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
    flags = ("--questions=12", "--rl_questions=4", "--grace_s=1", "--out=run", "--push_to=someone")
    job_of.append(user.start("tests.drive_job", *flags))
    said, complained = job_of[0].communicate(timeout=120)
    assert job_of[0].returncode == 75, complained
    assert "the same command pushes it" in said
    assert "Traceback" not in complained
    assert user.job().returncode == 0
