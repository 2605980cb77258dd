"""TRL's SFTTrainer trains two steps on SFT_DATA: python tests/consumers/check_trl.py [RUN]

Runs from the checkout's root inside TRL's own environment (`make trl`), in the two ways that put the loss on
the assistant's words alone. Exits non-zero on failure.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import trl
from datasets import Dataset, load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

RUN = Path("runs/countdown_3arg-skillfactory-tiny-3m")
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


def main(run: Path) -> None:
    rows = load_dataset(str(run / "SFT_DATA"), split="train")
    traces = [assistant["content"] for _, assistant in rows["conversations"]]
    # SFTTrainer takes turns of role and content under this name alone
    messages = rows.rename_column("conversations", "messages")
    losses = {
        "assistant_only_loss": check(messages, traces, assistant_only_loss=True, chat_template_path=str(QWEN)),
        "prompt and completion": check(rows.map(pair, remove_columns=rows.column_names), traces),
    }
    told = ", ".join(f"{way} {loss}" for way, loss in losses.items())
    print(f"TRL: {len(traces)} traces, none cut, {STEPS} steps each way with loss on the assistant alone: {told}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else RUN)
