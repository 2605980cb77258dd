"""Supervised fine-tuning on SFT_DATA with the paper's values (arXiv 2512.04072), for TRL 1.16.

python -m assembly.run --raw runs/RUN --layout tokens --model Qwen/Qwen2.5-1.5B-Instruct --out traces
accelerate launch examples/trl_sft.py --model_name_or_path Qwen/Qwen2.5-1.5B-Instruct --dataset_name traces

Further flags are those of TRL's SFTConfig; with --eval_strategy epoch it evaluates on the split that --validation of
assembly.run holds out. Takes a set in the layout `tokens` or `prompt_completion`, in which no chat
template comes between the traces and the loss.
"""

import sys

from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import ModelConfig, ScriptArguments, SFTConfig, SFTTrainer, TrlParser

PAPER = {
    "max_length": None,  # TRL's own 1024 would cut traces, in silence
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "num_train_epochs": 2.0,
    "learning_rate": 1.0e-6,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.05,
    "weight_decay": 1.0e-4,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "bf16": True,
    "gradient_checkpointing": True,
    "logging_steps": 10,
    "save_strategy": "epoch",
    "save_only_model": True,
    "output_dir": "saves/skillfactory-sft",
}


def main() -> None:
    parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig))
    parser.set_defaults_with_config(**PAPER)
    script, args, model = parser.parse_args_and_config()
    rows = load_dataset(script.dataset_name, split=script.dataset_train_split)
    if not {"input_ids", "completion"} & {*rows.column_names}:
        sys.exit(f"{script.dataset_name}: make the set with --layout tokens or prompt_completion of assembly.run")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model.model_name_or_path, dtype=model.dtype),
        args=args,
        train_dataset=rows,
        eval_dataset=None if args.eval_strategy == "no" else load_dataset(script.dataset_name, split="validation"),
        processing_class=AutoTokenizer.from_pretrained(model.model_name_or_path),
    )
    trainer.train()
    trainer.save_model(args.output_dir)


if __name__ == "__main__":
    main()
