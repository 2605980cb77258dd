"""The launcher on a real Slurm of two nodes, each with its own address, processes and /tmp. Run by `make slurm`."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from generation.settings import Settings
from tests.fleets import roll
from tests.scripted import reply
from tests.slurm.lab import SlurmJob, control, folder, idle, left_behind, lying, processes, run, submit, wait_until

pytestmark = pytest.mark.slurm

SPY = Path(__file__).parent.parent / "spy"
SLOW = SPY.with_name("slow_ray")
QUESTIONS = 24
SCRIPTED = ("--", "python", "-m", "tests.slurm.drive", "--questions", str(QUESTIONS), "--rl_questions", "0")


@pytest.fixture(autouse=True)
def empty_cluster() -> Iterator[None]:
    """Every test finds the nodes idle and leaves nothing on them: no process, no folder."""
    folder()
    wait_until(idle, 60, lambda: run("sinfo", "--Node"))
    yield
    run("scancel", "--user", run("id", "--user").strip())
    wait_until(idle, 90, lambda: run("sinfo", "--Node") + run("squeue"))
    wait_until(lambda: not left_behind(1) + left_behind(2), 10, lambda: left_behind(1) + left_behind(2))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The rows of the scripted job, made in this process without Ray or Slurm."""
    out = tmp_path_factory.mktemp("expected") / "run"
    settings = Settings(questions=QUESTIONS, rl_questions=0, out=str(out))
    assert roll(settings, Fleet(ScriptedSettings(reply))).code == 0
    return rows(out)


def rows(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "RAW_DATA").rglob("*.parquet"))}


def shards(job: SlurmJob) -> int:
    return len(list((job.run / "shards").glob("*.parquet")))


def asked_outside(log: Path) -> set[str]:
    """Whom Python processes looked for beyond the lab's own nodes."""
    hosts = {line.split()[2] for line in log.read_text().splitlines()} if log.exists() else set()
    return {host for host in hosts if host not in {"n1", "n2"} and not host.startswith("10.87.0.")}


def test_the_spy_on_a_node_sees_who_is_asked(tmp_path: Path) -> None:
    code = "import contextlib, socket\nwith contextlib.suppress(OSError): socket.getaddrinfo('control.invalid', 80)"
    spied = {"PYTHONPATH": str(SPY), "SKILLFACTORY_TEST_CONNECTIONS": str(tmp_path / "asked")}
    subprocess.run(["srun", "--nodes=1", sys.executable, "-c", code], env=os.environ | spied, check=True, timeout=60)
    assert asked_outside(tmp_path / "asked") == {"control.invalid"}


def ready(job: SlurmJob) -> bool:
    return job.says("engine 0 ready") and job.says("engine 1 ready")


def token(job: SlurmJob) -> str:
    """The secret of the job's Ray, as its processes know it."""
    for pid in processes(1):
        words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        if f"SLURM_JOB_ID={job.number}" in words:
            for word in words:
                if word.startswith("RAY_AUTH_TOKEN="):
                    return word.partition("=")[2]
    raise AssertionError("no process has a token")


def files_with(secret: str, runs: Path) -> list[Path]:
    """Files of the lab, Slurm's and Ray's own among them, and of the jobs that hold the secret."""
    found = []
    for top in (folder(), runs):
        files = [path for path in top.rglob("*") if path.is_file() and not path.is_symlink()]
        found += [path for path in files if secret.encode() in path.read_bytes()]
    return found


def test_the_built_in_model_over_two_nodes(tmp_path: Path) -> None:
    words = ("--questions", "4", "--rl_questions", "2", "--variants", "original", "--reflections", "1")
    run = ("python", "-m", "generation.run", *words, "--attempts", "1")
    job = submit(tmp_path / "a run", "--nodes", "2", "--time", "10", "--", *run)
    engines = [False, False]

    def both_have_an_engine_or_it_is_over() -> bool:
        for number in (1, 2):
            # The actor, not its core: four questions can be done while the other node still imports vLLM.
            engines[number - 1] |= any("ReplicaProcess" in line for line in processes(number).values())
        return all(engines) or job.told["JobState"] not in {"PENDING", "RUNNING"}

    job.wait_for(both_have_an_engine_or_it_is_over, 300)
    assert engines == [True, True], job.output()
    assert job.end() == "COMPLETED", job.output()
    assert pq.read_table(job.run / "RAW_DATA" / "data").num_rows == 4 * 2
    assert job.says("engines     2 on the CPU")
    kept = job.run / "logs" / "slurm" / "job.sh"
    assert kept.read_text().startswith("#!/bin/bash\n#SBATCH ")


