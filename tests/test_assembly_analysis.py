"""What is called a fault of a trace, what must not be, and how faults are counted."""

from __future__ import annotations

import pytest

from assembly.claims import false_equations
from assembly.faults import FAULTS, RULES
from assembly.sft import EXAMPLES, Summary
from tests.assembly_rows import RIGHT, WRONG, RawRow, made_of, raw_row, settings


@pytest.mark.parametrize(
    ("text", "false"),
    [
        ("3 + 4 = 8", ["3 + 4 = 8"]),
        ("First, 3 + 4 = 8, then 8 * 2 = 16.", ["3 + 4 = 8"]),
        ("2 × 3 = 7 and 9 ÷ 3 = 2", ["2 × 3 = 7", "9 ÷ 3 = 2"]),
        ("(2 + 3) * 4 = 21", ["(2 + 3) * 4 = 21"]),
        ("5 − 9 = −3", ["5 − 9 = −3"]),
        ("10 / 3 = 3.5", ["10 / 3 = 3.5"]),
        ("so 1/2 = 0.4", ["1/2 = 0.4"]),
        ("2 * 2 = 4, 3 + 4 = 8, 1 + 1 = 2.", ["3 + 4 = 8"]),
        ("I go backwards.\n19 is 5 * 10.\n5 is 5 - 4.", ["19 is 5 * 10", "5 is 5 - 4"]),
        ("from 24: 24 is 6 * 4 and 6 is 6 + 1, which is (6 + 1) * 4.", ["6 is 6 + 1"]),
        ("7 is 3 + 5. So 3 + 4 = 8.", ["7 is 3 + 5", "3 + 4 = 8"]),
    ],
)
def test_false_equations_are_found(text: str, false: list[str]) -> None:
    assert list(false_equations(text)) == false


@pytest.mark.parametrize(
    "text",
    [
        "3 + 4 = 7.",
        "5 − 9 = −4",
        "10 / 3 = 3.33",  # rounded
        "2 / 3 = 0.66",  # cut
        "1,000 + 2 = 1,002",
        "17 / 5 = 3 remainder 2",
        "17 / 5 = 3 R 2",
        "7 + 8 = 3 (mod 12)",
        "Is 3 + 4 = 8?",
        "3 + 4 = 8 is wrong, since 3 + 4 = 7",
        "3 + 4 = 8 (incorrect)",
        "that is not 3 + 4 = 8",
        "if 3 + 4 = 8, then all is lost",
        "3 + 4 = 7 + 2 = 9",  # the running "=" of school: both ends are meant
        "x2 + 3 = 9",  # an expression that grows out of a word
        "1. 3 + 4 = 8",  # numbering cannot be told from a factor
        "3 + 4 = 7x",
        "3 + 4 = 8%",
        "3 + 4 = 7 2/3",
        "3 + 4 = seven",
        "the target = 8",
        "8 = 8",
        "7 = 8",  # no operation: a comparison, not arithmetic
        "1 / 0 = 8",
        "9**9**9**9 = 1",
        "= 8",
        "3 + = 8",
        "27 is 21 + 6. 21 is 7 * 3.",
        "the sum of 3 and 4 is 2 + 6",  # no clause begins with the value
        "8 is 3 + 4 + 1",
        "8 is 3 + 4 = 7",
        "8 is 3 + 4 is wrong",
        "option 8 is 3 + 4",
        "8 is 4 people + 3",
        "=" * 10_000,
        "(" * 10_000 + "1 + 1 = 3",
    ],
)
def test_what_is_no_false_equation(text: str) -> None:
    assert list(false_equations(text)) == []


def _faults(*rows: RawRow, attempts: int) -> set[str]:
    made = made_of(rows, settings("*C", attempts=str(attempts))).made
    return {fault for fault, shows in FAULTS.items() if shows(made[0])}


@pytest.mark.parametrize(
    ("rows", "faults"),
    [
        ([raw_row("seven", True)], set()),
        ([raw_row("this is impossible, so: seven", True)], {"sample_contradicts_verdict"}),
        ([raw_row("seven", True), raw_row("eight. This is correct", False)], {"sample_contradicts_verdict"}),
        ([raw_row("seven. This is correct", True), raw_row("that does not work: eight", False)], set()),
        (
            [raw_row("3 + 4 = 8", True, reflections=[RIGHT])],
            {"sample_states_false_arithmetic", "final_attempt_states_false_arithmetic"},
        ),
        (
            [raw_row("seven", True), raw_row("3 + 4 = 8", False, reflections=[WRONG])],
            {"sample_states_false_arithmetic"},
        ),
        ([raw_row("7", True, reflections=[f"3 + 4 = 8 {RIGHT}"])], {"reflection_states_false_arithmetic"}),
        ([raw_row("Seven  it is", True), raw_row("seven it is", True)], {"repeats_an_attempt"}),
        ([raw_row("seven", True, cut=True)], {"cut_at_the_length_limit"}),
        ([raw_row("As the hint says, seven", True)], {"names_hint"}),
        ([raw_row("seven", True, reflections=[f"The Hint {RIGHT}"])], {"names_hint"}),
    ],
)
def test_faults_are_told_by_their_rules(rows: list[RawRow], faults: set[str]) -> None:
    assert _faults(*rows, attempts=len(rows)) == faults


def test_every_fault_has_a_rule_to_print() -> None:
    assert [*RULES] == [*FAULTS]
    assert all(rule.endswith(".") and "\n" not in rule and "  " not in rule for rule in RULES.values())


def test_faults_are_counted_by_label_task_and_variant() -> None:
    summary = Summary()
    for number in range(5):
        faults = ["names_hint"] if number else []
        row = {
            "format": "*C",
            "sft_template_type_idx": "2C",
            "task": "sums",
            "variants": ["plan", "plan"],
            "faults": faults,
            "tokens": 7 if number else 0,
        }
        summary.add(row, "question", f"trace {number} " + "x" * 5000)
    row = {"format": "*C", "sft_template_type_idx": "1C", "task": "sums", "variants": ["original"], "faults": []}
    summary.add(row | {"tokens": 0}, "question", "fine")
    assert summary.flawed == {("*C", "2C"): 4, ("*C", "1C"): 0}
    assert summary.attempts == {2: 5, 1: 1}
    assert summary.lengths == {(False, 5008): 1, (False, 7): 4, (False, 4): 1}
    found = summary.as_json()["names_hint"]
    assert found["by_label"] == {"1C": {"traces": 1, "share": 0.0}, "2C": {"traces": 5, "share": 0.8}}
    assert found["by_task"] == {"sums": {"traces": 6, "share": round(4 / 6, 6)}}
    assert found["by_variant"] == {"original": {"traces": 1, "share": 0.0}, "plan": {"traces": 5, "share": 0.8}}
    assert [text[:7] for text in found["examples"]] == ["trace 1", "trace 2", "trace 3"]
    assert len(found["examples"]) == EXAMPLES
    assert max(map(len, found["examples"])) < 1000


def test_a_wrong_verdict_never_reaches_a_trace() -> None:
    rows = [raw_row("seven", True, reflections=[WRONG, RIGHT]), raw_row("eight", False, reflections=[RIGHT, WRONG])]
    (one,) = made_of(rows, settings("*C", attempts="2")).made
    assert one.trace is not None
    assert [step.reflection for step in one.trace.steps] == [WRONG, RIGHT]
