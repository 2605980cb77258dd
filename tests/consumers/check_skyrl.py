"""SkyRL reads RL_DATA and rewards by the environment in reward.py: python tests/consumers/check_skyrl.py RL_DATA

Runs from the checkout's root, with that on PYTHONPATH, inside an environment of SkyRL's (`make skyrl`): its own dataset
of prompts, and its gym. Its generator, which steps the environment, does not import on Python 3.11. Exits non-zero on
failure.
"""

from __future__ import annotations

import sys
from pathlib import Path

import skyrl_gym
from skyrl.train.dataset import PromptDataset
from transformers import AutoTokenizer

from tests.consumers.answers import answers_to

MODEL = "generation/builtin/model"


def main(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    __import__("reward")  # as the card says: it makes itself known to the gym
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    read = {
        name: PromptDataset([str(folder / name)], tokenizer, max_prompt_length=512, num_workers=1)
        for name in ("train.parquet", "val.parquet")
    }
    found, wanted = [], []
    for dataset in read.values():
        assert len(dataset) > 0
        for asked in dataset.collate_fn([dataset[number] for number in range(len(dataset))]):
            assert [turn["role"] for turn in asked["prompt"]] == ["user"]
            assert asked["env_extras"]["data_source"].startswith("skillfactory/")
            for answer in answers_to(asked["env_extras"]["reward_spec"]["ground_truth"]):
                extras = asked["env_extras"] | {"max_turns": 1}  # as its generator adds
                environment = skyrl_gym.make(asked["env_class"], env_config={}, extras=extras)
                assert environment.init(asked["prompt"])[0] == asked["prompt"]
                step = environment.step(answer.text)
                assert step["done"]
                assert not step["observations"]
                found.append(step["reward"])
                wanted.append(answer.reward)
                environment.close()
    assert found == wanted, [pair for pair in zip(found, wanted, strict=True) if pair[0] != pair[1]]
    train, validation = map(len, read.values())
    print(
        f"SkyRL: {train} questions to train on and {validation} to validate on; {len(found)} answers, {sum(found):.0f} "
        "of them right, rewarded by the environment in its gym"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
