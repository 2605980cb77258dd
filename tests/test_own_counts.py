"""So many questions of a user's own, and twins that differ by spaces: one question, for SFT or for RL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generation.questions import decide_questions
from generation.settings import Settings
from generation.tasks.own import load
from tests.test_own_golds import ask, put

# ---- counts


def test_so_many_of_a_file(tmp_path: Path) -> None:
    rows = [{"question": f"{n} + {n}?", "answer": 2 * n} for n in range(20)]
    given = put(tmp_path, *rows)
    asked = ask(f"{given}:8")
    assert (len(asked.sft), len(asked.rl), asked.name) == (8, 2, "mine")
    assert {question.source for question in asked.sft} == {given}
    assert json.loads(asked.config)["questions"] == given
    other, more = ask(f"{given}:8", seed=1), ask(f"{given}:12", rl_questions=2)
    assert {question.key for question in other.sft} != {question.key for question in asked.sft}
    assert {question.key for question in asked.sft} < {question.key for question in more.sft}
    assert other.rl == asked.rl == more.rl
    assert len(ask(f"{given}:8", rl_questions=12).rl) == 12
    assert (len(ask(f"{given}:20").rl), len(ask(given).sft)) == (0, 16)
    for count, told in ((21, "mine.jsonl has 20 questions: 21 for SFT and 0 for RL are more"), (0, "between 1 and")):
        with pytest.raises(ValueError, match=r"mine\.jsonl") as error:
            ask(f"{given}:{count}")
        assert told in str(error.value)


# ---- twins


@pytest.mark.parametrize(
    "twin", ["What is 6 times 7? ", "What is 6  times 7?", "What is\n6 times 7?", "What is 6\u00a0times 7?\u200b"]
)
def test_a_question_that_differs_by_spaces_is_the_same(tmp_path: Path, twin: str) -> None:
    rows = [{"question": text, "answer": "42"} for text in ("What is 6 times 7?", "What is 67?", twin)]
    with pytest.raises(ValueError, match=r"mine\.jsonl line 3 asks the same question as .*mine\.jsonl line 1: each"):
        load(put(tmp_path, *rows))
    assert len(load(put(tmp_path, *rows[:2]))) == 2


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
