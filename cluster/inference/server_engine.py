"""The engine on an OpenAI-compatible server that runs already: vLLM's, SGLang's, llama.cpp's, or a hosted one.

It knows nothing of prompts as tokens: the server has the template and the tokenizer. What a server refuses is data.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from cluster.errors import EngineDiedError, ServerFailedError, ServerRefusedError
from cluster.inference.engine import Completion, EngineInfo, EngineSettings, Message, Request, Sampling
from cluster.inference.server_client import ServerClient, Tell
from cluster.inference.thoughts import Parted, part_unknown, tokens_in
from cluster.inference.values import is_count
from cluster.texts import listed

SEEDS = 2**31
"""Seeds are sent modulo this: some servers take no more."""
_GONE = {401, 402}  # these refuse everyone: the key or the account is not good any more
_PERHAPS_GONE = {403, 404}  # the model is not there for anyone, or a provider does not like this prompt
_TOO_LARGE = {400, 413, 422}  # with these a server may mean that prompt and completion exceed its context
_SHOWN = 4
_HI = (Message(role="user", content="Hi"),)


class Form(NamedTuple):
    """How a server takes requests."""

    extras: bool = True  # it knows more parameters than OpenAI's
    limit: str = "max_tokens"  # what it calls the longest completion


FORMS = (Form(), Form(extras=False), Form(False, "max_completion_tokens"))


class ServerInfo(NamedTuple):
    """What a server says about itself."""

    model: str
    models: tuple[str, ...]  # all that it serves
    context: int  # 0 if it does not tell
    engine: str
    version: str  # "" if it does not tell


_KINDS = {  # by owned_by in /v1/models: where the version stands, and its name there
    "vllm": ("/version", "version"),
    "sglang": ("/server_info", "version"),
    "llamacpp": ("/props", "build_info"),
}


@dataclass(frozen=True)
class ServerSettings(EngineSettings):
    """How to reach servers that run already; each replica has one of them."""

    urls: tuple[str, ...]  # up to and including the version, such as http://localhost:8000/v1
    model: str | None  # as the server calls it; None for the only one that it serves
    sampling: Sampling = field(default_factory=Sampling)  # to be tried at the start
    key_env: str | None = None  # the environment variable that holds the key
    concurrency: int = 64  # requests in flight on each server
    context: int = 0  # if the server does not tell; 0 if nobody knows
    silence_s: float = 600.0  # as in Placement
    template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tell: Tell = print  # for the user, when the server goes away and comes back

    @property
    def max_sequences(self) -> int:
        return self.concurrency

    async def start(self) -> "ServerEngine":
        """Wait for the server, however long. Raises EngineDiedError if it refuses key, model or sampling."""
        engine = ServerEngine(self)
        try:
            await engine.connect()
        except ServerRefusedError as error:
            await engine.close()
            raise EngineDiedError(str(error)) from error
        except BaseException:
            await engine.close()
            raise
        return engine

    def client(self) -> ServerClient:
        """Return the connections to the first of the servers."""
        return ServerClient(
            self.urls[0],
            os.environ.get(self.key_env) if self.key_env else None,
            concurrency=self.concurrency,
            patience_s=self.silence_s / 2,
            # Longer than Placement.silence_s: when the whole server hangs, its requests are asked again elsewhere.
            answer_s=2 * self.silence_s,
            tell=self.tell,
        )

    def of(self, number: int) -> Self:
        return replace(self, urls=(self.urls[number % len(self.urls)],))

    def place(self, logs: Path) -> str:
        return "reached over HTTP, none started here"

    def loading(self) -> str:
        return f"asking {self.urls[0]}"


class ServerEngine:
    """A server; created by `await settings.start()`."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings, self._client = settings, settings.client()
        self._form = Form()
        self._hello = Request("hello", _HI, settings.sampling.within(1), 1)
        self.info = EngineInfo("", "", settings.model or "", "", settings.context)

    async def connect(self) -> None:
        """Find out what the server is and how it takes requests, however long that takes. Raises ServerRefusedError."""
        info = await server_info(self._client, self._settings.model, patience_s=float("inf"))
        context = info.context or self._settings.context
        self.info = EngineInfo(info.engine, info.version, info.model, "", context)
        await self._find_form(info)

    async def _find_form(self, info: ServerInfo) -> None:
        """Ask for one token in each of FORMS until one is taken."""
        refused = list[ServerRefusedError]()
        for form in FORMS:
            self._form = form
            try:
                await self._ask(self._hello, patience_s=float("inf"))
            except ServerRefusedError as error:
                refused.append(error)
                if error.status not in _TOO_LARGE:
                    break
                continue
            if not form.extras and (lost := _without_neutral(_extras(self._settings.sampling))):
                given = ", ".join(f"{name} {value}" for name, value in lost.items())
                raise ServerRefusedError(f"the server does not take {given} ({refused[0]})", refused[0].status)
            return
        served = "" if info.model in info.models else f"; it serves {listed(info.models, _SHOWN) or 'nothing'}"
        raise ServerRefusedError(f"{str(refused[0]).rstrip('.')}{served}", refused[0].status)

    async def generate(self, request: Request) -> Completion:
        if request.begun:
            return Completion("", "error", error="servers are not asked to go on with a reply", final=True)
        try:
            return _read(await self._ask_within_context(request))
        except ServerRefusedError as error:
            if error.status in _GONE or (error.status in _PERHAPS_GONE and not await self._answers()):
                raise EngineDiedError(str(error)) from error
            return Completion("", "error", error=str(error), final=True)
        except ServerFailedError as error:
            return Completion("", "error", error=str(error), final=True)

    async def _answers(self) -> bool:
        """Return True if the server still answers what it answered at the start."""
        try:
            await self._ask(self._hello)
        except (ServerRefusedError, ServerFailedError):
            return False
        return True

    async def _ask_within_context(self, request: Request) -> dict[str, Any]:
        """Ask, and if the server refuses, with no more tokens than the context leaves behind this prompt.

        The usage of a request for one token says how many; in errors servers say it each in their own words.
        """
        try:
            return await self._ask(request)
        except ServerRefusedError as error:
            if error.status not in _TOO_LARGE or not self.info.context:
                raise
            one = await self._ask(replace(request, sampling=request.sampling.within(1)))
            room = self.info.context - _count(_section(one, "usage"), "prompt_tokens")
            if not 1 <= room < request.sampling.max_tokens:
                raise
        return await self._ask(replace(request, sampling=request.sampling.within(room)))

    async def _ask(self, request: Request, patience_s: float | None = None) -> dict[str, Any]:
        sampling, body = request.sampling, dict[str, Any]()
        body["model"] = self.info.model
        body["messages"] = [{**message, "content": _utf8(message["content"])} for message in request.messages]
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": request.seed % SEEDS}
        body |= {self._form.limit: sampling.max_tokens}
        body |= {name: value for name, value in sampling.more.items() if name not in _OFF}
        body |= _extras(sampling) if self._form.extras else {}
        if self._settings.template_kwargs:
            body["chat_template_kwargs"] = dict(self._settings.template_kwargs)
        return await self._client.ask("/chat/completions", body, patience_s=patience_s)

    async def close(self) -> None:
        await self._client.close()


