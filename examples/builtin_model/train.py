"""Makes the built-in model: tokenizer, weights, chat template. `python -m examples.builtin_model.train`

About two hours on two CPU cores, minutes on a GPU. The only other home of torch beside the engine.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from examples.builtin_model.curriculum import Example, drill, example
from generation.builtin import EVALUATION_QUESTIONS, EVALUATION_SEED, MODEL, RANGES
from generation.records import Question
from generation.tasks import countdown
from generation.tasks.task import Wanted

CONTEXT = 1024
VOCABULARY = 2560
END, START_OF_TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_SPECIAL = [END, START_OF_TURN, END_OF_TURN]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_WRITTEN_AHEAD = 160
"""Batches: a little more than one chunk of examples gives."""
# Numbers below 1000 are single tokens, and so are tags and operators with their spaces; what stands
# between them is free to merge over words and lines, so that fixed phrases become few tokens.
_PIECES = r"\d{1,3}|</?[a-z]{1,10}>| [-+*/=] |\((?=[\d(])|(?<=[\d)])\)"


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    minutes: float
    batch_tokens: int = 4096
    learning_rate: float = 2.0e-3
    drills: float = 1.0
    """Share of the drills that is used at the beginning; it falls to none at the end."""
    seed: int = 0


def evaluation_questions() -> tuple[Question, ...]:
    """The fresh questions behind the card's figures."""
    task = countdown.task("countdown_3arg", RANGES)
    return task.supply(Wanted(EVALUATION_QUESTIONS, 0, EVALUATION_SEED)).sft


def excluded() -> frozenset[tuple[object, ...]]:
    return frozenset(countdown.identity(question) for question in evaluation_questions())


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Bytes, and the words and phrases that a byte-level BPE learns from the curriculum, as added tokens.

    Added, because transformers 5 gives every model of type qwen2 Qwen's own way of cutting text into
    pieces, whatever its tokenizer.json says; added tokens are found before that.
    """
    learned = _learn(seed)
    vocabulary = sorted(learned.get_vocab().items(), key=lambda pair: pair[1])
    bytes_only = dict(vocabulary[: len(_SPECIAL) + len(pre_tokenizers.ByteLevel.alphabet())])
    tokenizer = Tokenizer(models.BPE(vocab=bytes_only, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(_SPECIAL)
    phrases = [learned.decode([number]) for _, number in vocabulary[len(bytes_only) :]]
    tokenizer.add_tokens([AddedToken(phrase, normalized=False, special=False) for phrase in phrases])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=END,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _learn(seed: int) -> Tokenizer:
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
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(seed), trainer)
    return tokenizer


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


def grown(start: Path, tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    """Return the model in the folder `start` with the tokens of another tokenizer.

    A token that it did not have begins as the mean of those that its text was cut into.
    """
    model, former = make_model(tokenizer, seed), Qwen2ForCausalLM.from_pretrained(start, dtype=torch.float32)
    rows, known = former.get_input_embeddings().weight, PreTrainedTokenizerFast.from_pretrained(start)
    own = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    pieces = [known(token, add_special_tokens=False)["input_ids"] for token in own]
    for place, token in enumerate(own):
        if (same := known.convert_tokens_to_ids(token)) is not None:
            pieces[place] = [same]
    weights = former.state_dict() | {"model.embed_tokens.weight": torch.stack([rows[one].mean(0) for one in pieces])}
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model.load_state_dict({name: value.detach() for name, value in weights.items()})
    return model


def encode(tokenizer: PreTrainedTokenizerFast, drawn: Example) -> tuple[list[int], int]:
    """Token ids of prompt and completion, and how many are prompt."""
    prompt = tokenizer.apply_chat_template(list(drawn.messages), add_generation_prompt=True, tokenize=False)
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    tail = tokenizer(drawn.completion + END_OF_TURN, add_special_tokens=False)["input_ids"]
    return head + tail, len(head)


class Batch(NamedTuple):
    ids: torch.Tensor
    labels: torch.Tensor
    drill: bool


Pair = tuple[list[int], int]
"""Token ids, and how many of them are prompt."""


def _encoded_chunk(folder: Path, seed: int, index: int) -> tuple[list[Pair], list[Pair]]:
    """Examples and drills, each shortest first."""
    rng = random.Random(f"{seed}/{index}")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    left_out = excluded()
    examples = [encode(tokenizer, example(rng, left_out)) for _ in range(2048)]
    texts = [drill(rng, left_out) for _ in range(640)]
    drills = [(ids, 1) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    return sorted(examples, key=_length), sorted(drills, key=_length)


def _length(pair: Pair) -> int:
    return len(pair[0])


class Batches(IterableDataset[Batch]):  # type: ignore[misc]
    """Endless batches, lengths alike; about half of the tokens are drills."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder

    def __iter__(self) -> Iterator[Batch]:
        for index in itertools.count():
            examples, drills = _encoded_chunk(self._folder, self._plan.seed, index)
            rows = [(row, False) for row in _split(examples, self._plan.batch_tokens)]
            rows += [(row, True) for row in _split(drills, self._plan.batch_tokens)]
            random.Random(f"{self._plan.seed}/order/{index}").shuffle(rows)
            for row, is_drill in rows:
                yield Batch(*_padded(row), is_drill)


