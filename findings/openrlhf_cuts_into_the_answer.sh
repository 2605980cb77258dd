#!/usr/bin/env bash
# Guess: SFTDataset trains the assistant's words after the prompt that the tokenizer writes for the question.
# Seen (openrlhf 0.11.2, transformers 5.15.0, Python 3.11), each without an error or a warning:
# - the answer is what stands in the whole chat's text behind as many characters as the prompt has. Where that is no
#   beginning of the chat, as under the template of Qwen3.5's small models, whose prompt ends on an empty thought, the
#   first 19 letters of an answer with a thought are gone, and it is trained behind the empty one.
# - of a tokenizer that puts a BOS token before every text, none stands before the text of a prompt.
# - turns without --data.apply_chat_template: every row is left out, and the set is empty.
# Exits with 1 when any of this changes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
pip=(env/bin/pip install --quiet --disable-pip-version-check --no-deps --no-compile)
# Of TRL, only the chat templates that it ships are read.
"${pip[@]}" --requirement "$here/../tests/consumers/openrlhf.txt" 'trl==1.16.0'
"${pip[@]}" 'torch==2.13.0+cpu' 2>/dev/null \
    || "${pip[@]}" --extra-index-url https://download.pytorch.org/whl/cpu 'torch==2.13.0+cpu'
HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python - 2>log <<'PY' || { tail -n 20 log; exit 1; }
from pathlib import Path
from types import SimpleNamespace

import datasets
import openrlhf.datasets
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

# The flags' defaults, where none is given.
TEMPLATE = "User: {}\nAssistant: "
datasets.disable_progress_bars()
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
raw = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
raw.add_special_tokens(["<s>", "<|im_start|>", "<|im_end|>"])
raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", raw.token_to_id("<s>"))])
templates = Path(next(Path("env/lib").glob("python*/site-packages/trl/chat_templates")))


def trained(rows, *, template="", input_template=TEMPLATE, **data):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="<|im_end|>")
    assert tokenizer.decode(tokenizer("a")["input_ids"]) == "<s>a"
    if template:
        tokenizer.chat_template = (templates / template).read_text()
    strategy = SimpleNamespace(args=SimpleNamespace(data=SimpleNamespace(**data)))
    rows = datasets.Dataset.from_list(rows)
    made = openrlhf.datasets.SFTDataset(rows, tokenizer, 2048, strategy, input_template, num_processors=1)
    for ids, _, mask in (made[place] for place in range(len(made))):
        # The mask stands where the next token is predicted.
        first = mask[0].tolist().index(1) + 1
        yield tokenizer.decode(ids[0][:first]), tokenizer.decode(ids[0][first:])


THOUGHT = "<think>\nTwo and two more are four.\n</think>\n\nIt is 4."
question, answer = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": THOUGHT}
turns, texts = [{"turns": [question, answer]}], [{"prompt": "2 + 2? ", "completion": "It is 4."}]
(small,) = trained(turns, template="qwen3_5_nothink.jinja", input_key="turns", apply_chat_template=True)
(plain,) = trained(turns, template="qwen3_instruct_2507.jinja", input_key="turns", apply_chat_template=True)
(text,) = trained(texts, input_template=None, input_key="prompt", output_key="completion")
none = [*trained(turns, input_key="turns")]
shown = {"an empty thought in the prompt": small, "none": plain, "a text": text, "turns, no template": none}
for name, seen in shown.items():
    print(f"{name:<31} {seen!r}")
asked = "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
assert plain == (asked, f"{THOUGHT}<|im_end|>"), plain
assert small == (f"{asked}<think>\n\n</think>\n\n", f"{THOUGHT[19:]}<|im_end|>"), small
assert text == ("2 + 2? ", "It is 4. <|im_end|>"), text
assert none == []
PY
