"""A LoRA adapter of random weights for the built-in model, in the layout of PEFT, as its library would save it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from cluster.inference.adapters import shapes_of
from generation.builtin import MODEL

MODULES = ("q_proj", "v_proj", "down_proj")
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": MODEL.name,
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "bias": "none",
    "target_modules": list(MODULES),
    "modules_to_save": None,
    "use_dora": False,
    "init_lora_weights": True,
}


def write_lora(folder: Path, *, width: int = 0, more: tuple[str, ...] = (), **changes: Any) -> Path:
    """Write an adapter whose configuration has these changes; `width` is added to the rows of B, `more` are tensors."""
    folder.mkdir(parents=True)
    config, rng = CONFIG | changes, np.random.default_rng(0)
    rank = config["r"] if type(config["r"]) is int else 8
    tensors = {name: np.zeros((2, 2), np.float32) for name in more}
    for name, shape in shapes_of(MODEL / "model.safetensors").items():
        module = name.removesuffix(".weight")
        if module.endswith(MODULES):
            rows, columns = shape
            tensors[f"base_model.model.{module}.lora_A.weight"] = rng.normal(size=(rank, columns)).astype(np.float32)
            tensors[f"base_model.model.{module}.lora_B.weight"] = rng.normal(size=(rows + width, rank)).astype(
                np.float32
            )
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
