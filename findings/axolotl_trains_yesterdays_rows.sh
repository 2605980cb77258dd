#!/usr/bin/env bash
# Guess: axolotl trains on the rows that lie in the set when it starts.
# Seen (axolotl 0.19.0, Python 3.11): what it makes of a set is kept in ./last_run_prepared, or in dataset_prepared_path,
# under a hash of the set's path, its options and the tokenizer's name. A set that was written anew at the same path is
# not looked at: the examples of the old rows are trained, with one line among the log's of level INFO. `axolotl
# preprocess` alone makes them anew.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check "torch==${TORCH:-2.13.0}" transformers==5.16.1 datasets==4.8.4 \
    accelerate==1.13.0 peft==0.20.0 trl==1.9.0 huggingface_hub==1.17.0 posthog==6.7.11 pydantic==2.12.5 \
    addict==2.4.0 bitsandbytes==0.50.2 colorama==0.4.6 einops==0.8.2 fire==0.7.1 numba==0.68.1 pillow==13.0.0 \
    python-dotenv==1.0.1
env/bin/pip install --quiet --disable-pip-version-check --no-deps axolotl==0.19.0 axolotl-contribs-lgpl==0.0.7 fastcore==2.2.41
cat >seen.py <<'PY'
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from axolotl.cli.config import load_cfg
from axolotl.common.datasets import load_datasets
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, PreTrainedTokenizerFast

SETTINGS = {"base_model": "model", "datasets": [{"path": "set"}], "sequence_len": 64, "bf16": False}
SETTINGS |= {"micro_batch_size": 1, "learning_rate": 1e-5, "output_dir": "out"}


def put(ids):
    Path("set").mkdir(exist_ok=True)
    row = {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ids}
    pq.write_table(pa.Table.from_pylist([row] * 3), "set/train.parquet")


def trained(**more):
    Path("sft.yaml").write_text(yaml.safe_dump(SETTINGS))
    return load_datasets(cfg=load_cfg("sft.yaml", **more)).train_dataset[0]["input_ids"]


if __name__ == "__main__":
    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="<unk>").save_pretrained("model")
    LlamaConfig(vocab_size=64, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1).save_pretrained("model")
    put([5, 6, 7])
    first = trained()
    put([8, 9, 10, 11])
    second, preprocessed = trained(), trained(is_preprocess=True)
    print(f"[5, 6, 7] lies there:     {first}")
    print(f"[8, 9, 10, 11] lies there: {second} as train reads it, {preprocessed} as preprocess does")
    assert (first, second, preprocessed) == ([5, 6, 7], [5, 6, 7], [8, 9, 10, 11])
PY
DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python seen.py >log 2>&1 || { tail -n 20 log; exit 1; }
grep "lies there" log
