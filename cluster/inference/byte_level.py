"""What is known of byte-level tokenizers: where their texts may be cut, and how answers are decoded at once.

Pure: takes `tokenizers.Tokenizer` objects, knows neither chats nor engines. Other kinds are left to their libraries.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from tokenizers.models import BPE

_LINE_ENDS = re.compile(r"(?<=[A-Za-z0-9])(?=\n)")
_ACROSS = re.compile(r"[A-Za-z0-9]\n")
_UNFINISHED = "\ufffd"  # what the bytes of a part of a character become
_ENDS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT_ENDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = r"[^\r\n\p{L}\p{N}]?"
_PATTERNS = {
    # Llama 3, and with single digits Qwen2 to Qwen3
    rf"{_SHORT_ENDS}|{_WORD}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_ENDS}",
    rf"{_SHORT_ENDS}|{_WORD}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_ENDS}",
    # GPT-4o, gpt-oss
    rf"{_WORD}{_UPPER}*{_LOWER}+{_SHORT_ENDS}?|{_WORD}{_UPPER}+{_LOWER}*{_SHORT_ENDS}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_ENDS}",
    # Mistral's since NeMo
    rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_ENDS}",
    # DeepSeek V3, in three steps
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    rf"|{_ENDS}",
}
"""Patterns that cut a text before its tokens are found. No match holds a letter or digit and then a line break, nor
hangs on anything before it or behind such a line break."""


def can_be_cut(tokenizer: Tokenizer) -> bool:
    """Return True if a text's tokens are those of its `pieces`, one after the other, whatever the text.

    So it is where no token, added ones included, spans such a cut, and none depends on what is beyond it; nor does NFC,
    which leaves a line break, and a letter or digit of ASCII before it, as they are.
    """
    added = tokenizer.get_added_tokens_decoder().values()
    return (
        all(_is_local(step) for step in _steps(tokenizer.pre_tokenizer, "pretokenizers"))
        and any(_covers(step) for step in _steps(tokenizer.pre_tokenizer, "pretokenizers"))
        and all(step["type"] == "NFC" for step in _steps(tokenizer.normalizer, "normalizers"))
        and isinstance(tokenizer.model, BPE)
        and not tokenizer.model.dropout
        and not any(one.single_word or one.rstrip or _ACROSS.search(one.content) for one in added)
    )


def _steps(part: Any, name: str) -> list[dict[str, Any]]:
    """Return the description of each step of a normalizer or pre-tokenizer, as in tokenizer.json; [] without one."""
    if part is None:
        return []
    found = json.loads(part.__getstate__())
    return found[name] if found["type"] == "Sequence" else [found]


def _is_local(step: dict[str, Any]) -> bool:
    """Return True if this step of a pre-tokenizer cuts on each side of a cut as it would without the other side."""
    if step["type"] == "ByteLevel":
        return not step["add_prefix_space"]
    return step["type"] == "Digits" or (step["type"] == "Split" and _pattern(step) in _PATTERNS)


def _covers(step: dict[str, Any]) -> bool:
    """Return True if this step cuts at each line break that follows a letter or a digit."""
    if step["type"] == "ByteLevel":
        return bool(step["use_regex"])
    return step["type"] == "Split" and _pattern(step).endswith(_ENDS)


def _pattern(step: dict[str, Any]) -> str:
    """Return the regular expression of a Split, line breaks in it escaped as most write them; "" for a plain text."""
    return str(step["pattern"].get("Regex", "")).replace("\r", r"\r").replace("\n", r"\n")


def pieces(text: str) -> list[str]:
    """Return the text, cut before each line break that follows a letter or digit of ASCII."""
    return _LINE_ENDS.split(text)


def is_byte_level(tokenizer: Tokenizer) -> bool:
    """Return True if each token stands for bytes, whatever is beside it, and a text is these bytes as UTF-8."""
    decoder = tokenizer.decoder
    return decoder is not None and json.loads(decoder.__getstate__())["type"] == "ByteLevel"


def decode(tokenizer: Tokenizer, ids: Sequence[int], *, special: bool) -> str:
    """Return the text of a byte-level tokenizer's tokens, with special ones if `special`.

    It is what `tokenizers.decoders.DecodeStream` gives token by token, and so vLLM's FastIncrementalDetokenizer
    (v1/engine/detokenizer.py): a character that is cut off at the end, and what cannot be read before it, is left out.
    """
    text = tokenizer.decode(list(ids), skip_special_tokens=not special)
    if text.endswith(_UNFINISHED):
        stream = DecodeStream(skip_special_tokens=not special)
        text = "".join(stream.step(tokenizer, one) or "" for one in ids)
    return text
