"""How to start an engine on vLLM: its limits, its arguments, and what becomes of them when memory is short."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from cluster.errors import EngineDiedError
from cluster.inference.adapters import Adapter
from cluster.inference.engine import EngineInfo, EngineSettings
from cluster.inference.tokenizer import OWN_FORMAT, ChatFormat, ChatTokenizer
from cluster.inference.vllm_engine import VllmEngine, start_vllm
from cluster.inference.vllm_log import cause_in, numbers, shortage
from cluster.inference.vllm_source import has_compiled
from cluster.texts import load_table

_LEAST_SEQUENCES, _FEW_SEQUENCES = 8, 64
_LEAST_TOKENS = 2048
_SHARE, _MOST_SHARE, _LEAST_SHARE = 0.9, 0.95, 0.5
_MARGIN = 0.02  # of a GPU's memory that is free, left to whoever else holds some of it
_PASSING = 0.1  # less than this share is free where an engine that was replaced has not ended yet
_GRAPHS = 512  # up to here vLLM captures graphs for each number of sequences, on large Blackwell GPUs up to 1024
_OF_GRAPHS = ("compilation_config", "cudagraph_capture_sizes", "max_cudagraph_capture_size", "speculative_config")
_CPU_CACHE, _LEAST_CACHE = 1 << 30, 128 << 20
_KNOWN: dict[str, dict[str, Any]] = load_table("cluster.inference", "vllm.toml")


@dataclass(frozen=True)
class VllmSettings(EngineSettings):
    """How to start a vLLM engine; made by the driver, sent to the replica."""

    model: str  # local folder or hub id
    revision: str | None  # hub commit; None for a folder
    name: str
    known_revision: str  # the revision stored in rows
    context: int  # longest prompt plus completion, in tokens; at most the model's own
    gpu: bool
    tensor_parallel: int = 1
    max_sequences: int = 256
    max_batched_tokens: int = 16384  # most tokens of one step; on the CPU at least a whole context
    memory_share: float | None = None  # share of a GPU's memory for weights, activations and cache; None: 0.9
    cache_bytes: int | None = None  # for the key-value cache; None: the rest of the GPU's share, 1 GiB on the CPU
    lowered: int = 0  # how often `smaller` was applied
    seed: int = 0
    chat: ChatFormat = OWN_FORMAT
    quantized: bool = False  # True if the weights come quantized
    run_code: bool = False  # True if code that came with the model may be run
    adapter: Adapter | None = None
    ray_metrics: bool = False  # True in an actor of Ray whose exporter is to have vLLM's own metrics
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)  # further arguments of vLLM, in place of ours

    async def start(self) -> VllmEngine:
        """Load the model, in seconds to minutes. Raises whatever vLLM raises if that fails."""
        folder = await asyncio.to_thread(self.adapter.on_this_machine) if self.adapter else None
        chat = ChatTokenizer(self.model, self.revision, self.chat, run_code=self.run_code)
        info = EngineInfo("vllm", "", self.name, self.known_revision, self.context)
        return await start_vllm(self.arguments(), info, chat, folder, ray_metrics=self.ray_metrics)

    def loading(self) -> str:
        """Say too that a GPU is compiled for, which is done once, as far as this machine's cache tells."""
        compiles = self.gpu and not self.more.get("enforce_eager") and not has_compiled()
        return super().loading() + (" and compiling, which takes minutes the first time" if compiles else "")

    def smaller(self, reason: str) -> Self | None:
        """Lower what takes what is short, by the message; for a cache that is too small, raise what we chose ourselves.

        A smaller share of the GPU leaves less for the cache, and a context that is too long is the user's to change.
        """
        said = numbers(reason)
        match shortage(reason):
            case "free" if self.gpu and said.total:
                share = round(said.free / said.total - _MARGIN, 2)
                return self if share < _PASSING else replace(self, memory_share=min(self._share, share))
            case "asked" if self._cache:
                fitting = min(self._cache // 2, int(0.8 * said.free / self.tensor_parallel))
                return replace(self, cache_bytes=max(min(self._cache, _LEAST_CACHE), fitting))
            case "cache":
                larger = self._with_more_cache(said.needed)
                return None if larger == self else larger
        return self._with_less_work()

    def _with_more_cache(self, needed: int) -> Self:
        """Return settings that leave as much to the cache as can be; itself if they do."""
        if self.cache_bytes or not self.gpu:
            # vLLM keeps a block for itself, and has rounded the number.
            ours = not self.cache_bytes and needed
            return replace(self, cache_bytes=int(1.02 * needed) + (64 << 20)) if ours else self
        return replace(
            self,
            max_sequences=min(self.max_sequences, _FEW_SEQUENCES),
            max_batched_tokens=min(self.max_batched_tokens, _LEAST_TOKENS),
            memory_share=self.memory_share or _MOST_SHARE,
        )

    def _with_less_work(self) -> Self:
        """Halve sequences, tokens per step and a cache of given size; from the second time, lower the share too."""
        share = self.memory_share if self.lowered == 0 else max(min(self._share, _LEAST_SHARE), self._share - 0.1)
        return replace(
            self,
            max_sequences=_half(self.max_sequences, _LEAST_SEQUENCES),
            max_batched_tokens=_half(self.max_batched_tokens, _LEAST_TOKENS),
            memory_share=share and round(share, 2),
            cache_bytes=self._cache and _half(self._cache, _LEAST_CACHE),
            lowered=self.lowered + 1,
        )

    def remedy(self, reason: str) -> str:
        gpus = "more GPUs for each engine by --tensor_parallel"
        match shortage(reason):
            case "free":
                return "other processes hold the GPU's memory: end them, or leave that GPU out"
            case "asked":
                return "give a smaller kv_cache_memory_bytes in --engine_args"
            case "cache":
                fits = f", and {fits:,} would fit" if (fits := numbers(reason).fits) else ""
                size = "kv_cache_memory_bytes" if self.cache_bytes or not self.gpu else "gpu_memory_utilization"
                larger = f"a larger {size} in --engine_args"
                context = f"--max_tokens makes the context, here {self.context:,} tokens{fits}"
                return f"{context}: give a smaller one, {f'{gpus}, ' if self.gpu else ''}or {larger}"
        if self.gpu:
            return f"give {gpus}, or a smaller max_num_seqs in --engine_args"
        return "give fewer --engines, or a smaller max_num_seqs in --engine_args"

    def limits(self) -> str:
        share = f"{self._share:.0%} of the GPU's memory"
        cache = f"{self._cache >> 20} MiB of cache" if self._cache else share
        return f"{self.max_sequences} sequences and {cache}"

    @property
    def _share(self) -> float:
        return self.memory_share or _SHARE

    @property
    def _cache(self) -> int | None:
        return self.cache_bytes or (None if self.gpu else _CPU_CACHE)

    def cause(self, log: str) -> EngineDiedError | None:
        return cause_in(log)

    def arguments(self) -> dict[str, Any]:
        """Return vLLM's arguments. The limits are explicit: AsyncLLM's own defaults are far below LLM's."""
        arguments = _KNOWN["always"] | {
            "model": self.model,
            "revision": self.revision,
            "tokenizer_revision": self.revision,
            "max_model_len": self.context,
            "max_num_seqs": self.max_sequences,
            "max_num_batched_tokens": self.max_batched_tokens,
            "tensor_parallel_size": self.tensor_parallel,
            "distributed_executor_backend": "mp" if self.tensor_parallel > 1 else "uni",
            "seed": self.seed,
            "trust_remote_code": self.run_code,
        }
        if self.adapter:
            arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": self.adapter.rank}
        if self._cache:
            arguments |= {"kv_cache_memory_bytes": self._cache}
        if self.gpu:
            return arguments | {"gpu_memory_utilization": self._share} | self._graphs() | dict(self.more)
        tokens = max(4096, self.context)
        of_cpu = {name: value for name, value in _KNOWN["cpu"].items() if name != "dtype" or not self.quantized}
        return arguments | of_cpu | {"max_num_batched_tokens": tokens} | dict(self.more)

    def _graphs(self) -> dict[str, Any]:
        """Return CUDA graphs up to the number of sequences, where vLLM's own end before, unless the user sets them."""
        own = self.more.get("enforce_eager") or any(name in self.more for name in _OF_GRAPHS)
        if own or self.max_sequences <= _GRAPHS:
            return {}
        return {"compilation_config": {"max_cudagraph_capture_size": self.max_sequences}}


def _half(limit: int, least: int) -> int:
    """Return half of a limit, but not less than `least`, unless it is less already."""
    return max(min(limit, least), limit // 2)
