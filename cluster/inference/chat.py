"""Checks of a model and its prompts before an engine starts: classes, code, tokenizer, chat template, lengths."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice, product
from operator import itemgetter
from typing import NamedTuple

from cluster.inference.engine import Message, without_system
from cluster.inference.model_files import CONFIG, KNOWN
from cluster.inference.models import Model
from cluster.inference.tokenizer import OWN_FORMAT, ChatFormat, ChatTokenizer, is_encoder, read_config
from cluster.inference.vllm_source import has_plugins, vllm_source
from cluster.texts import excerpt, first_line, listed

MARGIN = 16  # tokens that a text may have in addition to one a byte, such as a space put before it
_BATCH = 256
_MOST_BYTES = 64 << 20  # of the prompts whose tokens are counted; a minute of work at most
_SHOWN = 8
_LONGEST = 160
_TRIES = 16  # a template that picks one of two prompts at random writes both in this many, except one time in 30,000
_PROBE = ' <answer>\\boxed{7}</answer> isn\'t "4 > 3 & 2" {{ x }} {% y %} Ünï→😀\n\n'
"""What a template may escape or change."""
_LONG_WORDS = 10_000  # in all turns together; what a template may cut off
_SAID = "So we try 12 + 34."
"""What any tokenizer gives back; one that is loaded as another kind loses the spaces."""
_WRITE, _WRITE_NOTHING, _OTHER_TABLES = map(tuple, KNOWN["classes"].values())
"""Parts of names, of classes and of vLLM's tables: see models.toml."""
_TABLE = re.compile(r"^(\w+)(?:: .*)? = \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_BOS = {
    0: "does not begin with the BOS token that the tokenizer puts before texts: the model may expect it",
    2: "begins with the BOS token twice",
}
Messages = tuple[Message, ...]


class Prompt(NamedTuple):
    """A chat that the model will be asked."""

    name: str  # for the user
    messages: Messages


class Fitted(NamedTuple):
    """A tokenizer in the format that its template takes, and what is to be done with chats before."""

    chat: ChatTokenizer
    fold_system: bool  # True if the system text must stand in the user's turn
    notes: list[str]


def why_no_text(model: Model) -> str:
    """Return why the vLLM installed here gets no text out of the model; "" if it does, or none is installed."""
    writing, silent, classes = set[str](), set[str](), model.architectures
    for name, table in _TABLE.findall(vllm_source("model_executor/models/registry.py")):
        found = silent if any(kind in name for kind in _OTHER_TABLES) else writing
        found.update(re.findall(r'^    "(\w+)": \(', table, re.MULTILINE))
    stems = [name.removesuffix(ending) for name in classes for ending in _WRITE if name.endswith(ending)]
    aliases = {*classes, *(stem + ending for stem in stems for ending in _WRITE)}
    if not writing or not classes or not writing.isdisjoint(aliases):
        return ""
    shown = f"{', '.join(classes)} by config.json"
    if not silent.isdisjoint(classes) or any(name.endswith(_WRITE_NOTHING) for name in classes):
        return f"writes no text, it is a {shown}"
    if has_plugins():
        return ""
    encoders = [known for name in classes if name.endswith(_WRITE) and (known := is_encoder(name)) is not None]
    if not encoders:
        return f"is a {shown}, a class that the vLLM installed here does not know as one that writes text"
    return f"is a {shown}, a class that the vLLM installed here does not run" if any(encoders) else ""


def check_writes_text(model: Model) -> None:
    """Raise ValueError if the vLLM here gets no text out of the model; `load_chat` checks one with its own code."""
    if CONFIG not in model.own_code and (why := why_no_text(model)):
        raise ValueError(f"model {model.name} {why}: give one that chats, of a class that vLLM runs")


def tokenizer_of(model: Model, format: ChatFormat = OWN_FORMAT) -> ChatTokenizer:
    """Return the model's tokenizer, which is loaded when it is used."""
    return ChatTokenizer(model.path, model.hub_revision, format, run_code=model.run_code)


