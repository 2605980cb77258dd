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
    # Rows that are held out are looked at too, and nothing leaves this machine.
    machine |= {"val_size", "eval_dataset", "do_eval", "do_predict", "load_best_model_at_end", "push_to_hub"}
    begins = ("eval_", "hub_")
    kept = {name: value for name, value in settings.items() if not name.startswith(begins)}
    return {name: value for name, value in kept.items() if name not in machine.union(left_out)}


def carried(ids: Sequence[int], labels: Sequence[int]) -> list[bool]:
    """Return for each token whether it carries loss as itself."""
    return [label == one for one, label in zip(ids, labels, strict=True)]
