"""What stands inside a sample that is a trace itself: graded by the rollout, chosen by the assembly, by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest

from assembly.candidates import choose
from cluster.inference.engine import Completion, Request, Sampling, ScriptedEngine
from generation.builtin import RANGES
from generation.raw import reader
from generation.records import NO_ANSWER, Attempt
from generation.rollout import Rollout
from generation.variants import parse_names
from tests.assembly_rows import RIGHT as SAYS_RIGHT
from tests.assembly_rows import WRONG as SAYS_WRONG
from tests.assembly_rows import raw_row, settings
from tests.countdown_questions import make

QUESTION = make("countdown_3arg", 1, rl=False, seed=0, ranges=RANGES)[0]
RIGHT = QUESTION.answer
WRONG = f"{QUESTION.facts['numbers'][0]} + {QUESTION.facts['numbers'][1]}"
YES, NO = "It is.\n<verdict>Correct</verdict>", "It is not.\n<verdict>Incorrect</verdict>"


def _says(answer: str, way: str = "") -> str:
    return f"{way}It is\n<answer>\n{answer}\n</answer>"


def _inside(*steps: tuple[str, str]) -> str:
    return "\nHm.\n".join(
        f"<sample>\n{one}\n</sample>" + (f"\n<reflect>\n{said}\n</reflect>" if said else "") for one, said in steps
    )


def _roll(thought: str | None, answer: str | None) -> tuple[Attempt, list[Request]]:
    """One sample with this thought and answer, and the requests for its reflections."""
    looks: list[Request] = []

    def say(request: Request) -> Completion:
        if not request.key.endswith("/sample"):
            looks.append(request)
            return Completion(YES, "stop")
        text = "" if answer is None else f"So:\n\n<answer>\n{answer}\n</answer>"
        return Completion(text, "stop" if text else "length", thought=thought)

    rollout = Rollout(parse_names(("original",)), samples=1, reflections=1, sampling=Sampling(max_tokens=99), seed=0)
    (attempt,) = asyncio.run(rollout(ScriptedEngine(say), QUESTION))
    return attempt, looks


def test_the_attempts_inside_are_graded_each_for_itself() -> None:
    attempt, looks = _roll(_inside((_says(WRONG), NO), (_says(RIGHT), YES), (_says(WRONG), YES)), RIGHT)
    assert attempt.grade.outcome == "right"
    assert [one.grade.outcome for one in attempt.inner] == ["wrong", "right", "wrong"]
    assert [[one.is_valid(said) for said in one.reflections] for one in attempt.inner] == [[True], [True], [False]]
    assert [one.is_final for one in attempt.inner] == [False, True, False]
    assert _says(RIGHT) in looks[0].messages[0]["content"]
    assert "So:" not in looks[0].messages[0]["content"]


@pytest.mark.parametrize(
    ("steps", "answer", "final", "why"),
    [
        ([(_says(RIGHT, "a "), ""), (_says(RIGHT, "b "), "")], RIGHT, 1, "the last of those with the answer"),
        ([(_says(f" {RIGHT}"), ""), (_says(WRONG), "")], RIGHT, 0, "an earlier one, returned to"),
        ([(_says(WRONG), NO)], RIGHT, None, "an answer that stands in none"),
        ([("I do not know.", "")], RIGHT, None, "no answer inside"),
        ([(_says(RIGHT), "")], None, None, "cut before its answer"),
    ],
)
def test_the_attempt_that_the_answer_stands_on(
    steps: list[tuple[str, str]], answer: str | None, final: int | None, why: str
) -> None:
    attempt, looks = _roll(_inside(*steps), answer)
    assert [place for place, one in enumerate(attempt.inner) if one.is_final] == [final] * (final is not None), why
    shown = steps[final][0] if final is not None else "So:"
    assert len(looks) == (answer is not None)
    assert all(shown in look.messages[0]["content"] for look in looks)


@pytest.mark.parametrize(
    "thought", [None, "", "I think.", "<sample>\n" + _says(RIGHT), "</sample><reflect>a</reflect>"]
)
def test_any_other_thought_has_no_attempts_inside(thought: str | None) -> None:
    attempt, looks = _roll(thought, RIGHT)
    assert attempt.inner == ()
    assert attempt.grade.outcome == "right"
    assert "So:" in looks[0].messages[0]["content"]


def _entry(
    text: str, outcome: str, extracted: str | None, *said: str, final: bool = False, reason: str = ""
) -> dict[str, Any]:
    right = outcome == "right"
    looks = [{"text": one, "verdict": None, "valid": None} for one in said]
    told = {"text": text, "outcome": outcome, "extracted": extracted, "is_correct": right, "reason": reason}
    return told | {"found": "", "reflections": looks, "final": final}


ROWS = [
    raw_row("one", True),
    raw_row(
        "four",
        True,
        reflections=[YES, NO],
        attempts=[
            _entry("three", "wrong", "3", NO, YES, ""),
            _entry("four", "right", "four", YES, final=True),
            _entry("five", "unknown", None, NO, reason=NO_ANSWER),
        ],
    ),
    raw_row("five", False, variant="rephrase", attempts=[_entry("six", "right", "6", YES)]),
    raw_row("seven", False),
]


@pytest.mark.parametrize("before", [0, 1, 3])
def test_candidates_of_both_kinds(before: int) -> None:
    """By hand, in tables of several chunks and slices of longer ones."""
    rows = [*[ROWS[0]] * before, *ROWS]
    table = pa.Table.from_pylist([row._asdict() for row in rows], schema=reader.ROWS)
    halves = pa.concat_tables([table.slice(before, 2), table.slice(before + 2)])
    said = {name: [f"On {name}: {SAYS_RIGHT if name == 'one' else SAYS_WRONG}"] for name in ("one", "five", "seven")}
    columns = ["response", "correct", "variant", "answer", "reflections", "left_out"]
    for wanted, expected in (
        (
            settings("*C_full"),
            [
                ("one", True, "original", "one", said["one"], ""),
                ("four", True, "original", "four", [YES, YES], ""),
                ("five", False, "rephrase", "five", said["five"], ""),
                ("seven", False, "original", "seven", said["seven"], ""),
            ],
        ),
        (
            settings("*C_full", inner_attempts=True),
            [
                ("one", True, "original", "one", said["one"], ""),
                ("three", False, "original", "3", [NO], ""),
                ("four", True, "original", "four", [YES, YES], ""),
                ("five", False, "original", "", [NO], NO_ANSWER),
                ("five", False, "rephrase", "five", said["five"], ""),
                ("six", True, "rephrase", "6", [YES], ""),
                ("seven", False, "original", "seven", said["seven"], ""),
            ],
        ),
    ):
        found = choose(halves, wanted).select(columns).to_pylist()
        assert [tuple(row.values()) for row in found] == expected
