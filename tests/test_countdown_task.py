"""Countdown questions: solvable, different, in range, the same for the same seed, and RL apart from SFT."""

from __future__ import annotations

import random
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.builtin import RANGES
from generation.grading import grade
from generation.records import Question
from generation.tasks import countdown
from generation.tasks.countdown import NAMES, Ranges, facts_of, identity
from generation.tasks.task import held_out
from tests.countdown_questions import make, question_of
from tests.rows import check_rows

SMALL = Ranges(inputs=(1, 10), targets=(10, 50))


def make_both(task: str, count: int, seed: int, ranges: Ranges = SMALL) -> tuple[set[object], set[object]]:
    sft, rl = (make(task, count, rl=rl, seed=seed, ranges=ranges) for rl in (False, True))
    return set(map(identity, sft)), set(map(identity, rl))


def check(question: Question, task: str, ranges: Ranges) -> None:
    numbers, target = question.facts["numbers"], question.facts["target"]
    assert len(numbers) == int(task[len("countdown_")])
    assert all(ranges.inputs[0] <= number <= ranges.inputs[1] for number in numbers)
    assert ranges.targets[0] <= target <= ranges.targets[1]
    assert target not in numbers, "the question gives its answer away"
    assert facts_of(question.text) == question.facts, "the text asks what is graded"
    graded = grade(f"<answer>{question.answer}</answer>", question, "stop")
    assert graded.outcome == "right", (question.answer, graded)


@pytest.mark.parametrize("ranges", [Ranges(), RANGES, Ranges((0, 3), (4, 9)), Ranges((500, 999), (1000, 1999))])
@pytest.mark.parametrize("task", NAMES)
def test_questions_are_solvable_and_in_range(task: str, ranges: Ranges) -> None:
    if (task, ranges.inputs) == ("countdown_2arg", (0, 3)):
        ranges = Ranges((0, 9), (4, 20))  # two numbers up to 3 make too few
    made = make(task, 8, rl=False, seed=5, ranges=ranges)
    assert len(made) == 8
    for question in made:
        check(question, task, ranges)


@pytest.mark.parametrize("ranges", [Ranges((1, 999_999), (1, 999_999)), Ranges((900, 999), (1, 99))])
@pytest.mark.parametrize("task", NAMES)
def test_the_largest_numbers_stay_within_the_graders_bounds(task: str, ranges: Ranges) -> None:
    """The command line takes numbers of six digits; a gold answer out of bounds could never be given."""
    for question in make(task, 12, rl=False, seed=2, ranges=ranges):
        check(question, task, ranges)


def test_the_defaults_are_the_papers() -> None:
    assert Ranges() == Ranges(inputs=(1, 99), targets=(100, 200))


def test_no_question_twice_whatever_the_order_of_its_numbers() -> None:
    def check(task: str) -> None:
        made = make(task, 40, rl=False, seed=1, ranges=SMALL)
        assert len({(tuple(sorted(q.facts["numbers"])), q.facts["target"]) for q in made}) == 40
        assert len({q.key for q in made}) == 40

    check_rows(check, NAMES)


def test_order_of_numbers_is_no_other_question() -> None:
    one, other = (question_of("countdown_3arg", n, 24, "", source="") for n in ([4, 3, 2], [2, 3, 4]))
    assert identity(one) == identity(other)
    assert held_out(*identity(one)) == held_out(*identity(other))
    assert identity(one) != identity(question_of("countdown_3arg", [4, 3, 2], 10, "", source=""))


def test_the_seed_decides_and_the_count_only_adds() -> None:
    made = make("countdown_3arg", 20, rl=False, seed=3, ranges=SMALL)
    assert make("countdown_3arg", 20, rl=False, seed=3, ranges=SMALL) == made
    assert make("countdown_3arg", 12, rl=False, seed=3, ranges=SMALL) == made[:12]
    other = make("countdown_3arg", 20, rl=False, seed=4, ranges=SMALL)
    assert [q.key for q in other] != [q.key for q in made]


def test_rl_and_sft_never_meet() -> None:
    """Across seeds and counts: what is held out in one run is in no other run's SFT set."""
    sft: set[object] = set()
    rl: set[object] = set()
    for seed, count in ((0, 10), (0, 200), (1, 200), (2, 50), (17, 120)):
        here_sft, here_rl = make_both("countdown_3arg", count, seed)
        sft |= here_sft
        rl |= here_rl
    assert len(sft) > 300
    assert len(rl) > 200
    assert not sft & rl


def test_none_wanted_none_made() -> None:
    assert make("countdown_3arg", 0, rl=True, seed=0, ranges=Ranges((1, 1), (900, 900))) == ()


