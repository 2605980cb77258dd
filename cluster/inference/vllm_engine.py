"""The engine on vLLM. Imports vllm only when needed, as that takes ten seconds."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from tokenizers import Tokenizer

from cluster.errors import EngineDiedError
from cluster.inference.byte_level import decode, is_byte_level
from cluster.inference.engine import Completion, EngineInfo, Message, Request, no_room
from cluster.inference.prompts import Encoded, PromptEncoder
from cluster.inference.thoughts import behind, tokens_in
from cluster.inference.tokenizer import ChatTokenizer

T = TypeVar("T")
_LOOK_S = 0.5  # between two checks of vLLM's health
# After which a thread gives Python's lock to one that waits; with 5 ms, Python's own, the loop stalls.
_SWITCH_S = 0.0005
_GRACE_S = 2.0  # how long vLLM itself may take to report that its core is gone


async def start_vllm(
    arguments: Mapping[str, Any],
    info: EngineInfo,
    chat: ChatTokenizer,
    adapter: str | None = None,
    *,
    ray_metrics: bool = False,
) -> "VllmEngine":
    """Load the model, in seconds to minutes; `adapter` is the folder of a LoRA adapter. Raises whatever vLLM raises.

    With `ray_metrics`, in an actor of Ray, its own metrics go to Ray's exporter.
    """
    engine, settings, version = await asyncio.to_thread(_import)
    loggers = await asyncio.to_thread(_ray_loggers) if ray_metrics else None
    sys.setswitchinterval(_SWITCH_S)
    # Else each full collection goes through all that was imported, for half a second. The engine itself is not frozen:
    # it must be collected when it is given back.
    gc.collect()
    gc.freeze()
    llm = await asyncio.to_thread(lambda: engine.from_engine_args(settings(**arguments), stat_loggers=loggers))
    return VllmEngine(llm, replace(info, engine_version=version), chat, adapter)


def _import() -> tuple[Any, Any, str]:
    """Import vLLM. Apart from its use: errors inside the import, which libraries keep, keep all frames around it."""
    import vllm
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM, AsyncEngineArgs, vllm.__version__


def _ray_loggers() -> list[Any] | None:
    """Return what tells vLLM's metrics to Ray's exporter; None if vLLM cannot, which the log says."""
    try:
        from vllm.v1.metrics.ray_wrappers import RayPrometheusMetric, RayPrometheusStatLogger

        RayPrometheusMetric()
    except ImportError as error:
        # vLLM imports ray.serve with it, which needs more packages than Ray itself.
        print(f"Ray's exporter gets no metrics of vLLM, pip install 'ray[serve]': {error}", file=sys.stderr, flush=True)
        return None
    return [RayPrometheusStatLogger]


class VllmEngine:
    """An AsyncLLM, as `start_vllm` makes it.

    Prompts are encoded and answers decoded on a thread of its own, in order: vLLM's front end has the event loop.
    """

    def __init__(self, llm: Any, info: EngineInfo, chat: ChatTokenizer, adapter: str | None = None) -> None:
        """`adapter` is the folder of the LoRA adapter, if there is one."""
        from vllm.lora.request import LoRARequest

        self._llm, self._chat, self.info = llm, chat, info
        self._adapter = LoRARequest("adapter", 1, adapter) if adapter else None
        self._thread = ThreadPoolExecutor(1, "texts")
        self._prompts = PromptEncoder(chat)
        self._latest: tuple[tuple[tuple[Message, ...], str], asyncio.Future[Encoded]] | None = None
        # What vLLM itself decodes with, if whole answers are decoded alike.
        own = getattr(llm.tokenizer, "_tokenizer", None)
        self._decoder = own if isinstance(own, Tokenizer) and is_byte_level(own) else None
        self._death = asyncio.ensure_future(self._die())

    async def generate(self, request: Request) -> Completion:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        prompt = Encoded([])
        try:
            prompt = await self._encode(request.messages, request.begun)
            tokens = len(prompt.ids)
            if (room := self.info.context - tokens) < 1:
                return Completion("", "error", tokens, error=no_room(tokens, self.info.context))
            # Our fields are named like vLLM's.
            fields = request.sampling.within(room).parameters()
            if "logit_bias" in fields:
                fields["logit_bias"] = {int(token): bias for token, bias in fields["logit_bias"].items()}
            if self._chat.thinking.raw:
                # Marks of thoughts that are special tokens must be decoded to be seen.
                fields["skip_special_tokens"] = False
            # Stop texts must be seen as they come.
            fields["detokenize"] = self._decoder is None or bool(fields.get("stop"))
            params = SamplingParams(**fields, seed=request.seed, output_kind=RequestOutputKind.FINAL_ONLY)
            final = await self._last(self._ask(prompt.ids, params, request.key))
            return await self._beside(self._completion, prompt, params, final, request.begun)
        except (EngineDeadError, EngineDiedError) as error:
            raise EngineDiedError(str(error)) from error
        except Exception as error:
            # The only place where a request's failure becomes data in its row. The first sign of a dying core may be
            # any exception, before vLLM itself knows.
            await asyncio.wait([self._death], timeout=_GRACE_S)
            if self._llm.errored:
                raise EngineDiedError(repr(error)) from error
            return Completion("", "error", len(prompt.ids), error=f"{type(error).__name__}: {error}"[:500])

    async def _encode(self, messages: tuple[Message, ...], begun: str) -> Encoded:
        """Encode a prompt, once for all requests in a row that have it."""
        if self._latest is None or self._latest[0] != (messages, begun):
            self._latest = (messages, begun), self._beside(self._prompts.encode, messages, begun)
        # One request that is cancelled must not take the others along.
        return await asyncio.shield(self._latest[1])

    def _beside(self, function: Callable[..., T], *given: Any) -> asyncio.Future[T]:
        """Call the function on the engine's own thread, after all that was given to it before."""
        return asyncio.get_running_loop().run_in_executor(self._thread, function, *given)

    def _completion(self, prompt: Encoded, params: Any, final: Any, begun: str = "") -> Completion:
        """Return what vLLM's last output says behind what was begun, the thought told from the reply."""
        output, thinking, tokens = final.outputs[0], self._chat.thinking, len(prompt.ids)
        if output.finish_reason not in {"length", "stop"}:
            return Completion("", "error", tokens, error=f"engine finished with {output.finish_reason!r}")
        written, text = list(output.token_ids), output.text
        if self._decoder and not params.detokenize:
            # As in vLLM, the token that stopped it is no part of the text, unless that was asked for.
            ended = output.finish_reason == "stop" and not params.include_stop_str_in_output
            text = decode(self._decoder, written[:-1] if ended else written, special=thinking.raw)
        parted, text = thinking.part(begun + text, prompt.opened), begun + text
        spans = behind(parted.spans, len(begun))
        spent = tokens_in(spans, len(written), lambda first, end: self._chat.width(written[first:end]))
        return Completion(
            parted.reply,
            output.finish_reason,
            tokens,
            len(written),
            final.num_cached_tokens or 0,
            thought=parted.thought,
            thought_tokens=spent,
            written=text,
            spans=parted.spans,
            ids=tuple(written),
        )

    def _ask(self, ids: list[int], params: Any, key: str) -> AsyncIterator[Any]:
        from vllm.inputs import tokens_input

        return self._llm.generate(tokens_input(ids), params, key, lora_request=self._adapter)  # type: ignore[no-any-return]

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

    async def renew(self, folder: str) -> None:
        """Take the weights of a folder, of the same architecture, in place of those it has.

        Raises whatever vLLM raises, RuntimeError if requests are under way. `info` goes on to name the model that the
        engine was started with.
        """
        await self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        # What it holds was computed with the former weights, and vLLM keeps it (findings/).
        if not await self._llm.reset_prefix_cache():
            raise RuntimeError("the weights were renewed while requests were under way")

    async def close(self) -> None:
        self._death.cancel()
        await asyncio.to_thread(self._llm.shutdown)
        self._thread.shutdown(wait=False)
        # At the end of Python it would shut down once more, and fail, and tell what the collector spared.
        del self._llm
        gc.unfreeze()
