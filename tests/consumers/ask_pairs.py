"""Has a trainer's own data code read PAIRS_DATA: python tests/consumers/ask_pairs.py TRAINER FOLDER MODEL OUT

Runs in the trainer's environment. OUT gets a line of JSON for each pair: the text that each of the two is trained as
and what of it carries loss. TRL's is its DPOTrainer, which then takes two steps; LLaMA-Factory's is its loader.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from typing import Any


def trl_pairs(folder: str, model: str) -> Iterator[tuple[str, str, str]]:
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    rows, tokenizer = load_dataset(folder, split="train"), AutoTokenizer.from_pretrained(model)
    with tempfile.TemporaryDirectory() as work:
        config = DPOConfig(
            output_dir=work,
            max_length=None,
            max_steps=2,
            logging_steps=1,
            per_device_train_batch_size=2,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
        )
        network = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
        trainer = DPOTrainer(model=network, args=config, train_dataset=rows, processing_class=tokenizer)
        for row in trainer.train_dataset:
            yield tuple(tokenizer.decode(row[f"{name}_ids"]) for name in ("prompt", "chosen", "rejected"))
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2, losses
    assert all(map(math.isfinite, losses)), losses


def llamafactory_pairs(folder: str, model: str) -> Iterator[tuple[str, str, str]]:
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.extras.constants import IGNORE_INDEX
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    with tempfile.TemporaryDirectory() as work:
        given: dict[str, Any] = {"model_name_or_path": model, "dataset_dir": folder, "output_dir": work, "stage": "rm"}
        given |= {"dataset": "skillfactory_pairs", "eval_dataset": "skillfactory_pairs_validation", "template": "qwen"}
        given |= {"do_train": True, "use_cpu": True, "report_to": "none", "overwrite_cache": True, "cutoff_len": 4096}
        told, data, training, _, _ = get_train_args(given)
        module = load_tokenizer(told)
        tokenizer = module["tokenizer"]
        template = get_template_and_fix_tokenizer(tokenizer, data)
        found = get_dataset(template, told, data, training, stage="rm", **module)
        assert len(found["eval_dataset"]) > 0
        for row in found["train_dataset"]:
            ids, labels = row["chosen_input_ids"], row["chosen_labels"]
            start = next(place for place, label in enumerate(labels) if label != IGNORE_INDEX)
            rejected = [one for one in row["rejected_labels"] if one != IGNORE_INDEX]
            yield tokenizer.decode(ids[:start]), tokenizer.decode(ids[start:]), tokenizer.decode(rejected)


def main(trainer: str, folder: str, model: str, out: str) -> None:
    read = {"trl": trl_pairs, "llamafactory": llamafactory_pairs}[trainer]
    with open(out, "w", encoding="utf-8") as file:
        for prompt, chosen, rejected in read(folder, model):
            file.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
