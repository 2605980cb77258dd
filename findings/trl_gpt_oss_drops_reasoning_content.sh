#!/usr/bin/env bash
# Guess: TRL's version and the chat template that it ships settle what it trains of a row; and a thought in
# `reasoning_content`, as the templates of Qwen3 and GLM name it, is trained as gpt-oss's thought, or the row is refused.
# Seen (TRL 1.16.0, which takes transformers from 4.56.2 on; Python 3.11): with transformers 5.20.2 SFTTrainer trains such
# a row under gpt-oss's template without its analysis channel, for the template reads `thinking`; with `thinking` the row
# is trained whole. No line says so. With transformers 5.21.0 and 5.23.0 it is trained whole under either name, since
# `apply_chat_template` fills in the other. All this holds for turns with `assistant_only_loss`, where SFTTrainer puts its
# own form of the template, and for a prompt and a completion.
# Exits with 1 when any of this changes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
pip=(env/bin/pip install --quiet --disable-pip-version-check --no-deps --no-compile)
"${pip[@]}" --requirement "$here/../tests/consumers/trl.txt"
"${pip[@]}" 'torch==2.13.0+cpu' 2>/dev/null \
    || "${pip[@]}" --extra-index-url https://download.pytorch.org/whl/cpu 'torch==2.13.0+cpu'
cat >seen.py <<'PY'
from pathlib import Path

import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

letters = sorted(pre_tokenizers.ByteLevel.alphabet())
tokens = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokens.add_special_tokens(["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|endoftext|>"])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<|return|>", pad_token="<|endoftext|>")
tokenizer.chat_template = Path(trl.__file__).parent.joinpath("chat_templates", "gptoss.jinja").read_text(encoding="utf-8")
SHAPE = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
QUESTION = [{"role": "user", "content": "2 + 2?"}]
THOUGHT, ANSWER = "<|channel|>analysis<|message|>So much.<|end|>", "<|channel|>final<|message|>It is 4.<|return|>"


def trained(row, **options):
    trainer = SFTTrainer(
        model=LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SHAPE)),
        args=SFTConfig(output_dir="out", max_length=None, report_to="none", use_cpu=True, bf16=False, **options),
        train_dataset=Dataset.from_list([row]),
        processing_class=tokenizer,
    )
    labels = trainer.data_collator([trainer.train_dataset[0]])["labels"][0]
    return tokenizer.decode(labels[labels != -100])


for name in ("thinking", "reasoning_content"):
    reply = [{"role": "assistant", name: "So much.", "content": "It is 4."}]
    turns = trained({"messages": QUESTION + reply}, assistant_only_loss=True)
    pair = trained({"prompt": QUESTION, "completion": reply})
    print(f"transformers {transformers.__version__}, {name:<17} trains {turns!r}")
    seen = name == "thinking" or transformers.__version__ != "5.20.2"
    start = "<|start|>assistant"
    assert turns == (start + THOUGHT if seen else "") + start + ANSWER, turns
    assert pair == (THOUGHT + start if seen else "") + ANSWER, pair
PY
for version in 5.20.2 5.21.0 5.23.0; do
    "${pip[@]}" "transformers==$version"
    HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python seen.py >said 2>>log || { tail -n 20 log; exit 1; }
    grep "^transformers .* trains" said
done
! grep -E "reasoning_content|thinking" log