def batches(plan: Plan, folder: Path) -> DataLoader[Batch]:
    """Written ahead in a process of their own, which ends when this one does, however it ends."""
    return DataLoader(Batches(plan, folder), batch_size=None, num_workers=1, prefetch_factor=_WRITTEN_AHEAD)


def _split(chunk: list[Pair], budget: int) -> Iterator[list[Pair]]:
    row: list[Pair] = []
    for pair in chunk:
        if row and (len(row) + 1) * len(pair[0]) > budget:
            yield row
            row = []
        row.append(pair)
    yield row


def _padded(row: list[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(ids) for ids, _ in row)
    ids = torch.zeros(len(row), longest, dtype=torch.long)
    labels = torch.full((len(row), longest), -100, dtype=torch.long)
    for line, (tokens, prompt) in enumerate(row):
        ids[line, : len(tokens)] = torch.tensor(tokens)
        labels[line, prompt : len(tokens)] = torch.tensor(tokens[prompt:])
    return ids, labels


def train(model: Qwen2ForCausalLM, plan: Plan, device: str, out: Path) -> None:
    """Adam under a clock: warm-up, then a cosine to zero at the end of the time. Saves every 500 steps.

    Drills are half of the tokens at first and none at the end.
    """
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    rng = random.Random(f"{plan.seed}/drills")
    losses = {True: 0.0, False: 0.0}
    started, tokens, step = time.monotonic(), 0, 0
    for batch in batches(plan, out):
        started = started if step else time.monotonic()
        share = (time.monotonic() - started) / (60 * plan.minutes)
        if share >= 1:
            break
        if batch.drill and rng.random() > plan.drills * (1 - share):
            continue
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * share))
        loss = model(input_ids=batch.ids.to(device), labels=batch.labels.to(device), use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + batch.ids.numel()
        losses[batch.drill] += 0.04 * (loss.item() - losses[batch.drill])
        if step % 500 == 0:
            save(model, out)
        if step % 100 == 0:
            rate = tokens / (time.monotonic() - started)
            told = f"examples {losses[False]:.4f}  drills {losses[True]:.4f}  {rate:.0f} tokens/s"
            print(f"step {step}  {share:.0%}  {told}", flush=True)


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
    parser.add_argument("--minutes", type=float, default=110)
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="go on from the weights in this folder, with tokens of their own")
    parser.add_argument("--threads", type=int, default=2 if not torch.cuda.is_available() else 4)
    parser.add_argument("--learning_rate", type=float, default=Plan.learning_rate)
    parser.add_argument("--drills", type=float, default=Plan.drills)
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(given.threads)
    tokenizer = make_tokenizer(given.seed)
    model = grown(given.start, tokenizer, given.seed) if given.start else make_model(tokenizer, given.seed)
    tokenizer.save_pretrained(given.out)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens", flush=True)
    plan = Plan(given.minutes, learning_rate=given.learning_rate, drills=given.drills, seed=given.seed)
    train(model, plan, device, given.out)
    save(model, given.out)


if __name__ == "__main__":
    main()