def load_chat(model: Model, format: ChatFormat = OWN_FORMAT) -> ChatTokenizer:
    """Load the model's tokenizer. Raises ValueError if it or config.json cannot be loaded, or changes texts."""
    config = f"config.json of model {model.name}"
    if not model.type:
        raise ValueError(f"{config} names no model_type: give one in the layout of transformers")
    if judges := [name for name in model.architectures if name.endswith(_WRITE_NOTHING)]:
        raise ValueError(f"model {model.name} writes no text, it is a {judges[0]}: give one that chats")
    own = f"code of its own, named by auto_map in {' and '.join(model.own_code)}, and that is not run"
    known = f"whose type (here {model.type!r}, {', '.join(model.architectures)}) vLLM or transformers know"
    needs_code = f"model {model.name} needs {own}: --run_model_code runs it, or take a model {known}"
    if CONFIG in model.own_code and not model.run_code and why_no_text(model):
        raise ValueError(needs_code)
    chat, cannot = tokenizer_of(model, format), f"{config} cannot be used"
    of_vllm = rf"[\s\"]{re.escape(model.type)}\"?[=:] ?\"\w+Config\""
    try:
        if not re.search(of_vllm, vllm_source("transformers_utils/config.py")):
            read_config(model.path, model.hub_revision, run_code=model.run_code)
        cannot = f"the tokenizer of model {model.name} cannot be loaded"
        reread = chat.reread(_SAID)
    except Exception as error:
        # A configuration or a tokenizer may be written by anyone, and fail in any way.
        without = model.own_code and not model.run_code
        raise ValueError(needs_code if without else f"{cannot}: {_reason(error)}") from error
    if reread.lower().split() != _SAID.lower().split():
        problem = f"the tokenizer of model {model.name}, as transformers loads it, makes {reread!r} of {_SAID!r}"
        remedy = "give a copy of its folder whose tokenizer_config.json has the tokenizer_class PreTrainedTokenizerFast"
        raise ValueError(f"{problem}, and so of every prompt and answer: {remedy}")
    return chat


def fit(chat: ChatTokenizer, prompts: Iterable[Prompt]) -> Fitted:
    """Find out by rendering how the template takes these chats: as they are, in parts, or without a system turn.

    If it takes them in no way, nothing is changed, and check_template says what is wrong.
    """
    shapes = sorted({tuple(message["role"] for message in prompt.messages) for prompt in prompts})

    def fault(tried: ChatTokenizer, fold: bool) -> str:
        asked = [without_system(probe(roles)) if fold else probe(roles) for roles in shapes]
        return next(filter(None, (_fault(tried, messages) for messages in asked)), "")

    in_parts = chat.within(replace(chat.format, parts=True))
    for fold, tried in product((False, True), (chat, in_parts)):
        if not fault(tried, fold):
            notes = list[str]()
            if fold:
                told = "the system text stands before the user's text"
                notes.append(f"the chat template takes no system turn ({fault(tried, False)}): {told}")
            if tried is in_parts:
                told = "each is given as a list of one part"
                notes.append(f"the chat template takes no plain texts ({fault(chat, fold)}): {told}")
            return Fitted(tried, fold, notes)
    return Fitted(chat, False, [])


def _fault(chat: ChatTokenizer, messages: Messages) -> str:
    """Say why the template does not write the chat; "" if it does."""
    try:
        return fault_in(chat.render(messages), messages)
    except Exception as error:
        # A template is a program, and can raise anything.
        return _reason(error)


