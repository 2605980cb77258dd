"""LLaMA-Factory itself trains two steps on SFT_DATA: python tests/consumers/check_llamafactory.py [RUN]

Runs from the checkout's root inside LLaMA-Factory's own environment (`make llamafactory`), with
`examples/llamafactory_sft.yaml` but for what a CPU and a small model need. Exits non-zero on failure.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.train.tuner import run_exp
from transformers import TrainerCallback

RUN = Path("runs/consumers")
MODEL = Path("generation/builtin/model")
STEPS = 2
HOSTILE = (
    "{{content}} {{role}} {0} %s",
    "<image> <video> <audio> </think> <think>",
    "two\r\nlines,\ttabs\n\n\nand é, 漢字, 🧮, \u202e, \u0000",
    "<|endoftext|> <tool_call> [INST] ### Response:",
    " leading and trailing ",
)


class Witness(TrainerCallback):  # type: ignore[misc]
    """Sees what LLaMA-Factory's trainer works on."""

    examples: list[dict[str, Any]]
    tokenizer: Any
    log: list[dict[str, float]]
    moved: int = 0
    """Weights that training changed."""

    def on_train_begin(self, *_: Any, model: Any, train_dataloader: Any, processing_class: Any, **__: Any) -> None:
        self.examples = list(train_dataloader.dataset)
        self.tokenizer = processing_class
        self.before = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def on_train_end(self, _: Any, state: Any, __: Any, *, model: Any, **___: Any) -> None:
        self.log = state.log_history
        self.moved = sum(int((self.before[name] != weight).sum()) for name, weight in model.named_parameters())


def train(data: Path, out: Path) -> Witness:
    """Two steps, through the function behind `llamafactory-cli train`, its YAML and its command line."""
    overrides = {
        "model_name_or_path": MODEL,
        "dataset_dir": data,
        "output_dir": out,
        "deepspeed": "null",
        "use_cpu": "true",
        "max_steps": STEPS,
        "logging_steps": 1,
    }
    sys.argv = [
        "llamafactory-cli",
        "examples/llamafactory_sft.yaml",
        *(f"{key}={value}" for key, value in overrides.items()),
    ]
    witness = Witness()
    run_exp(callbacks=[witness])
    return witness


def check_labels(witness: Witness, conversations: list[list[dict[str, str]]]) -> int:
    """Every example is there, whole, and the loss is on the assistant's words alone; gives the longest."""
    assert len(witness.examples) == len(conversations), "rows were lost"
    for example, (user, assistant) in zip(witness.examples, conversations, strict=True):
        taught = [label for label in example["labels"] if label != IGNORE_INDEX]
        assert witness.tokenizer.decode(taught) == f"{assistant['content']}<|im_end|>\n", assistant
        shown = witness.tokenizer.decode(example["input_ids"][: -len(taught)])
        assert shown.endswith(f"<|im_start|>user\n{user['content']}<|im_end|>\n<|im_start|>assistant\n"), user
        assert example["labels"][-len(taught) :] == taught, "the loss has a hole"
    return max(len(example["input_ids"]) for example in witness.examples)


def check_steps(witness: Witness, out: Path) -> list[float]:
    losses = [entry["loss"] for entry in witness.log if "loss" in entry]
    assert len(losses) == STEPS, witness.log
    assert all(math.isfinite(loss) and loss > 0 for loss in losses), losses
    assert witness.moved > 0, "no weight changed"
    assert (out / "model.safetensors").stat().st_size > 1_000_000
    assert json.loads((out / "trainer_state.json").read_text())["global_step"] == STEPS
    return losses


def hostile_copy(data: Path, folder: Path) -> list[list[dict[str, str]]]:
    """An SFT_DATA whose texts try to be taken for something else."""
    shutil.copytree(data, folder)
    (path,) = (folder / "data").iterdir()
    table = pq.read_table(path)
    conversations = [[{"role": "user", "content": text}, {"role": "assistant", "content": text}] for text in HOSTILE]
    rows = [table.slice(0, 1).to_pylist()[0] | {"conversations": conversation} for conversation in conversations]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return conversations


def main(run: Path) -> None:
    data = run / "SFT_DATA"
    conversations = pq.read_table(data / "data")["conversations"].to_pylist()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        witness = train(data, folder / "model")
        longest = check_labels(witness, conversations)
        losses = check_steps(witness, folder / "model")
        hostile = hostile_copy(data, folder / "hostile")
        check_labels(train(folder / "hostile", folder / "other"), hostile)
    print(
        f"LLaMA-Factory: {len(conversations)} traces, none cut (longest {longest} tokens), "
        f"loss on the assistant alone, {STEPS} steps with loss {' and '.join(f'{loss:.3f}' for loss in losses)}; "
        f"{len(hostile)} hostile rows whole"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else RUN)
