"""Makes the built-in model: tokenizer, weights, chat template. `python -m generation.builtin.train`

About 70 minutes on two CPU cores, minutes on a GPU. The only other home of torch beside the engine.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from generation.builtin import EVALUATION_QUESTIONS, EVALUATION_SEED, MODEL, RANGES
from generation.builtin.curriculum import Example, example
from generation.records import Question
from generation.tasks import countdown

CONTEXT = 1024
VOCABULARY = 2560
END, START_OF_TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Numbers below 1000 are single tokens, and so are tags and operators with their spaces; what stands
# between them is free to merge over words and lines, so that fixed phrases become few tokens.
_PIECES = r"\d{1,3}|</?[a-z]{1,10}>| [-+*/=] |\((?=[\d(])|(?<=[\d)])\)"


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    minutes: float
    batch_tokens: int = 4096
    learning_rate: float = 2.0e-3
    seed: int = 0


def evaluation_questions() -> tuple[Question, ...]:
    """The fresh questions behind the card's figures."""
    return countdown.make("countdown_3arg", EVALUATION_QUESTIONS, rl=False, seed=EVALUATION_SEED, ranges=RANGES)


def excluded() -> frozenset[tuple[object, ...]]:
    return frozenset(countdown.identity(question) for question in evaluation_questions())


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the curriculum itself, prompts and completions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, START_OF_TURN, END_OF_TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=END,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _corpus(seed: int) -> Iterator[str]:
    rng = random.Random(f"{seed}/tokenizer")
    for _ in range(20_000):
        drawn = example(rng, frozenset())
        yield from (f"{message['role']}\n{message['content']}" for message in drawn.messages)
        yield "assistant\n"
        yield drawn.completion
    for number in range(1000):
        yield "a".join([str(number)] * 4000)


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=CONTEXT,
        rope_theta=10_000.0,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.convert_tokens_to_ids(END_OF_TURN),
        pad_token_id=tokenizer.convert_tokens_to_ids(END),
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, drawn: Example) -> tuple[list[int], int]:
    """Token ids of prompt and completion, and how many are prompt."""
    prompt = tokenizer.apply_chat_template(list(drawn.messages), add_generation_prompt=True, tokenize=False)
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    tail = tokenizer(drawn.completion + END_OF_TURN, add_special_tokens=False)["input_ids"]
    return head + tail, len(head)


def _encoded_chunk(seed: int, index: int) -> list[tuple[list[int], int]]:
    rng = random.Random(f"{seed}/{index}")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(_WORK)
    left_out = excluded()
    return sorted((encode(tokenizer, example(rng, left_out)) for _ in range(4096)), key=lambda pair: len(pair[0]))


_WORK = MODEL


def batches(plan: Plan) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of (ids, labels), lengths alike, written ahead in another process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as writer:
        index = 1
        waiting = writer.submit(_encoded_chunk, plan.seed, 0)
        while True:
            chunk, waiting = waiting.result(), writer.submit(_encoded_chunk, plan.seed, index)
            rows = list(_split(chunk, plan.batch_tokens))
            random.Random(f"{plan.seed}/order/{index}").shuffle(rows)
            for row in rows:
                yield _padded(row)
            index += 1


def _split(chunk: list[tuple[list[int], int]], budget: int) -> Iterator[list[tuple[list[int], int]]]:
    row: list[tuple[list[int], int]] = []
    for pair in chunk:
        if row and (len(row) + 1) * len(pair[0]) > budget:
            yield row
            row = []
        row.append(pair)
    yield row


def _padded(row: list[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(ids) for ids, _ in row)
    ids = torch.zeros(len(row), longest, dtype=torch.long)
    labels = torch.full((len(row), longest), -100, dtype=torch.long)
    for line, (tokens, prompt) in enumerate(row):
        ids[line, : len(tokens)] = torch.tensor(tokens)
        labels[line, prompt : len(tokens)] = torch.tensor(tokens[prompt:])
    return ids, labels


def train(model: Qwen2ForCausalLM, plan: Plan, device: str, out: Path) -> None:
    """Adam under a clock: warm-up, then a cosine to zero at the end of the time. Saves every 1,000 steps."""
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    started, tokens, step, mean = time.monotonic(), 0, 0, 0.0
    for ids, labels in batches(plan):
        if step == 0:
            started = time.monotonic()
        share = (time.monotonic() - started) / (60 * plan.minutes)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * share))
        loss = model(input_ids=ids.to(device), labels=labels.to(device), use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, tokens, mean = step + 1, tokens + ids.numel(), 0.98 * mean + 0.02 * loss.item()
        if step % 1000 == 0:
            save(model, out)
        if step % 100 == 0:
            rate = tokens / (time.monotonic() - started)
            print(
                f"step {step}  {share:.0%}  loss {mean / (1 - 0.98**step):.4f}  {rate:.0f} tokens/s",
                flush=True,
            )


def save(model: Qwen2ForCausalLM, folder: Path) -> None:
    """Weights in half precision, and sampling that suits a digit-level model: no repetition penalty."""
    half = copy.deepcopy(model).to("cpu").to(torch.float16)
    half.save_pretrained(folder)
    sampling = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 50}
    (folder / "generation_config.json").write_text(
        json.dumps({**sampling, "eos_token_id": model.config.eos_token_id}, indent=2) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(2 if not torch.cuda.is_available() else 4)
    tokenizer = make_tokenizer(given.seed)
    tokenizer.save_pretrained(_WORK)
    model = make_model(tokenizer, given.seed)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens", flush=True)
    train(model, Plan(given.minutes, seed=given.seed), "cuda" if torch.cuda.is_available() else "cpu", given.out)
    save(model, given.out)


if __name__ == "__main__":
    main()