def notes_on_model(model: Model, chat: ChatTokenizer) -> list[str]:
    """Return what the user should know about the model's code and template, in sentences."""
    files, date = " and ".join(model.own_code), chat.format.date
    why = "" if model.run_code else why_no_text(model)
    libraries = "that of the libraries is taken, unless --run_model_code is given"
    dated = "strftime_now" in chat.template
    notes = (
        (files and not model.run_code, f"code of the model's own, named by {files}, is not run: {libraries}"),
        (model.run_code, f"code that came with the model, named by {files}, runs on this machine and on every node"),
        (dated and date, f"the chat template may write the date: it is told {date} on whatever day the run goes on"),
        (dated and not date, "the chat template may write the day's date: a run that goes on asks with another one"),
        (why, f"the model {why}: the vLLM of the cluster must know it"),
    )
    return [note for holds, note in notes if holds]


def check_template(model: Model, chat: ChatTokenizer, prompts: Sequence[Prompt]) -> list[str]:
    """Return notes on how the chat template renders the prompts. Raises ValueError if it rejects or changes one."""
    shapes: dict[tuple[str, ...], list[str]] = {}
    for prompt in prompts:
        shapes.setdefault(tuple(message["role"] for message in prompt.messages), []).append(prompt.name)
    notes = list[str]()
    for roles, names in shapes.items():
        text, *others = {_render(model, chat, probe(roles), names) for _ in range(_TRIES)}
        if others:
            problem = f"the chat template of model {model.name} writes another prompt each time"
            remedy = "give another model, or a template that always writes the same as --chat_template"
            raise ValueError(f"{problem}, and rows would depend on chance: {remedy}")
        marks = _marks(roles)
        twice = [role for role, mark in zip(roles, marks, strict=True) if text.count(mark) > 2]
        notes += [f"writes the {role} text more than once" for role in twice]
        if marks != sorted(marks, key=text.index):
            notes.append(f"does not keep the order of turns: {' before '.join(roles)}")
        if not _opens(chat, roles, text):
            notes.append("does not open the assistant's turn: the model may go on with the user's text")
    for prompt in prompts:
        _render(model, chat, prompt.messages, [prompt.name])
        if chat.bos is not None:
            first = chat.encode(prompt.messages)[:2]
            count = first.count(chat.bos) if first[:1] == [chat.bos] else 0
            notes += [_BOS[count]] if count in _BOS else []
    return [f"the chat template {note}" for note in dict.fromkeys(notes)]


def _opens(chat: ChatTokenizer, roles: tuple[str, ...], prompt: str) -> bool:
    """Return True if the prompt ends with the mark that begins the model's answer."""
    *marks, answer = _marks((*roles, "assistant"))
    with suppress(Exception):  # a template may be for prompts alone; whether it marks the answer is not known then
        if chat.render(probe(roles), opened=False) == prompt:
            before, found, _ = chat.render(probe((*roles, "assistant"))).partition(answer)
            ends = [max(text.rfind(mark) + len(mark) for mark in marks) for text in (prompt, before)]
            end, end_before = prompt[ends[0] :].strip(), before[ends[1] :].strip()
            # If the mark that ends a question also begins the answer, like [/INST], the template has no other.
            return bool(end) and (not found or end == end_before)
    return True


def _marks(roles: Sequence[str]) -> list[str]:
    return [f"zq{role}{number}qz" for number, role in enumerate(roles)]


