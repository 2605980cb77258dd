"""OpenRLHF's examples."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import datasets
from openrlhf.datasets import SFTDataset
from openrlhf.datasets.utils import blending_datasets
from openrlhf.utils import get_tokenizer
from probe.examples import Examples, Made
from probe.openrlhf_words import openrlhf_arguments

PACKAGE, LIMIT = "openrlhf", "data.max_len"


def examples(job: dict[str, Any], work: str) -> Examples:
    # Its reader takes no folder for what it keeps.
    datasets.config.HF_DATASETS_CACHE = work
    source = {"model.model_name_or_path": job["model"], "data.dataset": job["data"]}
    args = openrlhf_arguments({**job["settings"], **source})
    strategy = SimpleNamespace(args=args, print=print, is_rank_0=lambda: True)
    fast = not args.data.disable_fast_tokenizer
    tokenizer = get_tokenizer(args.model.model_name_or_path, None, "right", strategy, use_fast=fast)
    given = (args.data.dataset, args.data.dataset_probs, strategy, args.train.seed, args.data.max_samples)
    data = blending_datasets(*given, dataset_split=args.data.dataset_split)
    rows = SFTDataset(
        data,
        tokenizer,
        args.data.max_len,
        strategy,
        pretrain_mode=args.model.pretrain_mode_enable,
        input_template=args.data.input_template,
        num_processors=1,
        multiturn=args.data.multiturn,
    )

    def made() -> Made:
        for place in range(len(rows)):
            (ids,), _, (carries,) = rows[place]
            # Its mask stands where the next token is predicted.
            yield ids.tolist(), [False, *(bool(mask) for mask in carries[:-1].tolist())], True

    return Examples(tokenizer, args.data.max_len, made())
