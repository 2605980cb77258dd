"""Where answers stand: each place's finder, --answer_in, and what rows, configuration, card and reward make of it."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.reward import compute_score, compute_score_batch, truth_of
from cluster.flags import parse
from cluster.inference.engine import FinishReason, Request
from generation.grading import grade
from generation.grading.answers import BOXED, LAST, LAST_LINE, MATCHED, ONLY, WORDS, find, places_of, read_answer_in
from generation.grading.text import closed_box
from generation.plan import describe, make_plan
from generation.records import CUT, GRADER_TIMED_OUT, NO_ANSWER, Question
from generation.settings import Settings
from tests.assembly_rows import read
from tests.drive_job import main as drive_job

MATH = Question("?", "7", "own", "file", "math", "value", answer_in=("tag", "boxed"))


@pytest.mark.parametrize(
    ("response", "answer", "why"),
    [
        (r"\boxed{5}", "5", "one box"),
        (r"so $\boxed{ \frac{1}{2} }$.", r"\frac{1}{2}", "braces inside"),
        (r"\boxed{5}, no: \boxed{6}", "6", "the last"),
        (r"\boxed{\boxed{5}}", r"\boxed{5}", "the outermost; the grader takes the inner one off"),
        (r"\boxed{5} and \boxed{6", "5", "the last that is closed"),
        (r"\boxed{ a \boxed{5}", "5", "one inside another that is never closed"),
        (r"{ \boxed{5}", "5", "a stray brace before it"),
        (r"\boxed{5}}", "5", "and behind it"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}", "braces of a set are escaped"),
        (r"\boxed{1 \\{2}}", r"1 \\{2}", "a new line, and a brace that is none of a set"),
        (r"\fbox{5}", "5", "the frame of text"),
        (r"\boxed {5}", "5", "a space before the brace"),
        (r"\boxed 12.", "12", "a number without braces; the sentence ends there"),
        (r"\boxed -1.5, or so", "-1.5", "likewise"),
        (r"Put it in \boxed and go on", None, "a word about boxes"),
        (r"\boxed{}", None, "an empty one"),
        (r"\boxed{ }", None, "a blank one"),
        (r"\boxedx{5}", None, "another command"),
        (r"\\boxed{5}", None, "a new line, and a word"),
        ("5", None, "no box"),
    ],
)
def test_the_last_box(response: str, answer: str | None, why: str) -> None:
    found = find(response, ("boxed",))
    assert (found.answer if found else None) == answer, why
    assert found is None or found.place == BOXED


@given(st.lists(st.sampled_from([r"\boxed{", "{", "}", "a", r"\{"])))
def test_agrees_with_boxes_matched_by_hand(parts: list[str]) -> None:
    text, spans, open_at = "", dict[int, int](), list[int]()
    for part in parts:
        if part == "}" and open_at:
            spans[open_at.pop()] = len(text)
        text += part
        if part in (r"\boxed{", "{"):
            open_at.append(len(text))
    closed = {start: end for start, end in spans.items() if text[:start].endswith(r"\boxed{")}
    last = max(closed.items(), key=lambda span: span[1], default=None)
    assert closed_box(text) == (None if last is None else text[slice(*last)])


@pytest.mark.parametrize(
    ("response", "answer", "why"),
    [
        ("I think.\n\n5\n", "5", "the last line with something in it"),
        ("**The final answer is: 5.**", "5", "emphasis, a label, a full stop"),
        ("**Answer:** Paris", "Paris", "emphasis of the label alone"),
        ("So the answer is 5", "5", "a label in a sentence"),
        ("### 5", "5", "a heading"),
        ("#### 12", "12", "as GSM8K writes it"),
        ("a\n```\n5\n```", "5", "a fence is no line"),
        ("a\n```python", "a", "nor is one that is opened"),
        ("<answer>\n5\n</answer>", "5", "nor is a tag"),
        ("<answer>5</answer>", "5", "a tag round it"),
        ("-5", "-5", "a sign is no mark of a list"),
        ("", None, "nothing"),
        ("\n \n```\n", None, "nothing but a fence"),
    ],
)
def test_the_last_line(response: str, answer: str | None, why: str) -> None:
    found = find(response, ("last_line",))
    assert (found.answer if found else None) == answer, why
    assert found is None or found.place == LAST_LINE
    assert find(response, ("last_line",), was_cut=True) is None, "its last line may go on"


@pytest.mark.parametrize(
    ("expression", "response", "answer", "of_a_cut_one", "why"),
    [
        (r"(?i)answer: *(\S+)", "Answer: 5 or\nanswer: 6 it is", "6", "6", "group 1 of the last match"),
        (r"[0-9]+", "5 6 7.", "7", "7", "all of it without a group"),
        (r"[0-9]+", "5 6 7", "7", "6", "what reaches the end of a cut response may go on"),
        (r"a(b)?", "ab a", None, "b", "a group that took no part"),
        (r"(a)(b)", "ab.", "a", "a", "of several groups the first"),
        (r"(?m)^A: (.*)$", "A:  5 \nB", "5", "5", "stripped"),
        (r"\{(\d+,\d+)\}", "{1,2} ", "1,2", "1,2", "commas in it"),
        (r"x(.)", "x\ud800.", "\ud800", "\ud800", "a lone surrogate"),
        (r"[0-9]+", "none", None, None, "no match"),
    ],
)
def test_the_last_match(expression: str, response: str, answer: str | None, of_a_cut_one: str | None, why: str) -> None:
    (place,) = places = read_answer_in(expression)
    assert place == expression
    for was_cut, expected in ((False, answer), (True, of_a_cut_one)):
        found = find(response, places, was_cut=was_cut)
        assert (found.answer if found else None) == expected, why
        assert found is None or found.place == MATCHED


@pytest.mark.parametrize(
    ("response", "finish", "outcome", "reason", "place"),
    [
        ("<answer>7</answer>", "stop", "right", "", ONLY),
        (r"\boxed{7}", "stop", "right", "", BOXED),
        (r"<answer>7</answer> or \boxed{8}", "stop", "right", "", ONLY),
        (r"<answer>8</answer> <answer>9</answer> \boxed{7}", "stop", "wrong", "differs from the gold answer", LAST),
        (r"\boxed{7} <answer></answer>", "stop", "right", "", BOXED),
        (r"\boxed{7} and <answer>8", "length", "right", "", BOXED),
        (r"\boxed{7", "length", "unknown", CUT, ""),
        ("7", "stop", "unknown", NO_ANSWER, ""),
    ],
)
def test_places_are_tried_in_their_order(
    response: str, finish: FinishReason, outcome: str, reason: str, place: str
) -> None:
    graded = grade(response, MATH, finish)
    assert (graded.outcome, graded.reason, graded.found) == (outcome, reason, place)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("tag", ("tag",)),
        ("boxed, last_line ,tag", ("boxed", "last_line", "tag")),
        (r"tag,Answer: (\d+,\d+)", ("tag", r"Answer: (\d+,\d+)")),
        (r"\d,boxed+,x", (r"\d,boxed+,x",)),
        (r"tag, #(\d)", ("tag", r"#(\d)")),
    ],
)
def test_the_flag_is_a_list_of_words_and_then_one_expression(text: str, places: tuple[str, ...]) -> None:
    assert read_answer_in(text) == places == read_answer_in(",".join(places))


def test_defaults_are_by_grader() -> None:
    assert places_of("math", None) == places_of("number", None) == ("tag", "boxed")
    assert places_of("countdown", None) == ("tag",)
    assert places_of("math", "last_line") == ("last_line",)


_HOSTILE = [
    r"\boxed{" * 10**5,
    r"\boxed{" * 10**5 + "}" * 10**5,
    r"\boxed" + " " * 10**6,
    r"\boxed 5." * 10**5,
    r"\boxed 5" + "." * 10**6,
    "{" * 10**5,
    "\n" * 10**6,
    "#" * 10**6,
    "`" * 10**6,
    "answer: " * 10**5,
    "*" * 10**6,
]


@pytest.mark.parametrize("word", sorted(WORDS))
@pytest.mark.parametrize("text", _HOSTILE, ids=lambda text: text[:8])
def test_whatever_a_model_writes_takes_little_time(word: str, text: str) -> None:
    begun = time.process_time()
    find(text, (word,))
    assert time.process_time() - begun < 1


def test_an_expression_that_does_not_end_is_killed_and_the_next_is_not() -> None:
    question = Question("?", "7", "own", "file", "exact", "answer", answer_in=("tag", r"(?:a+)+(7)$"))
    graded = grade("a" * 60, question, "stop")
    assert (graded.outcome, graded.reason, graded.is_correct) == ("unknown", GRADER_TIMED_OUT, None)
    assert grade("aa7", question, "stop").outcome == "right"
    assert grade("a" * 60 + "<answer>7</answer>", question, "stop").found == ONLY, (
        "what was found first is not searched"
    )


def test_the_reward_grades_as_the_run_does() -> None:
    plain = Question("?", "7", "own", "file", "math", "value")
    asked = [plain, MATH, Question("?", "7", "own", "file", "exact", "answer", answer_in=(r"= (\d)\.",))]
    assert "answer_in" not in json.loads(truth_of(plain)), "the RL_DATA of earlier runs are as they were"
    assert [compute_score("", r"It = 7. \boxed{7}", truth_of(one)) for one in asked] == [0, 1, 1]
    assert compute_score_batch(["", ""], ["It = 7."] * 2, [truth_of(one) for one in asked[1:]]) == [0, 1]
    for broken in ("tags", ["tag", "("], [7], "tag"):
        truth = json.loads(truth_of(MATH)) | {"answer_in": broken}
        with pytest.raises(ValueError, match="not from an RL_DATA"):
            compute_score("", "", json.dumps(truth))


def _configured(**given: Any) -> dict[str, Any]:
    return dict(make_plan(Settings(questions=2, rl_questions=1, **given)).configuration)


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    rows = [{"question": f"What is {n}/3 as a fraction?", "answer": rf"\frac{{{n}}}{{3}}"} for n in (1, 2, 4, 5, 7, 8)]
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    flags = [f"--questions={tmp_path / 'own.jsonl'}", "--rl_questions=1", "--variants=original", "--samples=4"]
    return [*flags, "--grader=math", f"--out={tmp_path / 'run'}", "--attempts=2", "--formats=*C", "--reflections=1"]


def test_the_configuration_has_it_only_where_it_is_unusual(own: list[str]) -> None:
    """So that runs begun before the flag go on; one of mathematics, whose rows would differ, with --answer_in tag."""
    assert "answer_in" not in _configured()
    assert _configured(answer_in="tag") == _configured()
    assert _configured(answer_in="tag,last_line")["answer_in"] == {"countdown": ["tag", "last_line"]}
    by_default, boxed, tag = (
        make_plan(parse(Settings, [*own, *given])).configuration
        for given in ([], ["--answer_in=tag,boxed"], ["--answer_in=tag"])
    )
    assert by_default == boxed
    assert by_default["answer_in"] == {"math": ["tag", "boxed"]}
    assert "answer_in" not in tag


def _boxing(request: Request) -> str:
    """Half of the answers right, and none in a tag; every verdict true."""
    said, rng = request.messages[-1]["content"], random.Random(request.seed)
    number = said.partition("What is ")[2].partition("/")[0]
    if "# Your attempt" in said:
        is_right = rf"\boxed{{\frac{{{number}}}{{3}}}}" in said.partition("# Your attempt")[2]
        return f"I looked.\n<verdict>{'Correct' if is_right else 'Incorrect'}</verdict>"
    return rf"It is $\boxed{{\frac{{{number if rng.random() < 0.5 else 11}}}{{3}}}}$, way {rng.random()}."


def test_a_job_whose_model_boxes_its_answers(
    own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drive_job(own, _boxing) == 0
    rows = read(tmp_path / "run")
    assert {row.outcome for row in rows} == {"right", "wrong"}
    assert all((row.extracted_answer or "").startswith(r"\frac") for row in rows)
    card = (tmp_path / "run" / "RAW_DATA" / "README.md").read_text()
    assert f"| where an answer was found | samples |\n| --- | ---: |\n| {BOXED} | {len(rows)} |" in card
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as ended:
        drive_job([*own, "--answer_in=tag"], _boxing)
    assert ended.value.code == 2
    assert 'answer_in.math was ["tag", "boxed"], now not set' in capsys.readouterr().err


def test_the_plan_says_where_it_looks(own: list[str]) -> None:
    plan = make_plan(parse(Settings, own))
    assert r"graded by   math, the first gold answer '\\frac{1}{3}'; answers in tag, boxed" in describe(plan)
    assert "answers in" not in describe(make_plan(Settings(questions=2))).partition("---")[0]
