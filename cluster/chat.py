"""A model's prompts before an engine starts: whether its code and chat template serve, and what does not fit.

Knows chats and tokens, not questions. The first look imports transformers, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from cluster.engine import Message
from cluster.messages import first_line, listed
from cluster.model_files import NEEDED
from cluster.models import Model
from cluster.vllm_engine import ChatTokenizer, read_config, runs, vllm_reads

MARGIN = 16
"""Tokens that a text may have beside those of its bytes, such as a space put before it."""
_BATCH = 256
_MOST_BYTES = 64 << 20
"""Of the prompts that are counted; a minute of work at most."""
_SHOWN = 8
_WRITE_NOTHING = ("ForSequenceClassification", "ForTokenClassification", "ForRewardModel", "RewardModel", "ForMaskedLM")
"""What models for grades, labels and search are called."""
_LONGEST = 160
_REMEDY = "give another model, or its folder with a chat_template.jinja that writes it"


class Prompt(NamedTuple):
    """A chat that will be asked."""

    name: str
    """For a person."""
    messages: tuple[Message, ...]


class TooLong(NamedTuple):
    """What does not fit a context."""

    prompts: int
    longest: int
    """Tokens."""
    whose: str
    """The name of the longest prompt."""
    whole: bool
    """Everything was counted."""


def open_chat(model: Model) -> ChatTokenizer:
    """Load the model's tokenizer and chat template.

    Raises ValueError if they cannot be loaded, or if they or the model need code of their own.
    """
    _check_code(model)
    chat = ChatTokenizer(model.path, model.hub_revision)
    try:
        chat.load()
    except Exception as error:
        # A tokenizer is anyone's file: it fails in its own ways.
        if model.kind.own_code:
            raise ValueError(_needs_code(model)) from error
        raise ValueError(f"the tokenizer of model {model.name} cannot be loaded: {_reason(error)}") from error
    return chat


def _check_code(model: Model) -> None:
    if not model.kind.type:
        raise ValueError(
            f"config.json of model {model.name} names no model_type: give one in the layout of transformers"
        )
    if judges := [name for name in model.kind.architectures if name.endswith(_WRITE_NOTHING)]:
        raise ValueError(f"model {model.name} writes no text, it is a {judges[0]}: give one that chats")
    if NEEDED in model.kind.own_code and not all(map(runs, model.kind.architectures)):
        raise ValueError(_needs_code(model))
    try:
        read_config(model.path, model.hub_revision)
    except Exception as error:
        # A configuration is anyone's file too.
        if vllm_reads(model.kind.type):
            return
        if model.kind.own_code:
            raise ValueError(_needs_code(model)) from error
        raise ValueError(f"config.json of model {model.name} cannot be used: {_reason(error)}") from error


def _needs_code(model: Model) -> str:
    files, classes = " and ".join(model.kind.own_code), ", ".join(model.kind.architectures)
    return (
        f"model {model.name} needs code of its own, named by auto_map in {files}, and that is never run: take a model"
        f" whose type (here {model.kind.type!r}, {classes}) vLLM or transformers know"
    )


def notes_on(model: Model, chat: ChatTokenizer) -> list[str]:
    """Return what a person should know about the model's code and template, in sentences."""
    notes = []
    if model.kind.own_code:
        files = " and ".join(model.kind.own_code)
        notes.append(f"code of the model's own, named by {files}, is never run: that of the libraries is taken")
    if "strftime_now" in chat.template:
        notes.append("the chat template may write the day's date: a run that goes on another day asks with that one")
    return notes


def check_template(model: Model, chat: ChatTokenizer, prompts: Sequence[Prompt]) -> None:
    """Raise ValueError where the chat template refuses one of the prompts, or leaves out a text of it."""
    shapes: dict[tuple[str, ...], list[str]] = {}
    for prompt in prompts:
        shapes.setdefault(tuple(message["role"] for message in prompt.messages), []).append(prompt.name)
    for roles, names in shapes.items():
        _check_shape(model, chat, roles, names)
    for prompt in prompts:
        _render(model, chat, prompt.messages, [prompt.name])


