"""So many questions of a user's own; those without a solution; twins by spaces: one question, for SFT or for RL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generation.settings import Settings
from generation.tasks import gold
from generation.tasks.custom import parse
from generation.tasks.custom_facts import Reading
from generation.tasks.task import HEADER
from tests import hub_datasets
from tests.ask_task import decide_questions
from tests.custom_questions import load
from tests.hub_state import Hub, Repository
from tests.hub_user import User
from tests.rows import check_rows
from tests.test_custom_golds import ask, put
from tests.test_hub_tasks import asked

# ---- counts


def test_so_many_of_a_file(tmp_path: Path) -> None:
    rows = [{"question": f"{n} + {n}?", "answer": 2 * n} for n in range(20)]
    given = put(tmp_path, *rows)
    found = ask(f"{given}:8")
    assert (len(found.sft), len(found.rl), found.name) == (8, 2, "mine")
    assert {question.source for question in found.sft} == {given}
    assert json.loads(found.config)["questions"] == given
    other, more = ask(f"{given}:8", seed=1), ask(f"{given}:12", rl_questions=2)
    assert {question.key for question in other.sft} != {question.key for question in found.sft}
    assert {question.key for question in found.sft} < {question.key for question in more.sft}
    assert other.rl == found.rl == more.rl
    assert len(ask(f"{given}:8", rl_questions=12).rl) == 12
    assert (len(ask(f"{given}:20").rl), len(ask(given).sft)) == (0, 16)
    for count, told in ((21, "mine.jsonl has 20 questions: 21 for SFT and 0 for RL are more"), (0, "between 1 and")):
        with pytest.raises(ValueError, match=r"mine\.jsonl") as error:
            ask(f"{given}:{count}")
        assert told in str(error.value)


def test_a_count_stands_at_the_very_end() -> None:
    def check(text: str, where: str, count: int | None) -> None:
        assert parse(text) == (where, count)

    check_rows(
        check,
        [
            ("q.jsonl", "q.jsonl", None),
            ("q.parquet:7", "q.parquet", 7),
            ("a:b.jsonl", "a:b.jsonl", None),
            ("a:5/b.jsonl:6", "a:5/b.jsonl", 6),
            ("me/sums", "me/sums", None),
            ("me/sums:5", "me/sums", 5),
            ("me/sums:main", "me/sums:main", None),
            ("me/sums:main:5", "me/sums:main", 5),
            ("me/sums:main@abc:5", "me/sums:main@abc", 5),
            # The one way to a configuration of digits alone.
            ("me/sums:2024@main", "me/sums:2024@main", None),
        ],
    )


# ---- countdown questions without a solution


def test_a_countdown_question_without_a_solution_is_told(tmp_path: Path) -> None:
    def check(numbers: list[int], target: int, solvable: bool) -> None:
        row = {"question": "Make it.", "answer": str(target), "numbers": numbers, "target": target}
        path = put(tmp_path, {**row, "question": "And this.", "answer": "4 * 6", "numbers": [4, 6], "target": 24}, row)
        if solvable:
            assert len(load(path, Reading("countdown"))) == 2
            return
        with pytest.raises(ValueError, match=r"mine\.jsonl line 2: no equation of \[.*\] makes ") as error:
            load(path, Reading("countdown"))
        assert f"no equation of {numbers} makes {target}" in str(error.value)

    check_rows(
        check,
        [
            ([4, 6], 24, True),
            ([4, 6], 25, False),
            ([24, 5], 24, True),
            ([3, 3, 8, 8], 24, True),  # by a fraction: 8 / (3 - 8 / 3)
            ([1, 1, 1, 1], 24, False),
            ([5, 7], -2, True),
            ([0, 0, 3], 4, False),
        ],
    )


def test_so_many_countdown_questions_are_tried_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"{n}?", "answer": "?", "numbers": [1, 2], "target": n} for n in (3, 99, 98)]
    monkeypatch.setattr(gold, "MOST_SEARCHED", 1)
    note = "mine: 2 countdown questions more than are tried before the run"
    assert note in ask(put(tmp_path, *rows), grader="countdown").notes


# ---- twins


def test_a_question_that_differs_by_spaces_is_the_same(tmp_path: Path) -> None:
    def check(twin: str) -> None:
        rows = [{"question": text, "answer": "42"} for text in ("What is 6 times 7?", "What is 67?", twin)]
        with pytest.raises(
            ValueError, match=r"mine\.jsonl line 3 asks the same question as .*mine\.jsonl line 1: each"
        ):
            load(put(tmp_path, *rows))
        assert len(load(put(tmp_path, *rows[:2]))) == 2

    check_rows(
        check, ["What is 6 times 7? ", "What is 6  times 7?", "What is\n6 times 7?", "What is 6\u00a0times 7?\u200b"]
    )


TASK = """from generation.tasks.task import Drawn, Problem

