"""A stop asked for when no question is in flight: before the first, while sets are made, and how often."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.errors import Stopped
from cluster.jobs.progress import STOPPED
from cluster.jobs.stop import Stop
from tests.processes import Job

_BEGUN = "the stage has begun"


@contextmanager
def _interrupted_by(stop: Stop, *, at_once: bool = False) -> Iterator[None]:
    """Signals reach `stop`, which interrupts the block; afterwards all is as it was."""
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
    before = {name: signal.getsignal(name) for name in names}
    stop.listen()
    try:
        stop.interrupt(at_once=at_once)
        yield
    finally:
        stop.defer()
        for name, handler in before.items():
            signal.signal(name, handler)


def _send(number: signal.Signals = signal.SIGUSR1) -> None:
    os.kill(os.getpid(), number)


def _wait(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)


def _stay(stop: Stop, signals: int, *, at_once: bool = False) -> None:
    """Half a minute, unless it is left."""
    with _interrupted_by(stop, at_once=at_once):
        for _ in range(signals):
            _send()
        _wait(30)


def test_who_ends_within_the_grace_is_let() -> None:
    stop = Stop(grace_s=30.0)
    with _interrupted_by(stop):
        _send()
        _wait(0.1)
    assert stop.asked == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("asked", "signals", "grace_s", "at_once", "least_s"),
    [
        pytest.param(0, 1, 0.3, False, 0.3, id="the grace is over"),
        pytest.param(0, 2, 60.0, False, 0.0, id="asked again"),
        pytest.param(1, 0, 60.0, False, 0.0, id="asked before"),
        pytest.param(0, 1, 60.0, True, 0.0, id="nothing in flight"),
    ],
)
def test_who_does_not_leaves(asked: int, signals: int, grace_s: float, at_once: bool, least_s: float) -> None:
    stop = Stop(grace_s)
    stop.asked = asked
    started = time.monotonic()
    with pytest.raises(Stopped):
        _stay(stop, signals, at_once=at_once)
    assert least_s <= time.monotonic() - started < least_s + 5.0


def test_it_leaves_once_however_often_it_is_asked() -> None:
    cleaned = []

    def clean_up() -> None:
        try:
            _wait(30)
        finally:
            _send()
            _send()
            _wait(0.2)
            cleaned.append(True)

    def leave() -> None:
        stop = Stop(0.05)
        with _interrupted_by(stop):
            _send()
            clean_up()

    with pytest.raises(Stopped):
        leave()
    assert cleaned


@pytest.mark.parametrize("stage", ["generation.run.write_raw_data", "assembly.job.assemble", "assembly.job.rl_data"])
def test_the_job_stops_while_sets_are_made_and_the_same_command_ends_it(stage: str, tmp_path: Path) -> None:
    flags = ["--questions", "4", "--rl_questions", "2", "--grace_s", "1", "--out", str(tmp_path / "run")]
    job = Job("tests.slow_stage", [stage, *flags], tmp_path / "log")
    job.wait_for(lambda: _BEGUN in job.output(), 120)
    os.kill(job.process.pid, signal.SIGUSR1)
    assert job.wait(30) == STOPPED
    assert "4 of 4 questions are safe" in job.output()
    assert not list((tmp_path / "run").glob(".*")), "something half-made is left"
    again = Job("tests.drive_job", flags, tmp_path / "again")
    assert again.wait(120) == 0, again.output()


def test_the_job_stops_while_it_is_decided(tmp_path: Path) -> None:
    job = Job("tests.slow_stage", ["generation.run.make_plan", "--out", str(tmp_path / "run")], tmp_path / "log")
    job.wait_for(lambda: _BEGUN in job.output(), 120)
    os.kill(job.process.pid, signal.SIGINT)
    assert job.wait(30) == STOPPED
    assert "before anything was asked" in job.output()
    assert not (tmp_path / "run").exists()
