"""axolotl itself trains two steps on SFT_DATA: python tests/consumers/check_axolotl.py RUN TOKENS

Runs from the checkout's root inside axolotl's own environment (`make axolotl`), with `examples/axolotl_sft.yaml` but
for what a CPU and a small model need, on TOKENS, the run's traces in the layout `tokens`; then it reads the run's own,
which are turns. Exits non-zero on failure.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from axolotl.cli.config import load_cfg
from axolotl.common.datasets import load_datasets
from axolotl.train import train
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = "generation/builtin/model"
TURNS = {"type": "chat_template", "field_messages": "conversations", "chat_template": "chatml"}
STEPS = 2
IGNORED = -100


def loaded(data: Path, out: Path, **entry: str) -> tuple[Any, Any]:
    """Give axolotl's configuration and examples, as `axolotl train` makes them from its YAML."""
    settings = yaml.safe_load(Path("examples/axolotl_sft.yaml").read_text(encoding="utf-8"))
    settings["datasets"][0] |= {"path": str(data), **entry}
    del settings["deepspeed"]
    settings |= {"base_model": MODEL, "dataset_prepared_path": str(out / "prepared"), "output_dir": str(out / "model")}
    settings |= {"bf16": False, "max_steps": STEPS, "logging_steps": 1}
    (out / "sft.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    config = load_cfg(str(out / "sft.yaml"))
    return config, load_datasets(cfg=config)


def check_labels(examples: Any, traces: list[str]) -> int:
    """Every trace is there, whole, and the loss is on it and its end alone; gives the longest example in tokens."""
    tokenizer, told = AutoTokenizer.from_pretrained(MODEL), list[str]()
    for example in examples:
        ids, labels = example["input_ids"], example["labels"]
        taught = [label for label in labels if label != IGNORED]
        first = next(place for place, label in enumerate(labels) if label != IGNORED)
        assert labels[first : first + len(taught)] == taught == ids[first : first + len(taught)], "the loss has a hole"
        assert tokenizer.decode(ids[:first]).endswith("<|im_end|>\n<|im_start|>assistant\n"), example
        told.append(tokenizer.decode(taught))
    # It shuffles them.
    assert sorted(told) == sorted(f"{trace}<|im_end|>" for trace in traces), min({*told} ^ {*traces}, default="")
    return max(len(example["input_ids"]) for example in examples)


def check_steps(config: Any, examples: Any) -> list[float]:
    """Two steps; gives the losses."""
    model, _, trainer = train(cfg=config, dataset_meta=examples)
    before = AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32").state_dict()
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == STEPS == trainer.state.global_step, losses
    assert all(math.isfinite(loss) and loss > 0 for loss in losses), losses
    assert any((before[name] != weight).any() for name, weight in model.state_dict().items()), "no weight changed"
    return losses


def main(run: Path, tokens: Path) -> None:
    turns = pq.read_table(run / "SFT_DATA" / "data")["conversations"].to_pylist()
    traces = [reply["content"] for _, reply in turns]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, examples = loaded(tokens, folder)
        longest = check_labels(examples.train_dataset, traces)
        losses = check_steps(config, examples)
        _, examples = loaded(run / "SFT_DATA", folder, **TURNS)
        check_labels(examples.train_dataset, traces)
    print(
        f"axolotl: {len(traces)} traces, none cut (longest {longest} tokens), loss on the assistant alone, "
        f"as tokens and as turns, {STEPS} steps with loss {' and '.join(f'{loss:.3f}' for loss in losses)}"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
