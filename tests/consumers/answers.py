"""Answers to a question, and what each deserves: for consumers that are shown RL_DATA and its reward."""

from __future__ import annotations

import json
from typing import NamedTuple


class Answer(NamedTuple):
    text: str
    """`{gold}` stands for the gold answer."""
    reward: float


ANSWERS = [
    Answer("<answer>{gold}</answer>", 1.0),
    Answer("<think>\n<answer>1</answer>\n</think>\n\nSo:\n<answer>\n{gold}\n</answer>", 1.0),
    Answer("<answer>{gold}</answer> or rather <answer>1 + 1</answer>", 0.0),
    Answer("It is {gold}.", 0.0),
    Answer("<answer></answer>", 0.0),
    Answer("<answer>{gold} + 0 * 9**9**9</answer>", 0.0),
    Answer("<answer>" * 50, 0.0),
    Answer("?", 0.0),
]


def answers_to(truth: str) -> list[Answer]:
    """The answers to the question of this truth."""
    gold = json.loads(truth)["answer"]
    return [Answer(one.text.replace("{gold}", gold), one.reward) for one in ANSWERS]