@pytest.mark.parametrize(
    ("task", "count", "ranges", "why"),
    [
        ("countdown_2arg", 5, Ranges((1, 2), (900, 999)), "nothing reaches the target"),
        ("countdown_6arg", 5, Ranges((1, 2), (900, 999)), "nor with six, where each try is dear"),
        ("countdown_4arg", 1, Ranges((0, 0), (1, 9)), "zeros, divisions by zero among them"),
        ("countdown_2arg", 4000, SMALL, "54 of them and then no more"),
        ("countdown_3arg", 9999, Ranges((1, 5), (10, 50)), "some hundred, found after ever longer waits"),
        ("countdown_2arg", 1, Ranges((5, 5), (5, 5)), "the target is one of the numbers"),
    ],
)
@pytest.mark.parametrize("rl", [False, True])
def test_too_small_ranges_are_told_soon(task: str, count: int, ranges: Ranges, why: str, rl: bool) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=rf"^{task} with inputs .* gave only \d+ different") as told:
        make(task, count, rl=rl, seed=0, ranges=ranges)
    assert time.process_time() - started < 3, why
    for flag in ("--rl_questions" if rl else "--questions", "--inputs", "--targets"):
        assert flag in str(told.value)
    assert "\n" not in str(told.value)


def test_rare_questions_are_waited_for() -> None:
    """Few draws in a hundred give one, and one in five of those is for RL; that is no reason to give up."""
    made = make("countdown_3arg", 30, rl=True, seed=0, ranges=Ranges((10, 99), (900, 999)))
    assert len(made) == 30


GOLDEN = [
    ([7, 6, 2], 26, "2 * (7 + 6)"),
    ([9, 6, 10], 44, "(6 * 9) - 10"),
    ([2, 2, 3], 10, "2 * (3 + 2)"),
]


def test_golden_questions() -> None:
    """Another draw from the same seed would change every run, and the questions that the built-in model never saw."""
    made = make("countdown_3arg", 3, rl=False, seed=0, ranges=RANGES)
    assert [(q.facts["numbers"], q.facts["target"], q.answer) for q in made] == GOLDEN


def test_golden_text() -> None:
    question = question_of("countdown_2arg", [19, 6], 114, "19 * 6", source="here")
    assert question.text == (
        "Answer the following problem. Explain your reasoning step by step. When you are finished, give your answer in "
        "this format: <answer>(your answer)</answer>.\n\n# Problem\nUsing the numbers in the list [19, 6], create an "
        "equation that equals 114. You can use basic arithmetic operations (+, -, *, /) and each number can only be "
        "used once."
    )
    assert (question.answer_type, question.grader, question.source) == ("equation", "countdown", "here")


def test_a_countdown_question_is_known_by_its_wording() -> None:
    def check(text: str, facts: tuple[list[int], int] | None, why: str) -> None:
        assert facts_of(text) == (facts and {"numbers": facts[0], "target": facts[1]}), why

    check_rows(
        check,
        [
            ("Using the numbers in the list [1, 2], create an equation that equals 3.", ([1, 2], 3), "as here"),
            ("the numbers in the list [1,2 ,  30]: get what equals -4", ([1, 2, 30], -4), "spaces anyhow, below zero"),
            ("numbers in the list [1 2 3] so it equals 6", ([1, 2, 3], 6), "no commas"),
            ("numbers in the list [1, 2]\ncreate an equation that equals 3", ([1, 2], 3), "over two lines"),
            ("numbers in the list [], equals 3", None, "no numbers"),
            ("numbers in the list [ , ], equals 3", None, "no numbers"),
            ("numbers in the list [1, x], equals 3", None, "not all numbers"),
            ("numbers in the list [1, 2], equals three", None, "no target"),
            ("numbers in the list [1, 2]" + " " * 99 + "equals 3", None, "too far apart to be one sentence"),
            ("What is 1 + 2?", None, "another question"),
            ("numbers in the list [" + "1" * 500, None, "bounded"),
        ],
    )


@given(st.lists(st.integers(0, 12), min_size=2, max_size=6), st.integers(0, 10**6))
def test_a_solution_is_exact_to_its_steps(numbers: list[int], seed: int) -> None:
    found = countdown.solution(numbers, random.Random(seed))
    if found is None:
        assert 0 in numbers or len(numbers) > 2, "only a zero, given or made, can be divided by"
        return
    for left, op, right, result in found.steps:
        assert isinstance(result, int | Fraction)
        assert countdown.apply(op, left, right) == result
    assert len(found.steps) == len(numbers) - 1
    assert found.steps[-1][-1] == found.value
    question = Question("", "", "", "", "countdown", "", {"numbers": numbers, "target": found.value})
    if found.value.denominator == 1:
        assert grade(f"<answer>{found.expression}</answer>", question, "stop").outcome == "right"
