"""Supervised fine-tuning on a set in the layout `tokens`, in plain torch: the loss on the trace's tokens alone.

python -m benchmarks.proof.sft --model WEIGHTS --data SFT_DATA --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from assembly.layouts import IGNORED
from benchmarks.proof.policy import Policy, Row, compiled, cosine, save_weights, warmed
from cluster.jobs.atomic import atomic_write_text, take_lock


def rows_in(data: Path) -> list[Row]:
    """Return the rows, those of all files; each token of weight 1."""
    found = []
    for path in sorted(data.rglob("*.parquet")):
        for row in pq.read_table(path, columns=["input_ids", "labels"]).to_pylist():
            found.append(Row(row["input_ids"], row["labels"].count(IGNORED), 1.0))
    return found


def batches(rows: Sequence[Row], size: int, epochs: int, seed: int) -> Iterator[list[Row]]:
    """Yield `size` rows at a time, each epoch in an order of its own, each token's weight its share of the batch."""
    for epoch in range(epochs):
        order = random.Random(f"{seed}/sft/{epoch}").sample(range(len(rows)), len(rows))
        for first in range(0, len(order), size):
            batch = [rows[place] for place in order[first : first + size]]
            tokens = sum(len(row.ids) - row.start for row in batch)
            yield [row._replace(weight=1 / tokens) for row in batch]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="traces a step")
    parser.add_argument("--learning_rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    take_lock(os.open(given.out, os.O_RDONLY), given.out)
    rows = rows_in(given.data)
    policy = Policy(given.model, given.learning_rate)
    compiled(policy)
    steps = given.epochs * -(-len(rows) // given.batch)
    began, losses = time.monotonic(), list[float]()
    for step, batch in enumerate(batches(rows, given.batch, given.epochs, given.seed)):
        rate = cosine(step / steps, given.learning_rate, given.learning_rate / 10)
        losses.append(policy.step(batch, rate * warmed(step, max(1, steps // 20))))
        if step % 20 == 0 or step == steps - 1:
            print(json.dumps({"step": step + 1, "of": steps, "loss": losses[-1]}), flush=True)
    seconds = time.monotonic() - began
    save_weights(policy, given.model, given.out / "weights")
    trained = given.epochs * sum(len(row.ids) for row in rows)
    told = {"traces": len(rows), "steps": steps, "tokens": trained, "seconds": round(seconds), "loss": losses[-1]}
    atomic_write_text(given.out / "done.json", json.dumps(told))


if __name__ == "__main__":
    main()
