"""An OpenAI-compatible server on this machine, over real HTTP: answers by a function, faults and odd ways on request.

Its tokens are words, as the scripted engine's. As a process: `python -m tests.openai_server PORT`.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cluster.inference.engine import Completion, Message, Request, Sampling
from generation.tasks import countdown
from generation.variants import VARIANTS
from tests.scripted import reply

STANDARD = {"model", "messages", "temperature", "top_p", "seed"}
_NOTES = ("plum", "fern", "kite", "salt", "moss", "drum", "lace", "yarn", "coal", "reed")


def answer(request: Request) -> str | Completion:
    """As the scripted model; to what is no countdown question, words drawn by the seed."""
    first, *others = request.messages
    for system in {variant.system for variant in VARIANTS.values()}:
        if first["role"] == "user" and first["content"].startswith(f"{system}\n\n"):
            user = first["content"].removeprefix(f"{system}\n\n")
            chat = (Message(role="system", content=system), Message(role="user", content=user))
            request = replace(request, messages=(*chat, *others))
    if countdown.facts_of(request.messages[-1]["content"]) is None:
        return " ".join(random.Random(request.seed).choices(_NOTES, k=20))
    return reply(request)


@dataclass
class Fault:
    """What comes instead of an answer; with status 0 the connection is cut in the middle of it."""

    status: int = 0
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0  # before it


@dataclass
class OpenAIServer:
    """The ways of a server, and what it was asked."""

    reply: Callable[[Request], str | Completion] = answer
    model: str = "scripted"
    context: int = 32768
    owned_by: str = "vllm"
    key: str | None = None
    system: str = "kept"  # or "refused", "dropped"
    seeds: bool = True
    thinks: str = ""  # the field in which each answer has a thought
    standard: bool = False  # True if it takes OpenAI's parameters alone
    limit: str = "max_tokens"  # the parameter that limits a completion
    tells_context: bool = True
    fault: Callable[[dict[str, Any]], Fault | None] = lambda _: None
    delay_s: float = 0.0
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    answered: list[dict[str, Any]] = field(default_factory=list)
    most: int = 0  # requests that were in flight at once
    broken: list[str] = field(default_factory=list)  # tracebacks of this server's own faults

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self._open = set[socket.socket]()
        self._http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), partial(_Handler, self))
        self._http.daemon_threads = True
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Go away: nobody listens, and every connection is cut."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def sent(self) -> list[str]:
        """Return what tells the answered requests for samples and reflections apart, in their order."""
        told = [json.dumps([body["messages"], body["seed"]]) for body in self.answered]
        return [text for text in told if "# Your attempt" in text or "<answer>" in text]

    @contextmanager
    def held(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    @contextmanager
    def busy(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer."""
        messages: list[Message] = body["messages"]
        if body["model"] != self.model:
            return 404, _error(f"The model `{body['model']}` does not exist.")
        if unknown := self.standard and sorted(body.keys() - {*STANDARD, self.limit}):
            return 400, _error(f"Unrecognized request arguments supplied: {', '.join(unknown)}")
        if self.system == "refused" and messages[0]["role"] == "system":
            return 400, _error("System role not supported")
        if self.system == "dropped":
            messages = [one for one in messages if one["role"] != "system"]
        if (least := body.get("min_tokens", 0)) > body[self.limit]:
            return 400, _error(f"min_tokens must be less than or equal to max_tokens={body[self.limit]}, got {least}.")
        prompt_tokens, longest = sum(len(one["content"].split()) for one in messages), body[self.limit]
        if prompt_tokens + longest > self.context:
            told = f"you requested {longest} output tokens and your prompt contains {prompt_tokens} input tokens"
            return 400, _error(f"This model's maximum context length is {self.context} tokens. However, {told}.")
        seed = body["seed"] if self.seeds else random.randrange(2**31)
        whole = self.reply(Request("", tuple(body["messages"]), Sampling(max_tokens=longest), seed))
        text, reason = (whole.text, whole.finish_reason) if isinstance(whole, Completion) else (whole, "stop")
        words = text.split(" ")
        kept = words[:longest]
        ended = "content_filter" if reason == "error" else reason if kept == words else "length"
        said: dict[str, Any] = {"role": "assistant", "content": " ".join(kept)}
        usage: dict[str, Any] = {"prompt_tokens": prompt_tokens, "completion_tokens": len(kept)}
        usage["prompt_tokens_details"] = {"cached_tokens": prompt_tokens // 2}
        if self.thinks:
            said[self.thinks] = "Let me think."
            usage["completion_tokens"] += 3
            usage["completion_tokens_details"] = {"reasoning_tokens": 3}
        choice = {"index": 0, "message": said, "finish_reason": ended}
        return 200, {"object": "chat.completion", "choices": [choice], "usage": usage}


def _error(words: str) -> dict[str, Any]:
    return {"error": {"message": words, "type": "BadRequestError", "code": 400}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server: OpenAIServer, *args: Any) -> None:
        self.ours = server
        super().__init__(*args)

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with self.ours.held(self.connection), suppress(OSError):  # a client, or this server, that went away
            super().handle()

    def do_GET(self) -> None:
        ours = self.ours
        about: dict[str, Any] = {"id": ours.model, "object": "model", "owned_by": ours.owned_by}
        about |= {"max_model_len": ours.context} if ours.tells_context else {}
        if self.path == "/version":
            self._send(200, {"version": "0.0.test"})
        elif not self._may():
            self._send(401, {"error": f"Invalid API key: {self.headers.get('Authorization')}"})
        elif self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [about]})
        else:
            self._send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        if len(content := self.rfile.read(length)) < length:
            raise ConnectionResetError  # the client was killed
        body = json.loads(content)
        with self.ours.busy():
            self.ours.asked.append(body)
            time.sleep(self.ours.delay_s)
            if fault := self.ours.fault(body):
                time.sleep(fault.wait_s)
                self._send(fault.status, fault.body, fault.headers)
            elif not self._may():
                self._send(401, {"error": f"Invalid API key: {self.headers.get('Authorization')}"})
            elif self.path != "/v1/chat/completions":
                self._send(404, {"detail": "Not Found"})
            else:
                try:
                    status, said = self.ours.complete(body)
                except Exception:
                    self.ours.broken.append(traceback.format_exc())
                    status, said = 418, _error("the tests' own server is broken")
                self._send(status, said)
                if status == 200:
                    self.ours.answered.append(body)

    def _may(self) -> bool:
        return self.ours.key is None or self.headers.get("Authorization") == f"Bearer {self.ours.key}"

    def _send(self, status: int, said: Any, headers: dict[str, str] | None = None) -> None:
        content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(status or 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content) if status else 2 * len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.close_connection or not status


@contextmanager
def serving(server: OpenAIServer) -> Iterator[OpenAIServer]:
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert not server.broken, server.broken[0]


if __name__ == "__main__":
    with serving(OpenAIServer(port=int(sys.argv[1]), delay_s=0.01)):
        threading.Event().wait()
