#!/usr/bin/env bash
# Guess: `apply_chat_template(..., continue_final_message=True)`, which servers use for a begun reply, gives the prompt and
# behind it the last turn as it stands, or an error; so budget forcing may send a thought that is cut, and "Wait".
# Seen (transformers 5.19.0, the chat templates that TRL 1.16.0 ships, Python 3.11): under those of Qwen3, Qwen3.5, Qwen3.6,
# Qwen3.8 and GLM-4.5 an empty thought that is closed already stands before the begun one, `<think>\n\n</think>\n\n<think>\nIt is 4.`
# (GLM: `<think></think>\n<think>…`): these templates take a turn without `</think>` for an answer. The model is told that it
# has thought, and that its thought is its answer. No error, no warning. Under R1's, DeepSeek-V3's, Qwen2.5's and 2507's the
# turn stands as it is.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check --no-compile transformers==5.19.0 jinja2==3.1.6
env/bin/pip download --quiet --disable-pip-version-check --no-deps --dest . trl==1.16.0
env/bin/python -m zipfile --extract trl-1.16.0-py3-none-any.whl .
cat >seen.py <<'PY'
from pathlib import Path

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

letters = sorted(pre_tokenizers.ByteLevel.alphabet())
tokens = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
BEGUN = "<think>\nIt is 4.\nWait"
CHAT = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": BEGUN}]
EXPECTED = {
    "qwen3": "<think>\n\n</think>\n\n",
    "qwen3_5_think": "<think>\n\n</think>\n\n",
    "qwen3_6": "<think>\n\n</think>\n\n",
    "qwen3_8": "<think>\n\n</think>\n\n",
    "glm4moe": "\n<think></think>\n",
    "deepseek_r1_distill": "",
    "deepseekv3": "",
    "qwen2_5": "",
    "qwen3_instruct_2507": "",
}


def before(name):
    """What stands between the turn's opening and the begun thought."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = Path("trl", "chat_templates", f"{name}.jinja").read_text(encoding="utf-8")
    asked = tokenizer.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(CHAT, tokenize=False, continue_final_message=True)
    assert whole.endswith(BEGUN), whole
    # Some templates open the thought in the prompt itself.
    asked = asked.removesuffix("<think>\n")
    for opened in (asked, f"{asked}\n"):
        if whole.startswith(opened):
            return whole[len(opened) : -len(BEGUN)]
    return whole


print(f"transformers {transformers.__version__}")
seen = {name: before(name) for name in EXPECTED}
for name, text in seen.items():
    print(f"{name}: {text!r} before the begun thought")
raise SystemExit(seen != EXPECTED)
PY
env/bin/python -W ignore seen.py 2>/dev/null
