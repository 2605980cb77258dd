"""The model that is trained, in plain torch: one weighted loss, of which SFT and GRPO are two choices of weights."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

BATCH_TOKENS = (
    2048  # padding included; more of them are summed before a step. 8,192 take twice as long: more is padding
)


class Row(NamedTuple):
    """A sequence of tokens, of which those from `start` on carry the loss, each with this weight."""

    ids: Sequence[int]
    start: int
    weight: float


class Policy:
    """A causal model of float32 and its AdamW."""

    def __init__(self, folder: Path, learning_rate: float) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )

    def step(self, rows: Sequence[Row], learning_rate: float) -> float:
        """Go one step down the sum of weight * -log p over the rows' tokens, at temperature 1; return that sum."""
        total = sum(self._backward(batch) for batch in _batches(rows))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _backward(self, rows: Sequence[Row]) -> float:
        longest = max(len(row.ids) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        weights = torch.zeros(len(rows), longest)
        for place, row in enumerate(rows):
            ids[place, : len(row.ids)] = torch.tensor(row.ids)
            weights[place, row.start : len(row.ids)] = row.weight
        # What stands behind a row's last token is seen by none of its own, so no mask is needed.
        hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        weights, wanted = weights[:, 1:], ids[:, 1:]
        counted = weights != 0
        # The output layer for these alone: most of the prompt's tokens and all padding carry no loss.
        lost = cross_entropy(self.model.lm_head(hidden[counted]), wanted[counted], reduction="none")
        loss = (lost * weights[counted]).sum()
        loss.backward()
        return float(loss.item())

    def state(self) -> dict[str, Any]:
        """Return all that a step depends on, for torch.save."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def take(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def compiled(policy: Policy) -> None:
    """Compile the layers, which makes a step some three times as fast; only where there is a C++ compiler."""
    if shutil.which("g++") or shutil.which("clang++"):
        policy.model.model.compile(dynamic=True)


def save_weights(policy: Policy, like: Path, folder: Path) -> None:
    """Save the weights, whole or not at all, in a folder that has all else, such as the tokenizer, as `like` has it."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for path in like.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            shutil.copy(path, new)
    policy.model.save_pretrained(new)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows, those of like length together."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if batch and (len(batch) + 1) * len(row.ids) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def cosine(share: float, first: float, last: float) -> float:
    """Return the learning rate where this share of the training is done: from `first` along half a cosine to `last`."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def warmed(step: int, steps: int) -> float:
    """Return the share of the learning rate that a step may have: it rises over the first `steps`."""
    return min(1.0, (step + 1) / steps)
