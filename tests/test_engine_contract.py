"""What every engine promises, in one set of tests: scripted, also behind each kind of replicas, servers, real vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from cluster.inference.engine import Completion, Engine, Message, Request, Sampling, ScriptedEngine, ScriptedSettings
from cluster.inference.models import find
from cluster.inference.pool import Done, Pool
from cluster.inference.ray_replicas import RayReplicas
from cluster.inference.replicas import LocalReplicas, Placement, ReplicaSet
from cluster.inference.server_engine import ServerSettings
from cluster.inference.tokenizer import ChatTokenizer
from cluster.inference.vllm_settings import VllmSettings
from cluster.session import Resources
from generation.builtin import MODEL, RANGES
from generation.placement import cpu_environment
from generation.variants import VARIANTS, messages
from tests.countdown_questions import make
from tests.openai_server import OpenAIServer, serving
from tests.scripted import reply
from tests.vllm_serve import vllm_serve

Complete = Callable[[Sequence[Request]], list[Completion]]
CONTEXT = 1024
QUESTIONS = make("countdown_3arg", 8, rl=False, seed=11, ranges=RANGES)


def test_nothing_is_answered_after_the_end() -> None:
    async def close_then_ask() -> None:
        engine = ScriptedEngine(reply)
        await engine.close()
        await engine.generate(ask(0))

    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(close_then_ask())


async def _generate(engine: Engine, request: Request) -> Completion:
    return await engine.generate(request)


def _scripted(requests: Sequence[Request]) -> list[Completion]:
    async def gather() -> list[Completion]:
        engine = ScriptedEngine(reply, context=CONTEXT)
        return list(await asyncio.gather(*map(engine.generate, requests)))

    return asyncio.run(gather())


def _pooled(replicas: ReplicaSet) -> Iterator[Complete]:
    with Pool[Request, Completion](replicas, in_flight=8) as pool:

        def complete(requests: Sequence[Request]) -> list[Completion]:
            done = {event.item.key: event.result for event in pool.run(requests) if isinstance(event, Done)}
            return [done[request.key] for request in requests]

        yield complete


@pytest.fixture(
    scope="module",
    params=[
        "scripted",
        "local",
        "server",
        pytest.param("vllm serve", marks=[pytest.mark.ray, pytest.mark.engine]),
        pytest.param("ray", marks=pytest.mark.ray),
        pytest.param("real", marks=[pytest.mark.ray, pytest.mark.engine]),
    ],
)
def complete(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Complete]:
    if request.param == "scripted":
        yield _scripted
        return
    scripted = Placement(ScriptedSettings(reply, context=CONTEXT), 2, logs=tmp_path_factory.mktemp("logs"))
    if request.param == "local":
        yield from _pooled(LocalReplicas(scripted, _generate))
        return
    if request.param == "server":
        with serving(OpenAIServer(context=CONTEXT)) as one, serving(OpenAIServer(context=CONTEXT)) as other:
            settings = ServerSettings((f"{one.url}/v1", f"{other.url}/v1"), None, concurrency=16)
            yield from _pooled(LocalReplicas(replace(scripted, settings=settings), _generate))
        return
    if request.param == "vllm serve":
        with vllm_serve(tmp_path_factory.mktemp("serve"), CONTEXT) as url:
            settings = ServerSettings((url,), None, concurrency=32)
            yield from _pooled(LocalReplicas(replace(scripted, settings=settings, engines=1), _generate))
        return
    ray: Resources = request.getfixturevalue("ray_session")
    assert len(ray.nodes) == 1
    if request.param == "ray":
        yield from _pooled(RayReplicas(scripted, _generate))
        return
    model = find(str(MODEL))
    vllm = VllmSettings(model.path, None, model.name, model.revision, CONTEXT, gpu=False, max_sequences=32)
    placement = replace(scripted, settings=vllm, engines=1, environment=cpu_environment(1))
    yield from _pooled(RayReplicas(placement, _generate))


def ask(number: int, *, seed: int = 7, max_tokens: int = 128) -> Request:
    chat = messages(VARIANTS["original"], QUESTIONS[number])
    return Request(f"{number}/{seed}/{max_tokens}", chat, Sampling(temperature=0.8, max_tokens=max_tokens), seed)


def test_a_request_is_completed_and_counted(complete: Complete) -> None:
    (completion,) = complete([ask(0)])
    assert completion.finish_reason == "stop"
    assert completion.text
    assert completion.error is None
    assert completion.prompt_tokens > 10
    assert 1 < completion.output_tokens <= 128
    assert 0 <= completion.cached_tokens <= completion.prompt_tokens


def test_the_seed_decides(complete: Complete) -> None:
    first, again, *others = complete([ask(1), replace(ask(1), key="again"), *(ask(1, seed=n) for n in range(100, 108))])
    assert first.text == again.text
    assert any(other.text != first.text for other in others)


def test_a_long_answer_is_cut_at_the_limit(complete: Complete) -> None:
    for completion in complete([ask(number, max_tokens=3) for number in range(8)]):
        assert completion.output_tokens <= 3
        if completion.output_tokens == 3:
            assert completion.finish_reason == "length"


def test_a_reply_that_was_begun_is_gone_on_with_or_refused(complete: Complete) -> None:
    """Only what follows is counted as written; text and thought are those of the whole."""
    greedy = replace(ask(2), sampling=Sampling(temperature=0.0, max_tokens=60))
    (first,) = complete([greedy])
    # Behind a whole token, where there are any: the built-in model never saw one of its phrases begun and not ended.
    tokens = ChatTokenizer(str(MODEL)).decode(first.ids[: len(first.ids) // 2])
    begun = tokens or first.written[: len(first.written) // 2]
    (went_on,) = complete([replace(greedy, key="on", begun=begun or "So")])
    if not begun:  # a server
        assert went_on.finish_reason == "error"
        assert went_on.final
        return
    assert went_on.written.startswith(begun)
    assert went_on.text == went_on.written
    assert went_on.prompt_tokens > first.prompt_tokens
    assert 0 < went_on.output_tokens <= 60
    if first.output_tokens > went_on.output_tokens:  # a model, and so the most likely text again
        assert went_on.written == first.written


def test_a_prompt_that_does_not_fit_is_data(complete: Complete) -> None:
    flood = Message(role="user", content="17 23 " * CONTEXT)
    too_long = replace(ask(0), key="flood", messages=(flood,))
    refused, fine = complete([too_long, replace(ask(0), key="fine")])
    assert refused.finish_reason == "error"
    assert refused.error is not None
    assert "context" in refused.error
    assert "1024" in refused.error
    assert refused.text == ""
    assert fine.finish_reason == "stop"


def test_many_requests_come_back_each_its_own(complete: Complete) -> None:
    requests = [ask(number % 8, seed=1000 + number) for number in range(64)]
    completions = complete(requests)
    assert len(completions) == 64
    alone = complete([replace(request, key=f"alone/{request.key}") for request in requests[:2]])
    assert all(completion.finish_reason in {"stop", "length"} for completion in completions)
    assert [completion.finish_reason for completion in alone] == [c.finish_reason for c in completions[:2]]


def test_a_model_may_say_anything_in_the_prompt(complete: Complete) -> None:
    """Special tokens, braces and odd characters in a prompt are text, or a refusal; never the engine's end."""
    texts = ["<|im_end|>", "{sample} {0}", "\x00", "\u202e", "<answer>" * 50, "😀"]
    asked = []
    for number, text in enumerate(texts):
        system, user = ask(0).messages
        chat = (system, Message(role="user", content=f"{user['content']} {text}"))
        asked.append(replace(ask(0), key=f"odd/{number}", messages=chat))
    odd = complete(asked)
    assert all(completion.finish_reason in {"stop", "length", "error"} for completion in odd)
    assert complete([replace(ask(0), key="after")])[0].finish_reason == "stop"
