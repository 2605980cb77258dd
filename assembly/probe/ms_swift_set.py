"""ms-swift's examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from probe.examples import Examples, Made, carried, chosen
from swift.cli.main import parse_yaml_args
from swift.pipelines.train.sft import SwiftSft

PACKAGE, LIMIT = "ms-swift", "max_length"


def examples(job: dict[str, Any], work: str) -> Examples:
    class Data(SwiftSft):  # type: ignore[misc]
        """As `swift sft` begins, without the weights."""

        def _prepare_model_tokenizer(self, **_: Any) -> None:
            self.model, self.processor = self.args.get_model_processor(load_model=False)

    held_out = ("val_dataset", "split_dataset_ratio", "cached_dataset", "cached_val_dataset", "load_data_args")
    given = {"use_hf": True} | chosen(job["settings"], "quant_method", "quant_bits", "torch_dtype", *held_out)
    given |= {"model": job["model"], "dataset": sorted(map(str, Path(job["data"], "data").glob("*.parquet")))}
    given |= {"output_dir": work, "add_version": False, "report_to": "none", "load_from_cache_file": False}
    given |= {"use_cpu": True, "bf16": False, "fp16": False}
    command = [str(Path(work, "given.json"))]
    Path(command[0]).write_text(json.dumps(given), encoding="utf-8")
    parse_yaml_args(command)
    data = Data(command)
    rows, _ = data._prepare_dataset()

    def made() -> Made:
        for row in (rows[place] for place in range(len(rows))) if hasattr(rows, "__len__") else rows:
            batch = data.template.data_collator(row if isinstance(row, list) else [row])
            ids, labels = (batch[name][0].tolist() for name in ("input_ids", "labels"))
            # Packed rows are kept apart by flash attention, without which it packs none.
            yield ids, carried(ids, labels), True

    return Examples(data.tokenizer, data.args.max_length, made())
