"""A set of layout `tokens` for verl's SFT trainer, which has no reader of its own for tokens.

data.custom_cls.path=SFT_DATA/verl_tokens.py data.custom_cls.name=TokenDataset. Lies in each such set; needs nothing of
the project that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq
import torch
from torch.utils.data import Dataset

IGNORED = -100


class TokenDataset(Dataset):  # type: ignore[misc]
    """Rows as verl's trainer batches them with data.pad_mode no_padding, its default."""

    def __init__(
        self,
        parquet_files: str | Sequence[str],
        tokenizer: Any = None,
        config: Any = None,
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        """Read the files. Raises ValueError for other padding, and if a row is longer than data.max_length."""
        if (padding := config.get("pad_mode", "no_padding")) != "no_padding":
            raise ValueError(f"data.pad_mode must be no_padding, not {padding}")
        files = [parquet_files] if isinstance(parquet_files, str) else list(parquet_files)
        rows = [row for file in files for row in pq.read_table(file, columns=["input_ids", "labels"]).to_pylist()]
        self.rows = rows[:max_samples] if max_samples > 0 else rows
        longest, limit = max((len(row["input_ids"]) for row in self.rows), default=0), config.get("max_length", 1024)
        if longest > limit:
            raise ValueError(f"the longest row has {longest} tokens, and data.max_length is {limit}")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """Return the tokens, their places, and 1 for each that carries loss; each an int64 tensor of one dimension."""
        row = self.rows[place]
        return {
            "input_ids": torch.tensor(row["input_ids"]),
            "position_ids": torch.arange(len(row["input_ids"])),
            "loss_mask": torch.tensor([int(label != IGNORED) for label in row["labels"]]),
        }
