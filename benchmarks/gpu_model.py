"""A model of Qwen2.5-1.5B's shape whose weights are drawn, for measuring speed where no hub can be reached.

    python -m benchmarks.gpu_model FOLDER [LAYERS]

Its vocabulary is Qwen's where the package dashscope is installed, which brings it, else the built-in model's, padded to
the same size. It writes plain words, and after about 60 of them an answer, and stops: `min_tokens` says how long it is.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import shutil
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from generation.builtin import MODEL

VOCABULARY = 151_936
_QWEN = "dashscope/resources/qwen.tiktoken"
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_PIECES = (  # what Qwen's tokenizer takes for a word, from tokenization_qwen2.py of transformers
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_WORDS = 2000  # that it writes; of real words, so that what it wrote is as many tokens when it is read again
_LAST = 60  # one word in so many is followed by the answer
_ANSWER = "<answer>7</ANSWER>."  # no token twice
_CONFIG: dict[str, Any] = {  # Qwen2.5-1.5B's config.json; its output layer is the embedding, and here it is not
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "dtype": "bfloat16",
    "hidden_act": "silu",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
    "rope_theta": 1e6,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
}
# Qwen2.5-1.5B-Instruct's own, so that the run samples as it would from that.
_GENERATION = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}
_NOISE, _INNER, _PATH = 0.025, 0.001, 0.006
"""Deviations of the output layer's rows and of what a layer adds, and the weight of a successor: the word before
decides which 20 words may follow, drawn evenly enough that all are reached, and the layers only stir that."""


def make(folder: Path, layers: int = 28) -> dict[str, Any]:
    """Write the model's folder; return facts on it. `layers` fewer than 28 are for trying it without a GPU."""
    folder.mkdir(parents=True)
    ranks = _qwen_ranks()
    if ranks:
        _write_qwen(folder, ranks)
    else:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(MODEL / name, folder)
    shutil.copy(MODEL / "chat_template.jinja", folder)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    (end,) = tokenizer.encode("<|im_end|>", add_special_tokens=False).ids
    config = _CONFIG | {"num_hidden_layers": layers, "eos_token_id": end, "bos_token_id": None}
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", _GENERATION | {"eos_token_id": end})
    path = [*tokenizer.encode(_ANSWER, add_special_tokens=False).ids, end]
    assert len(set(path)) == len(path), "each token must tell which comes next"
    words = _words(tokenizer, path)
    _write_weights(folder, config, words, path)
    known = "Qwen's vocabulary, from dashscope" if ranks else "the built-in model's vocabulary, padded"
    return {"shape": f"Qwen2.5-1.5B, {layers} layers", "vocabulary": known, "words": len(words)}


def _qwen_ranks() -> dict[bytes, int]:
    """Return Qwen's tokens with their ranks, empty where no package brings them."""
    try:
        path = Path(str(importlib.metadata.distribution("dashscope").locate_file(_QWEN)))
    except importlib.metadata.PackageNotFoundError:
        return {}
    lines = path.read_bytes().splitlines() if path.exists() else []
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}


def _write_qwen(folder: Path, ranks: dict[bytes, int]) -> None:
    """Write a tokenizer of tiktoken's ranks; any split of a token into two others is a merge, with the token's rank."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    letters = _letters()
    texts = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        halves = [(token[:place], token[place:]) for place in range(1, len(token))]
        known = [(ranks[left], ranks[right], left, right) for left, right in halves if left in ranks and right in ranks]
        merges += [(texts[left], texts[right]) for _, _, left, right in sorted(known)]
    vocabulary = {texts[token]: rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    split = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in _SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    settings = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    _write_json(folder / "tokenizer_config.json", settings | {"model_max_length": 32768})


def _letters() -> list[str]:
    """Return the letter that byte-level tokenizers write for each byte (GPT-2's encoder.py)."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def _words(tokenizer: Any, apart: Sequence[int]) -> list[int]:
    """Return tokens of small letters, those after a space first, that are read again as themselves; none `apart`."""
    texts = [(text.replace("Ġ", " "), number) for text, number in tokenizer.get_vocab().items() if number not in apart]
    found = list[int]()
    for text, number in sorted(texts, key=lambda one: (one[0][0] != " ", one[1])):
        word = text.strip()
        if len(word) > 2 and word.isascii() and word.isalpha() and word.islower():
            again = tokenizer.encode(f"{text}.", add_special_tokens=False).ids
            found += [number] if number in again else []
        if len(found) == _WORDS:
            break
    return found


def _write_weights(folder: Path, config: dict[str, Any], words: Sequence[int], path: Sequence[int]) -> None:
    """Write weights that write words in random order; one in _LAST is followed by `path`, the end."""
    import torch
    from safetensors.torch import save_file

    rng = np.random.default_rng(0)
    tile = torch.from_numpy(rng.standard_normal(1 << 24, np.float32))
    tiles = {scale: tile.mul(scale).to(torch.bfloat16) for scale in (1, _NOISE, _INNER, 0.02)}
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    keys = hidden // heads * config["num_key_value_heads"]

    def drawn(scale: float, *shape: int) -> Any:
        """Return a part of the numbers drawn, or all of them again and again: drawing each would take minutes."""
        count = int(np.prod(shape))
        many = tiles[scale].repeat(count // len(tile) + 1) if count > len(tile) else tiles[scale]
        start = int(rng.integers(len(many) - count + 1))
        return many[start : start + count].reshape(shape).clone()

    def ones(*shape: int) -> Any:
        return torch.ones(shape, dtype=torch.bfloat16)

    embedding = drawn(1, VOCABULARY, hidden)
    output = torch.zeros(VOCABULARY, hidden, dtype=torch.bfloat16)
    output[list(words)] = drawn(_NOISE, len(words), hidden)
    last = list(words[::_LAST])
    output[path[0]] = _PATH * embedding[last].sum(0)
    for token, following in pairwise(path):
        output[following] = _PATH * embedding[token]
    tensors = {"model.embed_tokens.weight": embedding, "lm_head.weight": output, "model.norm.weight": ones(hidden)}
    for layer in range(config["num_hidden_layers"]):
        before = f"model.layers.{layer}"
        for name, width in (("q", hidden), ("k", keys), ("v", keys)):
            tensors[f"{before}.self_attn.{name}_proj.weight"] = drawn(0.02, width, hidden)
            tensors[f"{before}.self_attn.{name}_proj.bias"] = 0 * ones(width)
        tensors[f"{before}.self_attn.o_proj.weight"] = drawn(_INNER, hidden, hidden)
        for name in ("gate", "up"):
            tensors[f"{before}.mlp.{name}_proj.weight"] = drawn(0.02, inner, hidden)
        tensors[f"{before}.mlp.down_proj.weight"] = drawn(_INNER, hidden, inner)
        for name in ("input", "post_attention"):
            tensors[f"{before}.{name}_layernorm.weight"] = ones(hidden)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), *map(int, sys.argv[2:3])))
