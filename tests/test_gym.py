"""reasoning-gym as tasks: its gold answers are right by its own scoring after a way through JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from generation.grading import grade
from generation.grading.gym import RIGHT
from generation.records import Question
from generation.settings import Settings
from generation.tasks import gym, registry
from generation.tasks.countdown import Ranges
from generation.tasks.gym import score
from generation.tasks.task import Wanted
from tests.ask_task import decide_questions
from tests.rows import check_rows

NAMES = ("chain_sum", "countdown", "game_of_life", "mini_sudoku", "polynomial_equations", "rearc", "syllogism")


def test_gold_answers_are_right_and_others_are_not() -> None:
    def check(name: str) -> None:
        task = registry.find(f"reasoning_gym/{name}", Ranges())
        sft, rl, config, _ = task.supply(Wanted(3, 1, 5))
        assert (len(sft), len(rl)) == (3, 1)
        assert len({question.text for question in (*sft, *rl)}) == 4
        assert config["seed"] == 5
        assert config["reasoning_gym"][0].isdigit()
        for question in (*sft, *rl):
            assert json.loads(json.dumps(question.facts)) == question.facts
            assert (question.task, question.grader) == (task.name, "gym")
            assert question.facts["entry"]["question"].strip() in question.text
            assert score(question.facts, question.answer) >= RIGHT
            assert score(question.facts, "I do not know") < RIGHT
            assert grade(f"<answer>{question.answer}</answer>", question, "stop").outcome == "right"
            assert grade("<answer>I do not know</answer>", question, "stop").outcome == "wrong"

    check_rows(check, NAMES)


def test_what_is_only_put_round_an_answer_is_taken_off() -> None:
    def check(generator: str, gold: str, answer: str, outcome: str, why: str) -> None:
        metadata = {"source_dataset": generator, "is_valid": True, "result": gold}
        facts = {"generator": generator, "entry": {"question": "?", "answer": gold, "metadata": metadata}}
        question = Question("?", gold, generator, "made", "gym", "answer", facts)
        assert grade(f"<answer>{answer}</answer>", question, "stop").outcome == outcome, why

    check_rows(
        check,
        [
            ("chain_sum", "292", "292.", "right", "a full stop"),
            ("chain_sum", "292", "**292**", "right", "bold"),
            ("chain_sum", "292", "$292$", "right", "dollars"),
            ("chain_sum", "292", r"$\boxed{292}$.", "right", "a box in dollars, and a full stop"),
            ("chain_sum", "292", "`292`", "right", "code"),
            ("chain_sum", "292", "```\n292\n```", "right", "a fence"),
            ("chain_sum", "292", "(292)", "right", "brackets"),
            ("chain_sum", "292", "The final answer is **292**.", "right", "a label, too"),
            ("chain_sum", "-292", "\u2212292", "right", "the minus sign"),
            ("chain_sum", "292", "293.", "wrong", "another number"),
            ("chain_sum", "292", "292 or 293", "wrong", "a choice"),
            ("chain_sum", "292", "not 292.", "wrong", "denied"),
            ("chain_sum", "292", "292!", "wrong", "a factorial"),
            ("chain_sum", "292", "", "unknown", "nothing"),
            ("syllogism", "Yes", "Yes.", "right", "a full stop behind a word"),
            ("syllogism", "Yes", "Yes!", "right", "an exclamation mark"),
            ("syllogism", "Yes", '"Yes"', "right", "quotation marks"),
            ("syllogism", "Yes", "No.", "wrong", "the other word"),
            (
                "polynomial_multiplication",
                "6*x**2 + 3*x",
                "**6*x**2 + 3*x**",
                "right",
                "bold round what has its marks inside",
            ),
            ("rotate_matrix", "1 2\n3 4", "```\n1 2\n3 4\n```", "right", "a grid in a fence"),
            ("rotate_matrix", "1 2\n3 4", "**1 2\n3 4**", "right", "a grid in bold"),
            ("rotate_matrix", "1 2\n3 4", "**1 2\n4 3**", "wrong", "another grid"),
        ],
    )


def test_another_seed_asks_other_questions() -> None:
    task = registry.find("reasoning_gym/chain_sum", Ranges())
    one, other = ({question.text for question in task.supply(Wanted(20, 0, seed)).sft} for seed in (0, 1))
    assert len(one & other) < 5


def test_sft_and_rl_never_meet_between_runs() -> None:
    task = registry.find("reasoning_gym/gcd", Ranges())
    sft: set[str] = set()
    rl: set[str] = set()
    for seed in range(2):
        supplied = task.supply(Wanted(60, 20, seed))
        sft |= {question.text for question in supplied.sft}
        rl |= {question.text for question in supplied.rl}
    assert not sft & rl


def test_an_unknown_generator_is_told() -> None:
    def check(name: str, told: str) -> None:
        with pytest.raises(ValueError, match=r"^--task reasoning_gym/") as error:
            Settings(task=f"reasoning_gym/{name}")
        assert told in str(error.value)
        assert "\n" not in str(error.value)

    check_rows(
        check,
        [
            ("chain_summ", "reasoning-gym has 1"),
            ("chain_summ", "such as reasoning_gym/chain_sum"),
            ("", "is unknown: reasoning-gym has"),
        ],
    )


def test_a_generator_that_cannot_be_asked_is_told() -> None:
    def check(name: str, told: str) -> None:
        with pytest.raises(ValueError, match=r"^reasoning_gym/") as error:
            decide_questions(Settings(task=f"reasoning_gym/{name}"), small=False)
        assert told in str(error.value)

    check_rows(
        check,
        [
            ("graph_color", "its entries have no gold answer"),
            ("composite", "Must specify at least one dataset"),
        ],
    )


def test_texts_ordered_by_hash_change_nothing(tmp_path: Path) -> None:
    """Of these generators another process would otherwise give other entries for the same seed."""
    said = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "tests.ask_task", "--task=reasoning_gym/ransom_note:5"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        said.add(subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True).stdout)
    assert len(said) == 1


def test_a_generator_runs_dry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym, "SPARE", 3)
    monkeypatch.setattr(gym, "TIMES", 1)
    with pytest.raises(
        ValueError, match=r"^reasoning_gym/gcd gave only \d different .* of the 9 wanted: ask for fewer"
    ):
        registry.find("reasoning_gym/gcd", Ranges()).supply(Wanted(9, 9, 0))
    monkeypatch.setattr(gym, "SPARE", -3)
    monkeypatch.setattr("generation.tasks.task.DRAWN_QUESTIONS", 12)
    fewer = registry.find("reasoning_gym/gcd", Ranges()).supply(Wanted(None, None, 0))
    assert len(fewer.sft) < 12
    assert fewer.notes == (f"gave {len(fewer.sft)} different questions for SFT and no more",)


def test_it_mixes_with_others() -> None:
    asked = decide_questions(Settings(task="reasoning_gym/gcd:8,longmult_2dig:4"), small=False)
    assert [question.task for question in asked.sft] == ["reasoning_gym/gcd"] * 8 + ["longmult_2dig"] * 4
    assert [question.task for question in asked.rl] == ["reasoning_gym/gcd"] * 2 + ["longmult_2dig"]
    assert asked.name == "mix-reasoning_gym_gcd-longmult_2dig"
