#!/usr/bin/env bash
# Guess: with `--lazy_tokenize true` rows above `max_length` are left out, as they are without it: the truncation strategy
# is `delete` by default, and when rows are tokenized should not settle which are trained.
# Seen (ms-swift 4.6.0, transformers 5.19.0, Python 3.11): `swift sft` trains another row, drawn from the whole set, in the
# place of each long one: the examples are as many as the rows, and some rows count twice. It draws anew each time that the
# rows are read. No line says so; without `lazy_tokenize` one says how many rows are left. With `--strict true` it ends at
# the first long row instead.
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
import logging
from pathlib import Path

from swift.pipelines.train.sft import SwiftSft
from swift.template.base import MaxLengthError
from swift.utils import get_logger
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
LONG, SHORT = [3, 7], [0, 1, 2, 4, 5, 6, 8, 9]  # about 400 tokens and 170, a token being a byte


def turns(number):
    reply = f"{number}" + " and so on" * (20 if number in LONG else 0)
    return {"messages": [{"role": "user", "content": "Which row?"}, {"role": "assistant", "content": reply}]}


Path("rows.jsonl").write_text("".join(json.dumps(turns(number)) + "\n" for number in range(10)))


class Data(SwiftSft):
    def _prepare_model_tokenizer(self):
        self.model, self.processor = self.args.get_model_processor(load_model=False)


class Said(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())


def readings(*more):
    given = ["--model", "model", "--model_type", "qwen2", "--template", "qwen2_5", "--dataset", "rows.jsonl"]
    given += ["--max_length", "250", "--output_dir", "out", "--report_to", "none", "--use_cpu", "true"]
    data = Data([*given, "--bf16", "false", "--fp16", "false", *more])
    lines.clear()
    rows = data._prepare_dataset()[0]
    labels = [[rows[place]["labels"] for place in range(len(rows))] for _ in range(2)]
    return [[int(data.tokenizer.decode([label for label in row if label != -100])[0]) for row in read] for read in labels]


lines = []
get_logger().addHandler(Said())
(first, second), told = readings("--lazy_tokenize", "true"), list(lines)
(without, again), told_without = readings("--lazy_tokenize", "false"), list(lines)
print(f"rows 0 to 9, of which 3 and 7 are too long; lazily, at two readings: {first} and {second}, without: {without}")
assert sorted(without) == SHORT, without
assert again == without, again
assert any("filtered" in line for line in told_without), told_without
for read in (first, second):
    assert len(read) == 10, read
    assert sorted(set(read)) == SHORT, read
assert first != second, first
assert not any(word in line for line in told for word in ("filter", "larger", "skip", "replace", "random")), told
try:
    readings("--lazy_tokenize", "true", "--strict", "true")
    raise SystemExit("--strict true takes long rows")
except MaxLengthError as error:
    print(f"lazily, --strict true: {error}")
PY
cat said