def draw(rng):
    return Problem("{before}%d{after}" % rng.randrange({most}){spaces}, "{answer}")

TASK = Drawn("{name}", "a line", "{grader}", "value", draw)
"""


def own_task(folder: Path, **parts: Any) -> str:
    usual = {"before": "", "after": "?", "most": 9, "answer": "1", "name": "one", "grader": "number", "spaces": ""}
    path = folder / f"{parts.get('name', 'one')}.py"
    path.write_text(TASK.format(**{**usual, **parts}))
    return str(path)


def test_twins_of_drawn_questions_are_one(tmp_path: Path) -> None:
    path = own_task(tmp_path, most=5, spaces=" + rng.choice(['', ' '])")
    with pytest.raises(ValueError, match=r"gave only [0-5] different SFT questions of the 6 wanted"):
        decide_questions(Settings(task=path, questions=6, rl_questions=0), small=False)


def test_twins_of_two_tasks_are_held_apart(tmp_path: Path) -> None:
    mixed = ",".join(own_task(tmp_path, name=name, before=before, most=40) for name, before in (("a", ""), ("b", " ")))
    with pytest.raises(ValueError, match=r"holds a question out for RL that [ab] has for SFT"):
        decide_questions(Settings(task=mixed, questions=40, rl_questions=10), small=False)


def test_a_task_of_ones_own_with_mathematics_that_nobody_can_match(tmp_path: Path) -> None:
    path = own_task(tmp_path, grader="math", answer=r"\\frac{{1}}{{2".replace("{{", "{"), most=999)
    with pytest.raises(ValueError, match=r"--task file .* is none for math: cannot be read as mathematics"):
        decide_questions(Settings(task=path, questions=3, rl_questions=0), small=False)


def test_twins_and_gold_answers_that_nobody_can_match_of_a_hub_task(hub: Hub, user: User) -> None:
    rows = [{"problem": text, "answer": "1"} for text in ("What is  1?", "What is 1?", "What is\n1?", "What is 2?")]
    hub_datasets.put(hub, "aime25", {"test.jsonl": hub_datasets.jsonl(rows)})
    said = asked(user, "--task=aime25")
    assert [question["text"].removeprefix(HEADER) for question in said["sft"]] == ["What is  1?", "What is 2?"]
    assert said["config"]["dropped"] == {"asked in an earlier row": 2}
    golds = (r"\frac{1}{2}", r"\frac{1}{2", "not found", "the answer follows from the lemma above", "east")
    rows = [{"problem": f"What is {gold}?", "answer": gold} for gold in golds]
    hub_datasets.put(hub, "math500", {"test.jsonl": hub_datasets.jsonl(rows)})
    said = asked(user, "--task=math500")
    assert [question["answer"] for question in said["sft"]] == [r"\frac{1}{2}", "east"]
    assert said["config"]["dropped"] == {"a gold answer that is none for math": 3}
    assert said["notes"] == ["math500: 3 of 5 rows give no question: a gold answer that is none for math (3)"]


def test_twins_and_gold_answers_that_nobody_can_match_of_ones_own_dataset(hub: Hub, user: User) -> None:
    golds = ("5", "5", r"\boxed{1} \boxed{2}", r"\frac{1}{2", "5")
    texts = ("1?", "2?", "3?", "4?", "2? ")
    rows = [{"question": text, "answer": gold} for text, gold in zip(texts, golds, strict=True)]
    hub.repositories["me/sums"] = Repository(
        private=False, files={"train.jsonl": hub_datasets.jsonl(rows)}, commits=["9" * 40]
    )
    said = asked(user, "--questions=me/sums", "--grader=math", "--rl_questions=0")
    assert [question["text"] for question in said["sft"]] == ["1?", "2?"]
    assert said["config"]["dropped"] == {
        r"several different \boxed{}": 1,
        "a gold answer that is none for math": 1,
        "asked in an earlier row": 1,
    }
