"""Few-shot turns of the user's own, put before what is asked: a file of JSON lines, one example each.

A row with a question and a response is an example of answering. One with a reflection as well is an example of
reflecting on that response, which may be wrong, so it does not serve as one of answering.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from cluster.inference.engine import Message
from cluster.jobs.run_directory import JSON
from cluster.texts import nearest
from generation import variants
from generation.grading import find_answer
from generation.grading.answers import find
from generation.records import Question, collapse_spaces, stable_hash
from generation.tasks.custom import json_lines
from generation.variants import VARIANTS, Variant
from reflection import prompts
from reflection.verdict import parse_verdict

_ANSWERING = ("question", "response", "answer", "variant")
_REFLECTING = ("question", "response", "reflection", "prompt")
_OBJECT = '{"question": "...", "response": "..."}, and "reflection": "..." for an example of reflecting'
Messages = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row of the file."""

    place: str  # the file and its line, for the user
    question: str
    response: str
    answer: str = ""  # the gold answer, that rationalized variants give away; "" if unknown
    variant: str = ""  # the only one that it is for; "" for all
    reflection: str = ""  # "" for an example of answering
    prompt: str = ""  # the only reflection prompt that it is for; "" for all

    @property
    def texts(self) -> dict[str, str]:
        """Return what was given, by name."""
        given = ((one.name, getattr(self, one.name)) for one in fields(self) if one.name != "place")
        return {name: text for name, text in given if text}


@dataclass(frozen=True)
class Examples:
    """The examples of a run; without any, chats hold what is asked alone."""

    answering: tuple[Example, ...] = ()
    reflecting: tuple[Example, ...] = ()

    def ask(self, variant: Variant, question: Question) -> Messages:
        """Return the chat that asks the question under this variant, examples first: all questions share them."""
        *system, asked = variants.messages(variant, question)
        turns = list[Message]()
        for one in self.answering:
            if one.variant in ("", variant.name):
                shown = variants.messages(variant, replace(question, text=one.question, answer=one.answer))[-1]
                turns += [shown, Message(role="assistant", content=one.response)]
        return (*system, *turns, asked)

    def look(self, name: str, question: str, sample: str, among: Mapping[str, str] = prompts.ALL) -> Messages:
        """Return the chat that asks for a reflection on a sample with this prompt, examples first."""
        turns = list[Message]()
        for one in self.reflecting:
            if one.prompt in ("", name):
                turns += prompts.messages(name, one.question, one.response, among)
                turns.append(Message(role="assistant", content=one.reflection))
        return (*turns, *prompts.messages(name, question, sample, among))

    @property
    def configuration(self) -> dict[str, JSON]:
        """Return what the rows depend on, to be frozen; nothing without examples."""
        rows = [sorted(one.texts.items()) for one in (*self.answering, *self.reflecting)]
        return {"examples_hash": stable_hash(*rows)[:16]} if rows else {}

    @property
    def texts(self) -> dict[str, dict[str, str]]:
        """Return every text by the name of its example, for run.json and the card."""
        kinds = {"answering": self.answering, "reflecting": self.reflecting}
        return {f"{kind} {n}": one.texts for kind, rows in kinds.items() for n, one in enumerate(rows, 1)}

    @property
    def described(self) -> list[str]:
        """Return the line on the examples in the description of a plan, if there are any."""
        line = f"examples    {len(self.answering):,} of answering, {len(self.reflecting):,} of reflecting"
        return [line] if self.answering or self.reflecting else []

    def size(self, asked: Sequence[Variant], among: Mapping[str, str]) -> int:
        """Return the bytes of the longest examples before a prompt, and so the most tokens that they have."""
        nothing = Question("", "", "", "", "", "")
        chats = [self.ask(variant, nothing) for variant in asked] if self.answering else []
        chats += [self.look(name, "", "", among) for name in among] if self.reflecting else []
        return max((sum(len(turn["content"].encode()) for turn in chat) for chat in chats), default=0)


NO_EXAMPLES = Examples()


def load_examples(
    path: str | None, asked: Mapping[str, Variant] = VARIANTS, among: Mapping[str, str] = prompts.ALL
) -> Examples:
    """Read the file of --examples, if one is given, whose rows may name variants and reflection prompts of these.

    Raises ValueError, naming the line.
    """
    if path is None:
        return NO_EXAMPLES
    choices = {"variant": [*asked], "prompt": [*among]}
    rows = [_example(place, row, choices) for place, row in json_lines(Path(path), _OBJECT)]
    if not rows:
        raise ValueError(f"--examples {path} holds no examples: give lines such as {_OBJECT}")
    reflecting = [one for one in rows if one.reflection]
    return Examples(tuple(one for one in rows if not one.reflection), tuple(reflecting))


