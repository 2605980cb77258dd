"""A model's prompts before an engine starts: whether its code and chat template serve, and what does not fit.

Knows chats and tokens, not questions. The first look imports transformers, which takes seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from cluster.inference.engine import Message
from cluster.inference.model_files import CONFIG
from cluster.inference.models import Model
from cluster.inference.vllm_engine import ChatTokenizer, read_config
from cluster.inference.vllm_tables import WRITE_NOTHING, runs, vllm_reads, why_silent
from cluster.messages import excerpt, first_line, listed

MARGIN = 16
"""Tokens that a text may have beside those of its bytes, such as a space put before it."""
_BATCH = 256
_MOST_BYTES = 64 << 20
"""Of the prompts that are counted; a minute of work at most."""
_SHOWN = 8
_LONGEST = 160
_REMEDY = "give another model, or its folder with a chat_template.jinja that writes it"
_UNOPENED = "the chat template does not open the assistant's turn: the model may go on with the user's text"
_TRIES = 16
"""Two prompts drawn with equal chances differ once in so many, save one time in 30,000."""
_PROBE = ' <answer>\\boxed{7}</answer> isn\'t "4 > 3 & 2" {{ x }} {% y %} Ünï→😀\n\n' + "Long words. " * 5000
"""What a template may escape, change or cut off."""


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
        chat.count("a")
    except Exception as error:
        # A tokenizer is anyone's file: it fails in its own ways.
        if model.own_code:
            raise ValueError(_needs_code(model)) from error
        raise ValueError(f"the tokenizer of model {model.name} cannot be loaded: {_reason(error)}") from error
    return chat


def _check_code(model: Model) -> None:
    if not model.type:
        raise ValueError(
            f"config.json of model {model.name} names no model_type: give one in the layout of transformers"
        )
    if judges := [name for name in model.architectures if name.endswith(WRITE_NOTHING)]:
        raise ValueError(f"model {model.name} writes no text, it is a {judges[0]}: give one that chats")
    if CONFIG in model.own_code and not all(map(runs, model.architectures)):
        raise ValueError(_needs_code(model))
    try:
        read_config(model.path, model.hub_revision)
    except Exception as error:
        # A configuration is anyone's file too.
        if vllm_reads(model.type):
            return
        if model.own_code:
            raise ValueError(_needs_code(model)) from error
        raise ValueError(f"config.json of model {model.name} cannot be used: {_reason(error)}") from error


def _needs_code(model: Model) -> str:
    files, classes = " and ".join(model.own_code), ", ".join(model.architectures)
    return (
        f"model {model.name} needs code of its own, named by auto_map in {files}, and that is never run: take a model"
        f" whose type (here {model.type!r}, {classes}) vLLM or transformers know"
    )


def notes_on(model: Model, chat: ChatTokenizer) -> list[str]:
    """Return what a person should know about the model's code and template, in sentences."""
    notes = []
    if model.own_code:
        files = " and ".join(model.own_code)
        notes.append(f"code of the model's own, named by {files}, is never run: that of the libraries is taken")
    if "strftime_now" in chat.template:
        notes.append("the chat template may write the day's date: a run that goes on another day asks with that one")
    if why := why_silent(model):
        notes.append(f"the model {why}: the vLLM of the cluster must know it")
    return notes


def look_at_template(model: Model, chat: ChatTokenizer, prompts: Sequence[Prompt]) -> list[str]:
    """Return notes on how the chat template writes the prompts.

    Raises ValueError where it refuses one of them, does not write each of its texts whole, or draws by chance.
    """
    notes = dict[str, None]()
    shapes: dict[tuple[str, ...], list[str]] = {}
    for prompt in prompts:
        shapes.setdefault(tuple(message["role"] for message in prompt.messages), []).append(prompt.name)
    for roles, names in shapes.items():
        notes |= dict.fromkeys(_look_at_shape(model, chat, roles, names))
    for prompt in prompts:
        _check_whole(model, chat, prompt.messages, [prompt.name])
    return list(notes)


