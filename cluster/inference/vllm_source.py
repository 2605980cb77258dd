"""The installed vLLM, read as text: its import takes ten seconds, and what it knows stands in tables of its source."""

import importlib.util
import os
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path


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


def has_compiled() -> bool:
    """Return True if vLLM has compiled for a GPU before, by its cache on this machine."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    root = Path(os.environ.get("VLLM_CACHE_ROOT") or caches / "vllm").expanduser()
    return any(root.glob("torch_compile_cache/*"))
