"""The seam on vLLM: `AsyncLLM` with limits set on purpose, a seed per request, health and death.

The home of vllm and transformers, imported when an engine starts or a prompt is shown, since that
takes seconds. Knows chats and tokens, not questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cluster.engine import Completion, EngineDiedError, EngineInfo, FinishReason, Message, Request, no_room


@dataclass(frozen=True)
class VllmSettings:
    """How to start one engine; made by the driver, sent to the actor that hosts it."""

    model: str
    """Local folder or hub id."""
    revision: str | None
    """Hub commit; None for a folder."""
    name: str
    known_revision: str
    """What rows say of the revision."""
    context: int
    """Longest prompt plus completion, in tokens; at most the model's own."""
    gpu: bool
    tensor_parallel: int = 1
    max_sequences: int = 256
    """Most sequences decoded side by side."""
    seed: int = 0

    async def start(self) -> VllmEngine:
        return await VllmEngine.start(self)

    def arguments(self) -> dict[str, Any]:
        """What vLLM is told.

        AsyncLLM's own defaults are far smaller than LLM's, hence the explicit limits; on the CPU a
        seeded request whose prefill is chunked kills the engine, hence no chunking there.
        """
        told: dict[str, Any] = {
            "model": self.model,
            "revision": self.revision,
            "tokenizer_revision": self.revision,
            "trust_remote_code": False,
            "max_model_len": self.context,
            "max_num_seqs": self.max_sequences,
            "max_num_batched_tokens": 16384,
            "tensor_parallel_size": self.tensor_parallel,
            "distributed_executor_backend": "mp" if self.tensor_parallel > 1 else "uni",
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "seed": self.seed,
        }
        if not self.gpu:
            told |= {
                "enforce_eager": True,
                "enable_chunked_prefill": False,
                # 128 by itself, and only whole blocks are found again: most prompts would share nothing.
                "block_size": 32,
                "max_num_batched_tokens": max(4096, self.context),
                "dtype": "float32",
                "distributed_executor_backend": "mp",
            }
        return told


class VllmEngine:
    """One AsyncLLM. Made by `await VllmEngine.start(settings)`."""

    def __init__(self, llm: Any, chat: ChatTokenizer, settings: VllmSettings, version: str) -> None:
        self._llm = llm
        self._chat = chat
        self._closed = False
        self._context = settings.context
        self.info = EngineInfo("vllm", version, settings.name, settings.known_revision, settings.context)

    @classmethod
    async def start(cls, settings: VllmSettings) -> VllmEngine:
        """Load the model; seconds to minutes. Raises whatever vLLM raises when it cannot."""
        import vllm  # the heavy import; its home
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        chat = ChatTokenizer(settings.model, settings.revision)
        llm = await asyncio.to_thread(AsyncLLM.from_engine_args, AsyncEngineArgs(**settings.arguments()))
        return cls(llm, chat, settings, vllm.__version__)

    async def generate(self, request: Request) -> Completion:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        if self._closed:
            raise EngineDiedError("the engine was closed")
        final, ids = None, list[int]()
        try:
            ids = self._chat.encode(request.messages)
            room = self._context - len(ids)
            if room < 1:
                return Completion("", "error", len(ids), error=no_room(len(ids), self._context))
            drawing = request.sampling
            params = SamplingParams(
                temperature=drawing.temperature,
                top_p=drawing.top_p,
                top_k=drawing.top_k,
                repetition_penalty=drawing.repetition_penalty,
                max_tokens=min(drawing.max_tokens, room),
                seed=request.seed,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            async for output in self._llm.generate({"prompt_token_ids": ids}, params, request.key):
                final = output
        except EngineDeadError as error:
            raise EngineDiedError(str(error)) from error
        except Exception as error:
            # The one boundary where a request's failure becomes data on its row.
            if self._llm.errored:
                raise EngineDiedError(repr(error)) from error
            return Completion("", "error", len(ids), error=f"{type(error).__name__}: {error}"[:500])
        assert final is not None
        return _completion(final, len(ids))

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._llm.shutdown)


def _completion(final: Any, prompt_tokens: int) -> Completion:
    output = final.outputs[0]
    reason: FinishReason = "length" if output.finish_reason == "length" else "stop"
    if output.finish_reason not in {"length", "stop"}:
        return Completion("", "error", prompt_tokens, error=f"engine finished with {output.finish_reason!r}")
    cached = final.num_cached_tokens or 0
    return Completion(output.text, reason, prompt_tokens, len(output.token_ids), cached)


class ChatTokenizer:
    """A model's own chat template and tokenizer."""

    def __init__(self, model: str, revision: str | None = None) -> None:
        self._model, self._revision = model, revision

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._model, revision=self._revision, trust_remote_code=False)

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as the model sees it, special tokens written out."""
        text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return str(text)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        ids = self._tokenizer(self.render(messages), add_special_tokens=False)["input_ids"]
        return [int(token) for token in ids]
