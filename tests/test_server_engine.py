"""The engine on a server: what is asked again, what is data, what is the server's end, and what an answer means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from cluster.errors import EngineDiedError
from cluster.inference import server_client
from cluster.inference.engine import Completion, Message, Request, Sampling
from cluster.inference.server_engine import ServerSettings
from tests.openai_server import Fault, OpenAIServer, serving

HARD = Sampling(temperature=0.5, max_tokens=64)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_client, "_FIRST_S", 0.02)
    monkeypatch.setattr(server_client, "_SAID_AFTER_S", 0.05)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with serving(OpenAIServer()) as running:
        yield running


def ask(text: str, seed: int = 5, **sampling: Any) -> Request:
    user = Message(role="user", content=text)
    return Request(f"{text}/{seed}", (user,), replace(HARD, **sampling), seed)


def told(server: OpenAIServer, requests: Sequence[Request], **settings: Any) -> list[Completion]:
    """Return the completions of an engine on the server, all asked for at once."""

    async def gather() -> list[Completion]:
        engine = await ServerSettings((f"{server.url}/v1",), None, **settings).start()
        try:
            return list(await asyncio.gather(*map(engine.generate, requests)))
        finally:
            await engine.close()

    return asyncio.run(gather())


def once(word: str, *faults: Fault) -> Callable[[dict[str, Any]], Fault | None]:
    """Return these faults, one after the other, for requests that hold the word."""
    left = list(faults)
    return lambda body: left.pop(0) if left and word in str(body["messages"]) else None


def in_a_second() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


@pytest.mark.parametrize(
    ("faults", "least_s"),
    [
        ([Fault(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.5"})], 0.5),
        ([Fault(429, {}, {"Retry-After": "soon"})], 0),
        ([Fault(429, {}, {"Retry-After": "0"})] * 4, 0.075),  # no wait is asked for, so ours grows
        ([Fault(503, "<html>busy</html>", {"Retry-After": "when"})], 0),
        ([Fault(500, {"error": "once"}), Fault(502, "twice"), Fault(500)], 0),
        ([Fault(0, {"choices": []})], 0),  # the connection is cut in the middle
        ([Fault(200, "no JSON")], 0),
        ([Fault(200, {"error": {"message": "upstream"}})], 0),
        ([Fault(200, [])], 0),
    ],
)
def test_what_may_pass_is_asked_again(server: OpenAIServer, faults: list[Fault], least_s: float) -> None:
    server.fault, began = once("fern", *faults), time.monotonic()
    (completion,) = told(server, [ask("fern")])
    assert completion.finish_reason == "stop"
    assert time.monotonic() - began >= least_s
    assert len([body for body in server.asked if "fern" in str(body)]) == len(faults) + 1
    assert len([body for body in server.answered if "fern" in str(body)]) == 1


def test_a_date_is_waited_for(server: OpenAIServer) -> None:
    server.fault, began = once("fern", Fault(429, {}, {"Retry-After": in_a_second()})), time.monotonic()
    assert told(server, [ask("fern")])[0].finish_reason == "stop"
    assert time.monotonic() - began > 0.9


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(500, {"error": {"message": "CUDA error"}}), "500 Internal Server Error: CUDA error"),
        (Fault(429, {}, {"Retry-After": "3600"}), "429 Too Many Requests: {}, and wants to be asked again in 36"),
        (Fault(0, {}), "peer closed connection"),
        (Fault(200, {}, wait_s=5), "no answer within 2 s"),
    ],
)
def test_what_lasts_is_data_while_others_are_answered(server: OpenAIServer, fault: Fault, words: str) -> None:
    server.fault = lambda body: fault if "fern" in str(body["messages"]) else None
    server.delay_s = 0.2
    failed, *fine = told(server, [ask("fern"), *(ask("moss", n) for n in range(40))], silence_s=1, concurrency=4)
    assert {one.finish_reason for one in fine} == {"stop"}
    assert (failed.finish_reason, failed.text, failed.final) == ("error", "", True)
    assert failed.error is not None
    assert failed.error.startswith(f"{server.url}/v1: ")
    assert words in failed.error


@pytest.mark.parametrize("fault", [Fault(503, "starting"), Fault(0, {}), Fault(401, {"error": "revoked"})])
def test_a_server_that_answers_nobody_is_gone(server: OpenAIServer, fault: Fault) -> None:
    server.fault = lambda body: fault if "fern" in str(body["messages"]) else None
    said = list[str]()
    with pytest.raises(EngineDiedError, match=rf"^{server.url}/v1: "):
        told(server, [ask("fern")], silence_s=0.5, tell=said.append)
    assert fault.status == 401 or [words.partition(": ")[0] for words in said] == [f"waiting for {server.url}/v1"]


def test_a_server_that_is_away_is_waited_for_and_named(server: OpenAIServer) -> None:
    said = list[str]()

    async def through_it() -> list[Completion]:
        engine = await ServerSettings((f"{server.url}/v1",), None, tell=said.append).start()
        try:
            first = await engine.generate(ask("fern"))
            await asyncio.to_thread(server.stop)
            asked = [asyncio.ensure_future(engine.generate(ask("moss", n))) for n in range(6)]
            await asyncio.sleep(0.5)
            assert not any(one.done() for one in asked)
            server.start()
            return [first, *await asyncio.gather(*asked)]
        finally:
            await engine.close()

    assert {one.finish_reason for one in asyncio.run(through_it())} == {"stop"}
    assert said[0].startswith(f"waiting for {server.url}/v1: ")
    assert said[1:] == [f"{server.url}/v1 answers again"]


def test_a_start_waits_for_the_server() -> None:
    server = OpenAIServer()
    with serving(server):
        pass
    said = list[str]()

    async def start() -> None:
        starting = asyncio.ensure_future(
            ServerSettings((f"{server.url}/v1",), None, silence_s=0.1, tell=said.append).start()
        )
        await asyncio.sleep(0.5)
        assert not starting.done()
        server.start()
        await (await starting).close()

    asyncio.run(start())
    server.stop()
    assert said[0].startswith(f"waiting for {server.url}/v1: ")


@pytest.mark.parametrize("most", [1, 3, 8])
def test_no_more_are_in_flight_than_asked(server: OpenAIServer, most: int) -> None:
    server.delay_s = 0.1 * most  # long enough that all of them are seen together
    server.fault = once("moss", *[Fault(429), Fault(500)] * most)
    assert len(told(server, [ask("moss", n) for n in range(4 * most)], concurrency=most)) == 4 * most
    assert server.most == most


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (400, {"error": {"message": "odd\n prompt"}}, "400 Bad Request: odd prompt"),
        (400, {"object": "error", "message": "older vLLM", "code": 400}, "400 Bad Request: older vLLM"),
        (422, {"detail": [{"loc": ["body"]}]}, '422 Unprocessable Entity: [{"loc": ["body"]}]'),
        (418, "", "418 I'm a Teapot"),
        (302, "moved", "302 Found: moved"),
        (403, {"error": {"message": "flagged"}}, "403 Forbidden: flagged"),  # of this prompt: others are answered
        (413, "x" * 5000, "413 Request Entity Too Large: xxx"),
    ],
)
def test_a_refusal_is_data_and_asked_once(server: OpenAIServer, status: int, said: Any, error: str) -> None:
    server.tells_context = False
    server.fault = lambda body: Fault(status, said) if "fern" in str(body["messages"]) else None
    refused, fine = told(server, [ask("fern"), ask("moss")])
    assert (refused.finish_reason, refused.final, refused.text) == ("error", True, "")
    assert (refused.error or "").startswith(f"{server.url}/v1: {error}")
    assert len(refused.error or "") < 400
    assert fine.finish_reason == "stop"
    assert len([body for body in server.asked if "fern" in str(body)]) == 1


def test_a_refusal_of_everyone_is_the_server_s_end(server: OpenAIServer) -> None:
    gone = Fault(404, {"error": {"message": "unloaded"}})
    server.fault = lambda _: gone if "fern" in str(server.asked) else None
    with pytest.raises(EngineDiedError, match="404 Not Found: unloaded"):
        told(server, [ask("fern")])


def test_a_completion_gets_what_the_context_leaves(server: OpenAIServer) -> None:
    server.context = 50
    long, full = told(server, [ask("fern " * 40, max_tokens=30), ask("moss " * 60, max_tokens=30)])
    assert (long.finish_reason, long.prompt_tokens, long.output_tokens) == ("length", 40, 10)
    assert full.finish_reason == "error"
    assert "maximum context length is 50 tokens" in (full.error or "")


@pytest.mark.parametrize("thinks", ["reasoning", "reasoning_content"])
def test_a_thought_is_kept_apart(server: OpenAIServer, thinks: str) -> None:
    server.thinks = thinks
    (completion,) = told(server, [ask("fern")])
    assert (completion.thought, completion.thought_tokens, completion.output_tokens) == ("Let me think.", 3, 23)
    assert completion.cached_tokens == completion.prompt_tokens // 2


@pytest.mark.parametrize(
    ("reply", "thought", "text"),
    [
        ("<think>\none two\n</think>\n\nthree four", "one two", "three four"),
        ("one two</think>three", "one two", "three"),
        ("one two", None, "one two"),
    ],
)
def test_a_thought_in_the_text_is_told(server: OpenAIServer, reply: str, thought: str | None, text: str) -> None:
    server.reply = lambda _: reply
    (completion,) = told(server, [ask("fern")])
    assert (completion.thought, completion.text) == (thought, text)
    assert (completion.thought_tokens > 0) is (thought is not None)
    assert completion.thought_tokens <= completion.output_tokens


def test_another_end_is_an_error(server: OpenAIServer) -> None:
    server.reply = lambda _: Completion("half", "error")
    (completion,) = told(server, [ask("fern")])
    assert (completion.finish_reason, completion.text, completion.final) == ("error", "", True)
    assert completion.error == "the server finished with 'content_filter'"
    assert completion.output_tokens == 1


def test_texts_that_are_no_utf8_are_sent_and_kept(server: OpenAIServer) -> None:
    server.reply = lambda _: "\ud83d\ude00 \ud800 end"
    (completion,) = told(server, [ask("lone \udfff")])
    assert completion.text == "😀 \ufffd end"


def test_every_parameter_is_sent(server: OpenAIServer) -> None:
    """Also neutral ones: where they are missing, vLLM's server takes the model's own, and llama.cpp's has others."""
    sampling = {"top_k": 0, "top_p": 0.9, "more": {"stop": ["x"], "min_p": 0.1}}
    told(server, [ask("fern", 2**63 - 2, **sampling)])
    body = server.answered[-1]
    assert body.pop("messages") == [{"role": "user", "content": "fern"}]
    assert body == {
        "model": "scripted",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 64,
        "seed": 2**31 - 2,
        "stop": ["x"],
        "top_k": -1,
        "repetition_penalty": 1.0,
        "min_p": 0.1,
    }


