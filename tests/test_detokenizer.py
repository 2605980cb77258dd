"""An answer decoded at once, beside vLLM's own output processor and detokenizer, which do it token by token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from cluster.inference.engine import Completion, EngineInfo, Request, Sampling
from cluster.inference.prompts import Encoded
from cluster.inference.tokenizer import ChatTokenizer
from cluster.inference.vllm_engine import VllmEngine
from generation.builtin import MODEL
from tests.test_byte_level import cut, sentence_pieces, word_pieces

# vLLM and torch, imported here, warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")
_AT_ONCE = {"gpt2", "in steps", "built-in"}
IDS = st.lists(st.integers(0, 690), max_size=50)


def built_in() -> Tokenizer:
    backend = ChatTokenizer(str(MODEL)).backend
    assert backend
    return backend


_KINDS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": partial(cut, "gpt2"),
    "in steps": partial(cut, "in steps"),
    "words": word_pieces,
}
_KINDS |= {"sentence pieces": sentence_pieces, "built-in": built_in}


@cache
def tokenizer(kind: str) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=_KINDS[kind]())


@cache
def engine(kind: str) -> VllmEngine:
    """Return what is made of vLLM's output, without a model behind it."""

    async def make() -> VllmEngine:
        llm = SimpleNamespace(tokenizer=tokenizer(kind), errored=False)
        made = VllmEngine(llm, EngineInfo("vllm", "", "m", "", 1024), ChatTokenizer(str(MODEL)))
        made._death.cancel()
        return made

    return asyncio.run(make())


def answered(kind: str, prompt: list[int], ids: list[int], reason: str, *, at_once: bool, **given: Any) -> Completion:
    """Return the completion made of tokens that come one by one, the last with the reason why it is the last."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine import EngineCoreOutput, EngineCoreRequest, FinishReason
    from vllm.v1.engine.output_processor import OutputProcessor

    params = SamplingParams(detokenize=not at_once, output_kind=RequestOutputKind.FINAL_ONLY, max_tokens=99, **given)
    processor = OutputProcessor(tokenizer(kind), log_stats=False)
    fields = {"request_id": "a", "external_req_id": "a", "prompt_token_ids": prompt, "sampling_params": params}
    rest = dict.fromkeys(("mm_features", "pooling_params", "lora_request", "cache_salt", "data_parallel_rank"))
    processor.add_request(EngineCoreRequest(**fields, **rest, arrival_time=0.0), None)
    for place, one in enumerate(ids):
        finish = FinishReason[reason.upper()] if place == len(ids) - 1 else None
        done = processor.process_outputs([EngineCoreOutput("a", [one], finish_reason=finish)])
    return engine(kind)._completion(Encoded(prompt), params, done.request_outputs[0])


@pytest.mark.parametrize("kind", sorted(_AT_ONCE))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    before=IDS,
    ids=IDS.filter(bool),
    reason=st.sampled_from(["stop", "length"]),
    given_=st.fixed_dictionaries({"include_stop_str_in_output": st.booleans(), "min_tokens": st.integers(0, 9)}),
)
def test_the_answer_is_the_one_that_vllm_decodes(
    kind: str, before: list[int], ids: list[int], reason: str, given_: dict[str, Any]
) -> None:
    assert engine(kind)._decoder is not None
    prompt = [*before, *tokenizer(kind)("\n")["input_ids"]]
    one, other = (answered(kind, prompt, ids, reason, at_once=at_once, **given_) for at_once in (True, False))
    assert one == other
    assert one.output_tokens == len(ids)


def test_what_a_stop_token_leaves() -> None:
    ids = tokenizer("gpt2")("The answer is 7.")["input_ids"]
    texts = [
        answered("gpt2", [1], [*ids, ids[0]], reason, at_once=True, include_stop_str_in_output=kept).text
        for reason, kept in (("stop", False), ("stop", True), ("length", False))
    ]
    assert texts == ["The answer is 7.", "The answer is 7.T", "The answer is 7.T"]


@pytest.mark.parametrize("kind", sorted(_KINDS.keys() - _AT_ONCE))
def test_other_kinds_are_left_to_vllm(kind: str) -> None:
    assert engine(kind)._decoder is None


def test_an_output_that_cannot_be_read_is_data_of_its_request() -> None:
    async def outputs(*_: Any, **__: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(outputs=[])

    async def ask() -> Completion:
        llm = SimpleNamespace(tokenizer=tokenizer("gpt2"), errored=False, generate=outputs)
        asked = VllmEngine(llm, EngineInfo("vllm", "", "m", "", 1024), ChatTokenizer(str(MODEL)))
        try:
            return await asked.generate(Request("a", ({"role": "user", "content": "Go"},), Sampling(), 0))
        finally:
            asked._death.cancel()

    completion = asyncio.run(ask())
    assert completion.finish_reason == "error"
    assert completion.error == "IndexError: list index out of range"
