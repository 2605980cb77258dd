#!/usr/bin/env bash
# Guess: in a folder with a tekken.json and no tokenizer.json, as Mistral publishes them, a chat template is used as
# everywhere: the chat_template.jinja that lies there, or the one handed to apply_chat_template; and the prompt as text,
# tokenized without further special tokens, is the prompt.
# Seen (transformers 5.19.0, mistral-common 1.13.1, Python 3.11): the class is MistralCommonBackend. Both templates are
# ignored, the one handed over too, without a word or an error: the prompt is Mistral's own each time. The text of
# that prompt is `<s>[INST]2 + 2?[/INST]`, and its tokens, taken from the text, are sixteen instead of eight: `<s>` and
# `[INST]` are read as plain characters. A warning advises against tokenize=False; nothing tells of the templates. With
# mistral_format=False the same folder takes the template, by another class.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'transformers==5.19.0' 'mistral-common==1.13.1' 'jinja2==3.1.6'
HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python - <<'PY'
import json
import shutil
from pathlib import Path

import mistral_common
from transformers import AutoTokenizer

MINE = "{% for message in messages %}Q: {{ message.content }}{% endfor %}"
CHAT = [{"role": "user", "content": "2 + 2?"}]
folder = Path("model")
folder.mkdir()
shutil.copy(Path(mistral_common.__file__).parent / "data" / "tekken_240911.json", folder / "tekken.json")
(folder / "config.json").write_text(json.dumps({"model_type": "mistral"}))
(folder / "chat_template.jinja").write_text(MINE)

tokenizer = AutoTokenizer.from_pretrained(folder)
assert type(tokenizer).__name__ == "MistralCommonBackend", type(tokenizer)
text = tokenizer.apply_chat_template(CHAT, tokenize=False)
handed = tokenizer.apply_chat_template(CHAT, tokenize=False, chat_template=MINE)
print(repr(text), repr(handed))
assert text == handed == "<s>[INST]2 + 2?[/INST]"

ids = tokenizer.apply_chat_template(CHAT, tokenize=True, return_dict=False)
again = tokenizer(text, add_special_tokens=False)["input_ids"]
print(ids, again)
assert (len(ids), ids[:2], ids[-1]) == (8, [1, 3], 4)
assert len(again) == 16 and not {1, 3, 4} & set(again)

other = AutoTokenizer.from_pretrained(folder, mistral_format=False)
print(type(other).__name__, repr(other.apply_chat_template(CHAT, tokenize=False)))
assert other.apply_chat_template(CHAT, tokenize=False, chat_template=MINE) == "Q: 2 + 2?"
PY
