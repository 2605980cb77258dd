"""An engine hosted in this process: its output, its signals, and its core's end."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from cluster.inference.engine import Engine, EngineSettings, Request, Sampling, ScriptedEngine
from cluster.inference.hosted import HostedFleet
from cluster.inference.pool import Done, Lost
from cluster.inference.replicas import Placement
from cluster.session import Node, Resources
from generation.placement import is_hosted
from generation.settings import Settings
from tests.processes import Job

REQUEST = Request("one", ({"role": "user", "content": "Go"},), Sampling(), 0)


async def ask(engine: Engine, item: int) -> str:
    return (await engine.generate(REQUEST)).text


def write_and_wait(ready: Event) -> None:
    print("written by the core", flush=True)
    ready.set()
    time.sleep(600)


class Hosting(ScriptedEngine):
    """It has a core, as vLLM has, which tells what is asked how it is."""

    def __init__(self, core: Any) -> None:
        super().__init__(self.tell)
        self.core = core

    def tell(self, request: Request) -> str:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{self.core.pid}/status").read_text().splitlines())
        return status["SigBlk"]


@dataclass(frozen=True)
class HostingSettings(EngineSettings):
    hanging: str = ""
    """A file; the core of the engine that takes it away hangs as it starts."""

    async def start(self) -> Engine:
        spawn = multiprocessing.get_context("spawn")
        ready = spawn.Event()
        core = spawn.Process(target=write_and_wait, args=(ready,), name="EngineCore", daemon=True)
        core.start()
        while core.is_alive() and not ready.is_set():
            await asyncio.sleep(0.05)
        os.write(2, b"written to the second descriptor\n")
        if self.hanging and Path(self.hanging).exists():
            Path(self.hanging).unlink()
            await asyncio.to_thread(core.join)
        return Hosting(core)

    def loading(self) -> str:
        return "loading"


def fleet(tmp_path: Path, settings: EngineSettings, **given: Any) -> HostedFleet:
    placement = Placement(settings, logs=tmp_path / "logs", environment={"OF_THE_ENGINE": "1"}, hosted=True, **given)
    return HostedFleet(lambda: placement)


def none_is_left() -> bool:
    """Its processes were killed by now; the kernel may still be about it."""
    until = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < until:
        time.sleep(0.02)
    return not multiprocessing.active_children()


def test_its_output_and_signals(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What its processes and libraries write goes to its log alone, and Ctrl-C goes to the run alone."""
    shown = [os.fstat(number).st_ino for number in (1, 2)]
    before = dict(os.environ)
    with fleet(tmp_path, HostingSettings()).open(ask) as pool:
        assert os.environ["OF_THE_ENGINE"] == "1"
        print("said by the run")
        subprocess.run([sys.executable, "-c", "print('written by a process')"], check=True)
        (done,) = [event for event in pool.run([1]) if isinstance(event, Done)]
    assert dict(os.environ) == before
    assert [os.fstat(number).st_ino for number in (1, 2)] == shown
    log = (tmp_path / "logs" / "engine-0.log").read_text()
    for words in ("written by the core", "written to the second descriptor", "written by a process"):
        assert words in log
    said = capfd.readouterr()
    assert "said by the run" in said.out
    assert "said by the run" not in log
    assert "written" not in said.out + said.err
    assert int(done.result, 16) == 1 << signal.SIGINT - 1 | 1 << signal.SIGUSR1 - 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    assert none_is_left(), "its core outlives it"


def test_a_core_that_hangs_as_it_starts(tmp_path: Path) -> None:
    """It is killed, and another one started; nothing of it is waited for at the end."""
    bait = tmp_path / "bait"
    bait.touch()
    with fleet(tmp_path, HostingSettings(str(bait)), silence_s=8.0, loading_s=15.0).open(ask) as pool:
        events = list(pool.run([1]))
    (lost,) = [event for event in events if isinstance(event, Lost)]
    assert "it was not ready after" in lost.reason
    assert any(isinstance(event, Done) for event in events)
    assert none_is_left()


def here(cores: int, memory: int, gpus: int = 0) -> Resources:
    return Resources((Node(gpus, cores, memory << 30),))


@pytest.mark.parametrize(
    ("flags", "resources", "hosted"),
    [
        ({}, here(2, 24), True),
        ({"engines": 1}, here(64, 256), True),
        ({}, here(64, 256), False),  # there is room for several
        ({"engines": 2}, here(2, 24), False),
        ({"tensor_parallel": 2}, here(2, 24), False),
        ({"address": "auto"}, here(2, 24), False),
        ({}, here(16, 64, gpus=1), False),
    ],
)
def test_which_engines_are_hosted(flags: dict[str, Any], resources: Resources, hosted: bool) -> None:
    assert is_hosted(Settings(**flags), resources, 0) == hosted


@pytest.mark.ray
@pytest.mark.engine
def test_ctrl_c_lets_the_real_engine_finish_its_questions(start: Callable[..., Job], tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = start("generation.run", "--questions", "200", "--rl_questions", "0", "--out", str(run))
    job.wait_for(lambda: "rollout     " in job.output())
    os.killpg(job.process.pid, signal.SIGINT)
    assert job.wait() == 75, job.output()
    assert "was lost" not in job.output()
    assert re.search(r"stopped     [1-9]\d* of 200 questions are safe", job.output())
    assert job.left_behind() == {}
    assert "Initializing a V1 LLM engine" in (run / "logs" / "engine-0.log").read_text()
    assert "vllm.py" not in job.output()
    assert job.output().splitlines()[-1].startswith("stopped "), "what libraries say at the end of Python"
