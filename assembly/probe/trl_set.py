"""TRL's examples."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from datasets import load_dataset
from probe.examples import Examples, Made, carried, chosen
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
from trl import ModelConfig, ScriptArguments, SFTConfig, SFTTrainer

PACKAGE, LIMIT = "trl", "max_length"


def examples(job: dict[str, Any], work: str) -> Examples:
    of_script = {field.name for kind in (ScriptArguments, ModelConfig) for field in fields(kind)}
    given = chosen(
        job["settings"], "use_liger_kernel", *of_script.difference(field.name for field in fields(SFTConfig))
    )
    args = SFTConfig(**given | {"output_dir": work, "use_cpu": True, "bf16": False, "report_to": "none"})
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    # A model is needed to begin with, and none of its weights is looked at.
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = Qwen2Config(vocab_size=len(tokenizer) + 64, num_key_value_heads=1, **small)
    rows = load_dataset(job["data"], split="train", cache_dir=work)
    trainer = SFTTrainer(Qwen2ForCausalLM(config), args=args, train_dataset=rows, processing_class=tokenizer)
    apart = not args.packing or args.packing_strategy != "wrapped"

    def made() -> Made:
        for row in trainer.train_dataset:
            yield row["input_ids"], carried(row["input_ids"], row["labels"]), apart

    return Examples(tokenizer, args.max_length, made())
