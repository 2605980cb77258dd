"""Wait for the nodes of a Ray cluster (`python -m cluster.nodes ADDRESS COUNT SECONDS`), and check that they fit."""

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import ray
from huggingface_hub import constants, try_to_load_from_cache
from ray.exceptions import RayError, RayTaskError, RuntimeEnvSetupError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.machine import BUILDS, GPU_QUERY, Gpu, build_of, read_gpus, unfit
from cluster.texts import first_line

Look = tuple[str, dict[str, str], str]
"""What a node answers: what it lacks or "", the versions of vLLM by the names of their packages, nvidia-smi's words."""
_SAY_S = 30.0
_ANSWER_S = 120.0
T = TypeVar("T")
PACKAGES: Sequence[str] = ("cluster", "reflection", "generation")


def alive() -> list[dict[str, Any]]:
    """Return Ray's description of each live node."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def wait_for(count: int, seconds: float) -> bool:
    """Wait up to `seconds` for `count` nodes. Return True if all joined."""
    began, spoke = time.monotonic(), -_SAY_S
    while True:
        names = sorted(str(node["NodeManagerHostname"]) for node in alive())
        waited = time.monotonic() - began
        over = len(names) >= count or waited > seconds
        if over or waited - spoke > _SAY_S:
            print(f"{len(names)} of {count} nodes joined Ray after {waited:.0f} s: {', '.join(names)}", flush=True)
            spoke = waited
        if over:
            return len(names) >= count
        time.sleep(1.0)


class Found(NamedTuple):
    """What the nodes that can run an engine have."""

    gpus: tuple[Gpu, ...]  # as far as nvidia-smi knows them
    builds: dict[str, str]  # package and version of vLLM, by the node's name


def check_nodes(model: str, revision: str | None, adapter: str | None = None) -> Found:
    """Return what the nodes that can run an engine have.

    Raises ValueError if a node lacks the model, this version of our code, or a vLLM that uses what the node has, so
    that no engine could start. The model is a folder, or a hub id if it has a revision; an adapter that is given here
    is a folder. A node that is lost or silent is reported, and left to Ray.
    """
    gpus, of_nodes = list[Gpu](), dict[str, str]()
    for node, (words, builds, listed) in ask_nodes(_look_of(model, revision, adapter)):
        name = str(node["NodeManagerHostname"])
        if words := words or unfit(builds, int(node["Resources"].get("GPU", 0))):
            raise ValueError(f"node {name} cannot run an engine: {words}")
        gpus += read_gpus(listed)
        of_nodes[name] = build_of(builds)
    return Found(tuple(gpus), of_nodes)


def _look_of(model: str, revision: str | None, adapter: str | None) -> Callable[[], Look]:
    """Return what a node is asked.

    Shipping our code by `runtime_env` is not enough: Ray's workers (2.60) search the driver's working directory first,
    and a node may have another clone there.
    """

    # Nested, so pickled by value: a node without our code could not import it by name.
    def code() -> str:
        digest = hashlib.sha256()
        for name in PACKAGES:
            if (spec := importlib.util.find_spec(name)) is None or spec.origin is None:
                return ""
            files = Path(spec.origin).parent.rglob("*")
            for path in sorted(path for path in files if path.suffix in {".py", ".toml"}):  # prompts are .toml
                digest.update(path.read_bytes())
        return digest.hexdigest()

    here = code()

    def missing() -> str:
        if not (there := code()):
            return "Python there does not find our code: install the project on every node"
        if there != here:
            return "another version of our code is installed there: install the same on every node"
        if importlib.util.find_spec("vllm") is None:
            return "vLLM is not installed there"
        if revision is None and not os.path.isdir(model):
            return f"the model folder {model} is not there: put it on a file system that all nodes share"
        if adapter is not None and not os.path.isdir(adapter):
            return f"the adapter folder {adapter} is not there: put it on a file system that all nodes share"
        offline = constants.HF_HUB_OFFLINE
        if revision and offline and not try_to_load_from_cache(model, "config.json", revision=revision):
            return f"the model {model} is not in the hub's cache there: share HF_HOME, or download it on each node"
        return ""

    def look() -> Look:
        installed = importlib.metadata.distributions
        builds = {name: one.version for name in BUILDS for one in installed(name=name)}
        listed = ""
        with suppress(OSError):
            listed = subprocess.run(GPU_QUERY, capture_output=True, text=True, check=False).stdout
        return missing(), builds, listed

    return look


def ask_nodes(what: Callable[[], T], within_s: float = _ANSWER_S) -> list[tuple[Mapping[str, Any], T]]:
    """Call a function on each node that can run an engine; return the nodes, as Ray describes them, and their answers.

    Raises ValueError with what it raised on a node. A node that is lost or silent is reported, and left to Ray.
    """

    # Ray takes functions alone. Not T: a TypeVar is pickled by its name, which a node without our code cannot import.
    def answer() -> Any:
        return what()

    asked = {}
    for node in engine_nodes(alive()):
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(answer).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        asked[task.remote()] = node
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=within_s)
    names = {ref: str(node["NodeManagerHostname"]) for ref, node in asked.items()}
    problems, said = {names[ref]: f"does not answer within {within_s:.0f} s" for ref in silent}, list[Any]()
    for ref in answered:
        try:
            said.append((asked[ref], ray.get(ref)))
        except (RayTaskError, RuntimeEnvSetupError) as error:
            words = first_line(error.cause if isinstance(error, RayTaskError) else error)
            raise ValueError(f"node {names[ref]} cannot run an engine: {words}") from error
        except RayError as error:
            # Its process or the node itself was lost, which says nothing about what is installed there.
            problems[names[ref]] = f"lost the process that was to look at it ({type(error).__name__})"
    report_silent(problems, others=len(asked) - len(problems))
    return said


def engine_nodes(nodes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the nodes that can run an engine: those with GPUs if there are any, else those with CPUs."""
    for kind in ("GPU", "CPU"):
        if found := [node for node in nodes if node["Resources"].get(kind, 0) >= 1]:
            return found
    return list(nodes)


def report_silent(problems: Mapping[str, str], *, others: int) -> None:
    """Report the nodes that did not answer, and why. Raises ValueError if there are no others."""
    for name, why in problems.items():
        problem = f"node {name} {why}; see Ray's logs there"
        if not others:
            raise ValueError(problem)
        # It may be dying, which Ray notices later; engines that cannot start there are placed elsewhere.
        print(f"{problem}; the others go on without it", flush=True)


def main(address: str, count: str, seconds: str) -> int:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        if not wait_for(int(count), float(seconds)):
            print("the others are late; starting without them", flush=True)
        ray.shutdown()
    except (ConnectionError, RuntimeError, RayError) as error:
        print(f"Ray does not answer at {address}: {first_line(error)}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