def test_the_limit_drains_requeues_and_the_next_start_ends_the_run(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """However slow the machine is: the limit is drawn near once the engines work, and far again after it was hit.

    The GPUs are make-believe, which the scripted engine does not mind; Slurm and Ray deal them as if they were real.
    """
    words = ("--nodes", "2", "--gpus_per_node", "2", "--cpus_per_task", "2", "--time", "30", "--notice_s", "60")
    spied = {"PYTHONPATH": str(SPY), "SKILLFACTORY_TEST_CONNECTIONS": str(tmp_path / "asked")}
    job = submit(tmp_path / "run", *words, *SCRIPTED, SKILLFACTORY_TEST_SLOWNESS="5", **spied)
    job.wait_for(lambda: ready(job))
    assert job.says("4 engines on 2 nodes")
    job.limit(minutes=(job.seconds + 75) // 60 + 1)
    job.wait_for(lambda: job.says("work is left"), 240)
    before = shards(job)
    assert before > 0
    assert job.says("draining")
    assert job.says("the driver's exit code is 75")
    job.limit(minutes=30)
    assert job.end() == "COMPLETED", job.output()
    assert job.starts == 2
    assert shards(job) > before
    assert job.says("going on: ")
    assert rows(job.run) == expected
    assert asked_outside(tmp_path / "asked") == set()


def test_two_jobs_share_the_nodes_and_one_is_cancelled(tmp_path: Path, expected: dict[str, bytes]) -> None:
    half = ("--nodes", "2", "--time", "10", "--cpus_per_task", "1", "--mem", "1G")
    one = submit(tmp_path / "one", *half, *SCRIPTED, SKILLFACTORY_TEST_SLOWNESS="1")
    other = submit(tmp_path / "other", *half, *SCRIPTED, SKILLFACTORY_TEST_SLOWNESS="100")
    one.wait_for(lambda: ready(one) and ready(other))
    private = [*lying(1), *lying(2)]
    assert sum(file.name.startswith("ray-") for file in private) == 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in private} == {0o700}
    assert files_with(token(one), tmp_path) == []
    run("scancel", str(other.number))
    assert other.end() == "CANCELLED", other.output()
    mark = f"/tmp/ray-{other.number}."
    other.wait_for(lambda: not [line for number in (1, 2) for line in processes(number).values() if mark in line], 40)
    assert not other.says("work is left")
    assert one.end() == "COMPLETED", one.output()
    assert rows(one.run) == expected


def test_a_lost_node_is_survived(tmp_path: Path, expected: dict[str, bytes]) -> None:
    job = submit(tmp_path / "run", "--nodes", "2", "--time", "10", *SCRIPTED, SKILLFACTORY_TEST_SLOWNESS="1")
    job.wait_for(lambda: ready(job) and shards(job))
    control("kill", 2)
    try:
        assert job.end() == "COMPLETED", job.output()
    finally:
        control("boot", 2)
    assert job.starts == 1
    assert job.says("was lost")
    assert rows(job.run) == expected


def works(job: SlurmJob, start: int) -> bool:
    """Whether the driver of this start has its engine."""
    log = job.run / "logs" / "slurm" / f"{job.number}.{start - 1}" / "driver.log"
    return log.exists() and "engine 0 ready" in log.read_text()


def kill(words: str) -> None:
    """Kill the processes of the first node whose command line holds the words."""
    for pid in [pid for pid, line in processes(1).items() if words in line and "srun" not in line]:
        os.kill(pid, signal.SIGKILL)


def test_a_late_head_then_a_killed_driver_then_a_killed_head(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """Ray ends itself when its agent takes more than half a minute, and is started anew; the others requeue the job."""
    (tmp_path / "slow").write_text("dashboard/agent.py")
    slow = {
        "PYTHONPATH": str(SLOW),
        "SKILLFACTORY_TEST_SLOW": str(tmp_path / "slow"),
        "SKILLFACTORY_TEST_SLOWNESS": "1",
        "SKILLFACTORY_TEST_SLOW_STARTS": "2",
    }
    job = submit(tmp_path / "run", "--nodes", "1", "--time", "10", *SCRIPTED, **slow)
    job.wait_for(lambda: shards(job))
    kill("tests.slurm.drive")
    job.wait_for(lambda: works(job, 2))
    kill("gcs_server")
    assert job.end() == "COMPLETED", job.output()
    assert job.starts == 3
    assert job.says("Ray on n1 ended, time 1 of 3")
    assert job.says("the driver's exit code is 137")
    assert job.says("failed: ClusterLostError: ")
    assert rows(job.run) == expected
