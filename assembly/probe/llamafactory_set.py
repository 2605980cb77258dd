"""LLaMA-Factory's examples."""

from __future__ import annotations

from typing import Any

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from probe.examples import IGNORED, Examples, Made, carried, chosen

PACKAGE, LIMIT = "llamafactory", "cutoff_len"


def examples(job: dict[str, Any], work: str) -> Examples:
    given = chosen(job["settings"], "pure_bf16", "flash_attn", "tokenized_path")
    given |= {"model_name_or_path": job["model"], "dataset_dir": job["data"], "output_dir": work, "stage": "sft"}
    given |= {"do_train": True, "use_cpu": True, "report_to": "none", "overwrite_cache": True}
    model, data, training, _, _ = get_train_args(given)
    module = load_tokenizer(model)
    tokenizer = module["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data)
    rows = get_dataset(template, model, data, training, stage="sft", **module)["train_dataset"]

    def made() -> Made:
        for row in rows:
            ids, labels, end = row["input_ids"], row["labels"], len(row["input_ids"])
            while data.packing and end and labels[end - 1] == IGNORED and ids[end - 1] == tokenizer.pad_token_id:
                end -= 1
            apart = not data.packing or len({*row["attention_mask"][:end]}) > 1
            yield ids[:end], carried(ids[:end], labels[:end]), apart

    return Examples(tokenizer, data.cutoff_len, made())
