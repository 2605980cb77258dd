"""A question and its trace as vLLM asks the one and a model writes the other, by the model's chat template."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from assembly.trained import Asked, Example, common
from cluster.inference.tokenizer import ChatTokenizer

_MARK = "zq7qz"  # a reply that no template changes
_DAYS = ("2001-01-01", "2012-12-12")


def asked_by(chat: ChatTokenizer, rows: Iterable[tuple[str, str]], system: str | None = None) -> list[Asked]:
    """Return questions and traces as they are asked and written, behind a system turn if one is given.

    Raises whatever the template raises.
    """
    return asked_in_turns(chat, (_turns(question, trace, system) for question, trace in rows))


def asked_in_turns(chat: ChatTokenizer, chats: Iterable[Sequence[Mapping[str, Any]]]) -> list[Asked]:
    """Return the same, given the turns: question and trace come last, and a system turn may be before them."""
    ends = ends_of(chat)
    return [
        Asked(*_around(chat.render(turns[:-1]), turns[-2]["content"]), turns[-1]["content"], ends) for turns in chats
    ]


def lengths_of(chat: ChatTokenizer, asked: Iterable[Asked]) -> list[int]:
    """Return the length of each row in tokens: its prompt, its trace and the token that ends it."""
    texts = [f"{one.head}{one.question}{one.tail}{one.trace[one.opened :]}{one.ends[0]}" for one in asked]
    return [len(ids) for ids in chat.tokenize(texts)] if texts else []


def ends_of(chat: ChatTokenizer) -> tuple[str, ...]:
    """Return the tokens that end the model's turn, as text: the template's own first, and the model's.

    Other text that a template writes behind a reply is no end. Raises ValueError if there are none.
    """
    after = chat.render(_turns("2 + 2?", _MARK), opened=False).rpartition(_MARK)[2].strip()
    after = after if after and chat.is_marks(after) else ""
    if not (ends := tuple(dict.fromkeys(filter(None, (after, *chat.ends))))):
        raise ValueError("neither the chat template nor the tokenizer has a token that ends the model's turn")
    return ends


def notes_on_template(chat: ChatTokenizer) -> list[str]:
    """Return what of the chat template lets a trace be asked or ended otherwise than it was trained."""
    notes, here = [], "here, and the same to the trainer and wherever it is asked"
    if "</think>" in chat.render(_turns("2 + 2?")):
        told = "the chat template ends its prompt on an empty thought, behind which no trace is written"
        notes.append(f"{told}: give --chat_kwargs '{{\"enable_thinking\": true}}' {here}")
    some, other = (chat.within(replace(chat.format, date=day)).render(_turns("2 + 2?")) for day in _DAYS)
    if some != other:
        told = "the chat template writes the day's date, so that what is trained today is asked otherwise tomorrow"
        notes.append(f'{told}: give --chat_kwargs a date, such as \'{{"date_string": "26 Jul 2024"}}\', {here}')
    end = ends_of(chat)[0]
    if end not in chat.ends:
        told = f"the chat template ends a reply with {end}, at which vLLM does not stop by this model's files"
        notes.append(f"{told}: name it as eos_token_id in the generation_config.json of the trained model")
    return notes


def written_by(chat: ChatTokenizer, chats: Iterable[Sequence[Mapping[str, Any]]]) -> Iterator[Example]:
    """Yield what is trained by who takes the template at its word: all that follows the prompt in a chat's text."""
    for turns in chats:
        prompt, text = chat.render(turns[:-1]), chat.render(turns, opened=False)
        start = len(prompt) if text.startswith(prompt) else text.find(turns[-1]["content"])
        if start < 0:
            start = common(prompt, text)
        yield Example(((text[:start], False), (text[start:], True)))


def system_in(turns: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the text of the system turn in front, None if there is none."""
    return turns[0]["content"] if turns[0]["role"] == "system" else None


def _turns(question: str, reply: str | None = None, system: str | None = None) -> list[dict[str, Any]]:
    before = [] if system is None else [{"role": "system", "content": system}]
    asked = [*before, {"role": "user", "content": question}]
    return asked if reply is None else [*asked, {"role": "assistant", "content": reply}]


def _around(prompt: str, question: str) -> tuple[str, str, str]:
    """Return the prompt before the question, the question as it stands there, and what follows."""
    for text in (question, question.strip()):
        before, found, after = prompt.rpartition(text)
        if found:
            return before, text, after
    raise ValueError("the chat template does not write a question as it is")
