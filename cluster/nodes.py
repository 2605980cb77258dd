"""The nodes of a Ray cluster that runs already: waiting until they joined, and whether they have what engines need.

`python -m cluster.nodes ADDRESS COUNT SECONDS`
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import ray
from huggingface_hub import try_to_load_from_cache
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_LOOK_S = 1.0
_SAY_S = 30.0
_ANSWER_S = 120.0
_PACKAGES = ("cluster", "reflection", "generation")


def alive() -> list[dict[str, Any]]:
    """What Ray says of each node that lives."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def wait_for(count: int, seconds: float) -> bool:
    """Wait until so many nodes live, for so long at most; whether they came."""
    began, spoke = time.monotonic(), -_SAY_S
    while True:
        names = sorted(str(node["NodeManagerHostname"]) for node in alive())
        waited = time.monotonic() - began
        late = waited > seconds
        if len(names) >= count or late or waited - spoke > _SAY_S:
            print(f"{len(names)} of {count} nodes joined Ray after {waited:.0f} s: {', '.join(names)}", flush=True)
            spoke = waited
        if len(names) >= count or late:
            return not late
        time.sleep(_LOOK_S)


def check_nodes(model: str, revision: str | None) -> None:
    """Raise ValueError where a node lacks our code, vLLM or the model: an engine could not start there.

    The model is a folder, or where it has a revision a hub id.
    """

    # Inside a function, and so sent whole: a node that lacks our code could not look it up by its name.
    def code() -> str:
        digest = hashlib.sha256()
        for name in _PACKAGES:
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                return ""
            for path in sorted(Path(spec.origin).parent.rglob("*.py")):
                digest.update(path.read_bytes())
        return digest.hexdigest()

    here = code()

    def missing() -> str:
        if not code():
            return "Python there does not find our code: install the project on every node"
        if code() != here:
            return "another version of our code is installed there: install the same on every node"
        if importlib.util.find_spec("vllm") is None:
            return "vLLM is not installed there"
        if revision is None and not os.path.isdir(model):
            return f"the model folder {model} is not there: put it on a file system that all nodes share"
        kept_from_hub = os.environ.get("HF_HUB_OFFLINE", "0") not in {"", "0"}
        if revision is not None and kept_from_hub and not try_to_load_from_cache(model, "config.json", None, revision):
            return f"the model {model} is not in the hub's cache there: share HF_HOME, or download it on each node"
        return ""

    asked = {_on(node["NodeID"], missing): node["NodeManagerHostname"] for node in alive()}
    _, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_S)
    for ref, name in asked.items():
        if ref in silent:
            raise ValueError(f"node {name} starts no process within {_ANSWER_S:.0f} s; see Ray's logs there")
        try:
            words = ray.get(ref)
        except RayError as error:
            # A node that was lost meanwhile is none of the cluster's; any other reason is worth its line.
            words = "" if name not in {node["NodeManagerHostname"] for node in alive()} else str(error).splitlines()[-1]
        if words:
            raise ValueError(f"node {name} cannot run an engine: {words}")


def _on(node: str, function: Any) -> Any:
    """What the function returns on this node."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote()


def main(address: str, count: str, seconds: str) -> int:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        if not wait_for(int(count), float(seconds)):
            print("the others are late; it begins without them", flush=True)
        ray.shutdown()
    except (ConnectionError, RuntimeError, RayError) as error:
        print(f"Ray does not answer at {address}: {str(error).splitlines()[0]}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
