"""ms-swift itself takes two steps on SFT_DATA, one of GRPO on RL_DATA: check_ms_swift.py [RUN RL_DATA]

Runs from the checkout's root inside ms-swift's own environment (`make ms-swift`), with this checkout on PYTHONPATH for
the graders and RL_DATA in the layout `ms-swift`. SFT goes by `examples/ms_swift_sft.yaml` but for what a CPU and a
small model need. Exits non-zero on failure.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import torch
import yaml
from swift.cli.main import parse_yaml_args
from swift.pipelines import rlhf_main
from swift.pipelines.train.sft import SwiftSft
from swift.rlhf_trainers.grpo_trainer import GRPOTrainer

RUN = Path("runs/consumers")
SHOWN = Path(".venv-ms-swift/shown/RL_DATA")
MODEL = "generation/builtin/model"
STEPS = 2
IGNORED = -100
HERE: dict[str, Any] = {
    "model": MODEL,
    "model_type": "qwen2",
    "template": "qwen2_5",
    "torch_dtype": "float32",
    "bf16": False,
    "fp16": False,
    "use_cpu": True,
    "check_model": False,
    "logging_steps": 1,
}
"""What a CPU and a small model need."""
GRPO: dict[str, Any] = {
    "rlhf_type": "grpo",
    "reward_funcs": "skillfactory",
    "use_vllm": False,
    "tuner_type": "full",
    "per_device_train_batch_size": 2,
    "num_generations": 2,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 16,
    "save_strategy": "no",
    "report_to": "none",
}


class Training(SwiftSft):  # type: ignore[misc]
    """`swift sft`, which lets its trainer be seen."""

    trainer: Any
    moved: int
    """Weights that training changed."""

    def train(self, trainer: Any) -> Any:
        self.trainer = trainer
        before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
        told = super().train(trainer)
        self.moved = sum(int((before[name] != weight).sum()) for name, weight in trainer.model.named_parameters())
        return told


def command(folder: Path, settings: dict[str, Any]) -> list[str]:
    """What the command line makes of a file of settings."""
    file = folder / "settings.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    words = [str(file)]
    parse_yaml_args(words)
    return words


def check_training(data: Path, folder: Path) -> tuple[int, list[float]]:
    """Two steps, with the loss on exactly the traces. Gives their number and the losses."""
    settings = yaml.safe_load(Path("examples/ms_swift_sft.yaml").read_text(encoding="utf-8"))
    del settings["deepspeed"]
    here: dict[str, Any] = {"dataset": str(data), "output_dir": str(folder / "model"), "max_steps": STEPS}
    training = Training(command(folder, settings | HERE | here))
    told = training.main()
    left = sorted(assistant["content"] for _, assistant in pq.read_table(data / "data")["conversations"].to_pylist())
    tokenizer, taught = training.tokenizer, list[str]()
    for batch in training.trainer.get_train_dataloader():
        (labels,) = batch["labels"]
        words = tokenizer.decode(labels[labels != IGNORED])
        assert words.endswith("<|im_end|>\n"), words
        taught.append(words.removesuffix("<|im_end|>\n"))
    assert sorted(taught) == left, "other texts than the traces are trained"
    losses = [entry["loss"] for entry in told["log_history"] if "loss" in entry]
    assert len(losses) == STEPS, told
    assert all(math.isfinite(loss) and loss > 0 for loss in losses), losses
    assert training.moved > 0, "no weight changed"
    return len(taught), losses


def check_reward(data: Path, folder: Path) -> list[float]:
    """A step of GRPO with the reward of RL_DATA's plugin; gives it for a right answer and a wrong one."""
    grade = GRPOTrainer._compute_rewards_per_func
    graded, found = list[list[float]](), list[Any]()

    def watched(trainer: Any, samples: list[Any]) -> torch.Tensor:
        """As the trainer grades, then the same samples as if other answers had been written."""
        given = deepcopy(samples)
        right = json.loads(samples[0].extra["ground_truth"])["answer"]
        for sample, answer in zip(given, (right, f"{right} + 1"), strict=True):
            sample.messages[-1]["content"] = f"<think>\nHm.\n</think>\n\n<answer>{answer}</answer>"
        graded.append(grade(trainer, given)[:, 0].tolist())
        found.append(grade(trainer, samples))
        return found[-1]

    here: dict[str, Any] = {"dataset": str(data / "train.parquet"), "external_plugins": str(data / "reward.py")}
    here |= {"output_dir": str(folder / "rl"), "max_steps": 1}
    with patch.object(GRPOTrainer, "_compute_rewards_per_func", watched):
        told = rlhf_main(command(folder, HERE | GRPO | here))
    assert graded == [[1.0, 0.0]], graded
    (entry,) = (entry for entry in told["log_history"] if "reward" in entry)
    assert entry["rewards/SkillFactory/mean"] == float(found[0].mean()), entry
    return graded[0]


def main(run: Path, questions: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MODELSCOPE_CACHE"] = str(folder / "cache")
        traces, losses = check_training(run / "SFT_DATA", folder)
        right, wrong = check_reward(questions, folder)
    told = " and ".join(f"{loss:.3f}" for loss in losses)
    print(
        f"ms-swift: {traces} traces, none cut, {STEPS} steps with loss on the assistant alone: {told}; "
        f"GRPO's reward is {right} for a right answer, {wrong} for a wrong one"
    )


if __name__ == "__main__":
    main(*(map(Path, sys.argv[1:]) if len(sys.argv) > 1 else (RUN, SHOWN)))
