"""Long multiplication and word puzzles: solvable, different, of the right difficulty, RL apart from SFT."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from generation.grading.word import common_words, is_word
from generation.records import Question
from generation.settings import Settings
from generation.tasks import made
from generation.tasks.registry import TASKS
from generation.tasks.task import Drawn, Problem, Wanted
from tests.ask_task import decide_questions

LONGMULT = tuple(task.name for task in made.LONGMULT)
LETTERS = tuple(task.name for task in made.LETTERS)
COUNTS = dict.fromkeys(LONGMULT + LETTERS, 120)


def questions(name: str, count: int, seed: int = 3, rl: int = 20) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    sft, held, config, notes = TASKS[name].supply(Wanted(count, rl, seed))
    assert (config, notes) == ({"seed": seed}, ())
    assert (len(sft), len(held)) == (count, rl)
    return sft, held


def test_the_papers_tasks_are_there() -> None:
    assert set(LONGMULT) == {f"longmult_{digits}dig" for digits in (2, 3, 4, 5)}
    assert set(LETTERS) == {f"{kind}_{least}o" for kind in ("acronym", "letter_countdown") for least in (4, 5)}


@pytest.mark.parametrize("name", LONGMULT)
def test_long_multiplication(name: str) -> None:
    digits = int(name[len("longmult_")])
    for question in sum(questions(name, 60), ()):
        left, right = question.facts["factors"]
        assert len(str(left)) == len(str(right)) == digits
        assert question.answer == str(left * right)
        assert f"{left} by {right}" in question.text
        assert (question.task, question.grader, question.answer_type) == (name, "number", "product")


@pytest.mark.parametrize("name", LONGMULT + LETTERS)
def test_the_seed_decides_the_count_only_adds_and_none_is_there_twice(name: str) -> None:
    sft, rl = questions(name, 60)
    assert questions(name, 60) == (sft, rl)
    assert questions(name, 25)[0] == sft[:25]
    assert questions(name, 60, seed=4)[0] != sft
    assert len({question.key for question in (*sft, *rl)}) == 80


@pytest.mark.parametrize("name", LONGMULT)
def test_swapped_factors_never_meet_across_sft_and_rl(name: str) -> None:
    sft: set[object] = set()
    rl: set[object] = set()
    for seed in range(3):
        for kind, found in zip((sft, rl), questions(name, 300, seed, 150), strict=True):
            kind |= {tuple(sorted(question.facts["factors"])) for question in found}
    assert not sft & rl


@pytest.mark.parametrize("name", LETTERS)
def test_letters_never_meet_across_sft_and_rl(name: str) -> None:
    def shown(question: Question) -> str:
        told: str = question.facts["letters"]
        return told if question.facts["in_order"] else "".join(sorted(told))

    sft: set[str] = set()
    rl: set[str] = set()
    for seed in range(3):
        for kind, found in zip((sft, rl), questions(name, 200, seed, 60), strict=True):
            kind |= {shown(question) for question in found}
    assert not sft & rl
    assert len(sft) > 500


def test_the_paper_has_room_for_two_digits() -> None:
    """4,000 for SFT and 1,000 for RL, of 8,100 pairs in all."""
    sft, rl = questions("longmult_2dig", 4000, rl=1000)
    assert len({question.key for question in (*sft, *rl)}) == 5000


@pytest.mark.parametrize("name", LETTERS)
def test_word_puzzles_can_be_solved_and_are_as_hard_as_in_the_paper(name: str) -> None:
    least = int(name[-2])
    lengths = set()
    for question in sum(questions(name, 150), ()):
        told, word = question.facts["letters"], question.answer
        lengths.add(len(told))
        assert question.facts == {"letters": told, "min_length": least, "in_order": name.startswith("acronym")}
        assert word in common_words()
        assert least <= len(word) <= len(told)
        assert f"at least {least} letters" in question.text
        if question.facts["in_order"]:
            waiting = iter(told)
            assert all(letter in waiting for letter in word), "a subsequence"
            listed = question.text.rpartition("in order: ")[2].partition(".")[0].split(", ")
            assert "".join(one[0] for one in listed) == told
            assert word not in listed, "the question gives its answer away"
            assert len(set(listed)) == len(listed)
        else:
            assert not Counter(word) - Counter(told)
            assert ", ".join(told) in question.text
    assert lengths == set(range(least, 9))


def test_the_dictionary() -> None:
    """Inflected forms count; misspellings and names do not."""
    assert all(map(is_word, ("cats", "running", "walked", "happier", "tables", "donut", "cosy", "okay")))
    assert not any(map(is_word, ("teh", "recieve", "wierd", "xqzt", "a1", "don't", "", "Cats", "ﬁve")))
    assert not any(map(is_word, ("russians", "european", "maureen", "january", "canada")))
    assert all(map(is_word, common_words()))
    assert not {"russians", "yorkers", "nanking"} & set(common_words())
    assert all(word.isascii() and word.isalpha() and word.islower() for word in common_words())
    assert len(common_words()) > 25_000


def test_what_no_question_shows() -> None:
    rude = {"fuck", "rapist", "whores"}
    assert all(map(is_word, rude))
    assert not rude & set(common_words())
    assert {"drape", "grape", "therapist"} <= set(common_words()), "only the beginning counts"


def test_golden_questions() -> None:
    """Another draw from the same seed would change every run."""
    assert questions("longmult_2dig", 1, seed=0, rl=0)[0][0].facts == {"factors": [22, 69]}
    assert questions("longmult_5dig", 1, seed=0, rl=0)[0][0].answer == "1138916574"


def test_a_task_that_runs_dry_says_so() -> None:
    def draw(rng: random.Random) -> Problem | None:
        number = rng.randrange(20)
        return Problem(f"Say {number}.", str(number)) if number % 2 else None

    drawn = Drawn("say", "a number", "number", "number", draw, effort=100)
    with pytest.raises(
        ValueError, match=r"^say gave only \d different SFT questions of the 11 wanted: ask for fewer with"
    ):
        drawn.supply(Wanted(11, 0, 0))
    fewer = drawn.supply(Wanted(None, None, 0))
    assert 1 <= len(fewer.sft) <= 10
    assert 1 <= len(fewer.rl) <= len(fewer.sft) // 4
    assert fewer.notes == (f"gave {len(fewer.sft)} different questions for SFT and no more",)


def test_a_default_that_a_task_cannot_hold_is_no_error() -> None:
    asked = decide_questions(Settings(task="countdown_2arg"), small=False)
    assert 2000 < len(asked.sft) < 4000
    assert asked.notes == (f"countdown_2arg: gave {len(asked.sft):,} different questions for SFT and no more",)
    with pytest.raises(ValueError, match="of the 4000 wanted"):
        decide_questions(Settings(task="countdown_2arg", questions=4000), small=False)