def _check_shape(model: Model, chat: ChatTokenizer, roles: tuple[str, ...], names: Sequence[str]) -> None:
    marks = [f"zq{role}{number}qz" for number, role in enumerate(roles)]
    text = _render(model, chat, _turns(roles, marks), names)
    lost = [role for role, mark in zip(roles, marks, strict=True) if mark not in text]
    if lost:
        raise ValueError(
            f"the chat template of model {model.name} leaves out the {' and the '.join(lost)} text, which these prompts"
            f" need: {_listed(names)}; {_REMEDY}"
        )


def _render(model: Model, chat: ChatTokenizer, messages: tuple[Message, ...], names: Sequence[str]) -> str:
    try:
        return chat.render(messages)
    except Exception as error:
        # A template is the model's own program.
        roles = [message["role"] for message in messages]
        reason = _reason(error)
        if "system" in roles and _takes(chat, [role for role in roles if role != "system"]):
            told = f"the chat template of model {model.name} takes no system text ({reason})"
            raise ValueError(f"{told}, which these prompts need: {_listed(names)}; {_REMEDY}") from error
        turns = " and ".join(f"a {role}" for role in roles)
        raise ValueError(f"model {model.name} cannot write {turns} turn: {reason}") from error


def _takes(chat: ChatTokenizer, roles: Sequence[str]) -> bool:
    try:
        return "zq" in chat.render(_turns(roles, ["zq"] * len(roles)))
    except Exception:
        # As above; here it is only asked whether.
        return False


def _turns(roles: Sequence[str], contents: Sequence[str]) -> tuple[Message, ...]:
    return tuple(Message(role=role, content=content) for role, content in zip(roles, contents, strict=True))


def count_too_long(chat: ChatTokenizer, prompts: Iterable[Prompt], context: int) -> TooLong:
    """Count the prompts that leave no room for an answer, up to _MOST_BYTES of them."""
    count, longest, whose, left = 0, 0, "", _MOST_BYTES
    for some in _batches(prompts):
        if left <= 0:
            return TooLong(count, longest, whose, whole=False)
        left -= sum(len(message["content"]) for prompt in some for message in prompt.messages)
        for prompt, length in zip(some, chat.lengths([prompt.messages for prompt in some]), strict=True):
            count += length >= context
            if length > longest:
                longest, whose = length, prompt.name
    return TooLong(count, longest, whose, whole=True)


def _batches(prompts: Iterable[Prompt]) -> Iterator[Sequence[Prompt]]:
    rest = iter(prompts)
    while some := list(islice(rest, _BATCH)):
        yield some


def check_fit(found: TooLong, total: int, context: int, what: str, remedy: str = "") -> list[str]:
    """Return a note on the prompts, of `total`, that do not fit. Raises ValueError if none of them fits."""
    if not found.prompts:
        return []
    every = found.prompts == total
    counted = "all" if every else f"{found.prompts:,} of" if found.whole else f"at least {found.prompts:,} of"
    words = (
        f"{counted} {total:,} {what} are too long for the context of {context:,} tokens"
        f"{'' if every else ' and will fail'}: the longest has {found.longest:,} tokens, {found.whose}"
        f"; {remedy or 'give shorter ones, or a model with a longer context'}"
    )
    if every:
        raise ValueError(words)
    return [words]


def _listed(names: Sequence[str]) -> str:
    return listed([name for name in names if name], _SHOWN)


def _reason(error: Exception) -> str:
    said = first_line(error)
    said = said if len(said) <= _LONGEST else said.split(". ")[0][:_LONGEST]
    kind = type(error).__name__
    of_python = said != kind and isinstance(error, LookupError | TypeError | AttributeError)
    return f"{kind}: {said}" if of_python else said
