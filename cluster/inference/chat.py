"""A model's prompts before an engine starts: whether its code and chat template serve, and what does not fit.

Knows chats and tokens, not questions. The first look imports transformers, which takes seconds.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from cluster.inference.engine import Message
from cluster.inference.model_files import CONFIG
from cluster.inference.models import WRITE_NOTHING, Model, runs, vllm_reads, why_silent
from cluster.inference.vllm_engine import ChatTokenizer, read_config
from cluster.texts import excerpt, first_line, listed

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

Messages = tuple[Message, ...]


class Prompt(NamedTuple):
    """A chat that will be asked."""

    name: str
    """For a person."""
    messages: Messages


def open_chat(model: Model) -> ChatTokenizer:
    """Load the model's tokenizer and chat template.

    Raises ValueError if they cannot be loaded, or if they or the model need code of their own.
    """
    if not model.type:
        raise ValueError(
            f"config.json of model {model.name} names no model_type: give one in the layout of transformers"
        )
    if judges := [name for name in model.architectures if name.endswith(WRITE_NOTHING)]:
        raise ValueError(f"model {model.name} writes no text, it is a {judges[0]}: give one that chats")
    files, classes = " and ".join(model.own_code), ", ".join(model.architectures)
    needs_code = (
        f"model {model.name} needs code of its own, named by auto_map in {files}, and that is never run: take a model"
        f" whose type (here {model.type!r}, {classes}) vLLM or transformers know"
    )
    if CONFIG in model.own_code and not all(map(runs, model.architectures)):
        raise ValueError(needs_code)
    chat, cannot = ChatTokenizer(model.path, model.hub_revision), f"config.json of model {model.name} cannot be used"
    try:
        if not vllm_reads(model.type):
            read_config(model.path, model.hub_revision)
        cannot = f"the tokenizer of model {model.name} cannot be loaded"
        chat.count("a")
    except Exception as error:
        # A configuration and a tokenizer are anyone's files: they fail in their own ways.
        raise ValueError(needs_code if model.own_code else f"{cannot}: {_reason(error)}") from error
    return chat


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
    shapes: dict[tuple[str, ...], list[str]] = {}
    for prompt in prompts:
        shapes.setdefault(tuple(message["role"] for message in prompt.messages), []).append(prompt.name)
    notes = [note for roles, names in shapes.items() for note in _look_at_shape(model, chat, roles, names)]
    for prompt in prompts:
        _check_whole(model, chat, prompt.messages, [prompt.name])
    return list(dict.fromkeys(notes))


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
    """Return True if the prompt ends where the model's answer begins, with a mark of that."""
    marks = _marks((*roles, "assistant"))
    try:
        if chat.render(_turns(roles, marks[:-1]), opened=False) != prompt:
            return True
        before, found, _ = chat.render(_turns((*roles, "assistant"), marks)).partition(marks[-1])
    except Exception:
        # Some templates are for prompts alone; whether they mark the answer is not known then.
        return True

    def behind(text: str) -> str:
        return text[max(text.rfind(mark) + len(mark) for mark in marks[:-1]) :].strip()

    # Where the mark of a question's end is that of the answer too, as [/INST], nothing has to be asked for.
    return bool(behind(prompt)) and (not found or behind(before) == behind(prompt))


def probe(roles: Sequence[str]) -> Messages:
    """Make long turns of these roles, with all that a template may escape or cut off."""
    return _turns(roles, [mark + _PROBE + mark for mark in _marks(roles)])


def _marks(roles: Sequence[str]) -> list[str]:
    return [f"zq{role}{number}qz" for number, role in enumerate(roles)]


def _turns(roles: Sequence[str], contents: Sequence[str]) -> Messages:
    return tuple(Message(role=role, content=content) for role, content in zip(roles, contents, strict=True))


