"""The processes that compare mathematics: started when needed, killed when they must be, gone when their parent is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from generation.grading import mathematics, workers
from generation.grading.errors import CannotStartError, DiedError
from generation.grading.mathematics import WORKER
from generation.grading.workers import WorkerPool, close_pools, pool_of, pool_size
from generation.records import GRADER_DIED, GRADER_TIMED_OUT, Grade
from tests.grading_tables import Row, graded

ROOT = Path(__file__).parent.parent
BOMB = "9^{9^{9^{9}}}"


def _math(answer: str, gold: str = "x+1") -> Grade:
    return graded(Row(gold, answer, "", ""), "math")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    close_pools()
    mathematics.compare.cache_clear()
    yield
    close_pools()


def _pids() -> list[int]:
    return pool_of(WORKER).pids()


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _gone_within(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(_is_there, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(_is_there, pids))


def test_the_same_two_formulas_are_compared_once() -> None:
    assert _math("x + 2").outcome == "wrong"
    (pid,) = _pids()
    os.kill(pid, signal.SIGKILL)
    assert _gone_within([pid], 5)
    assert _math("x + 2").outcome == "wrong"
    assert _pids() == [pid], "nobody was asked"


def test_a_worker_is_not_counted_the_memory_of_its_parent() -> None:
    ballast = b"x" * (400 << 20)
    assert _math("x + 2").outcome == "wrong"
    pids = _pids()
    assert _math("1 + x").outcome == "right"
    assert _pids() == pids
    assert len(ballast) > 300 << 20


def test_nothing_is_started_before_it_is_needed() -> None:
    assert _math("5", "6").outcome == "wrong"
    assert _math("**x + 1**", "x + 1").outcome == "right"
    assert _math("(", "x").outcome == "unknown"
    assert _pids() == []
    assert _math("1+x").outcome == "right"
    assert len(_pids()) == 1


def test_what_loops_is_ended_and_the_next_is_graded() -> None:
    assert _math("1+x").outcome == "right"
    before = _pids()
    assert _math(BOMB) == Grade("unknown", GRADER_TIMED_OUT, BOMB)
    assert _gone_within(before, 1)
    assert _math("1+x").outcome == "right"


def test_a_worker_that_died_is_replaced_without_a_trace_in_the_grade() -> None:
    assert _math("1+x").outcome == "right"
    for _ in range(2):
        for pid in _pids():
            os.kill(pid, signal.SIGKILL)
        assert _math("1+x").outcome == "right"


def test_what_kills_two_workers_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does when memory runs out: each worker that comes to this request dies over it."""
    starts = tmp_path / "starts"
    (tmp_path / "dying.py").write_text(
        "import os\n"
        f"open({str(starts)!r}, 'a').write('1')\n"
        "def prepare(request): pass\n"
        "def answer(request): os.kill(os.getpid(), 9) if request.get('answer') == '2+x' else None; return {'at': 1}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    pool = WorkerPool("dying", 1)
    with pytest.raises(DiedError, match="it ended with -9"):
        pool.ask({"answer": "2+x"})
    assert pool.ask({"answer": "x"}) == {"at": 1}
    assert len(starts.read_text()) == 3
    pool.close()
    with monkeypatch.context() as patch:
        patch.setattr(mathematics, "WORKER", "dying")
        assert _math("2+x") == Grade("unknown", GRADER_DIED, "2+x")
    assert _math("1+x").outcome == "right"


def test_a_worker_that_gets_no_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _math("1+x").outcome == "right"
    (pid,) = _pids()
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(workers, "WALL_S", 0.5)
    assert _math("2+x").reason == GRADER_TIMED_OUT
    assert _gone_within([pid], 1)
    monkeypatch.undo()
    assert _math("1+x").outcome == "right"


def test_signals_to_a_whole_job_do_not_end_it() -> None:
    """Slurm's notice and Ctrl-C reach every process; questions in flight are still to be graded."""
    assert _math("1+x").outcome == "right"
    (pid,) = _pids()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(pid, name)
    assert _math("1+x").outcome == "right"
    assert _pids() == [pid]


def test_its_memory_is_bounded_by_the_kernel() -> None:
    assert _math("1+x").outcome == "right"
    (pid,) = _pids()
    limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    assert next(line for line in limits.splitlines() if line.startswith("Max address space")).split()[3] == str(1 << 30)
    assert "Max core file size        0" in limits


def test_many_threads_share_few_workers() -> None:
    """Bombs among them take nothing from the others."""
    asked = [
        ("1+x", "right"),
        ("x+2", "wrong"),
        ("x + 1 + 0", "right"),
        (BOMB, "unknown"),
        ("\\frac{2x+2}{2}", "right"),
    ]
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda one: _math(one[0]).outcome, asked * 2))
    assert outcomes == [outcome for _, outcome in asked * 2]
    assert len(_pids()) <= pool_size()


def test_from_an_event_loop_by_threads() -> None:
    async def many() -> list[Grade]:
        return list(await asyncio.gather(*(asyncio.to_thread(_math, f"x + {number}") for number in range(6))))

    assert [result.outcome for result in asyncio.run(many())] == ["wrong", "right", *["wrong"] * 4]


def test_who_cannot_start_says_so() -> None:
    with pytest.raises(CannotStartError, match=r"generation\.grading\.nowhere does not start: it ended with 1"):
        WorkerPool("generation.grading.nowhere", 1).ask({})


_PARENT = """
import sys, threading, time
from generation.grading.mathematics import WORKER
from generation.grading.workers import pool_of
pool = pool_of(WORKER)
pool.ask({"gold": "x", "answer": "x"})
if sys.argv[1] == "busy":
    threading.Thread(target=pool.ask, args=({"gold": "x", "answer": "9^{9^{9^{9}}}"},), daemon=True).start()
    time.sleep(0.5)
print(*pool.pids(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_killed_parent_leaves_none_behind(state: str) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT, state], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 1
        assert all(map(_is_there, pids))
        parent.kill()
    assert _gone_within(pids, 30)


_FORKS = """
import os, sys
from generation.grading.mathematics import WORKER
from generation.grading.workers import pool_of
same = {"gold": "x+1", "answer": "1+x"}
assert pool_of(WORKER).ask(same)["equal"]
before = pool_of(WORKER).pids()
child = os.fork()
if child == 0:
    assert pool_of(WORKER).pids() == []
    assert pool_of(WORKER).ask(same)["equal"]
    assert not set(pool_of(WORKER).pids()) & set(before)
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert pool_of(WORKER).ask(same)["equal"]
assert pool_of(WORKER).pids() == before
print(*before)
"""


def test_a_forked_child_has_workers_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", _FORKS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _gone_within([int(word) for word in done.stdout.split()], 5)
