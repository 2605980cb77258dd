"""What a trainer makes of a set, for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

IGNORED = -100
Made = Iterator[tuple[Sequence[int], Sequence[bool], bool]]
"""The tokens of each example, whether they carry loss, and whether its rows are kept apart."""


class Examples(NamedTuple):
    """What a trainer makes of a set."""

    tokenizer: Any
    limit: int | None  # of a row, in tokens
    made: Made


def chosen(settings: dict[str, Any], *left_out: str) -> dict[str, Any]:
    """Return the settings without those that need a GPU, or are no matter of data."""
    machine = {"bf16", "fp16", "tf32", "deepspeed", "fsdp", "fsdp_config", "resume_from_checkpoint", "output_dir"}
    return {name: value for name, value in settings.items() if name not in machine.union(left_out)}