def fault_in(prompt: str, messages: Iterable[Message]) -> str:
    """Say what the prompt lacks of the texts of its messages, in words; empty where each stands in it as it is.

    White space does not count: templates trim.
    """
    text, lost, cut = " ".join(prompt.split()), list[str](), list[str]()
    for message in messages:
        words = message["content"].split()
        if not words or " ".join(words) in text:
            continue
        if kept := _kept(words, text):
            after = len(" ".join(words[:kept]))
            cut.append(f"{message['role']} text (after {after:,} characters, at {excerpt(words[kept], 24)})")
        else:
            lost.append(message["role"])
    if lost:
        return f"leaves out the {' and the '.join(lost)} text"
    return f"leaves out or changes part of the {' and the '.join(cut)}" if cut else ""


def _kept(words: Sequence[str], text: str) -> int:
    """Return how many of the first words stand in the text side by side."""
    return bisect_left(range(len(words)), 1, key=lambda last: " ".join(words[: last + 1]) not in text)


def _check_whole(model: Model, chat: ChatTokenizer, messages: Messages, names: Sequence[str]) -> None:
    if fault := fault_in(_render(model, chat, messages, names), messages):
        raise ValueError(f"the chat template of model {model.name} {fault}, {_needed(names)}")


def _needed(names: Sequence[str]) -> str:
    return f"which these prompts need: {listed([name for name in names if name], _SHOWN)}; {_REMEDY}"


def _render(model: Model, chat: ChatTokenizer, messages: Messages, names: Sequence[str]) -> str:
    try:
        return chat.render(messages)
    except Exception as error:
        # A template is the model's own program.
        roles = [message["role"] for message in messages]
        others = [role for role in roles if role != "system"]
        try:
            without = others != roles and "zq" in chat.render(_turns(others, ["zq"] * len(others)))
        except Exception:
            # As above; here it is only asked whether.
            without = False
        if without:
            told = f"the chat template of model {model.name} takes no system text ({_reason(error)})"
            raise ValueError(f"{told}, {_needed(names)}") from error
        turns = " and ".join(f"a {role}" for role in roles)
        raise ValueError(f"model {model.name} cannot write {turns} turn: {_reason(error)}") from error


def check_fit(
    chat: ChatTokenizer, prompts: Iterable[Prompt], total: int, context: int, *, what: str, remedy: str = ""
) -> list[str]:
    """Return a note on the prompts that leave no room for an answer in a context of so many tokens.

    `total` prompts will be asked; those given may not fit, and up to _MOST_BYTES of them are counted. Raises
    ValueError if none of them fits.
    """
    count, longest, whose, left, rest, least = 0, 0, "", _MOST_BYTES, iter(prompts), ""
    while some := list(islice(rest, _BATCH)):
        if left <= 0:
            least = "at least "
            break
        left -= sum(len(message["content"]) for prompt in some for message in prompt.messages)
        for prompt, length in zip(some, chat.lengths([prompt.messages for prompt in some]), strict=True):
            count += length >= context
            if length > longest:
                longest, whose = length, prompt.name
    if not count:
        return []
    counted, fail = ("all", "") if count == total else (f"{least}{count:,} of", " and will fail")
    words = (
        f"{counted} {total:,} {what} are too long for the context of {context:,} tokens{fail}: the longest has"
        f" {longest:,} tokens, {whose}; {remedy or 'give shorter ones, or a model with a longer context'}"
    )
    if not fail:
        raise ValueError(words)
    return [words]


def look_for_too_short(chat: ChatTokenizer, max_tokens: int, texts: Iterable[str]) -> list[str]:
    """Return a note where completions of so many tokens cannot hold one of the texts, each the least that is of use."""
    return [
        f"--max_tokens {max_tokens:,} is too small: {text} alone has {tokens:,} tokens, so it will be cut off"
        for text in texts
        if (tokens := chat.count(text)) > max_tokens
    ]


def _reason(error: Exception) -> str:
    said = first_line(error)
    said = said if len(said) <= _LONGEST else said.split(". ")[0][:_LONGEST]
    kind = type(error).__name__
    of_python = said != kind and isinstance(error, LookupError | TypeError | AttributeError)
    return f"{kind}: {said}" if of_python else said
