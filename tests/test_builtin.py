"""The built-in model: its files, what it was taught, and the figures of its card."""

from __future__ import annotations

import json
import random
import re

import pytest
from safetensors import safe_open
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from cluster.inference.models import find
from examples.builtin_model.curriculum import drill, example
from examples.builtin_model.measure import Tally, add_up
from examples.builtin_model.styles import Try, operations
from examples.builtin_model.train import encode, evaluation_questions, excluded
from generation.builtin import EVALUATION_QUESTIONS, MODEL, RANGES
from generation.grading import grade
from generation.records import Question
from generation.tasks import countdown
from generation.variants import VARIANTS
from reflection.prompts import ALL
from reflection.verdict import parse_verdict

_MOST_BYTES = 8_000_000


def _examples(count: int) -> list[tuple[str, str, str]]:
    """(system turn or "", user turn, completion) of drawn examples."""
    rng = random.Random(3)
    drawn = [example(rng, frozenset()) for _ in range(count)]
    return [(one.messages[0]["content"], one.messages[-1]["content"], one.completion) for one in drawn]


def _asked(text: str) -> Question:
    facts = countdown.facts_of(text)
    assert facts is not None
    return Question(text, "", "", "", "countdown", "equation", facts)


def test_the_files_are_small_half_precision_and_qwen2() -> None:
    weights = MODEL / "model.safetensors"
    assert weights.stat().st_size < _MOST_BYTES
    config = json.loads((MODEL / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    with safe_open(weights, "pt") as file:
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"torch.float16"}  # noqa: SIM118
    assert find(str(MODEL)).sampling == {"temperature": 0.8, "top_p": 0.95, "top_k": 50.0}


def test_every_loader_cuts_text_alike() -> None:
    """AutoTokenizer gives models of type qwen2 another class, with a pre-tokenizer of its own."""
    auto, plain = AutoTokenizer.from_pretrained(MODEL), PreTrainedTokenizerFast.from_pretrained(MODEL)
    rng = random.Random(4)
    for _ in range(200):
        drawn = example(rng, frozenset())
        ids, prompt = encode(auto, drawn)
        assert (ids, prompt) == encode(plain, drawn)
        assert auto.decode(ids[prompt:-1]) == drawn.completion


@pytest.mark.parametrize("text", ["naïve — 1234567 😀", "a\u202eb\x00", "  two  spaces\n\n", "<|im_end|x|>"])
def test_any_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


_SHOWN = re.compile(r"# (?:Response|Your attempt)\n(.*?)\n\n# (?:Task|Your check)\n", re.DOTALL)
"""What a prompt shows of an answer: a reflection's, ours and the former ones, and a retry's."""


def test_attempts_are_read_by_the_grader_and_mostly_right() -> None:
    graded = [grade(said, _asked(user), "stop") for _, user, said in _examples(1500) if not _SHOWN.search(user)]
    assert {one.outcome for one in graded} == {"right", "wrong"}
    assert 0.8 < sum(one.outcome == "right" for one in graded) / len(graded) < 0.98


def test_reflections_give_the_true_verdict_last_after_the_walk() -> None:
    seen = set()
    for _, user, said in _examples(2000):
        shown = _SHOWN.search(user)
        if shown is None or "# Your check\n" in user:
            continue
        truth = grade(shown[1], _asked(user), "stop").outcome == "right"
        assert parse_verdict(said) is truth
        assert said.endswith("</verdict>")
        assert re.search(r"\d+ [-+*/] \d+ = \d+", said)
        seen.add((next(name for name, text in ALL.items() if text.split("# Task\n")[1] in user), truth))
    assert len(seen) == 2 * len(ALL)


def test_retries_see_a_wrong_attempt_and_are_mostly_right() -> None:
    graded = []
    for _, user, said in _examples(1500):
        if (shown := _SHOWN.search(user)) is not None and "# Your check\n" in user:
            assert grade(shown[1], _asked(user), "stop").outcome == "wrong"
            assert parse_verdict(user.split("# Your check\n")[1].split("# Task")[0]) is False
            graded.append(grade(said, _asked(user), "stop").outcome)
    assert len(graded) > 50
    assert 0.8 < graded.count("right") / len(graded) < 1


def test_the_eight_styles_are_visibly_different() -> None:
    beginnings: dict[str, set[str]] = {}
    for system, user, said in _examples(3000):
        if not _SHOWN.search(user):
            name = next(
                name
                for name, variant in VARIANTS.items()
                if variant.system == system and variant.rationalized == ("Hint: " in user)
            )
            beginnings.setdefault(name, set()).add(re.sub(r"[\d()]+", "#", said)[:230])
    assert beginnings.keys() == VARIANTS.keys()
    for name, texts in beginnings.items():
        others = set().union(*(told for other, told in beginnings.items() if other != name))
        assert texts.isdisjoint(others), name


def test_nothing_taught_is_asked_in_the_evaluation() -> None:
    left_out = excluded()
    assert len(left_out) == len(evaluation_questions()) == EVALUATION_QUESTIONS
    rng = random.Random(5)
    texts = [example(rng, left_out).messages[-1]["content"] for _ in range(1500)]
    assert left_out.isdisjoint(countdown.identity(_asked(text)) for text in texts)
    drilled = re.findall(r"^([\d, and]+) to (\d+):", "\n".join(drill(rng, left_out) for _ in range(100)), re.M)
    assert len(drilled) > 500
    for numbers, target in drilled:
        assert (*sorted(map(int, re.findall(r"\d+", numbers))), "target", int(target)) not in left_out


@pytest.mark.parametrize(
    ("given", "tidied"),
    [
        ("3 * 7", "7 * 3"),
        ("7 - 3", "7 - 3"),  # order matters
        ("4 + (3 * 7)", "(7 * 3) + 4"),
        ("(2 + 10) - (1 * 4)", "(10 + 2) - (4 * 1)"),
    ],
)
def test_tidied_expressions(given: str, tidied: str) -> None:
    attempt = Try(given, operations(given))
    assert attempt.tidied().expression == tidied
    assert attempt.tidied().value == attempt.value


def test_tallies_add_up() -> None:
    assert add_up([Tally(total=2, right=1, tokens=9), Tally(total=3, answered=3)]) == Tally(5, 1, 3, 0, 9)


def _share(card: str, row: str, column: int) -> float:
    """A percentage of the card's tables."""
    (line,) = [line for line in card.splitlines() if line.startswith(f"| {row} |")]
    return float(line.split("|")[column + 1].strip().removesuffix("%")) / 100


def test_the_card_shows_a_base_for_the_method() -> None:
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    # The default run asks under the plain variants; a rationalized prompt gives the answer away.
    assert 0.25 <= _share(card, "plain variants", 1) <= 0.60
    for row in ("plain variants", "all variants"):
        assert _share(card, row, 2) >= 0.90
        assert _share(card, row, 3) <= 0.05
    assert _share(card, "all", 1) >= 0.90
    assert _share(card, "all", 2) >= 0.70
    assert f"inputs\nof {RANGES.inputs[0]} to {RANGES.inputs[1]}" in card
