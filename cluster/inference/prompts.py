"""Chats to the tokens of their prompts; what several prompts have in common is encoded once."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import chain
from typing import NamedTuple

from cluster.inference.byte_level import can_be_cut, is_byte_level, pieces
from cluster.inference.engine import Message
from cluster.inference.thoughts import Marks
from cluster.inference.tokenizer import ChatTokenizer

_PIECES = 512  # kept: the prompts of one sample are asked for one after the other


class Encoded(NamedTuple):
    """A prompt as an engine gets it."""

    ids: list[int]
    opened: Marks | None = None  # with which it opens a thought


class PromptEncoder:
    """Encodes the prompts of one model. For one thread."""

    def __init__(self, chat: ChatTokenizer) -> None:
        self._chat = chat
        self._encode_piece = lru_cache(_PIECES)(self._piece)

    def encode(self, messages: Sequence[Message], begun: str = "") -> Encoded:
        """Return the tokens of a prompt, as `ChatTokenizer.encode` gives them, and of what its reply begins with.

        Raises whatever the template or transformers raise.
        """
        prompt = self._prompt(messages)
        if not begun:
            return prompt
        # By itself, as a model writes its first token behind the prompt's last. Others put a space before a text.
        if self._chat.backend is not None and is_byte_level(self._chat.backend):
            return Encoded([*prompt.ids, *self._chat.tokenize([begun])[0]], prompt.opened)
        return Encoded(self._chat.tokenize([self._chat.render(messages) + begun])[0], prompt.opened)

    def _prompt(self, messages: Sequence[Message]) -> Encoded:
        chat = self._chat
        if not chat.template:
            opened = chat.thinking.opened_by(chat.render(messages)) if chat.thinking.own else None
            return Encoded(chat.encode(messages), opened)
        text = chat.render(messages)
        parts = pieces(text) if self._cuts else [text]
        ids = list(chain.from_iterable(map(self._encode_piece, parts)))
        return Encoded(ids, chat.thinking.opened_by(text))

    @cached_property
    def _cuts(self) -> bool:
        return self._chat.backend is not None and can_be_cut(self._chat.backend)

    def _piece(self, text: str) -> list[int]:
        """Return the tokens of a piece, encoded without Python's lock where that is possible."""
        chat = self._chat
        if chat.backend is None:
            return chat.tokenize([text])[0]
        (encoded,) = chat.backend.encode_batch_fast([text], add_special_tokens=False)
        return list(encoded.ids)
