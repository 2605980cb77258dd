"""What a person may do with what was made."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

_WORTH = ("*C*IC", "*CC", "*C_full", "algorithm1", "0C", "star")
"""Formats in the order in which they are proposed."""


def training(sft_data: Path) -> str:
    """Return where it stands how to fine-tune a model on the set: the command hangs on the model and its template."""
    return f'train on {sft_data.name}: README.md, "Training on it"'


def assembling(raw: Path) -> str:
    """Return the command that makes traces of a run or RAW_DATA."""
    return f"python -m assembly.run --raw {shlex.quote(str(raw))}"


def assembling_more(raw: Path, made: Collection[str], served: Mapping[str, int]) -> str:
    """Return the command that makes traces of another format that questions can serve; "" if there is none."""
    others = [name for name in _WORTH if name not in made and served[name]]
    return f"{assembling(raw)} --formats {shlex.quote(others[0])} --out traces" if others else ""
