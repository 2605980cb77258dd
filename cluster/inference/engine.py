"""The interface to a model: requests, completions, engines, and an engine scripted by a function."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypedDict

from cluster.errors import EngineDiedError
from cluster.inference.thoughts import THINK, behind, part, tokens_in

FinishReason = Literal["stop", "length", "error"]
SAMPLING_BOUNDS: dict[str, tuple[float, float]] = {  # of the parameters that a model may recommend; vLLM takes no more
    "temperature": (0, 2),
    "top_p": (1e-9, 1),
    "top_k": (0, 10**6),
    "repetition_penalty": (0.01, 100),
}
_LONGEST = 400


class Message(TypedDict):
    """One turn of a chat, as every chat template takes it."""

    role: str
    content: str


def without_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the chat with its system text at the beginning of the user's next text, a blank line between them."""
    if [one["role"] for one in messages[:2]] != ["system", "user"]:
        return messages
    system, user = messages[:2]
    return (Message(role="user", content=f"{system['content']}\n\n{user['content']}"), *messages[2:])


@dataclass(frozen=True)
class Sampling:
    """How tokens are sampled. The defaults are the engine's neutral values, not a recommendation."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0 keeps every token
    repetition_penalty: float = 1.0  # applies to prompt tokens too, as in vLLM and transformers
    max_tokens: int = 256  # longest completion, in tokens; the engine lowers it to what the context leaves
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further fields of vLLM's SamplingParams; JSON values only."""

    def stopping(self, texts: Sequence[str]) -> "Sampling":
        """Return the same, with an answer that also ends before any of these texts."""
        given = self.more.get("stop") or []
        stop = [*([given] if isinstance(given, str) else given), *texts]
        return replace(self, more={**self.more, "stop": list(dict.fromkeys(stop))}) if texts else self

    def within(self, tokens: int) -> "Sampling":
        """Return the same, with completions of at most this many tokens."""
        more = self.more
        if more.get("min_tokens", 0) > tokens:
            more = {**more, "min_tokens": tokens}
        return replace(self, max_tokens=min(self.max_tokens, tokens), more=more)

    def parameters(self) -> dict[str, Any]:
        """Return all parameters by name, those of `more` among them."""
        named = asdict(self)
        return named | dict(named.pop("more"))


@dataclass(frozen=True)
class Request:
    """A request for one completion: a chat, how to sample, and the seed of this sample."""

    key: str  # unique within a run; names the request in logs and to the engine
    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int  # in [0, 2**63)
    follows: bool = False  # True if its prompt goes on from an answer, which the engine's prefix cache may still hold
    begun: str = ""  # what the reply begins with, as `Completion.written` has it; the engine writes what follows


@dataclass(frozen=True)
class Completion:
    """The response. A rejected or failed request has one too: finish_reason "error"."""

    text: str  # the visible reply, without the thought; with what the request had begun
    finish_reason: FinishReason
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0  # prompt tokens found in the prefix cache
    error: str | None = None  # why finish_reason is "error"; None otherwise
    final: bool = False  # True for an error that asking again would only repeat
    thought: str | None = None  # what the model wrote before the reply, between its own marks; None if it has none
    thought_tokens: int = 0  # of the output tokens, those of the thought and its marks
    written: str = ""  # reply and thought with all marks, as one text, to be gone on with; "" from a server
    spans: tuple[tuple[int, int], ...] = ()  # of the thoughts in it, as in `thoughts.Parted`
    ids: tuple[int, ...] = ()  # the output tokens, the one that ended it included; () from a server


@dataclass(frozen=True)
class EngineInfo:
    """Which engine answers; stored in every row as its provenance."""

    engine: str  # the library, such as "vllm"
    engine_version: str
    model: str
    model_revision: str  # commit of a hub model, hash of a local folder, "" where there is none
    context: int  # longest prompt plus completion, in tokens


