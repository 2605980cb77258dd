"""Marks that are special tokens, which decoding drops by default, on the real engine: the built-in model, renamed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from cluster.inference.engine import Completion, Engine, Request, Sampling
from cluster.inference.models import find
from cluster.inference.pool import Done, Pool
from cluster.inference.replicas import LocalReplicas, Placement
from cluster.inference.thoughts import part
from cluster.inference.tokenizer import ChatTokenizer
from cluster.inference.vllm_settings import VllmSettings
from generation.builtin import MODEL, RANGES
from generation.placement import cpu_environment
from generation.variants import VARIANTS, messages
from tests.countdown_questions import make
from tests.forked_engines import forking

EQUALS, CLOSING = " = ", "[/THINK]"


def renamed(folder: Path) -> Path:
    """The built-in model, whose token for an equals sign is the special token that closes a thought."""
    shutil.copytree(MODEL, folder)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    (token,) = [token for token in tokenizer["added_tokens"] if token["content"] == EQUALS]
    token |= {"content": CLOSING, "special": True}
    file.write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


def test_the_tokenizer_says_which_marks_it_has(tmp_path: Path) -> None:
    assert not ChatTokenizer(str(MODEL)).thinking.own
    chat = ChatTokenizer(str(renamed(tmp_path / "model")))
    assert (len(chat.thinking.own), chat.thinking.raw) == (1, True)
    (ids,) = chat.tokenize([f"4 + 5{CLOSING}9<|im_end|>"])
    assert chat.width(ids) == len(f"4 + 5{CLOSING}9<|im_end|>")
    assert ChatTokenizer(str(MODEL)).width(ids) == len("4 + 5 = 9")


async def _generate(engine: Engine, request: Request) -> Completion:
    return await engine.generate(request)


@pytest.mark.ray
@pytest.mark.engine
@pytest.mark.filterwarnings("default")  # vLLM and torch, imported here, warn of themselves
def test_a_thought_that_a_special_token_ends_is_told_and_counted(tmp_path: Path) -> None:
    model = find(str(renamed(tmp_path / "model")))
    settings = VllmSettings(model.path, None, model.name, model.revision, 1024, gpu=False, max_sequences=32)
    questions = make("countdown_3arg", 16, rl=False, seed=11, ranges=RANGES)
    sampling = Sampling(temperature=0.8, max_tokens=128)
    asked = [
        Request(str(number), messages(VARIANTS["original"], question), sampling, number)
        for number, question in enumerate(questions)
    ]
    with forking():
        os.environ.update(cpu_environment(1))
        with Pool[Request, Completion](LocalReplicas(Placement(settings), _generate), in_flight=16) as pool:
            done = [event.result for event in pool.run(asked) if isinstance(event, Done)]
    assert len(done) == len(asked)
    assert all("<|im_end|>" not in one.text and part(one.text).thought is None for one in done)
    thought = [one for one in done if one.thought is not None]
    assert len(thought) > len(done) / 2, "nearly every sample writes an equation"
    chat = ChatTokenizer(model.path)
    for one in thought:
        assert one.thought
        assert CLOSING not in one.thought
        exactly = len(chat.tokenize([one.thought + CLOSING])[0])
        assert abs(one.thought_tokens - exactly) <= 2, "the tokenizer may cut the text otherwise, or space was trimmed"
        assert one.thought_tokens < one.output_tokens
