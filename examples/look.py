"""Read what a run made: `python examples/look.py RUN [SAMPLES]` prints samples, their reflections, and one trace.

RUN is a run directory or any folder that holds RAW_DATA/ and, if traces were made, SFT_DATA/.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from datasets import load_dataset

RESPONSE = "model_responses__mutated_prompts"
WIDTH = 100


def main(run: str, samples: int = 10) -> None:
    """Print samples drawn at random, the same ones each time, then one trace."""
    rows = load_dataset(f"{run}/RAW_DATA", split="train")
    for place in sorted(random.Random(0).sample(range(len(rows)), min(samples, len(rows)))):
        show(rows[place])
    if (Path(run) / "SFT_DATA").is_dir():
        traces = load_dataset(f"{run}/SFT_DATA", split="train")
        print("=" * WIDTH, f"one of {len(traces):,} traces", "=" * WIDTH, sep="\n")
        print(traces[len(traces) // 2]["conversations"][-1]["content"])


def show(row: dict[str, Any]) -> None:
    """Print one sample with its grade, and each of its reflections; published rows have no outcome, only the grade."""
    outcome = row.get("outcome") or {True: "right", False: "wrong or no answer"}.get(
        row[f"{RESPONSE}__eval_is_correct"][0]
    )
    reason = f": {row['outcome_reason']}" if row.get("outcome_reason") else ""
    print("=" * WIDTH, f"prompt variant {row['prompt_variant']}, {outcome}{reason}", "=" * WIDTH, sep="\n")
    print(row["question"], "-" * WIDTH, sep="\n")
    if row.get("sample__thought"):
        print(row["sample__thought"], "- " * (WIDTH // 2), sep="\n")
    print(row[RESPONSE][0])
    for text in row[f"{RESPONSE}_reflection"]:
        print("-" * WIDTH, text, sep="\n")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python examples/look.py RUN [SAMPLES]")
    main(sys.argv[1], *map(int, sys.argv[2:]))
