"""Limits of an engine on GPUs, as arithmetic: the sequences that it runs at once, and the tokens of a step.

What is not known of a GPU or a model is not guessed: then the limits are those that vLLM takes for smaller GPUs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cluster.inference.values import is_count
from cluster.machine import Gpu
from cluster.texts import load_table

_KEYS: dict[str, list[str]] = load_table("cluster.inference", "models.toml")["shape"]
_GIB = 1 << 30
_SHARE = 0.9  # of a GPU's memory, as VllmSettings asks for
_MOST_SEQUENCES = 1024  # twice as many would be 8% faster on the largest GPUs, by arithmetic
_SAFE_SEQUENCES, _SAFE_TOKENS = 256, 8192  # vLLM's own, where memory is less than _LARGE, and on the A100
_LARGE, _LARGE_TOKENS = 70 * _GIB, 16_384  # from here on vLLM takes longer steps (AsyncEngineArgs.get_batch_defaults)
_FEWER_TOKENS = (4096, 2048)  # of a step, if that leaves room for _FEW_SEQUENCES
_FEW_SEQUENCES, _LEAST_SEQUENCES, _STEP = 64, 8, 16
_FIXED = int(1.5 * _GIB)  # of each GPU: its context, NCCL, CUDA graphs
_OF_VOCABULARY = 16  # bytes for each entry and sequence: logits in two precisions, noise, counts for penalties
_GROWN, _LEAST_GROWN = 16, 512  # the sequences of a batch hold a 16th of the context on average, or 512 tokens


class Shape(NamedTuple):
    """What config.json says of a model's size."""

    layers: int  # those that keep keys and values
    hidden: int
    inner: int  # width of the feed-forward layers
    kv_heads: int
    head_dim: int
    vocabulary: int
    parameters: int  # by arithmetic; 0 for a mixture of experts
    weight_bytes: int  # of one weight on disk, as far as config.json says it


class Limits(NamedTuple):
    """Where an engine starts, and why, for the user."""

    sequences: int
    tokens: int  # of one step
    reason: str


def shape_of(parts: Sequence[Mapping[str, Any]]) -> Shape | None:
    """Read the first of these parts of a config.json that has layers; None if a number is missing."""

    def said(of: Mapping[str, Any], key: str, default: int = 0) -> int:
        return next((of[name] for name in _KEYS[key] if is_count(of.get(name), 1)), default)

    config = next((part for part in parts if said(part, "layers")), {})
    layers, hidden, heads, vocabulary = (said(config, key) for key in ("layers", "hidden", "heads", "vocabulary"))
    if not (layers and hidden and heads and vocabulary):
        return None
    head_dim = said(config, "head_dim", hidden // heads)
    kv_heads, inner = said(config, "kv_heads", heads), said(config, "inner", 4 * hidden)
    if latent := said(config, "latent"):
        # Such models keep one vector for keys and values, on each GPU.
        kv_heads, head_dim = 1, -(-(latent + said(config, "rope")) // 2)
    attention = 2 * hidden * head_dim * (heads + kv_heads)
    embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
    experts = any(config.get(name) for name in _KEYS["experts"])
    parameters = 0 if experts else layers * (attention + 3 * hidden * inner) + embeddings
    size = 4 if "float32" in (config.get("dtype"), config.get("torch_dtype")) else 2
    kinds = config.get("layer_types")
    keeping = sum(kind in _KEYS["keeping"] for kind in kinds) if isinstance(kinds, list) else 0
    return Shape(keeping or layers, hidden, inner, kv_heads, head_dim, vocabulary, parameters, size)


def weights_of(shape: Shape | None, on_disk: int, *, quantized: bool, item: int = 2) -> int:
    """Return the bytes of a model's weights in memory; 0 if unknown. `on_disk` is 0 if they are not here."""
    if quantized or shape is None:
        return on_disk
    return on_disk * item // shape.weight_bytes or shape.parameters * item


def choose_limits(
    gpu: Gpu | None, shape: Shape | None, weights: int, *, context: int, workers: int = 1, item: int = 2
) -> Limits:
    """Return as many sequences as the memory holds keys and values for, partly grown, and vLLM's own tokens of a step.

    `gpu` is one of the engine's, the smallest; None or no memory if unknown. `weights` are bytes, 0 if unknown. `item`
    is the size of a key in bytes.
    """
    if gpu is None or not gpu.memory:
        return Limits(_SAFE_SEQUENCES, _SAFE_TOKENS, "vLLM's own, as the GPU's memory is not known")
    if shape is None or not weights:
        return Limits(_SAFE_SEQUENCES, _SAFE_TOKENS, "vLLM's own, as the size of the model is not known")
    kept = 2 * shape.layers * max(1, -(-shape.kv_heads // workers)) * shape.head_dim * item  # of one token
    grown = min(context, max(_LEAST_GROWN, context // _GROWN))
    each = grown * kept + shape.vocabulary * _OF_VOCABULARY
    most = _LARGE_TOKENS if gpu.memory >= _LARGE and "a100" not in gpu.name.lower() else _SAFE_TOKENS
    for tokens in (most, *_FEWER_TOKENS):
        step = tokens * item * (4 * shape.hidden + 3 * shape.inner // workers)
        room = int(_SHARE * gpu.memory) - weights // workers - _FIXED - step
        if (fitting := room // each) >= _FEW_SEQUENCES:
            break
    rounded = fitting // _STEP * _STEP if fitting >= _STEP else fitting
    held = f"{workers} GPUs" if workers > 1 else "GPU"
    beside = f"beside {weights / _GIB:.1f} GiB of weights the {held} ({gpu.name}, {gpu.memory / _GIB:.0f} GiB)"
    reason = f"{beside} can hold {max(0, fitting):,} of {grown:,} tokens"
    return Limits(min(_MOST_SEQUENCES, max(_LEAST_SEQUENCES, rounded)), tokens, reason)


def check_weights(gpu: Gpu | None, weights: int, workers: int, name: str) -> None:
    """Raise ValueError if the weights alone are more than the memory of an engine's GPUs."""
    if gpu is not None and gpu.memory and weights > workers * gpu.memory:
        held = f"{workers} GPUs hold" if workers > 1 else "a GPU holds"
        fitting = 1
        while weights > fitting * _SHARE * gpu.memory:
            fitting *= 2
        told = f"the weights of model {name} are {weights / _GIB:.1f} GiB, and {held}"
        raise ValueError(f"{told} {workers * gpu.memory / _GIB:.1f}: give --tensor_parallel {fitting} or more")
