"""Every task under every variant: the prompts are printed (`pytest -s`) to be read, and checked where a test can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generation.grading import grade
from generation.records import Question
from generation.tasks import custom, registry
from generation.tasks.countdown import Ranges
from generation.tasks.custom_facts import ANSWER_TYPES, Reading
from generation.tasks.registry import TASKS
from generation.tasks.task import HEADER
from generation.variants import VARIANTS, messages

KINDS = {
    **dict.fromkeys((f"countdown_{count}arg" for count in range(2, 7)), "equation"),
    **dict.fromkeys(("acronym_4o", "acronym_5o", "letter_countdown_4o", "letter_countdown_5o"), "word"),
    **dict.fromkeys((f"longmult_{digits}dig" for digits in range(2, 6)), "product"),
    **dict.fromkeys(("gsm8k", "aime25", "amc23"), "value"),
    **dict.fromkeys(("math500", "openthoughts"), "value or expression"),
    **dict.fromkeys(("commonsenseQA", "gpqa"), "choice"),
}
EXAMPLE = str(Path(__file__).parent.parent / "examples" / "my_task.py")
OTHERS = {"reasoning_gym/gcd": "answer", EXAMPLE: "number of days"}
"""What else --task may name: one generator for all, since their kind of answer is one; and a file."""
OWN = {"question": "Which city is the capital of France?", "answer": "Paris"}


def test_the_kinds_of_answer_are_those_that_were_read_in_the_prompts() -> None:
    """A new one must be read in all eight variants first: "your resulting …", "a correct … is"."""
    assert {name: task.answer_type for name, task in TASKS.items()} == KINDS
    assert {name: registry.find(name, Ranges()).answer_type for name in OTHERS} == OTHERS
    assert set(ANSWER_TYPES.values()) - set(KINDS.values()) == {"answer"}
    for kind in {*ANSWER_TYPES.values(), *OTHERS.values()}:
        assert kind[0] not in "aeio" or kind in ("equation", "answer"), "a correct …, your resulting …"


def check_prompts(name: str, question: Question) -> None:
    """Print them, and see that each says what is asked and which kind of answer, and gives it away in a hint alone."""
    asked = {}
    for variant in VARIANTS.values():
        system, user = messages(variant, question)
        print(f"\n===== {name} / {variant.name}\n[system] {system['content']}\n[user] {user['content']}")
        assert user["content"].startswith(f"{question.text}\n\n")
        asked[variant.name] = user["content"].removeprefix(question.text)
        hint = f"\n\nHint: a correct {question.answer_type} is {question.answer}\n"
        assert (hint in asked[variant.name]) is variant.rationalized
        if not variant.name.startswith("original"):
            assert f"give your resulting {question.answer_type} as the answer" in asked[variant.name]
    assert len(set(asked.values())) == len(VARIANTS)


@pytest.mark.parametrize("name", [*TASKS, *OTHERS])
def test_every_task_under_every_variant(name: str) -> None:
    question = registry.find(name, Ranges()).example()
    assert question.task == ("days_between" if name == EXAMPLE else name)
    assert question.text.startswith(HEADER)
    assert question.text.count(HEADER) == 1
    check_prompts(name, question)


def test_own_questions_under_every_variant(tmp_path: Path) -> None:
    """They are asked as they are written; each prompt says by itself where the answer goes."""
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(OWN) + "\n", encoding="utf-8")
    question = custom.task(str(path), Reading()).example()
    assert (question.text, question.answer, question.answer_type) == (OWN["question"], OWN["answer"], "answer")
    check_prompts("own questions", question)
    for variant in VARIANTS.values():
        system, _ = messages(variant, question)
        assert "<answer>\n(your answer)\n</answer>" in system["content"]


def problem_of(question: Question) -> str:
    return question.text.removeprefix(HEADER)


@pytest.mark.parametrize("name", [*TASKS, *OTHERS])
def test_a_question_does_not_give_its_answer_away(name: str) -> None:
    task = registry.find(name, Ranges())
    question = task.example()
    assert grade(f"<answer>{question.answer}</answer>", question, "stop").outcome == "right"
    if task.grader != "choice":  # where one of the options is right
        assert question.answer not in problem_of(question).replace(",", " ").split()
