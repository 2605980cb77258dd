"""axolotl's examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import yaml
from axolotl.cli.config import load_cfg
from axolotl.common.datasets import load_datasets
from axolotl.loaders import load_tokenizer
from axolotl.utils.collators.batching import BatchSamplerDataCollatorForSeq2Seq
from axolotl.utils.data import sft
from axolotl.utils.samplers import MultipackBatchSampler, get_dataset_lengths
from probe.examples import Examples, Made, carried, chosen

PACKAGE, LIMIT = "axolotl", "sequence_len"


def examples(job: dict[str, Any], work: str) -> Examples:
    datasets.config.HF_DATASETS_CACHE = Path(work)
    # What it makes is taken as it is: to save it would only start processes.
    sft.save_preprocessed_dataset = lambda *_: None
    # All rows of this set and no others; and nothing leaves this machine.
    given = chosen(job["settings"], "val_set_size", "test_datasets", "pretraining_dataset", "push_dataset_to_hub")
    where = ("data_files", "ds_type", "name", "revision")
    (entry,) = given["datasets"]
    given["datasets"] = [{name: value for name, value in entry.items() if name not in where} | {"path": job["data"]}]
    given |= {"base_model": job["model"], "output_dir": work, "dataset_prepared_path": work, "dataset_num_proc": 0}
    config_file = Path(work, "config.yaml")
    config_file.write_text(yaml.safe_dump({"learning_rate": 1e-6, "bf16": False} | given), encoding="utf-8")
    config = load_cfg(str(config_file), is_preprocess=True)
    rows, tokenizer, most = load_datasets(cfg=config).train_dataset, load_tokenizer(config), config.sequence_len

    def made() -> Made:
        if not config.sample_packing:
            for row in rows:
                yield row["input_ids"], carried(row["input_ids"], row["labels"]), True
            return
        # As its trainer packs, which itself needs a model.
        packs = MultipackBatchSampler(range(len(rows)), 1, most, get_dataset_lengths(rows), most, drop_last=False)
        collate = BatchSamplerDataCollatorForSeq2Seq(tokenizer)
        for (pack,) in packs:
            batch = collate([rows[place] for place in pack])
            ids, labels = (batch[name][0].tolist() for name in ("input_ids", "labels"))
            yield ids, carried(ids, labels), bool(config.attn_decontaminates_packing)

    return Examples(tokenizer, most, made())
