"""The project's own engine in a training loop: its weights are renewed before each step. One CPU engine."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from cluster import QUIET, reaper
from cluster.inference.engine import Completion, Message, Request, Sampling
from cluster.inference.models import find
from cluster.inference.vllm_engine import VllmEngine
from cluster.inference.vllm_settings import VllmSettings
from generation.placement import CPU_SEQUENCES, cpu_environment
from generation.records import request_seed

Chat = tuple[Message, ...]


class Asked(NamedTuple):
    """One completion that is wanted."""

    chat: Chat
    seed: int


@asynccontextmanager
async def opened(folder: Path, max_tokens: int) -> AsyncIterator[Sampler]:
    """Start an engine on the weights in a folder; what it started ends with this process, however that ends."""
    mark, sockets = reaper.new_mark(), tempfile.mkdtemp(prefix="skillfactory-engine-", dir="/tmp")
    rpc = {"VLLM_RPC_BASE_PATH": sockets, "HF_HUB_OFFLINE": "1", mark: "1"}
    os.environ.update({**QUIET, **cpu_environment(1), **rpc})
    watcher = reaper.start(mark, sockets)
    context = find(str(folder)).context
    settings = VllmSettings(str(folder), None, "policy", "", context, gpu=False, max_sequences=CPU_SEQUENCES)
    engine = await settings.start()
    try:
        yield Sampler(engine, max_tokens)
    finally:
        await engine.close()
        for child in multiprocessing.active_children():
            child.join(10)
        await asyncio.to_thread(watcher.communicate)


class Sampler:
    """Completions at temperature 1 of the whole distribution, which is what the policy's gradient is of."""

    def __init__(self, engine: VllmEngine, max_tokens: int) -> None:
        self._engine, self._sampling = engine, Sampling(max_tokens=max_tokens)

    async def sample(self, asked: Sequence[Asked], step: int) -> list[Completion]:
        """Return the completions, in order. Raises RuntimeError for a request that failed."""
        requests = [Request(f"{step}/{place}", one.chat, self._sampling, one.seed) for place, one in enumerate(asked)]
        found = await asyncio.gather(*map(self._engine.generate, requests))
        if failed := next((one for one in found if one.finish_reason == "error"), None):
            raise RuntimeError(f"the engine failed a request: {failed.error}")
        return found

    async def renew(self, folder: Path) -> None:
        await self._engine.renew(str(folder))


def seed_of(seed: int, step: int, question: int, sample: int) -> int:
    return request_seed("proof", seed, step, question, sample)
