"""How much of the prompts an engine found in its prefix cache, of all that they have in common.

    python -m benchmarks.prefix_reuse RUN MODEL [BLOCK]

Renders every prompt of the run's RAW_DATA again, without examples. What can be shared is the longest beginning of a
prompt that another one before it has too, in whole blocks (16 tokens on a GPU, 32 on the CPU) and never all of it: its
last token is always computed. Prints a line for samples and one for reflections, each stage by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cluster.inference.tokenizer import ChatTokenizer
from generation.raw.schema import PREFIX
from reflection import prompts

Asked = tuple[list[int], int]  # a prompt, and how much of it was found


def requests(rows: Iterable[Mapping[str, Any]], chat: ChatTokenizer) -> dict[str, list[Asked]]:
    """The requests behind rows, by stage."""
    asked: dict[str, list[Asked]] = {"samples": [], "reflections": []}
    for row in rows:
        asked["samples"].append((chat.encode(row["prompt"]), row["sample__provenance"]["cached_tokens"]))
        for look in row["reflections__provenance"]:
            ids = chat.encode(prompts.messages(look["prompt_name"], row["question"], row[PREFIX][0]))
            asked["reflections"].append((ids, look["cached_tokens"]))
    return asked


def shareable(asked: Sequence[Asked], block: int) -> int:
    """The tokens that prompts, whatever their order, can find: in sorted order what each shares with the one before."""
    found = 0
    for one, other in pairwise(sorted(ids for ids, _ in asked)):
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
        found += min(common, len(other) - 1) // block * block
    return found


def report(rows: Iterable[Mapping[str, Any]], chat: ChatTokenizer, block: int) -> dict[str, dict[str, float]]:
    told = {}
    for stage, asked in requests(rows, chat).items():
        read, cached, most = (
            sum(len(ids) for ids, _ in asked),
            sum(found for _, found in asked),
            shareable(asked, block),
        )
        told[stage] = {
            "prompt_tokens": read,
            "found": cached,
            "of_all": round(cached / read, 3),
            "of_shareable": round(cached / most, 3),
        }
    return told


if __name__ == "__main__":
    run, model, *given = sys.argv[1:]
    read = [
        row for path in sorted(Path(run).glob("RAW_DATA/data/*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    for stage, told in report(read, ChatTokenizer(model), int(given[0]) if given else 32).items():
        print(stage, told)
