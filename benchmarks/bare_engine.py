"""The rate of a finished run beside the bare engine's on the very same requests.

    python -m benchmarks.bare_engine RUN

Asks vLLM's own offline `LLM.generate` for every sample and reflection of RUN again: same prompts,
seeds, sampling and engine settings, all known at once, so nothing waits for a grade. Prints tokens
written a second, loading excluded; the run's own rate is on its `rollout` line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cluster.inference.engine import Message
from cluster.inference.tokenizer import ChatTokenizer
from cluster.inference.vllm_settings import VllmSettings
from generation.builtin import MODEL
from generation.placement import CPU_SEQUENCES, cpu_environment
from generation.raw.schema import PREFIX, REFLECTIONS
from reflection import prompts


def requests(run: Path) -> Iterator[tuple[tuple[Message, ...], int]]:
    """Chat and seed of every request the run made, samples first."""
    rows = [row for path in sorted(run.glob("RAW_DATA/data/*.parquet")) for row in pq.read_table(path).to_pylist()]
    for row in rows:
        yield tuple(row["prompt"]), row["sample__provenance"]["seed"]
    for row in rows:
        for look in row["reflections__provenance"]:
            chat = prompts.messages(look["prompt_name"], row["question"], row[PREFIX][0])
            yield chat, look["seed"]
    assert REFLECTIONS in rows[0]


def main(run: Path) -> None:
    os.environ.update(cpu_environment(1))
    import vllm

    first = pq.read_table(next(iter(run.glob("RAW_DATA/data/*.parquet")))).slice(0, 1).to_pylist()[0]
    settings = VllmSettings(str(MODEL), None, "bare", "", 1024, gpu=False, max_sequences=CPU_SEQUENCES)
    chat = ChatTokenizer(str(MODEL))
    asked = list(requests(run))
    ids: list[Any] = [{"prompt_token_ids": chat.encode(messages)} for messages, _ in asked]
    params = [vllm.SamplingParams(**first["sampling"], seed=seed) for _, seed in asked]
    llm = vllm.LLM(**settings.arguments())
    for turn in range(3):
        llm.reset_prefix_cache()
        started = time.perf_counter()
        outputs = llm.generate(ids, params, use_tqdm=False)
        seconds = time.perf_counter() - started
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        print(f"turn {turn}: {len(asked)} requests, {tokens} tokens, {seconds:.1f} s, {tokens / seconds:,.0f} tokens/s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
