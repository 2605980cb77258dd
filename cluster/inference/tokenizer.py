"""A model's tokenizer and chat template. Imports transformers, which takes seconds, only when needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

from cluster.inference.engine import Message
from cluster.inference.thoughts import Thinking


@dataclass(frozen=True)
class ChatFormat:
    """How chats become prompts, as far as the tokenizer's own files do not decide it."""

    template: str | None = None  # Jinja source; None for the tokenizer's own
    kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)  # variables of the template, JSON values only
    date: str = ""  # the day that the template is told, as YYYY-MM-DD; "" for today
    parts: bool = False  # True if the template takes a text only as a list of parts


OWN_FORMAT = ChatFormat()
_ENCODING = ("__call__", "_encode_plus")  # methods of transformers by which a class of tokenizers may go its own way


class ChatTokenizer:
    """A model's tokenizer and its chat template, or another one."""

    def __init__(
        self, model: str, revision: str | None = None, format: ChatFormat = OWN_FORMAT, *, run_code: bool = False
    ) -> None:
        self._model, self._revision, self.format, self._run_code = model, revision, format, run_code

    @cached_property
    def _tokenizer(self) -> Any:
        load = _transformers().AutoTokenizer.from_pretrained
        # Mistral's own tokenizer would ignore a template in silence.
        other = {} if self.format.template is None else {"mistral_format": False}
        return load(self._model, revision=self._revision, trust_remote_code=self._run_code, **other)

    @cached_property
    def backend(self) -> Tokenizer | None:
        """The tokenizer of library tokenizers that does what `tokenize` does; None for other kinds."""
        fast, own = _transformers().PreTrainedTokenizerFast, type(self._tokenizer)
        if not issubclass(own, fast) or any(getattr(own, name) is not getattr(fast, name) for name in _ENCODING):
            return None
        self.tokenize(["a"])  # which settles that it neither pads nor truncates, and how it reads special tokens
        backend: Tokenizer = self._tokenizer.backend_tokenizer
        return backend

    @property
    def template(self) -> str:
        """Return the template's source; "" if the tokenizer needs none."""
        return str(self._tokenizer.chat_template or "") if self.format.template is None else self.format.template

    @cached_property
    def bos(self) -> int | None:
        """The BOS token that the tokenizer puts before texts, None if it puts none."""
        first: int | None = self._tokenizer.bos_token_id
        return first if self._tokenizer("a")["input_ids"][:1] == [first] else None

    @property
    def bos_text(self) -> str:
        """Return the text of the BOS token that the tokenizer puts before texts, "" if it puts none."""
        return "" if self.bos is None else str(self._tokenizer.bos_token)

    @cached_property
    def ends(self) -> list[str]:
        """The texts of tokens that end a reply: the tokenizer's, and those of generation_config.json, as in vLLM."""
        try:
            config = _transformers().GenerationConfig.from_pretrained(self._model, revision=self._revision)
            ids = config.eos_token_id
        except (OSError, ValueError):
            ids = None
        listed = ids if isinstance(ids, list) else [] if ids is None else [ids]
        return list(dict.fromkeys(filter(None, (self._tokenizer.eos_token, *(self.decode([one]) for one in listed)))))

    def is_marks(self, text: str) -> bool:
        """Return True if the text is nothing but tokens that the tokenizer has added for themselves, as marks are."""
        return set(self.tokenize([text])[0]) <= {*self._tokenizer.added_tokens_decoder}

    @property
    def size(self) -> int:
        """Return the number of tokens that it knows."""
        return len(self._tokenizer)

    def within(self, format: ChatFormat) -> "ChatTokenizer":
        """Return the same tokenizer with another format, without loading it again."""
        other = ChatTokenizer(self._model, self._revision, format, run_code=self._run_code)
        if (self.format.template is None) == (format.template is None):
            other._tokenizer = self._tokenizer
        return other

    @cached_property
    def thinking(self) -> Thinking:
        """Return how the model writes its thoughts."""
        added = self._tokenizer.added_tokens_decoder.values()
        return Thinking.of({token.content: token.special for token in added}, self.template)

    def width(self, ids: Sequence[int]) -> int:
        """Return the number of characters that tokens of a reply are decoded to."""
        return len(self._tokenizer.decode(ids, skip_special_tokens=not self.thinking.raw))

    def render(self, messages: Sequence[Mapping[str, object]], *, opened: bool = True) -> str:
        """Return the prompt as text, special tokens included; if `opened`, with the start of the answer's turn."""
        return str(self._apply(messages, tokenize=False, opened=opened))

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of the prompt."""
        return self._encoded([messages])[0]

    def lengths(self, chats: Sequence[Sequence[Message]]) -> list[int]:
        """Return the length of each chat's prompt in tokens; faster for many at once."""
        return [len(ids) for ids in self._encoded(chats)]

    def _encoded(self, chats: Sequence[Sequence[Message]]) -> list[list[int]]:
        if self.template:
            return self.tokenize([self.render(messages) for messages in chats])
        # Mistral's own tokenizer reads its control tokens in a text as plain text.
        return [list(self._apply(messages, tokenize=True)) for messages in chats]

    def _apply(self, messages: Sequence[Mapping[str, object]], *, tokenize: bool, opened: bool = True) -> Any:
        variables = dict(self.format.kwargs)
        if self.format.template is not None:
            variables["chat_template"] = self.format.template
        if self.format.date:
            variables["strftime_now"] = datetime.fromisoformat(self.format.date).strftime
        if "begins_with_bos" in self.template:
            variables["begins_with_bos"] = self.bos is not None
        chat: list[Any] = list(messages)
        if self.format.parts:
            chat = [{**one, "content": [{"type": "text", "text": one["content"]}]} for one in messages]
        apply = self._tokenizer.apply_chat_template
        return apply(chat, tokenize=tokenize, add_generation_prompt=opened, return_dict=False, **variables)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, without a template. Raises whatever transformers raises."""
        # Not verbose: it would warn about texts longer than the context, which are expected here.
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, special ones included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def reread(self, text: str) -> str:
        """Return the text as its tokens give it back."""
        return str(self._tokenizer.decode(self.tokenize([text])[0]))


def read_config(model: str, revision: str | None, *, run_code: bool = False) -> Any:
    """Read config.json as transformers does, with its defaults. Raises whatever transformers raises."""
    return _transformers().AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=run_code)


def is_encoder(architecture: str) -> bool | None:
    """Return True for an encoder-decoder class, such as T5's; None if transformers does not have the class."""
    if architecture not in dir(_transformers()):
        return None
    configuration = getattr(_transformers(), f"{architecture.partition('For')[0]}Config", None)
    return bool(getattr(configuration, "is_encoder_decoder", False))


def _transformers() -> Any:
    import transformers

    transformers.utils.logging.set_verbosity_error()  # warnings about odd tokenizer settings help nobody here
    return transformers
