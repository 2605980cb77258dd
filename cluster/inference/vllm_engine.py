"""The engine on vLLM. Imports vllm only when needed, as that takes ten seconds."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from cluster.errors import EngineDiedError
from cluster.inference.engine import Completion, EngineInfo, Request, no_room
from cluster.inference.thoughts import tokens_in
from cluster.inference.tokenizer import ChatTokenizer

_LOOK_S = 0.5  # between two checks of vLLM's health
_GRACE_S = 2.0  # how long vLLM itself may take to report that its core is gone


async def start_vllm(
    arguments: Mapping[str, Any], info: EngineInfo, chat: ChatTokenizer, adapter: str | None = None
) -> "VllmEngine":
    """Load the model, in seconds to minutes; `adapter` is the folder of a LoRA adapter. Raises whatever vLLM raises."""
    engine, settings, version = await asyncio.to_thread(_import)
    llm = await asyncio.to_thread(engine.from_engine_args, settings(**arguments))
    return VllmEngine(llm, replace(info, engine_version=version), chat, adapter)


def _import() -> tuple[Any, Any, str]:
    """Import vLLM. Apart from its use: errors inside the import, which libraries keep, keep all frames around it."""
    import vllm
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM, AsyncEngineArgs, vllm.__version__


class VllmEngine:
    """An AsyncLLM, as `start_vllm` makes it."""

    def __init__(self, llm: Any, info: EngineInfo, chat: ChatTokenizer, adapter: str | None = None) -> None:
        """`adapter` is the folder of the LoRA adapter, if there is one."""
        from vllm.lora.request import LoRARequest

        self._llm, self._chat, self.info = llm, chat, info
        self._adapter = LoRARequest("adapter", 1, adapter) if adapter else None
        self._death = asyncio.ensure_future(self._die())

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
        # At the end of Python it would shut down once more, and fail.
        del self._llm
