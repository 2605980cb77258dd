#!/usr/bin/env bash
# Guess: a thought in `reasoning_content`, beside `content` as vLLM's, DeepSeek's and Qwen's own formats have it, is trained
# as the model's thought; or the row is refused, with `--strict true` at the latest.
# Seen (ms-swift 4.6.0, transformers 5.19.0, Python 3.11): `swift sft` drops the key without a word. Under the template qwen3 an
# empty thought takes its place, read and not trained; under qwen3_thinking the answer alone is trained. The same thought
# inside `content`, in <think>, is trained whole under both.
# Exits with 1 when any of this changes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
pip=(env/bin/pip install --quiet --disable-pip-version-check --no-deps --no-compile)
"${pip[@]}" --requirement "$here/../tests/consumers/ms-swift.txt"
"${pip[@]}" 'torch==2.13.0+cpu' 2>/dev/null \
    || "${pip[@]}" --extra-index-url https://download.pytorch.org/whl/cpu 'torch==2.13.0+cpu'
export HF_HUB_OFFLINE=1 HF_HOME="$work/home" MODELSCOPE_CACHE="$work/cache"
env/bin/python - >said 2>log <<'PY' || { tail -n 20 log; exit 1; }
import json
from pathlib import Path

from swift.pipelines.train.sft import SwiftSft
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
Path("model/config.json").write_text(
    json.dumps({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "max_position_embeddings": 4096})
)


def write(name, **reply):
    turns = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", **reply}]
    Path(f"{name}.jsonl").write_text(json.dumps({"messages": turns}) + "\n")


write("apart", reasoning_content="So much.", content="It is 4.")
write("inside", content="<think>\nSo much.\n</think>\n\nIt is 4.")


class Data(SwiftSft):
    def _prepare_model_tokenizer(self):
        self.model, self.processor = self.args.get_model_processor(load_model=False)


def made(row, template):
    given = ["--model", "model", "--model_type", "qwen2", "--template", template, "--dataset", f"{row}.jsonl"]
    given += ["--output_dir", "out", "--report_to", "none", "--strict", "true", "--use_cpu", "true"]
    data = Data([*given, "--bf16", "false", "--fp16", "false"])
    (example,) = [data._prepare_dataset()[0][0]]
    reply = data.tokenizer.decode(example["input_ids"]).partition("assistant\n")[2]
    return reply, data.tokenizer.decode([label for label in example["labels"] if label != -100])


seen = {(row, template): made(row, template) for row in ("inside", "apart") for template in ("qwen3", "qwen3_thinking")}
for (row, template), (reply, trained) in seen.items():
    print(f"{row:<6} {template:<14} reads {reply!r}, trains {trained!r}")
assert all("So much." in trained for (row, _), (_, trained) in seen.items() if row == "inside"), seen
assert not any("So much." in reply for (row, _), (reply, _) in seen.items() if row == "apart"), seen
assert seen["apart", "qwen3"][0].startswith("<think>\n\n</think>\n\nIt is 4."), seen
assert "think" not in seen["apart", "qwen3"][1], seen
PY
cat said
! grep reasoning_content log
