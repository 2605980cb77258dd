"""What examples/ hands to trainers: the paper's values, and names of things that are there.

That the trainers take them is checked in the trainers' own environments (`make consumers`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from assembly.rl import FILES, REWARD_FILE
from assembly.sft import DATASET_NAME

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

SFT = {
    "model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct",
    "dataset": DATASET_NAME,
    "template": "qwen",
    "cutoff_len": 4096,
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "full",
    "disable_gradient_checkpointing": False,
    "bf16": True,
    "per_device_train_batch_size": 1,
    "num_train_epochs": 2,
    "learning_rate": 1e-6,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.05,
    "weight_decay": 1e-4,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
}
SWIFT_SFT = {
    "model": "Qwen/Qwen2.5-1.5B-Instruct",
    "max_length": 4096,
    "tuner_type": "full",
    "gradient_checkpointing": True,
    "torch_dtype": "bfloat16",
    "deepspeed": "zero2",
    **{name: SFT[name] for name in list(SFT)[list(SFT).index("per_device_train_batch_size") :]},
}
GRPO = {
    "algorithm.adv_estimator": "grpo",
    "algorithm.use_kl_in_reward": "False",
    "actor_rollout_ref.actor.use_kl_loss": "False",
    "actor_rollout_ref.actor.optim.lr": "1e-6",
    "actor_rollout_ref.actor.ppo_mini_batch_size": "32",
    "actor_rollout_ref.rollout.n": "16",
    "data.train_batch_size": "256",
    "data.max_prompt_length": "512",
    "data.max_response_length": "4096",
    "trainer.total_training_steps": "150",
    "reward.custom_reward_function.name": "compute_score",
}


def test_the_sft_settings_are_the_papers() -> None:
    text = (EXAMPLES / "llamafactory_sft.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)
    assert {name: settings[name] for name in SFT} == SFT
    assert settings["dataset_dir"].endswith("/SFT_DATA")
    keys = re.findall(r"^(\w+):", text, re.MULTILINE)
    assert len(keys) == len(set(keys)) == len(settings)


def test_the_sft_settings_for_ms_swift_are_the_papers() -> None:
    settings = yaml.safe_load((EXAMPLES / "ms_swift_sft.yaml").read_text(encoding="utf-8"))
    assert {name: settings[name] for name in SWIFT_SFT} == SWIFT_SFT
    assert settings["dataset"].endswith("/SFT_DATA")


def test_the_zero_stage_is_the_papers() -> None:
    settings = yaml.safe_load((EXAMPLES / "llamafactory_sft.yaml").read_text(encoding="utf-8"))
    deepspeed = json.loads((ROOT / settings["deepspeed"]).read_text(encoding="utf-8"))
    assert deepspeed["zero_optimization"]["stage"] == 2


def test_axolotls_settings_are_the_papers_too() -> None:
    settings = yaml.safe_load((EXAMPLES / "axolotl_sft.yaml").read_text(encoding="utf-8"))
    names = ["learning_rate", "warmup_ratio", "weight_decay", "adam_beta1", "adam_beta2", "bf16"]
    assert {name: settings[name] for name in names} == {name: SFT[name] for name in names}
    assert settings["base_model"] == SFT["model_name_or_path"]
    assert settings["num_epochs"] == SFT["num_train_epochs"]
    assert settings["micro_batch_size"] == SFT["per_device_train_batch_size"]
    assert settings["lr_scheduler"] == SFT["lr_scheduler_type"]
    assert settings["sequence_len"] == SFT["cutoff_len"]


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """What verl_grpo.sh asks python3 for, on the run `tmp_path/my run` and with two words of its caller's."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done\n")
    python.chmod(0o755)
    environment = {"PATH": f"{python.parent}:{os.environ['PATH']}", "RUN": "my run", "GPUS": "2", "MODEL": "some/model"}
    command = ["bash", str(EXAMPLES / "verl_grpo.sh"), "trainer.save_freq=1", "--cfg"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_grpo_command_has_the_papers_values(asked: list[str]) -> None:
    assert asked[:2] == ["-m", "verl.trainer.main_ppo"]
    assert asked[-2:] == ["trainer.save_freq=1", "--cfg"]
    settings = dict(word.split("=", 1) for word in asked[2:-2])
    assert len(settings) == len(asked) - 4
    assert {name: settings[name] for name in GRPO} == GRPO
    assert settings["trainer.n_gpus_per_node"] == "2"
    assert settings["actor_rollout_ref.model.path"] == "some/model"


def test_the_grpo_command_names_the_files_of_the_run(asked: list[str], tmp_path: Path) -> None:
    settings = dict(word.split("=", 1) for word in asked[2:-2])
    folder = tmp_path.resolve() / "my run" / "RL_DATA"
    assert settings["data.train_files"] == str(folder / FILES["train"])
    assert settings["data.val_files"] == str(folder / FILES["validation"])
    assert settings["reward.custom_reward_function.path"] == str(folder / REWARD_FILE)
