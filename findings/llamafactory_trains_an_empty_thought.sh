#!/usr/bin/env bash
# Guess: a row whose reply has no thought is trained as it stands, whatever the template.
# Seen (LLaMA-Factory 0.9.5, transformers 5.6.0, Python 3.11): under the templates qwen3, deepseekr1 and glm4_moe an empty
# thought is put before the reply and carries loss: a baseline without thoughts learns to think nothing, and no line says
# so. Under qwen3_nothink, qwen and llama3 nothing is put there. With `enable_thinking: false` the same templates take the
# thought of rows that have one out of the loss.
# Exits with 1 when any of this changes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
pip=(env/bin/pip install --quiet --disable-pip-version-check --no-deps --no-compile)
"${pip[@]}" --requirement "$here/../tests/consumers/llamafactory.txt"
"${pip[@]}" 'torch==2.13.0+cpu' 2>/dev/null \
    || "${pip[@]}" --extra-index-url https://download.pytorch.org/whl/cpu 'torch==2.13.0+cpu'
rm -f env/lib/python*/site-packages/torchaudio/lib/*.so # of a CUDA build; the Python part is all that is imported
HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python - 2>log <<'PY' || { tail -n 20 log; exit 1; }
import json
from pathlib import Path

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

letters = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer.add_special_tokens(["<|end|>"])
Path("model").mkdir()
tokenizer.save("model/tokenizer.json")
Path("model/tokenizer_config.json").write_text(
    json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<|end|>"})
)
Path("model/config.json").write_text(json.dumps({"model_type": "qwen2"}))
THOUGHT = "<think>\nSo much.\n</think>\n\nIt is 4."
for name, reply in {"plain": "It is 4.", "thought": THOUGHT}.items():
    turns = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": reply}]
    Path(f"{name}.json").write_text(json.dumps([{"messages": turns}]))
tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
described = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
info = {name: {"file_name": f"{name}.json", **described} for name in ("plain", "thought")}
Path("dataset_info.json").write_text(json.dumps(info))


def trained(template, row, **more):
    given = {"model_name_or_path": "model", "template": template, "dataset": row, "dataset_dir": ".", **more}
    given |= {"output_dir": "out", "stage": "sft", "do_train": True, "use_cpu": True, "report_to": "none"}
    model, data, training, _, _ = get_train_args(given | {"overwrite_cache": True})
    module = load_tokenizer(model)
    found = get_dataset(
        get_template_and_fix_tokenizer(module["tokenizer"], data), model, data, training, stage="sft", **module
    )["train_dataset"][0]
    return module["tokenizer"].decode([label for label in found["labels"] if label != -100])


seen = {name: trained(name, "plain") for name in ("qwen3", "deepseekr1", "glm4_moe", "qwen3_nothink", "qwen", "llama3")}
off = trained("qwen3", "thought", enable_thinking=False)
for name, text in seen.items():
    print(f"{name:<14} trains {text!r}")
print(f"qwen3, enable_thinking: false, a row with a thought: trains {off!r}")
assert [name for name, text in seen.items() if "<think>" in text] == ["qwen3", "deepseekr1", "glm4_moe"], seen
assert all("It is 4." in text for text in seen.values()), seen
assert "It is 4." in off, off
assert "So much." not in off, off
assert "So much." in trained("qwen3", "thought")
PY