def _look_at_shape(model: Model, chat: ChatTokenizer, roles: tuple[str, ...], names: Sequence[str]) -> list[str]:
    marks = _marks(roles)
    _check_whole(model, chat, probe(roles), names)
    texts = {_render(model, chat, _turns(roles, marks), names) for _ in range(_TRIES)}
    if len(texts) > 1:
        raise ValueError(
            f"the chat template of model {model.name} writes another prompt each time, and rows would depend on"
            " chance: give another model, or its folder with a chat_template.jinja that always writes the same"
        )
    (text,) = texts
    twice = [role for role, mark in zip(roles, marks, strict=True) if text.count(mark) > 1]
    notes = [f"the chat template writes the {role} text more than once" for role in twice]
    places = [text.index(mark) for mark in marks]
    if places != sorted(places):
        notes.append(f"the chat template does not keep the order of turns: {' before '.join(roles)}")
    return notes if _opens(chat, roles, text) else [*notes, _UNOPENED]


def _opens(chat: ChatTokenizer, roles: tuple[str, ...], prompt: str) -> bool:
    """Whether the prompt ends where the model's answer begins, with a mark of that."""
    try:
        if chat.render(_turns(roles, _marks(roles)), opened=False) != prompt:
            return True
        both = (*roles, "assistant")
        before, found, _ = chat.render(_turns(both, _marks(both))).partition(_marks(both)[-1])
    except Exception:
        # Some templates are for prompts alone; whether they mark the answer is not known then.
        return True
    # Where the mark of a question's end is that of the answer too, as [/INST], nothing has to be asked for.
    ends = _behind(prompt, _marks(roles))
    return bool(ends) and (not found or _behind(before, _marks(roles)) == ends)


def _behind(text: str, marks: Sequence[str]) -> str:
    """What stands behind all of the marks."""
    return text[max(text.rfind(mark) + len(mark) for mark in marks) :].strip()


def probe(roles: Sequence[str]) -> tuple[Message, ...]:
    """Make long turns of these roles, with all that a template may escape or cut off."""
    return _turns(roles, [mark + _PROBE + mark for mark in _marks(roles)])


def fault_in(prompt: str, messages: Iterable[Message]) -> str:
    """Say what the prompt lacks of the texts of its messages, in words; empty where each stands in it as it is.

    White space does not count: templates trim.
    """
    text, lost, cut = " ".join(prompt.split()), list[str](), list[str]()
    for message in messages:
        words = message["content"].split()
        if words and " ".join(words) not in text:
            kept = _kept(words, text)
            if kept:
                after = len(" ".join(words[:kept]))
                cut.append(f"{message['role']} text (after {after:,} characters, at {excerpt(words[kept], 24)})")
            else:
                lost.append(message["role"])
    if lost:
        return f"leaves out the {' and the '.join(lost)} text"
    return f"leaves out or changes part of the {' and the '.join(cut)}" if cut else ""


def _kept(words: Sequence[str], text: str) -> int:
    """How many of the first words stand in a text side by side."""
    return bisect_left(range(len(words)), 1, key=lambda last: " ".join(words[: last + 1]) not in text)


def _check_whole(model: Model, chat: ChatTokenizer, messages: tuple[Message, ...], names: Sequence[str]) -> None:
    fault = fault_in(_render(model, chat, messages, names), messages)
    if fault:
        raise ValueError(
            f"the chat template of model {model.name} {fault}, which these prompts need: {_listed(names)}; {_REMEDY}"
        )


def _marks(roles: Sequence[str]) -> list[str]:
    return [f"zq{role}{number}qz" for number, role in enumerate(roles)]


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


def look_for_too_short(chat: ChatTokenizer, max_tokens: int, texts: Iterable[str]) -> list[str]:
    """Return a note where completions of so many tokens cannot hold one of the texts, each the least that is of use."""
    needed = {text: chat.count(text) for text in texts}
    return [
        f"--max_tokens {max_tokens:,} is too small: {text} alone has {tokens:,} tokens, so it will be cut off"
        for text, tokens in needed.items()
        if tokens > max_tokens
    ]


def _listed(names: Sequence[str]) -> str:
    return listed([name for name in names if name], _SHOWN)


def _reason(error: Exception) -> str:
    said = first_line(error)
    if said.endswith(":"):
        # What is wrong with it comes on the next line.
        said = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    said = said if len(said) <= _LONGEST else said.split(". ")[0][:_LONGEST]
    kind = type(error).__name__
    of_python = said != kind and isinstance(error, LookupError | TypeError | AttributeError)
    return f"{kind}: {said}" if of_python else said
