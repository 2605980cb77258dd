#!/usr/bin/env bash
# Guess: AutoTokenizer cuts a text as the folder's tokenizer.json does, above all where tokenizer_config.json names the
# general class PreTrainedTokenizerFast; and a class that transformers does not have is an error.
# Seen (transformers 5.19.0, tokenizers 0.23.3, Python 3.11): the model type in config.json outweighs both. With
# `"model_type": "qwen2"` the class is Qwen2Tokenizer, whose own pre-tokenizer takes the place of the file's, so that
# the same tokenizer.json gives other tokens than under "llama"; nothing is said. A class that does not exist is
# replaced by a general one, without a word. A model with a tokenizer of its own, trained as its file cuts, reads
# other tokens than it was trained on.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'transformers==5.19.0' 'tokenizers==0.23.3'
HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python - <<'PY'
import json
import warnings
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

warnings.simplefilter("error")
TEXT = "a1b2"
VOCABULARY = {piece: number for number, piece in enumerate(["<unk>", "a", "b", "1", "2", "a1b2"])}


def tokens(model_type, named_class):
    folder = Path(f"{model_type}-{named_class}")
    folder.mkdir()
    raw = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": named_class}))
    by_file = [raw.id_to_token(one) for one in raw.encode(TEXT).ids]
    loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    by_auto = loaded.convert_ids_to_tokens(loaded(TEXT)["input_ids"])
    print(f"{model_type:<6} {named_class:<24} file {by_file}  AutoTokenizer {by_auto} ({type(loaded).__name__})")
    return by_file, by_auto


whole, cut = ["a1b2"], ["a", "1", "b", "2"]
assert tokens("llama", "PreTrainedTokenizerFast") == (whole, whole)
assert tokens("qwen2", "PreTrainedTokenizerFast") == (whole, cut)
assert tokens("llama", "NoSuchTokenizer") == (whole, whole)
PY
