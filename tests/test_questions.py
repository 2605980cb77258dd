"""From settings to questions: mixtures, how counts are dealt out, and a user's own questions with a grader."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.grading import grade
from generation.records import Question
from generation.settings import Settings
from generation.tasks.custom_facts import ANSWER_TYPES, Reading
from generation.tasks.registry import TASKS, listing, run_name, share
from generation.tasks.task import Wanted, split
from tests.ask_task import Asked, decide_questions
from tests.custom_questions import load
from tests.rows import check_rows


def ask(*, small: bool = False, **given: Any) -> Asked:
    return decide_questions(Settings(**given), small=small)


def counts(asked: Asked) -> tuple[dict[str, int], dict[str, int]]:
    return dict(Counter(q.task for q in asked.sft)), dict(Counter(q.task for q in asked.rl))


# ---- tasks


def test_the_list_of_tasks() -> None:
    shown = listing()
    assert max(map(len, shown.splitlines())) <= 80
    for name, task in TASKS.items():
        assert f"\n{name}: {task.line}; grader {task.grader}\n    Q: " in f"\n{shown}"
    assert "reasoning_gym/NAME: " in shown
    assert "my_task.py" in shown


def test_the_example_of_a_task_is_right_by_its_grader() -> None:
    def check(name: str) -> None:
        question = TASKS[name].example()
        assert json.loads(json.dumps(question.facts)) == question.facts
        assert grade(f"<answer>{question.answer}</answer>", question, "stop").outcome == "right"
        assert grade("<answer>-77</answer>", question, "stop").outcome != "right"

    check_rows(check, TASKS)


# ---- mixtures


def test_counts_of_a_mixture() -> None:
    def check(given_flags: dict[str, Any], sft: tuple[int, int], rl: tuple[int, int]) -> None:
        asked = ask(**given_flags)
        names = ("countdown_3arg", "longmult_2dig")
        assert counts(asked) == tuple({n: c for n, c in zip(names, each, strict=True) if c} for each in (sft, rl))
        assert asked.name == "mix-countdown_3arg-longmult_2dig"
        told = json.loads(asked.config)["tasks"]
        assert [(told[name]["questions"], told[name]["rl_questions"]) for name in names] == list(
            zip(sft, rl, strict=True)
        )
        assert told["countdown_3arg"]["inputs"] == [1, 99]

    check_rows(
        check,
        [
            ({"task": "countdown_3arg:8,longmult_2dig:4"}, (8, 4), (2, 1)),
            ({"task": "countdown_3arg:8,longmult_2dig:4", "rl_questions": 6}, (8, 4), (4, 2)),
            ({"task": "countdown_3arg:8,longmult_2dig:4", "rl_questions": 0}, (8, 4), (0, 0)),
            ({"task": "countdown_3arg,longmult_2dig", "questions": 9}, (5, 4), (1, 1)),
            ({"task": "countdown_3arg,longmult_2dig", "questions": 9, "rl_questions": 3}, (5, 4), (2, 1)),
            ({"task": " countdown_3arg : 2, longmult_2dig : 2".replace(" : ", ":")}, (2, 2), (0, 0)),
        ],
    )


def test_a_task_in_a_mixture_asks_what_it_asks_alone() -> None:
    mixed = ask(task="countdown_4arg:6,acronym_4o:5", seed=3)
    alone = ask(task="countdown_4arg", questions=6, seed=3)
    assert mixed.sft[:6] == alone.sft
    assert mixed.rl[:1] == alone.rl
    assert json.loads(alone.config) == {"inputs": [1, 99], "targets": [100, 200], "seed": 3}


def test_without_any_count_each_task_has_as_many_as_alone() -> None:
    assert counts(ask(task="countdown_3arg,longmult_2dig", small=True)) == (
        {"countdown_3arg": 32, "longmult_2dig": 32},
        {"countdown_3arg": 8, "longmult_2dig": 8},
    )


def test_what_does_not_go_together_is_told() -> None:
    def check(given_flags: dict[str, Any], told: str) -> None:
        with pytest.raises(ValueError, match="--") as error:
            ask(**given_flags)
        assert told in str(error.value)
        assert "\n" not in str(error.value)

    check_rows(
        check,
        [
            ({"task": "countdown_3arg:8,longmult_2dig"}, "gives some tasks a count and others none"),
            ({"task": "countdown_3arg,countdown_3arg"}, "names countdown_3arg twice"),
            ({"task": "countdown_3arg:0"}, "the count must be between 1 and"),
            ({"task": "countdown_3arg:x"}, "is no task, and no mixture such as"),
            ({"task": "countdown_3arg,"}, "is no task, and no mixture"),
            ({"task": ""}, "is no task, and no mixture"),
            ({"task": "countdown_3arg:8", "questions": 9}, "--questions 9 and the counts in --task countdown_3arg:8"),
            ({"task": "longmult_2dig", "inputs": "1-9"}, "--inputs 1-9 is for countdown tasks: leave it out"),
            ({"task": "countdown_3arg:8,nothing:3"}, "--task 'nothing' is unknown: take one of countdown_2arg"),
            ({"grader": "math"}, "--grader is for questions of your own: give --questions FILE"),
            ({"split": "test", "questions": 4}, "--split is for questions of your own"),
            ({"questions": "q.jsonl", "split": "test"}, "--split test is for a hub dataset"),
        ],
    )


@given(st.integers(0, 10_000), st.lists(st.integers(1, 10_000), min_size=1, max_size=8))
def test_shares_add_up_and_are_fair(total: int, weights: list[int]) -> None:
    parts = share(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * weight / sum(weights)) < 1


def test_the_name_of_a_run() -> None:
    def check(names: list[str], name: str) -> None:
        found = run_name(names)
        assert found.startswith(name)
        assert len(found) <= 60
        assert not set(found) & set("/:, ")

    check_rows(
        check,
        [
            (["gsm8k"], "gsm8k"),
            (["me/mine"], "me_mine"),
            (["a", "b/c"], "mix-a-b_c"),
            ([f"task_number_{n}" for n in range(9)], "mix-of-9-"),
        ],
    )


@given(st.integers(1, 60), st.integers(0, 60), st.one_of(st.none(), st.integers(1, 60)), st.integers(0, 3))
def test_loaded_questions_are_split_without_any_in_common(total: int, rl: int, sft: int | None, seed: int) -> None:
    pool = [Question(f"{number}?", "1", "t", "s", "answer", "answer") for number in range(total)]
    wanted = Wanted(sft, rl, seed)
    if rl >= total or (sft is not None and sft + rl > total):
        with pytest.raises(ValueError, match=r"questions of here for SFT|here has"):
            split(pool, wanted, "here")
        return
    apart = split(pool, wanted, "here")
    assert (len(apart[0]), len(apart[1])) == (total - rl if sft is None else sft, rl)
    assert not {q.key for q in apart[0]} & {q.key for q in apart[1]}
    other = split(pool[::-1], wanted, "here")
    assert [set(kind) for kind in map(dict.fromkeys, ([q.key for q in k] for k in apart))] == [
        {q.key for q in kind} for kind in other
    ]


# ---- questions of one's own, with a grader


def read(tmp_path: Path, row: dict[str, Any], **reading: Any) -> Question:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (question,) = load(str(path), Reading(**reading))
    return question


LABELLED = {"label": ["1", "2", "3"], "text": ["sun", "moon", "stars"]}
STARE = {"letters": "tsrae", "min_length": 1, "in_order": False}
ABC = {"A": "sun", "B": "moon", "C": "stars"}
SHOWN = "Which?\n\nA) sun\nB) moon\nC) stars\n\nAnswer with the letter of the right choice."


def test_each_grader_gets_what_it_needs(tmp_path: Path) -> None:
    def check(grader: Any, row: dict[str, Any], answer: str, facts: dict[str, Any]) -> None:
        question = read(tmp_path, {"question": "Which?", **row}, grader=grader)
        assert (question.answer, question.facts) == (answer, facts)
        assert (question.grader, question.answer_type) == (grader, ANSWER_TYPES[grader])
        assert question.text == (SHOWN if grader == "choice" else "Which?")
        assert grade(f"<answer>{question.answer}</answer>", question, "stop").outcome == "right"

    check_rows(
        check,
        [
            ("number", {"answer": 4}, "4", {}),
            ("math", {"answer": r"\frac{1}{2}"}, r"\frac{1}{2}", {}),
            ("exact", {"answer": "Paris"}, "Paris", {}),
            ("choice", {"choices": list(ABC.values()), "answer": "B"}, "B", {"choices": ABC}),
            ("choice", {"choices": list(ABC.values()), "answer": "b"}, "B", {"choices": ABC}),
            ("choice", {"choices": list(ABC.values()), "answer": 1}, "B", {"choices": ABC}),
            ("choice", {"choices": list(ABC.values()), "answer": "moon"}, "B", {"choices": ABC}),
            ("choice", {"choices": ABC, "answer": "B"}, "B", {"choices": ABC}),
            ("choice", {"choices": LABELLED, "answer": "2"}, "B", {"choices": ABC}),
            ("countdown", {"nums": [3, 4], "target": 12, "answer": "3*4"}, "3*4", {"numbers": [3, 4], "target": 12}),
            ("word", {"letters": "TSRAE", "answer": "stare"}, "stare", STARE),
            (
                "word",
                {"letters": ["c", "a", "t"], "min_length": 3, "in_order": True, "answer": "cat"},
                "cat",
                {"letters": "cat", "min_length": 3, "in_order": True},
            ),
        ],
    )


def test_choices_that_the_question_shows_itself(tmp_path: Path) -> None:
    text = "Which?\n(A) sun\n(B) moon\n(C) stars"
    question = read(tmp_path, {"question": text, "answer": "stars"}, grader="choice")
    assert (question.text, question.answer, question.facts) == (text, "C", {"choices": ABC})


def test_what_a_grader_lacks_is_told(tmp_path: Path) -> None:
    def check(grader: Any, row: dict[str, Any], told: str) -> None:
        with pytest.raises(ValueError, match=r"mine\.jsonl line 1") as error:
            read(tmp_path, {"question": "Which?", **row}, grader=grader)
        assert told in str(error.value)
        assert "\n" not in str(error.value)

    check_rows(
        check,
        [
            ("choice", {"answer": "A"}, "line 1 shows no choices: give them in a column 'choices'"),
            ("choice", {"answer": "D", "choices": ["a", "b"]}, "the answer 'D' is none of the choices A, B"),
            ("choice", {"answer": 2, "choices": ["a", "b"]}, "the answer '2' is none of the choices"),
            ("choice", {"answer": "A", "choices": ["a"]}, "line 1 has 1 choices, where 2 to 26 can be asked"),
            ("choice", {"answer": "A", "choices": ["a", "A "]}, "two choices that are the same"),
            ("choice", {"answer": "A", "choices": "ab"}, "choices that are no list of texts"),
            ("countdown", {"answer": "1+1"}, "line 1 is no countdown question: word it as ours, or give the columns"),
            ("countdown", {"answer": "1+1", "numbers": [1, 1.5], "target": 2}, "line 1 is no countdown question"),
            ("countdown", {"answer": "1+1", "numbers": [1, 1], "target": True}, "line 1 is no countdown question"),
            ("word", {"answer": "cat"}, "line 1 has no 'letters': the grader word needs those that may be used"),
        ],
    )


def test_other_columns(tmp_path: Path) -> None:
    row = {"problem": "What is 2 + 2?", "gold": "4", "question": "not this"}
    question = read(tmp_path, row, question_column="problem", answer_column="gold", grader="number")
    assert (question.text, question.answer) == ("What is 2 + 2?", "4")
    with pytest.raises(ValueError, match=r"line 1 has no 'answer' \(only problem, gold, question\): each row needs"):
        read(tmp_path, row, question_column="problem")


def test_how_they_are_read_is_part_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"q": f"{n}?", "answer": n}) + "\n" for n in range(5)))
    asked = ask(questions=str(path), question_column="q", grader="number")
    expected = {"questions": str(path), "question_column": "q", "grader": "number"}
    assert json.loads(asked.config) == expected
    assert (len(asked.sft), len(asked.rl), asked.name) == (4, 1, "mine")


FILE = """from generation.tasks.task import Drawn, Problem

def draw(rng):
    return Problem(str(rng.randrange(9)), "1")

TASK = Drawn("{name}", "a line", "number", "value", draw, family={family})
"""


def test_tasks_that_ask_the_same_are_kept_apart(tmp_path: Path) -> None:
    """One task's RL question is another's for SFT: only who wrote them can tell which it should be."""
    for name, family in (("one", "lambda p: ('one', p.text)"), ("two", "lambda p: ('two', p.text)")):
        (tmp_path / f"{name}.py").write_text(FILE.format(name=name, family=family))
    mixed = f"{tmp_path}/one.py:6,{tmp_path}/two.py:6"
    with pytest.raises(ValueError, match=r"^(one|two) holds a question out for RL that (one|two) has for SFT: ask"):
        ask(task=mixed)
    assert len(ask(task=mixed, rl_questions=0).sft) == 12
    (tmp_path / "three.py").write_text(FILE.format(name="one", family="lambda p: (p.text,)"))
    with pytest.raises(ValueError, match="two tasks of the mixture are called one: rename one"):
        ask(task=f"{tmp_path}/one.py:2,{tmp_path}/three.py:2", rl_questions=0)