def probe(roles: Sequence[str]) -> Messages:
    """Return long turns of these roles, with all that a template may escape or cut off, each between two marks."""
    text = _PROBE + "Long words. " * (_LONG_WORDS // max(2, len(roles)))
    return tuple(
        Message(role=role, content=mark + text + mark) for role, mark in zip(roles, _marks(roles), strict=True)
    )


def fault_in(prompt: str, messages: Iterable[Message]) -> str:
    """Say what the prompt lacks of its messages' texts, ignoring whitespace, which templates trim; "" if nothing."""
    text, lost, cut = " ".join(prompt.split()), list[str](), list[str]()
    for message in messages:
        if not (words := message["content"].split()) or " ".join(words) in text:
            continue
        # How many of the first words are in the text, one after the other.
        kept = bisect_left(range(len(words)), 1, key=lambda last: " ".join(words[: last + 1]) not in text)
        after = len(" ".join(words[:kept]))
        place = f"{message['role']} text (after {after:,} characters, at {excerpt(words[kept], 24)})"
        (cut if kept else lost).append(place if kept else message["role"])
    if lost:
        return f"leaves out the {' and the '.join(lost)} text"
    return f"leaves out or changes part of the {' and the '.join(cut)}" if cut else ""


def _render(model: Model, chat: ChatTokenizer, messages: Messages, names: Sequence[str]) -> str:
    """Return the prompt. Raises ValueError if the template rejects the chat, or does not write each text unchanged."""
    template = f"the chat template of model {model.name}"
    remedy = "give another model, or a template that writes it as --chat_template"
    needed = f"which these prompts need: {listed([name for name in names if name], _SHOWN)}; {remedy}"
    try:
        prompt = chat.render(messages)
    except Exception as error:
        # A template is a program, and can raise anything.
        if chat.format.kwargs and not _fault(chat.within(replace(chat.format, kwargs={})), messages):
            given = ", ".join(chat.format.kwargs)
            raise ValueError(f"{template} cannot write with --chat_kwargs ({given}): {_reason(error)}") from error
        roles, without = [message["role"] for message in messages], ""
        others = [role for role in roles if role != "system"]
        with suppress(Exception):
            without = chat.render(probe(others))
        if others != roles and "zq" in without:
            raise ValueError(f"{template} takes no system text ({_reason(error)}), {needed}") from error
        turns = " and ".join(f"a {role}" for role in roles)
        raise ValueError(f"model {model.name} cannot write {turns} turn: {_reason(error)}") from error
    if fault := fault_in(prompt, messages):
        raise ValueError(f"{template} {fault}, {needed}")
    return prompt


def check_fit(
    chat: ChatTokenizer, prompts: Iterable[Prompt], total: int, context: int, *, what: str, remedy: str = ""
) -> list[str]:
    """Return a note on the prompts that leave no room for an answer. Raises ValueError if none of all `total` fits.

    `prompts` are those that may not fit, of which up to _MOST_BYTES are counted. `context` is in tokens.
    """
    count, longest, left, rest = 0, (0, ""), _MOST_BYTES, iter(prompts)
    while left > 0 and (some := list(islice(rest, _BATCH))):
        left -= sum(len(message["content"]) for prompt in some for message in prompt.messages)
        lengths = chat.lengths([prompt.messages for prompt in some])
        count += sum(length >= context for length in lengths)
        longest = max(longest, *zip(lengths, (prompt.name for prompt in some), strict=True), key=itemgetter(0))
    if not count:
        return []
    least = "at least " if next(rest, None) else ""
    counted, fail = ("all", "") if count == total else (f"{least}{count:,} of", " and will fail")
    advice = remedy or "give shorter ones, or a model with a longer context"
    most = f"the longest has {longest[0]:,} tokens, {longest[1]}"
    words = f"{counted} {total:,} {what} are too long for the context of {context:,} tokens{fail}: {most}; {advice}"
    if not fail:
        raise ValueError(words)
    return [words]


def notes_on_max_tokens(chat: ChatTokenizer, least: Mapping[str, int]) -> list[str]:
    """Return a note for each of the texts, the shortest useful completions, that is longer than its max_tokens."""
    return [
        f"max_tokens {max_tokens:,} is too small: {text} alone has {tokens:,} tokens, so it will be cut off"
        for text, max_tokens in least.items()
        if (tokens := len(chat.tokenize([text])[0])) > max_tokens
    ]


def _reason(error: Exception) -> str:
    said, kind = first_line(error), type(error).__name__
    said = said if len(said) <= _LONGEST else said.split(". ")[0][:_LONGEST]
    of_python = said != kind and isinstance(error, LookupError | TypeError | AttributeError)
    return f"{kind}: {said}" if of_python else said