_OFF = {"top_k": -1, "repetition_penalty": 1.0, "min_p": 0.0}
"""Parameters that OpenAI's API does not have, with the values that change nothing. Where they are left out, vLLM's
server takes those of generation_config.json, and llama.cpp its own, such as top_k 40."""


def _extras(sampling: Sampling) -> dict[str, Any]:
    penalty, more = sampling.repetition_penalty, sampling.more
    given = {"top_k": sampling.top_k or -1, "repetition_penalty": penalty}
    return _OFF | given | {name: more[name] for name in _OFF if name in more}


def _without_neutral(extras: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extras.items() if value != _OFF[name]}


async def server_info(client: ServerClient, model: str | None, *, patience_s: float) -> ServerInfo:
    """Ask a server about itself. Raises EngineDiedError, and ServerRefusedError, also if a model must be named."""
    try:
        listing = await client.ask("/models", patience_s=patience_s)
    except ServerRefusedError as error:
        if error.status in (401, 403) or model is None:
            raise
        listing = {}  # a server need not have this
    entries = {str(one["id"]): one for one in listing.get("data") or () if isinstance(one, dict) and one.get("id")}
    if model is None and len(entries) != 1:
        told = f"{client.url} serves {len(entries)} models ({listed(sorted(entries), _SHOWN)})"
        raise ServerRefusedError(f"{told}: give one of them as --model", 404)
    model = next(iter(entries)) if model is None else model
    entry = entries.get(model, {})
    kind = str(entry.get("owned_by"))
    path, name = _KINDS.get(kind, ("", ""))
    about: Mapping[str, Any] = {}
    if path:
        with suppress(ServerRefusedError):  # hidden by a proxy, or of another version
            about = await client.ask(path, patience_s=patience_s, at_root=True)
    slot = _count(_section(about, "default_generation_settings"), "n_ctx")
    context = slot or _count(entry, "max_model_len") or _count(_section(entry, "meta"), "n_ctx_train")
    engine = f"{kind} server" if path else "OpenAI-compatible server"
    return ServerInfo(model, tuple(sorted(entries)), context, engine, str(about.get(name) or ""))


def _read(answer: Mapping[str, Any]) -> Completion:
    """Return the completion that an answer holds."""
    choice: Mapping[str, Any] = next(iter(answer.get("choices") or ()), {})
    usage, message, reason = _section(answer, "usage"), _section(choice, "message"), choice.get("finish_reason")
    prompt_tokens, output_tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    cached = _count(_section(usage, "prompt_tokens_details"), "cached_tokens")
    if reason not in {"stop", "length"}:
        words = f"the server finished with {reason!r}"
        return Completion("", "error", prompt_tokens, output_tokens, cached, error=words, final=True)
    text = _utf8(message.get("content") or "")
    if told := _utf8(message.get("reasoning_content") or message.get("reasoning") or ""):
        parted, text = Parted(told.strip(), text.lstrip("\n"), ((0, len(told)),)), told + text
    else:
        parted = part_unknown(text)
    # Most servers do not count the tokens of thoughts, which are then taken to be as long as the others.
    width = len(text) / max(1, output_tokens)
    share = tokens_in(parted.spans, output_tokens, lambda start, end: int(width * end) - int(width * start))
    counted = _count(_section(usage, "completion_tokens_details"), "reasoning_tokens")
    return Completion(
        parted.reply,
        reason,
        prompt_tokens,
        output_tokens,
        cached,
        thought=parted.thought,
        thought_tokens=counted or share,
    )


def _utf8(text: str) -> str:
    """Return the text as UTF-8 can encode it, lone surrogates replaced: JSON may hold them, and requests may not."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _section(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object under this name; empty if there is none: servers also write null there."""
    section = of.get(name)
    return section if isinstance(section, Mapping) else {}


def _count(of: Mapping[str, Any], name: str) -> int:
    return value if is_count(value := of.get(name), 1) else 0
