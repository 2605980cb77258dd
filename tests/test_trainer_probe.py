"""What runs in a trainer's environment, as far as it needs no trainer."""

from __future__ import annotations

import pytest

from assembly.probe.openrlhf_words import words_of

KNOWN = {"--data.max_len", "--data.input_template", "--data.multiturn", "--train.seed", "--adam.betas", "--use_ms"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data.max_len": 9}, ["--data.max_len=9"]),
        ({"max_len": 9}, ["--data.max_len=9"]),
        ({"data": {"max_len": 9}, "train": {"seed": 1}}, ["--data.max_len=9", "--train.seed=1"]),
        ({"data.max_len": 9, "max_len": 8}, ["--data.max_len=8"]),
        ({"multiturn": True, "use_ms": False}, ["--data.multiturn"]),
        ({"data.multiturn": True, "data": {"multiturn": False}}, []),
        ({"input_template": None}, ["--data.input_template="]),
        ({"input_template": "-{}\n"}, ["--data.input_template=-{}\n"]),
        ({"adam.betas": [0.9, 0.95]}, ["--adam.betas", "0.9", "0.95"]),
        ({"cutoff_len": 9}, ["--cutoff_len=9"]),
        ({"max_len": None}, []),
    ],
)
def test_settings_of_openrlhf_are_words_of_its_command_line(settings: dict[str, object], words: list[str]) -> None:
    assert [*words_of(settings, KNOWN)] == words
