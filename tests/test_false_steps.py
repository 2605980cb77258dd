"""Where an attempt is cut: behind the first step that arithmetic or the reflection shows to be false."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.claims import located_false
from assembly.false_steps import cut_place

NO = "\n<verdict>Incorrect</verdict>"
ENDED = "\n<answer>8</answer>"


@pytest.mark.parametrize(
    ("attempt", "reflection", "kept", "why"),
    [
        ("First 3 + 4 = 8. Then more.", "", "First 3 + 4 = 8.", "arithmetic"),
        ("[3 + 4 = 8], then", "", "[3 + 4 = 8]", "a bracket that was opened before"),
        ("$3 + 4 = 8$, then", "", "$3 + 4 = 8$", "marks of a formula"),
        ("2 * 2 = 4; 3 + 4 = 8; 1 + 1 = 3, so", "", "2 * 2 = 4; 3 + 4 = 8;", "the first of two"),
        ("I use 9. Then I go on.", 'It says "I use 9", which is wrong.', "I use 9.", "a quotation"),
        ("I use 9. Then I go on.", "`I use 9` is not allowed.", "I use 9.", "marked as code"),
        ("I use 9. Then I go on.", "The step “I use 9” is an error.", "I use 9.", "printer's marks"),
        ("7 + 1 = 8, so it is", "But 7 + 1 = 8 is wrong: there is no 1.", "7 + 1 = 8", "an equation without marks"),
        ("7+1 = 8, so it is", "But 7 + 1=8 is wrong.", "7+1 = 8", "other spaces"),
        ("2 + 2 = 4, 7 + 1 = 8, so", "2 + 2 = 4 is right, but 7 + 1 = 8 is wrong.", "2 + 2 = 4, 7 + 1 = 8", "clauses"),
        ("I use 9, and 3 + 4 = 8, so", '"I use 9" is wrong.', "I use 9", "what is named comes first"),
        ("3 + 4 = 8, and I use 9, so", '"I use 9" is wrong.', "3 + 4 = 8", "arithmetic comes first"),
        ("Then 12.5 + 1 = 13, so it is", "12.5 + 1 = 13 should be 13.5.", "Then 12.5 + 1 = 13", "decimals"),
    ],
)
def test_the_first_false_step_ends_the_attempt(attempt: str, reflection: str, kept: str, why: str) -> None:
    place = cut_place(attempt + ENDED, reflection + NO)
    assert place is not None, why
    assert (attempt + ENDED)[:place] == kept, why


@pytest.mark.parametrize(
    ("attempt", "reflection", "why"),
    [
        ("3 + 4 = 7, so" + ENDED, "It is 7, not 8: wrong.", "no step is named"),
        ("3 + 4 = 7, so" + ENDED, "3 + 4 = 7 holds. The answer is wrong.", "another sentence says wrong"),
        ("3 + 4 = 7, so" + ENDED, "There is nothing wrong with 3 + 4 = 7.", "denied"),
        ("3 + 4 = 7, so" + ENDED, "I find no mistake in 3 + 4 = 7.", "denied"),
        ("3 + 4 = 7, so" + ENDED, "Is 3 + 4 = 7 wrong?", "asked, not said"),
        ("3 + 4 = 7, so" + ENDED, '"3 + 4 = 9" is wrong.', "the attempt does not say that"),
        ("13 + 4 = 17, so" + ENDED, "3 + 4 = 17 is wrong.", "a part of another equation"),
        ("3 + 4 = 7.5x, so" + ENDED, "", "no number"),
        ("So\n<answer>3 + 4 = 8</answer> it is", "", "inside the answer"),
        ("It is <answer>8</answer> as 3 + 4 = 8, yes", "", "behind the answer"),
        ("It is \\boxed{8} as 3 + 4 = 8, yes", "", "behind another kind of answer"),
        ("3 + 4 = 8.", "", "nothing stands behind"),
        ("", "", "nothing at all"),
        ("No equation." + ENDED, '"" and "  " and "ab" are wrong.', "too short to name anything"),
    ],
)
def test_what_must_not_be_cut(attempt: str, reflection: str, why: str) -> None:
    assert cut_place(attempt, reflection + NO) is None, why


PIECES = st.sampled_from(
    [
        "3 + 4 = 8",
        "3 + 4 = 7",
        '"',
        "wrong",
        ". ",
        "\n",
        "<answer>",
        "</answer>",
        "\\boxed{",
        "but ",
        "so ",
        "$",
        ")",
        "7",
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=12).map("".join)


@given(TEXTS, TEXTS)
def test_a_cut_attempt_holds_no_answer_and_ends_before_its_end(attempt: str, reflection: str) -> None:
    place = cut_place(attempt, reflection)
    if place is None:
        return
    kept = attempt[:place]
    assert kept.strip()
    assert attempt[place:].strip()
    assert "<answer" not in kept.lower()
    assert "\\boxed" not in kept
    assert len([*located_false(kept)]) <= 1, "no second false step is kept"


@given(TEXTS)
def test_arithmetic_alone_cuts_at_the_first_false_equation(attempt: str) -> None:
    place, found = cut_place(attempt, ""), [*located_false(attempt)]
    if place is not None:
        assert found[0][0] <= place <= found[0][0] + 9
        assert [said for _, said in located_false(attempt[:place])] == [found[0][1]]


@pytest.mark.parametrize(
    "reflection", ['"' * 30_000, "1 + " * 10_000 + "= 3 wrong", "wrong " * 10_000, "(" * 30_000 + "="]
)
def test_hostile_texts_take_no_time(reflection: str) -> None:
    assert cut_place("3 + 4 = 7, " * 2_000 + "end", reflection) is None
