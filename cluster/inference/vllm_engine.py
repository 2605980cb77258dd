"""The engine on vLLM. Imports vllm only when needed, as that takes ten seconds."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from cluster.errors import EngineDiedError
from cluster.inference.adapters import Adapter
from cluster.inference.engine import Completion, EngineInfo, EngineSettings, Request, no_room
from cluster.inference.thoughts import tokens_in
from cluster.inference.tokenizer import OWN_FORMAT, ChatFormat, ChatTokenizer
from cluster.inference.vllm_log import cause_in
from cluster.texts import load_table

_LOOK_S = 0.5  # between two checks of vLLM's health
_GRACE_S = 2.0  # how long vLLM itself may take to report that its core is gone
_LEAST_SEQUENCES = 8
_LEAST_TOKENS = 2048
_LEAST_SHARE = 0.5
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
    memory_share: float = 0.9  # share of a GPU's memory for weights, activations and cache
    cache_bytes: int | None = None  # for the key-value cache; None: the rest of the GPU's share, 1 GiB on the CPU
    lowered: int = 0  # how often `smaller` was applied
    seed: int = 0
    chat: ChatFormat = OWN_FORMAT
    quantized: bool = False  # True if the weights come quantized
    run_code: bool = False  # True if code that came with the model may be run
    adapter: Adapter | None = None
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)  # further arguments of vLLM, in place of ours

    async def start(self) -> "VllmEngine":
        """Load the model, in seconds to minutes. Raises whatever vLLM raises if that fails."""
        import vllm
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        folder = await asyncio.to_thread(self.adapter.on_this_machine) if self.adapter else None
        llm = await asyncio.to_thread(AsyncLLM.from_engine_args, AsyncEngineArgs(**self.arguments()))
        return VllmEngine(llm, self, vllm.__version__, folder)

    def smaller(self) -> Self:
        """Halve sequences, tokens per step and the CPU's cache; from the second time, lower the GPU's share too."""
        share = self.memory_share if self.lowered == 0 else self.memory_share - 0.1
        return replace(
            self,
            max_sequences=_half(self.max_sequences, _LEAST_SEQUENCES),
            max_batched_tokens=_half(self.max_batched_tokens, _LEAST_TOKENS),
            memory_share=max(min(self.memory_share, _LEAST_SHARE), round(share, 2)),
            cache_bytes=self._cache and _half(self._cache, _LEAST_CACHE),
            lowered=self.lowered + 1,
        )

    def limits(self) -> str:
        share = f"{self.memory_share:.0%} of the GPU's memory"
        cache = f"{self._cache >> 20} MiB of cache" if self._cache else share
        return f"{self.max_sequences} sequences and {cache}"

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
            return arguments | {"gpu_memory_utilization": self.memory_share} | dict(self.more)
        tokens = max(4096, self.context)
        of_cpu = {name: value for name, value in _KNOWN["cpu"].items() if name != "dtype" or not self.quantized}
        return arguments | of_cpu | {"max_num_batched_tokens": tokens} | dict(self.more)


def _half(limit: int, least: int) -> int:
    """Return half of a limit, but not less than `least`, unless it is less already."""
    return max(min(limit, least), limit // 2)


class VllmEngine:
    """An AsyncLLM; created by `await settings.start()`."""

    def __init__(self, llm: Any, settings: VllmSettings, version: str, adapter: str | None = None) -> None:
        """`adapter` is the folder of the LoRA adapter, if there is one."""
        from vllm.lora.request import LoRARequest

        self._llm, run_code = llm, settings.run_code
        self._chat = ChatTokenizer(settings.model, settings.revision, settings.chat, run_code=run_code)
        self._adapter = LoRARequest("adapter", 1, adapter) if adapter else None
        self._death = asyncio.ensure_future(self._die())
        self.info = EngineInfo("vllm", version, settings.name, settings.known_revision, settings.context)

    async def generate(self, request: Request) -> Completion:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        ids = list[int]()
        try:
            ids = self._chat.encode(request.messages)
            if (room := self.info.context - len(ids)) < 1:
                return Completion("", "error", len(ids), error=no_room(len(ids), self.info.context))
            # Our fields are named like vLLM's.
            fields = request.sampling.within(room).parameters()
            if "logit_bias" in fields:
                fields["logit_bias"] = {int(token): bias for token, bias in fields["logit_bias"].items()}
            if self._chat.thinking.raw:
                # Marks of thoughts that are special tokens must be decoded to be seen.
                fields["skip_special_tokens"] = False
            params = SamplingParams(**fields, seed=request.seed, output_kind=RequestOutputKind.FINAL_ONLY)
            final = await self._last(self._ask(ids, params, request.key))
        except (EngineDeadError, EngineDiedError) as error:
            raise EngineDiedError(str(error)) from error
        except Exception as error:
            # The only place where a request's failure becomes data in its row. The first sign of a dying core may be
            # any exception, before vLLM itself knows.
            await asyncio.wait([self._death], timeout=_GRACE_S)
            if self._llm.errored:
                raise EngineDiedError(repr(error)) from error
            return Completion("", "error", len(ids), error=f"{type(error).__name__}: {error}"[:500])
        return self._completion(request, len(ids), final)

    def _completion(self, request: Request, prompt_tokens: int, final: Any) -> Completion:
        """Return what vLLM's last output says, the thought told from the reply."""
        output, thinking = final.outputs[0], self._chat.thinking
        if output.finish_reason not in {"length", "stop"}:
            return Completion("", "error", prompt_tokens, error=f"engine finished with {output.finish_reason!r}")
        opened = thinking.opened_by(self._chat.render(request.messages)) if thinking.own else None
        written, parted = list(output.token_ids), thinking.part(output.text, opened)
        spent = tokens_in(parted.spans, len(written), lambda first, end: self._chat.width(written[first:end]))
        return Completion(
            parted.reply,
            output.finish_reason,
            prompt_tokens,
            len(written),
            final.num_cached_tokens or 0,
            thought=parted.thought,
            thought_tokens=spent,
        )

    def _ask(self, ids: list[int], params: Any, key: str) -> AsyncIterator[Any]:
        return self._llm.generate({"prompt_token_ids": ids}, params, key, lora_request=self._adapter)  # type: ignore[no-any-return]

    async def _last(self, answer: AsyncIterator[Any]) -> Any:
        """Return vLLM's last output. Raises EngineDiedError if its core dies, as vLLM itself might wait forever."""

        async def read() -> Any:
            return [output async for output in answer][-1]

        task = asyncio.ensure_future(read())
        try:
            await asyncio.wait([task, self._death], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise EngineDiedError("EngineCore is gone and left requests unanswered")
            return task.result()
        finally:
            task.cancel()

    async def _die(self) -> None:
        """Return shortly after vLLM's core has died."""
        while not self._llm.errored:
            await asyncio.sleep(_LOOK_S)
        await asyncio.sleep(_GRACE_S)

    async def close(self) -> None:
        self._death.cancel()
        await asyncio.to_thread(self._llm.shutdown)
