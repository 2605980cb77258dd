"""OpenRLHF reads RL_DATA and rewards by its reward.py: python tests/consumers/check_openrlhf.py RL_DATA

Runs from the checkout's root, with that on PYTHONPATH, inside an environment of OpenRLHF's (`make openrlhf`): its own
dataset of prompts, and its own agent, which loads reward.py and calls it. Only the engine that the agent asks is not
vLLM: it says what is to be rewarded. Exits non-zero on failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from openrlhf.datasets import PromptDataset
from openrlhf.datasets.utils import blending_datasets
from openrlhf.utils import get_tokenizer
from openrlhf.utils.agent import SingleTurnAgentExecutor

from tests.consumers.answers import answers_to

MODEL = "generation/builtin/model"
SETTINGS = {"input_key": "prompt", "label_key": "ground_truth", "apply_chat_template": True}
LENGTH = 4096


class Engine:
    """Answers every prompt with the same tokens."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    async def generate(self, _: Any, parameters: Any, **others: Any) -> Any:
        assert parameters.max_tokens == LENGTH // 2, others
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=self.ids, finish_reason="stop", logprobs=None)])


def prompts(path: Path, tokenizer: Any) -> PromptDataset:
    """The questions as its trainer reads them."""
    args = SimpleNamespace(data=SimpleNamespace(**SETTINGS), use_ms=False)
    strategy = SimpleNamespace(args=args, print=print, is_rank_0=lambda: True)
    with contextlib.redirect_stdout(io.StringIO()):
        rows = blending_datasets(str(path), None, strategy, dataset_split="train")
    dataset = PromptDataset(rows, tokenizer, strategy)
    assert len(dataset) == len(rows) > 0
    for row, (source, prompt, truth, images) in zip(rows, (dataset[n] for n in range(len(rows))), strict=True):
        turns = [{"role": "user", "content": row["prompt"]}]
        assert prompt == tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        assert (source, truth, images) == (row["datasource"], row["ground_truth"], None)
        assert source.startswith("skillfactory/")
    return dataset


async def rewards(dataset: PromptDataset, reward: Path, tokenizer: Any) -> tuple[list[float], list[float]]:
    """What its agent gets for every answer to every question, and what each deserves."""
    agent = SingleTurnAgentExecutor([str(reward)])
    parameters = SimpleNamespace(max_tokens=LENGTH // 2, logprobs=None)
    found, wanted = [], []
    for number in range(len(dataset)):
        _, prompt, truth, _ = dataset[number]
        for answer in answers_to(truth):
            ids = [*tokenizer(answer.text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            done = await agent.execute(prompt, truth, parameters, LENGTH, tokenizer, Engine(ids))
            assert done["reward"] is not None, "an error in reward.py: see the log"
            assert done["scores"].tolist() == done["reward"].tolist()
            found += done["reward"].tolist()
            wanted.append(answer.reward)
    return found, wanted


def main(folder: Path) -> None:
    tokenizer = get_tokenizer(MODEL, None, "left")
    train, validation = (prompts(folder / name, tokenizer) for name in ("train.parquet", "val.parquet"))
    found, wanted = asyncio.run(rewards(train, folder / "reward.py", tokenizer))
    assert found == wanted, [pair for pair in zip(found, wanted, strict=True) if pair[0] != pair[1]]
    print(
        f"OpenRLHF: {len(train)} questions to train on and {len(validation)} to validate on; {len(found)} answers, "
        f"{sum(found):.0f} of them right, rewarded by its agent"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
