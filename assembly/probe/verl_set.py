"""verl's examples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from probe.examples import Examples, Made
from verl.utils import hf_tokenizer
from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset
from verl.utils.import_utils import load_extern_object

PACKAGE, LIMIT = "verl", "data.max_length"


def examples(job: dict[str, Any], _: str) -> Examples:
    tokenizer = hf_tokenizer(job["model"])
    # As its command line has them, data.max_length, or a file of its own, data: {max_length: 9}; or by the name alone.
    given = {name.removeprefix("data."): value for name, value in job["settings"].items()}
    given |= given.pop("data", {})
    settings = {"max_length": 1024, "custom_cls": {"path": None}, **given, "pad_mode": "no_padding"}
    config = OmegaConf.create(settings)
    files = sorted(str(path) for path in Path(job["data"], "data").glob("*.parquet"))
    # As its trainer chooses, which itself needs a dozen packages more.
    place, own = config.custom_cls.path, str(Path(job["data"], ""))
    place = place and re.sub(r"^(?:.*/)?SFT_DATA(?=/)", lambda _: own, place)
    other = place and load_extern_object(place, config.custom_cls.name)
    rows = (other or MultiTurnSFTDataset)(parquet_files=files, tokenizer=tokenizer, config=config)

    def made() -> Made:
        for place in range(len(rows)):
            row = rows[place]
            yield row["input_ids"].tolist(), [bool(mask) for mask in row["loss_mask"].tolist()], True

    return Examples(tokenizer, config.max_length, made())
