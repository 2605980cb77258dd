"""TRL trains on SFT_DATA and rewards by RL_DATA: python tests/consumers/check_trl.py RUN RL_DATA

Runs from the checkout's root, with that on PYTHONPATH, inside TRL's own environment (`make trl`): SFTTrainer two steps
in each of the two ways that put the loss on the assistant's words alone, and examples/trl_sft.py on a set of tokens;
GRPOTrainer one step and many answers, as turns and as text. Exits non-zero on failure.
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import trl
from datasets import Dataset, load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from tests.consumers.answers import answers_to

MODEL = "generation/builtin/model"
QWEN = Path(trl.__file__).parent / "chat_templates" / "qwen2_5.jinja"
"""Qwen2.5's chat template: SFTTrainer itself marks the assistant's words in it. It cannot in the built-in model's."""
STEPS = 2
IGNORED = -100


def pair(row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": row["conversations"][:1], "completion": row["conversations"][1:]}


def check(rows: Dataset, traces: list[str], **options: Any) -> str:
    """Two steps, with the loss on exactly the traces. Gives the losses, for people."""
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32")
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            max_length=None,  # the default of 1024 tokens cuts traces, in silence
            max_steps=STEPS,
            logging_steps=1,
            per_device_train_batch_size=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(MODEL)
        trainer = SFTTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)
        examples = list(trainer.train_dataset)
        assert len(examples) == len(traces), "rows were lost"
        for example, text in zip(examples, traces, strict=True):
            labels = trainer.data_collator([example])["labels"][0]
            told = tokenizer.decode(labels[labels != IGNORED])
            before, taught, behind = told.partition(f"{text}<|im_end|>")
            assert taught, told
            # Qwen2.5's marks take the line breaks round a turn in; the built-in tokenizer joins one to a word
            assert before in ("", "\n", "assistant\n"), told
            assert behind in ("", "\n"), told
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == STEPS, losses
    assert all(math.isfinite(loss) and loss > 0 for loss in losses), losses
    assert any((weights[name] != weight).any() for name, weight in model.named_parameters()), "no weight changed"
    return " and ".join(f"{loss:.3f}" for loss in losses)


def tokens(row: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    prompt, text = (
        tokenizer.apply_chat_template(row["conversations"][:count], tokenize=True, return_dict=False, **more)
        for count, more in ((1, {"add_generation_prompt": True}), (2, {}))
    )
    assert text[: len(prompt)] == prompt
    return {"input_ids": text, "labels": [IGNORED] * len(prompt) + text[len(prompt) :]}


def check_example(rows: Dataset) -> str:
    """Two steps of examples/trl_sft.py, but for what a CPU needs, on a set of tokens. Gives the losses, for people."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder, "data"), Path(folder, "out")
        given = {"tokenizer": AutoTokenizer.from_pretrained(MODEL)}
        rows.map(tokens, fn_kwargs=given, remove_columns=rows.column_names).to_parquet(str(data / "train.parquet"))
        flags = {
            "model_name_or_path": MODEL,
            "dataset_name": data,
            "output_dir": out,
            "max_steps": STEPS,
            "logging_steps": 1,
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
        }
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        subprocess.run([sys.executable, "examples/trl_sft.py", *words], check=True)
        (state,) = out.rglob("trainer_state.json")
        log = json.loads(state.read_text(encoding="utf-8"))["log_history"]
        losses = [entry["loss"] for entry in log if "loss" in entry]
        assert (out / "model.safetensors").read_bytes() != Path(MODEL, "model.safetensors").read_bytes()
    assert len(losses) == STEPS, losses
    assert all(math.isfinite(float(loss)) and float(loss) > 0 for loss in losses), losses
    return " and ".join(f"{float(loss):.3f}" for loss in losses)


def as_text(row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": row["prompt"][0]["content"]}


def check_reward(folder: Path, *, turns: bool) -> int:
    """The trainer's own call of reward.py for every answer, and one step with it. Gives the number of answers."""
    rows = load_dataset("parquet", data_files=str(folder / "train.parquet"), split="train")
    rows = rows if turns else rows.map(as_text)
    with tempfile.TemporaryDirectory() as work:
        config = GRPOConfig(
            output_dir=work,
            max_completion_length=48,
            num_generations=2,
            per_device_train_batch_size=2,
            max_steps=1,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
        )
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32"),
            reward_funcs=importlib.import_module("reward").reward,
            args=config,
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(MODEL),
        )
        asked = [(row, answer) for row in rows for answer in answers_to(row["ground_truth"])]
        completions = [[{"role": "assistant", "content": one.text}] if turns else one.text for _, one in asked]
        inputs = [row for row, _ in asked]
        prompts = [row["prompt"] for row in inputs]
        found = trainer._calculate_rewards(inputs, prompts, completions, [[0]] * len(asked))
        assert found[:, 0].tolist() == [one.reward for _, one in asked]
        trainer.train()
        rewards = [entry["rewards/reward/mean"] for entry in trainer.state.log_history if "reward" in entry]
    assert len(rewards) == 1, trainer.state.log_history
    assert 0 <= rewards[0] <= 1, rewards
    return len(asked)


def main(run: Path, rl: Path) -> None:
    rows = load_dataset(str(run / "SFT_DATA"), split="train")
    traces = [assistant["content"] for _, assistant in rows["conversations"]]
    # SFTTrainer takes turns of role and content under this name alone
    messages = rows.rename_column("conversations", "messages")
    losses = {
        "assistant_only_loss": check(messages, traces, assistant_only_loss=True, chat_template_path=str(QWEN)),
        "prompt and completion": check(rows.map(pair, remove_columns=rows.column_names), traces),
    }
    told = ", ".join(f"{way} {loss}" for way, loss in losses.items())
    sys.path.insert(0, str(rl))
    told += f", examples/trl_sft.py {check_example(rows)}"
    answers = [check_reward(rl, turns=turns) for turns in (True, False)]
    told += f"; {answers[0]} answers as turns and {answers[1]} as text rewarded by GRPOTrainer, a step with each"
    print(f"TRL: {len(traces)} traces, none cut, {STEPS} steps each way with loss on the assistant alone: {told}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