class Engine(Protocol):
    """Anything that completes requests, many at a time, on one event loop."""

    @property
    def info(self) -> EngineInfo: ...

    async def generate(self, request: Request) -> Completion:
        """Complete a request; if rejected, with finish_reason "error". Raises EngineDiedError if the engine is gone."""

    async def close(self) -> None:
        """End every process and free every device that this engine holds."""


class EngineSettings(Protocol):
    """How to start an engine: all that a replica needs to know, picklable."""

    @property
    def max_sequences(self) -> int:
        """Return how many requests the engine completes at once; more wait."""
        return 1024

    async def start(self) -> Engine: ...

    def of(self, number: int) -> Self:
        """Return the settings of the engine with this number, where engines differ."""
        return self

    def place(self, logs: Path) -> str:
        """Say where engines without GPUs run and where they log, for the user."""
        return f"on the CPU, logs in {logs}"

    def loading(self) -> str:
        """Say what `start` does, for the user."""
        return "loading the model"

    def smaller(self, reason: str) -> Self | None:
        """Return settings for an engine that ended for this lack of memory; None if none would let it live."""
        return self

    def remedy(self, reason: str) -> str:
        """Say what the user can do about this lack of memory; "" if nothing is known."""
        return ""

    def limits(self) -> str:
        """Return the limits that `smaller` lowers, for the user."""
        return "no limits"

    def cause(self, log: str) -> EngineDiedError | None:
        """Return the error that its processes logged, EngineMemoryError if memory was short; None without one."""
        return None


def error_text(error: BaseException) -> str:
    """Return the error's type and message on one line; for EngineDiedError only the message, which names the cause."""
    said = " ".join(str(error).split())
    return (said if isinstance(error, EngineDiedError) and said else f"{type(error).__name__}: {said}")[:_LONGEST]


def no_room(prompt_tokens: int, context: int) -> str:
    """Return the error of a completion whose prompt is too long."""
    return f"prompt of {prompt_tokens} tokens leaves no room in a context of {context}"


Reply = Callable[[Request], "str | Completion | Awaitable[str | Completion]"]


class ScriptedEngine:
    """An engine whose answers are a plain function of the request. Its tokens are words, its marks `<think>` tags."""

    def __init__(self, reply: Reply, *, context: int = 32768) -> None:
        self._reply, self._closed = reply, False
        self.info = EngineInfo("scripted", "1", "scripted", "", context)

    async def generate(self, request: Request) -> Completion:
        if self._closed:
            raise EngineDiedError("the scripted engine was closed")
        prompt_tokens = sum(len(message["content"].split()) for message in request.messages) + len(
            request.begun.split()
        )
        if (room := self.info.context - prompt_tokens) < 1:
            return Completion("", "error", prompt_tokens, error=no_room(prompt_tokens, self.info.context))
        if inspect.isawaitable(reply := self._reply(request)):
            reply = await reply
        if isinstance(reply, Completion):
            return reply
        words, begun = reply.split(" "), request.begun
        kept = words[: min(request.sampling.max_tokens, room)]
        written = begun + " ".join(kept)
        parted = part(written, [THINK])
        new = behind(parted.spans, len(begun))
        spent = tokens_in(new, len(kept), lambda first, end: len(" ".join(kept[first:end])) + (first > 0))
        return Completion(
            parted.reply,
            "stop" if kept == words else "length",
            prompt_tokens,
            len(kept),
            thought=parted.thought,
            thought_tokens=spent,
            written=written,
            spans=parted.spans,
        )

    async def close(self) -> None:
        self._closed = True


@dataclass(frozen=True)
class ScriptedSettings(EngineSettings):
    """Settings of a scripted engine. Picklable if `reply` is a function of a module."""

    reply: Reply
    context: int = 32768
    max_sequences: int = 1024

    async def start(self) -> ScriptedEngine:
        return ScriptedEngine(self.reply, context=self.context)
