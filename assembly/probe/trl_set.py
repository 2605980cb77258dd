"""TRL's examples."""

from __future__ import annotations

from typing import Any

from datasets import load_dataset
from probe.examples import IGNORED, Examples, Made, chosen
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer

PACKAGE, LIMIT = "trl", "max_length"


def examples(job: dict[str, Any], work: str) -> Examples:
    of_script = ("model_name_or_path", "dataset_name", "dtype", "attn_implementation", "use_peft", "use_liger_kernel")
    given = {name: value for name, value in chosen(job["settings"], *of_script).items() if "lora" not in name}
    args = SFTConfig(output_dir=work, use_cpu=True, bf16=False, report_to="none", **given)
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    # A model is needed to begin with, and none of its weights is looked at.
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = Qwen2Config(vocab_size=len(tokenizer) + 64, num_key_value_heads=1, **small)
    rows = load_dataset(job["data"], split="train", cache_dir=work)
    trainer = SFTTrainer(Qwen2ForCausalLM(config), args=args, train_dataset=rows, processing_class=tokenizer)
    apart = not args.packing or args.packing_strategy != "wrapped"

    def made() -> Made:
        for row in trainer.train_dataset:
            yield row["input_ids"], [label != IGNORED for label in row["labels"]], apart

    return Examples(tokenizer, args.max_length, made())
