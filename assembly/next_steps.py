"""What a person may do with what was made: one command each, to be copied."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

_WORTH = ("*C*IC", "*CC", "*C_full", "algorithm1", "0C", "star")
"""Formats in the order in which they are proposed."""


def training(sft_data: Path) -> str:
    """Return the command that fine-tunes a model on the set, with the paper's values."""
    return f"llamafactory-cli train examples/llamafactory_sft.yaml dataset_dir={shlex.quote(str(sft_data))}"


def assembling(raw: Path) -> str:
    """Return the command that makes traces of a run or RAW_DATA."""
    return f"python -m assembly.run --raw {shlex.quote(str(raw))}"


def assembling_more(raw: Path, made: Collection[str], served: Mapping[str, int]) -> str:
    """Return the command that makes traces of another format that questions can serve; "" if there is none."""
    others = [name for name in _WORTH if name not in made and served[name]]
    return f"{assembling(raw)} --formats {shlex.quote(others[0])} --out traces" if others else ""
