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
from collections.abc import Mapping, Sequence
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

    The model is a folder, or where it has a revision a hub id. A node that does not answer is named, and left to Ray.
    """

    # Inside a function, and so sent whole: a node that lacks our code could not look it up by its name.
    def code() -> str:
        digest = hashlib.sha256()
        for name in _PACKAGES:
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                return ""
            files = Path(spec.origin).parent.rglob("*")
            for path in sorted(path for path in files if path.suffix in {".py", ".toml"}):  # prompts are .toml
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

    asked = {_on(node["NodeID"], missing): node["NodeManagerHostname"] for node in for_engines(alive())}
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_S)
    leave_out([asked[ref] for ref in silent], others=len(answered))
    for ref in answered:
        name = asked[ref]
        try:
            words = ray.get(ref)
        except RayError as error:
            # A node that was lost meanwhile is none of the cluster's; any other reason is worth its line.
            words = "" if name not in {node["NodeManagerHostname"] for node in alive()} else str(error).splitlines()[-1]
        if words:
            raise ValueError(f"node {name} cannot run an engine: {words}")


def for_engines(nodes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the nodes that may get an engine: where any has a GPU those with GPUs, else those with cores."""
    for kind in ("GPU", "CPU"):
        if found := [node for node in nodes if node["Resources"].get(kind, 0) >= 1]:
            return found
    return list(nodes)


def leave_out(silent: Sequence[str], *, others: int) -> None:
    """Name the nodes that did not answer. Raises ValueError where no others did."""
    for name in silent:
        told = f"node {name} starts no process within {_ANSWER_S:.0f} s; see Ray's logs there"
        if not others:
            raise ValueError(told)
        # It may be dying, which Ray notices later; engines that find no place there are tried again elsewhere.
        print(f"{told}; the others go on without it", flush=True)


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