def test_a_short_request_asks_for_no_more_than_it_may_get(server: OpenAIServer) -> None:
    """A server refuses a least length above the longest: at the start, and where the context leaves less."""
    server.context, server.reply = 12, lambda _: "seven"
    sampling = replace(HARD, more={"min_tokens": 32})
    (completion,) = told(server, [ask("fern kite", more=sampling.more)], sampling=sampling)
    assert (completion.text, completion.finish_reason) == ("seven", "stop")
    assert [(one["max_tokens"], one["min_tokens"]) for one in server.answered] == [(1, 1), (1, 1), (10, 10)]


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_server_may_know_no_more_than_openai(server: OpenAIServer, limit: str) -> None:
    server.standard, server.limit = True, limit
    assert told(server, [ask("fern")])[0].finish_reason == "stop"
    assert server.answered[-1].keys() == {"model", "messages", "temperature", "top_p", "seed", limit}
    words = r"the server does not take top_k 5, min_p 0.2 \(.*400 Bad Request: Unrecognized request arguments"
    with pytest.raises(EngineDiedError, match=words):
        told(server, [], sampling=Sampling(top_k=5, more={"min_p": 0.2}))


@pytest.mark.parametrize(
    ("server", "settings", "words"),
    [
        (OpenAIServer(key="sk-a"), {}, "401 Unauthorized: Invalid API key: None; give a key by --api_key_env"),
        (OpenAIServer(), {"model": "other"}, "404 Not Found: The model `other` does not exist; it serves scripted"),
        (OpenAIServer(), {"urls": "/elsewhere"}, "404 Not Found: Not Found"),
    ],
)
def test_a_start_that_is_refused_says_why(server: OpenAIServer, settings: dict[str, str], words: str) -> None:
    async def start() -> None:
        url = server.url + settings.get("urls", "/v1")
        await ServerSettings((url,), settings.get("model")).start()

    with serving(server), pytest.raises(EngineDiedError) as raised:
        asyncio.run(start())
    assert str(raised.value).endswith(words)
