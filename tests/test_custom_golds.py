"""Gold answers of a user's own: the final answer is read, a grader chosen, and what nobody can match is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generation.grading import grade
from generation.grading.errors import TimedOutError
from generation.records import Question
from generation.run import main
from generation.settings import Settings
from generation.tasks import gold
from generation.tasks.custom_facts import Reading
from generation.tasks.gold import WHOLE, final_answer, grader_of
from tests.ask_task import Asked, decide_questions
from tests.custom_questions import load
from tests.rows import check_rows

SOLVED = [
    {
        "question": "A box holds 6 rows of 7 nuts. How many nuts?",
        "answer": "There are 6 * 7 = <<6*7=42>>42 nuts.\n#### 42",
    },
    {
        "question": "A rope of 90 cm is cut in half twice. How long is a piece?",
        "answer": "Half of 90 is 45, half of that is \\boxed{22.5}.",
    },
    {"question": "How far is it there and back, if it is 2.5 km there?", "answer": "5"},
]
"""As GSM8K and MATH write their gold answers, and one as it should be."""


def put(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def golds(folder: Path, *answers: Any, grader: Any = None) -> tuple[Question, ...]:
    return load(put(folder, *({"question": f"{n}?", "answer": a} for n, a in enumerate(answers))), Reading(grader))


def golds_of(folder: Path, rows: list[tuple[str, str]]) -> tuple[Question, ...]:
    return load(put(folder, *({"question": question, "answer": answer} for question, answer in rows)))


def ask(given: str, **flags: Any) -> Asked:
    return decide_questions(Settings(questions=given, **flags), small=True)


def outcome(answer: str, question: Question) -> str:
    return grade(f"<answer>{answer}</answer>", question, "stop").outcome


# ---- final answers


def test_the_final_answer_and_the_grader_it_looks_like() -> None:
    def check(text: str, answer: str, grader: str) -> None:
        found = final_answer(text)
        assert (found.answer, grader_of(found)) == (answer, grader)
        assert (found.where == WHOLE) == (answer == text)

    check_rows(
        check,
        [
            ("5", "5", "number"),
            ("twenty-four", "twenty-four", "number"),
            ("1,234", "1,234", "number"),
            ("$18", "$18", "number"),
            (r"12.5\%", r"12.5\%", "number"),
            (r"\frac{1}{2}", r"\frac{1}{2}", "number"),
            ("1e3", "1e3", "number"),
            ("5 km", "5 km", "number"),
            ("1.5 million", "1.5 million", "number"),
            ("so\n#### 42", "42", "number"),
            ("#### 5 km\nThe answer is: 5 km", "5 km", "number"),
            (r"It is \boxed{22.5}.", "22.5", "number"),
            (r"\boxed{x} is \boxed{ x }", "x", "math"),
            (r"It is \fbox{\frac{\sqrt{2}}{2}}.", r"\frac{\sqrt{2}}{2}", "math"),
            (r"\frac{\sqrt{2}}{2}", r"\frac{\sqrt{2}}{2}", "math"),
            ("$x^2$", "$x^2$", "math"),
            ("<think>6 * 7</think>\n<answer> 42 </answer>", "42", "number"),
            ("He was born there.\n#### Paris", "Paris", "answer"),
            # No numbers, though some begin with one or could be read as a difference.
            ("Paris", "Paris", "answer"),
            ("12 Monkeys", "12 Monkeys", "answer"),
            ("2020-01-01", "2020-01-01", "answer"),
            ("10:30", "10:30", "answer"),
            ("$5 bill", "$5 bill", "answer"),
            ("A#### B", "B", "answer"),
            (r"So it is \boxed 42.", "42.", "number"),
            # A heading is no mark.
            ("##### 42", "##### 42", "number"),
            ("#### Origins\n\nHe was born there.", "#### Origins\n\nHe was born there.", "answer"),
        ],
    )


def test_a_solution_without_one_final_answer_is_none(tmp_path: Path) -> None:
    def check(text: str) -> None:
        for grader in (None, "number", "math", "exact"):
            with pytest.raises(ValueError, match=r"line 1: the gold answer has .*: give the final answer alone"):
                golds(tmp_path, text, grader=grader)

    check_rows(check, ["####", "6 * 7\n#### ", r"\boxed{", r"\boxed{ }", r"\boxed{1} \boxed{2}", "<answer></answer>"])


def test_right_answers_to_worked_solutions_are_right(tmp_path: Path) -> None:
    def check(grader: Any) -> None:
        box, rope, way = load(put(tmp_path, *SOLVED), Reading(grader))
        assert [question.answer for question in (box, rope, way)] == ["42", "22.5", "5"]
        for question, right, wrong in (
            (box, ("42", "42 nuts", "**42**", "x = 42", r"\boxed{42}"), ("43", "67")),
            (rope, ("22.5", "22.5 cm", "22,5", "45/2"), ("45", "22")),
            (way, ("5", "5 km", "x=5", "5.0", "five"), ("2.5", "6 km")),
        ):
            assert {outcome(answer, question) for answer in right} <= {"right", "unknown"}
            assert outcome(right[0], question) == outcome(right[1], question) == "right"
            assert {outcome(answer, question) for answer in wrong} == {"wrong"}
        assert outcome("x=5", way) == "right"

    check_rows(check, [None, "number", "math"])


def test_a_choice_and_a_word_behind_a_mark(tmp_path: Path) -> None:
    row = {"question": "Which shines by day?", "choices": ["sun", "moon"], "answer": "By day it is light.\n#### A"}
    assert load(put(tmp_path, row), Reading("choice"))[0].answer == "A"
    row = {"question": "Make a word.", "letters": "tsrae", "answer": r"They spell \boxed{stare}."}
    assert load(put(tmp_path, row), Reading("word"))[0].answer == "stare"


def test_columns_that_another_grader_reads_are_not_left_in_silence(tmp_path: Path) -> None:
    def check(row: dict[str, Any], told: str) -> None:
        path = put(tmp_path, {"question": "Which?", "answer": "4 * 6", **row})
        with pytest.raises(ValueError, match=r"mine\.jsonl line 1 has ") as error:
            load(path)
        assert told in str(error.value)
        assert load(path, Reading("exact"))[0].facts == {}
        assert load(put(tmp_path, {"question": "Which?", "answer": "4", **dict.fromkeys(row)}))[0].grader == "number"

    check_rows(
        check,
        [
            ({"choices": ["sun", "moon"]}, "line 1 has 'choices', which is read with --grader choice alone"),
            ({"nums": [4, 6], "target": 24}, "line 1 has 'nums', which is read with --grader countdown alone"),
            ({"letters": "tsrae"}, "line 1 has 'letters', which is read with --grader word alone"),
        ],
    )


def test_options_in_the_question_and_a_letter_are_a_choice(tmp_path: Path) -> None:
    text = "Which shines by day?\nA) sun\nB) moon"
    letter, word = golds_of(tmp_path, [(text, "(A)"), (text + "?", "sun")])
    assert (letter.grader, letter.answer, word.grader) == ("choice", "A", "answer")
    assert outcome("A) sun", letter) == "right"


def test_what_was_decided_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = put(tmp_path, *SOLVED, {"question": "Who?", "answer": "Ada"})
    asked = ask(given)
    assert asked.notes == (
        "mine: graded as the gold answers look, without --grader: "
        "3 as a number (first '42'), 1 by its text (first 'Ada')",
        r"mine: of 2 gold answers the final answer alone is taken: behind #### (1), in \boxed{} (1)",
    )
    assert json.loads(asked.config) == {"questions": given, "graders": {"answer": 1, "number": 3}}
    assert main([f"--questions={given}", "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "graded by   number, the first gold answer '42'; answers in tag, boxed\n" in shown
    assert "graded by   answer, the first gold answer 'Ada'\n" in shown
    assert all(f"note        {note}\n" in shown for note in asked.notes)
    (note,) = ask(put(tmp_path, *SOLVED), grader="number").notes
    assert note == r"mine: of 2 gold answers the final answer alone is taken: behind #### (1), in \boxed{} (1)"
    assert ask(put(tmp_path, SOLVED[2]), grader="number").notes == ()


def test_gold_answers_that_can_hardly_be_met_are_told(tmp_path: Path) -> None:
    def check(answers: list[str], told: str) -> None:
        rows = [{"question": f"{n}?", "answer": answer} for n, answer in enumerate(answers)]
        assert any(note.startswith(f"mine: {told}") for note in ask(put(tmp_path, *rows)).notes)

    check_rows(
        check,
        [
            (["N/A", "Paris"], "1 gold answers say only that there is none, and are taken as texts (first 'N/A')"),
            (
                ["It is known that he lived there. " * 9],
                "1 gold answers are long texts, which a sample must repeat; --answer_c",
            ),
            (
                ["(2, 1)", "x^2 + 1", "0,5"],
                "3 gold answers look like numbers or mathematics and are compared as texts; ",
            ),
            (["5 apples", "12 Angry Men"], "2 gold answers are a number and words and are compared as texts; "),
        ],
    )


# ---- mathematics that nobody can match

UNMATCHED = [
    ("the answer follows from the lemma above", "is a sentence"),
    (r"\frac{1}{2", "cannot be read as mathematics"),
    (r"\frac", "cannot be read as mathematics"),
    ("(1, 2", "cannot be read as mathematics"),
    ("5 +", "cannot be read as mathematics"),
    (r"\left(2,1", "cannot be read as mathematics"),
    (r"\foo{1}", "cannot be read as mathematics"),
    ("$5$ and $6$", "has several formulas"),
    ("42 43", "has numbers in it with nothing between"),
    ("?", "holds neither number nor letter"),
    ("not found", "says only that there is none"),
    ("N/A", "says only that there is none"),
    ("None", "says only that there is none"),
    ("[Not found]", "says only that there is none"),
]
MATCHED = (
    *(
        "5",
        "-3.5",
        r"\frac{1}{2}",
        r"\frac{\pi}{2}",
        "(2, 1)",
        "[0, 1)",
        "x = 5",
        r"\{1, 2\}",
        "x^2 + 1",
        "5 km",
        "12:30",
    ),
    *("Tuesday", "even", "no solution", "infinitely many", r"\text{(A)}", "1011_2", r"2 \pm \sqrt{3}", "2 3/4", "50%"),
    *(
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        r"10\sqrt{2}\text{ cm}",
        r"x \in (0, 1]",
        "y = mx + b",
        "3, 4",
        "1,000,000",
    ),
)


def test_mathematics_that_nobody_can_match_is_told(tmp_path: Path) -> None:
    def check(answer: str, told: str) -> None:
        with pytest.raises(ValueError, match=r"mine\.jsonl line 2: the gold answer ") as error:
            golds(tmp_path, "5", answer, grader="math")
        assert f"is none for math: {told}; --grader exact takes a text as it is" in str(error.value)

    check_rows(check, UNMATCHED)


def test_mathematics_that_can_be_matched_is_taken(tmp_path: Path) -> None:
    assert [question.answer for question in golds(tmp_path, *MATCHED, grader="math")] == list(MATCHED)


def test_each_formula_is_read_once_and_so_many_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unread(text: str) -> str:
        asked.append(text)
        return ""

    monkeypatch.setattr(gold, "unread", unread)
    golds(tmp_path, "x", "x", "5", "even", r"\frac{1}{x}", grader="math")
    assert sorted(asked) == [r"\frac{1}{x}", "x"]
    monkeypatch.setattr(gold, "MOST_FORMULAS", 1)
    golds(tmp_path, "y", "z", grader="math")
    assert sorted(asked) == [r"\frac{1}{x}", "x", "y"]


def test_a_formula_that_takes_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(text: str, _: str) -> None:
        raise TimedOutError(text)

    monkeypatch.setattr(gold, "compare", compare)
    with pytest.raises(ValueError, match=r"line 1: the gold answer '2x' is none for math: the grader ran out of time"):
        golds(tmp_path, "2x", grader="math")
