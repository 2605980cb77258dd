"""verl itself reads RL_DATA and scores by its reward.py: python tests/consumers/check_verl.py [RUN]

Runs from the checkout's root inside verl's own environment (`make verl`), where this project was installed
without its dependencies. The settings are those that examples/verl_grpo.sh gives. Exits non-zero on failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig, OmegaConf
from verl import DataProto
from verl.experimental.reward_loop import RewardLoopWorker
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.trainer.ppo.utils import create_rl_dataset, need_critic, need_reference_policy
from verl.utils import hf_tokenizer
from verl.utils.config import validate_config
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
from verl.workers.reward_manager import get_reward_manager_cls

import assembly

RUN = Path("runs/consumers")
MODEL = "generation/builtin/model"
PAPER = {
    "algorithm.adv_estimator": "grpo",
    "algorithm.use_kl_in_reward": False,
    "actor_rollout_ref.actor.use_kl_loss": False,
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 32,
    "actor_rollout_ref.rollout.n": 16,
    "data.train_batch_size": 256,
    "data.max_prompt_length": 512,
    "data.max_response_length": 4096,
    "trainer.total_training_steps": 150,
}


class Response(NamedTuple):
    text: str
    """`{gold}` stands for the gold answer."""
    score: float


RESPONSES = [
    Response("<answer>{gold}</answer>", 1.0),
    Response("<think>\n<answer>1</answer>\n</think>\n\nSo:\n<answer>\n{gold}\n</answer>", 1.0),
    Response("<answer>{gold}</answer> or rather <answer>1 + 1</answer>", 0.0),
    Response("It is {gold}.", 0.0),
    Response("<answer></answer>", 0.0),
    Response("<answer>{gold} + 0 * 9**9**9</answer>", 0.0),
    Response("<answer>__import__('os').abort() or ({gold})</answer>", 0.0),
    Response(f"<answer>{'(' * 900}{{gold}}{')' * 900}</answer>", 0.0),
    Response("<answer>" * 500, 0.0),
    Response("<answer>漢字 🧮 ½</answer>", 0.0),
    Response("?", 0.0),
]


def settings(run: Path) -> DictConfig:
    """What examples/verl_grpo.sh makes of verl's settings, as verl prints and checks them."""
    command = ["bash", "examples/verl_grpo.sh", "--cfg", "job"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "RUN": str(run), "MODEL": MODEL, "PATH": path}
    printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    config = OmegaConf.create(printed)
    for name, value in PAPER.items():
        assert OmegaConf.select(config, name) == value, (name, OmegaConf.select(config, name))
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    return config


def check_rows(dataset: RLHFDataset, path: Path, tokenizer: Any) -> None:
    """Every question is there, none too long, and its chat can be made of it."""
    rows = pq.read_table(path).to_pylist()
    assert len(dataset) == len(rows) > 0, path
    for row, item in zip(rows, (dataset[index] for index in range(len(dataset))), strict=True):
        assert item["raw_prompt"] == row["prompt"]
        assert item["index"] == row["extra_info"]["index"]
        chat = tokenizer.apply_chat_template(item["raw_prompt"], add_generation_prompt=True, tokenize=False)
        assert row["prompt"][0]["content"] in chat


def rollout(dataset: RLHFDataset, tokenizer: Any) -> tuple[DataProto, list[float]]:
    """Every response to every question, in verl's tensors, and the score that each deserves."""
    items, texts, scores = [], [], []
    for index in range(len(dataset)):
        for response in RESPONSES:
            items.append(dataset[index])
            gold = json.loads(items[-1]["reward_model"]["ground_truth"])["answer"]
            texts.append(response.text.replace("{gold}", gold))
            scores.append(response.score)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert [tokenizer.decode(one) for one in ids] == texts, "the tokenizer changes a text"
    width = max(map(len, ids))
    batch = DataProto.from_single_dict(collate_fn(items))
    tensors = {
        "prompts": torch.ones(len(ids), 1, dtype=torch.long),
        "responses": torch.tensor([one + [0] * (width - len(one)) for one in ids]),
        "attention_mask": torch.tensor([[1] * (1 + len(one)) + [0] * (width - len(one)) for one in ids]),
    }
    return batch.union(DataProto.from_single_dict(tensors)), scores


def check_batch_manager(config: DictConfig, data: DataProto, scores: list[float], tokenizer: Any) -> None:
    """The batch manager puts each score on the last token of its response."""
    config = OmegaConf.merge(config, {"reward": {"custom_reward_function": {"name": "compute_score_batch"}}})
    manager = get_reward_manager_cls("batch")(tokenizer, 0, get_custom_reward_fn(config))
    rewards = manager(data)
    assert rewards.sum(dim=-1).tolist() == scores
    last = data.batch["attention_mask"].sum(dim=-1) - 2
    assert rewards[torch.arange(len(scores)), last].tolist() == scores


def check_reward_loop(config: DictConfig, data: DataProto, scores: list[float]) -> None:
    """What the trainer of this verl uses: one score at a time, in threads."""
    worker = RewardLoopWorker(config)
    results = worker.loop.run_until_complete(worker.compute_score_batch(data))
    assert [result["reward_score"] for result in results] == scores


def main(run: Path) -> None:
    assert "site-packages" in assembly.__path__[0], "the project is to be imported as it was installed"
    folder = run / "RL_DATA"
    asyncio.set_event_loop(asyncio.new_event_loop())
    config, tokenizer = settings(run), hf_tokenizer(MODEL)
    datasets = []
    for files, path in (
        (config.data.train_files, folder / "train.parquet"),
        (config.data.val_files, folder / "val.parquet"),
    ):
        datasets.append(create_rl_dataset(files, config.data, tokenizer, None))
        check_rows(datasets[-1], path, tokenizer)
    data, scores = rollout(datasets[0], tokenizer)
    check_batch_manager(config, data, scores, tokenizer)
    check_reward_loop(config, data, scores)
    print(
        f"verl: {len(datasets[0])} questions to train on and {len(datasets[1])} to validate on; "
        f"{len(scores)} responses, {sum(scores):.0f} of them right, scored by the batch manager and by the "
        "reward loop; the settings of verl_grpo.sh hold"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else RUN)
