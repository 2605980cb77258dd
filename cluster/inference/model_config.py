"""What a model's configuration files say: its context, how it likes to be sampled, whether it brings code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cluster.inference.model_files import NEEDED, TOKENIZER
from cluster.inference.vllm_engine import read_config

_CONTEXT = (
    *("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "max_seq_length"),
    *("seq_length", "seq_len", "max_target_positions", "model_max_length"),
)
"""Names of the same thing; of several the least counts, save that the last one is above all others."""
_TEXT = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
"""Where a model of texts and pictures keeps what is said of its texts."""
_UNUSED: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("min_p", "epsilon_cutoff", "eta_cutoff", "top_h", "penalty_alpha", "min_length"), (0,)),
    **dict.fromkeys(("min_new_tokens", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), (0,)),
    **dict.fromkeys(("presence_penalty", "frequency_penalty", "diversity_penalty"), (0,)),
    **dict.fromkeys(("typical_p", "num_beams", "encoder_repetition_penalty", "guidance_scale"), (1,)),
    **dict.fromkeys(("stop_strings", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids"), ([],)),
    **dict.fromkeys(("force_words_ids", "sequence_bias", "constraints", "forced_decoder_ids"), ([], {})),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty"), ()),
    **dict.fromkeys(("dola_layers", "watermarking_config"), ()),
}
"""What else changes what is drawn, and the values that change nothing, beside null and false."""
_DRAWING = ("temperature", "top_p", "top_k", "repetition_penalty")


class Kind(NamedTuple):
    """By what libraries know a model."""

    type: str
    architectures: tuple[str, ...]
    """Its classes."""
    own_code: tuple[str, ...]
    """The configuration files that name code which comes with the model."""


def kind_of(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> Kind:
    """Read the kind of a model from its config.json and tokenizer_config.json."""
    told = config.get("architectures")
    classes = tuple(map(str, told)) if isinstance(told, list) else ()
    named = [(NEEDED, config), (TOKENIZER, tokenizer)]
    return Kind(
        str(config.get("model_type") or ""), classes, tuple(file for file, said in named if said.get("auto_map"))
    )


def heads_of(config: Mapping[str, Any]) -> int | None:
    """Return the number of attention heads of the text model, or None if config.json does not say it."""
    heads = [part.get("num_attention_heads", part.get("n_head")) for part in _parts(config)]
    return next((count for count in heads if _counts(count, 1)), None)


def context_of(name: str, config: Mapping[str, Any], path: str, revision: str | None) -> int:
    """Return the longest prompt plus completion, in tokens, as vLLM reads it. Raises ValueError if nothing says it."""
    inner = next(_parts(config))
    said = [inner[key] for key in _CONTEXT if inner.get(key) is not None]
    said = said or _by_default(path, revision) or [config[key] for key in _CONTEXT if config.get(key) is not None]
    if not said or not all(_counts(context, 2) for context in said):
        raise ValueError(f"model {name} does not say its context: config.json has no max_position_embeddings")
    return int(inner.get("model_max_length") or min(said))


def _by_default(path: str, revision: str | None) -> list[int]:
    """What transformers takes a configuration for that does not say it; empty where it does not know the model."""
    try:
        text = read_config(path, revision).get_text_config()
    except Exception:
        # A configuration is anyone's file, and fails in its own ways; that it says nothing is told by who asks.
        return []
    return [value for key in _CONTEXT if (value := getattr(text, key, None)) is not None]


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configuration of the part for texts first, then of what it lies in."""
    for key in _TEXT:
        inner = config.get(key)
        if isinstance(inner, Mapping):
            yield from _parts(inner)
            break
    yield config


def _counts(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def unused_of(generation: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what generation_config.json says that would change what is drawn, and that engines are not told."""
    return tuple(
        key
        for key, value in generation.items()
        if key in _UNUSED and value is not None and value is not False and value not in _UNUSED[key]
    )


def check_tokenizer_config(name: str, tokenizer: Mapping[str, Any]) -> None:
    """Raise ValueError for a length in tokenizer_config.json that lengths cannot be compared with."""
    longest = tokenizer.get("model_max_length")
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int | float)):
        raise ValueError(f"model {name}: model_max_length in {TOKENIZER} must be a number, not {longest!r}")


def sampling_of(name: str, generation: Mapping[str, Any]) -> dict[str, float]:
    """Read temperature, top_p, top_k and repetition_penalty from generation_config.json, as far as they are given.

    As everywhere, `do_sample: false` means temperature 0; a top_k of -1 keeps all, which is 0 here. Raises ValueError.
    """
    told = {key: generation[key] for key in _DRAWING if generation.get(key) is not None}
    for key, value in told.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"model {name}: {key} in generation_config.json must be a number, not {value!r}")
    if generation.get("do_sample") is False:
        told["temperature"] = 0
    if told.get("top_k") == -1:
        told["top_k"] = 0
    return {key: float(value) for key, value in told.items()}
