"""The source of the installed vLLM, read as text: its import takes ten seconds, and what it knows stands in tables."""

import importlib.util
from functools import cache
from pathlib import Path


@cache
def vllm_source(path: str) -> str:
    """Return the source of a file of the installed vLLM, whose import takes ten seconds; "" if there is none."""
    found = importlib.util.find_spec("vllm")
    files = [Path(folder, path) for folder in found.submodule_search_locations or ()] if found else []
    return next((file.read_text(encoding="utf-8") for file in files if file.is_file()), "")
