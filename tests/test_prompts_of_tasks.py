"""Every task under every variant: the prompts are printed (`pytest -s`) to be read, and checked where a test can."""

from __future__ import annotations

import pytest

from generation.records import Question
from generation.tasks.own_facts import ANSWER_TYPES
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


def test_the_kinds_of_answer_are_those_that_were_read_in_the_prompts() -> None:
    """A new one must be read in all eight variants first: "your resulting …", "a correct … is"."""
    assert {name: task.answer_type for name, task in TASKS.items()} == KINDS
    assert set(ANSWER_TYPES.values()) - set(KINDS.values()) == {"answer"}
    for kind in ANSWER_TYPES.values():
        assert kind[0] not in "aeio" or kind in ("equation", "answer"), "a correct …, your resulting …"


@pytest.mark.parametrize("name", TASKS)
def test_every_task_under_every_variant(name: str) -> None:
    question = TASKS[name].example()
    assert question.task == name
    assert question.text.startswith(HEADER)
    for variant in VARIANTS.values():
        system, user = messages(variant, question)
        print(f"\n===== {name} / {variant.name}\n[system] {system['content']}\n[user] {user['content']}")
        assert user["content"].count(HEADER) == 1
        assert (f"\n\nHint: a correct {question.answer_type} is {question.answer}\n" in user["content"]) is (
            variant.rationalized
        )
        if not variant.name.startswith("original"):
            assert f"give your resulting {question.answer_type} as the answer" in user["content"]


def problem_of(question: Question) -> str:
    return question.text.removeprefix(HEADER)


@pytest.mark.parametrize("name", TASKS)
def test_a_question_does_not_give_its_answer_away(name: str) -> None:
    if TASKS[name].grader == "choice":
        return  # one of the options is right
    question = TASKS[name].example()
    assert question.answer not in problem_of(question).replace(",", " ").split()