def _example(place: str, row: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> Example:
    given = {name: value for name, value in row.items() if value is not None}
    kind, known = ("reflecting", _REFLECTING) if "reflection" in given else ("answering", _ANSWERING)
    for name in given:
        if name not in known:
            meant = "".join(f", perhaps {near!r}" for near in nearest(name, {*_ANSWERING, *_REFLECTING} - {name}))
            told = f"which an example of {kind} does not take{'' if name in _ANSWERING + _REFLECTING else meant}"
            raise ValueError(f"{place} has {name!r}, {told}: it takes {', '.join(known)}")
    for name in ("question", "response"):
        if name not in given:
            raise ValueError(f"{place} has no {name!r}: each line must be one object such as {_OBJECT}")
    texts = {name: _text(f"{place}: {name!r}", value, number=name == "answer") for name, value in given.items()}
    for name, names in choices.items():
        if (said := texts.get(name)) is not None and said not in names:
            meant = "".join(f"; perhaps {near}" for near in nearest(said, names))
            raise ValueError(f"{place}: {name} {said!r} is unknown{meant}: take one of {', '.join(names)}")
    if kind == "reflecting" and parse_verdict(texts["reflection"]) is None:
        verdicts = f"{prompts.VERDICT} or {prompts.VERDICT.replace('C', 'Inc')}"
        raise ValueError(f"{place}: the reflection gives no verdict: end it with {verdicts}")
    if kind == "answering":
        texts.setdefault("answer", find_answer(texts["response"]) or "")
    return Example(place=place, **texts)


def _text(what: str, value: object, *, number: bool) -> str:
    """Return the value as text. Raises ValueError, calling it `what`, if it is none, or blank."""
    if not isinstance(value, str | int if number else str) or isinstance(value, bool):
        raise ValueError(f"{what} must be text, not {type(value).__name__}")
    text = str(value)
    if not collapse_spaces(text):
        raise ValueError(f"{what} is empty: fill it in, or leave the line out")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{what} holds half a character (a lone surrogate): write it anew")
    return text


def check_apart(examples: Examples, questions: Iterable[str]) -> None:
    """Raise ValueError if one of the questions, but for spaces, is an example's: its answer would be given away."""
    rows = (*examples.answering, *examples.reflecting)
    if not rows:
        return
    asked = set(map(collapse_spaces, questions))
    if shown := [one.place for one in rows if collapse_spaces(one.question) in asked]:
        told = f"the question of {shown[0]} is one that the run asks, and its answer would be given away"
        more = f" (so in {len(shown):,} of {len(rows):,} examples)"
        raise ValueError(f"--examples: {told}{more}: take others as examples")


def check_golds(examples: Examples, asked: Iterable[Variant]) -> None:
    """Raise ValueError if a rationalized variant, which gives the gold answer away, has an example without one."""
    for variant in asked:
        for one in examples.answering if variant.rationalized else ():
            if one.variant in ("", variant.name) and not one.answer:
                told = f"{one.place} has no gold answer, which {variant.name} gives away"
                raise ValueError(f"{told}: give it as 'answer', or in the response as <answer>...</answer>")


def notes_on_answering(
    examples: Examples, asked: Sequence[Variant], places: Collection[tuple[str, ...]]
) -> Iterator[str]:
    """Yield what the user should know about the examples of answering; `places` are the questions' `answer_in`."""
    if not (rows := examples.answering):
        return
    if bare := [one for one in rows if not all(find(one.response, where) for where in places)]:
        told = f"--examples: {len(bare):,} of {len(rows):,} examples of answering have no answer where it is looked for"
        yield f"{told}, and samples like them get no grade (first {bare[0].place})"
    shown = {one.variant for one in rows}
    if "" not in shown and (without := [variant.name for variant in asked if variant.name not in shown]):
        yield f"--examples: none is for variant {', '.join(without)}"


def notes_on_reflecting(examples: Examples) -> Iterator[str]:
    """Yield what the user should know about the examples of reflecting, in sentences."""
    verdicts = [bool(parse_verdict(one.reflection)) for one in examples.reflecting]
    if len(verdicts) > 1 and len(set(verdicts)) == 1:
        word = "Correct" if verdicts[0] else "Incorrect"
        yield f"--examples: all {len(verdicts):,} reflections say {word}, which a model may repeat whatever it sees"
