"""What of a trace is trained: every damage that a trainer may do, on texts alone."""

from __future__ import annotations

import pytest

from assembly.trained import DAMAGE, Asked, Example, compare

HEAD, TAIL, END = "<s>user\n", "<e>\n<s>assistant\n", "<e>"
TRACE = "<think>\n<sample>\n1 + 2 = 3\n</sample>\n</think>\n\n\nSo it is.\n\n<answer>\n1 + 2\n</answer>"
EMPTY = "<think>\n\n</think>\n\n"
Pieces = list[tuple[str, bool]]


def asked(number: int = 0, tail: str = TAIL, trace: str = TRACE) -> Asked:
    return Asked(HEAD, f"Question {number}?", tail, f"{trace}{number or ''}", (END,))


def whole(one: Asked) -> Pieces:
    return [(one.head + one.question + one.tail, False), (one.trace + END, True), ("\n", False)]


def found(*examples: Pieces, rows: list[Asked] | None = None, apart: bool = True) -> dict[str, int]:
    return compare(rows or [asked()], [Example(one, apart) for one in examples]).counts()


ASK = HEAD + "Question 0?" + TAIL
BEGINNING, REST = TRACE[:8], TRACE[8:]
REPLY = TRACE.partition("</think>\n\n\n")[2]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([(ASK, False), (TRACE + END, True)], []),
        ([(ASK, False), (TRACE + END + "\n", True)], []),
        ([(ASK, False), (TRACE + END, True), ("<pad><pad>", False)], []),
        # a tokenizer may join the line break before a reply to the words around it
        ([(ASK[:-1], False), ("\n" + TRACE + END, True)], []),
        ([(ASK, False), (REPLY + END, True)], ["lost"]),
        ([(ASK + EMPTY, False), (REPLY + END, True)], ["lost"]),
        ([(ASK, False), (EMPTY + TRACE + END, True)], ["added", "prompt"]),
        ([(ASK + EMPTY, False), (TRACE + END, True)], ["prompt"]),
        ([(ASK, False), (TRACE.replace("\n\n\n", "\n\n") + END, True)], ["spaces"]),
        ([(ASK.replace(" ", ""), False), ((TRACE + END).replace(" ", "").replace("\n", ""), True)], ["spaces"]),
        ([(ASK + BEGINNING, False), (REST + END, True)], ["late"]),
        ([(ASK + TRACE + END, False)], ["late"]),
        ([(ASK, False), (TRACE[:-4], True), (TRACE[-4:] + END, False)], ["early", "end"]),
        ([(ASK, False), (TRACE[:20], True), (TRACE[20:30], False), (TRACE[30:] + END, True)], ["early"]),
        ([(ASK, False), (TRACE, True), (END, False)], ["end"]),
        ([(ASK, False), (TRACE, True)], ["end"]),
        ([(ASK, False), (TRACE[:30], True)], ["cut"]),
        ([(ASK[:-10], False), (ASK[-10:] + TRACE[:30], True)], ["cut"]),
        ([(ASK, False), (TRACE[:30] + END, True)], ["cut"]),
        ([(ASK, False), (TRACE + END + "And more", True)], ["added"]),
        ([(ASK + TRACE + END, True)], ["question"]),
        ([("<s>system\nToday is Monday.<e>\n" + ASK, False), (TRACE + END, True)], ["prompt"]),
        ([(ASK, False), ("Sorry, no." + END, True)], ["lost", "added"]),
    ],
)
def test_each_damage(pieces: Pieces, expected: list[str]) -> None:
    assert list(found(pieces)) == sorted(expected, key=list(DAMAGE).index)


def test_rows_in_any_order_and_packed() -> None:
    rows = [asked(number) for number in range(6)]
    one, two, three, four, five, six = map(whole, rows)
    assert found(six, [*three, *one], [*five, *four], two, rows=rows) == {}
    assert found([*three, *one], two, [*four, *five, *six], rows=rows, apart=False) == {"mixed": 5}


def test_traces_of_one_question_are_told_apart() -> None:
    rows = [asked(trace=f"<think>{number}</think>{TRACE}") for number in range(4)]
    examples = [whole(row) for row in reversed(rows)]
    assert found(*examples, rows=rows) == {}
    assert compare(rows, [Example(one) for one in examples[1:]]).hurts.keys() == {3}
    cut = [examples[0][0], (rows[3].trace[:60], True)]
    assert compare(rows, [*map(Example, examples[1:]), Example(cut)]).hurts.keys() == {3}


def test_a_row_that_is_not_there() -> None:
    rows = [asked(number) for number in range(3)]
    assert found(whole(rows[0]), whole(rows[2]), rows=rows) == {"dropped": 1}
    assert found(rows=rows) == {"dropped": 3}


def test_a_row_torn_over_two_examples() -> None:
    rows = [asked(1), asked(2)]
    first = [*whole(rows[0]), (HEAD + rows[1].question + TAIL, False), (rows[1].trace[:50], True)]
    assert found(first, [(rows[1].trace[50:] + END, True)], rows=rows) == {"cut": 1, "torn": 1}


def test_a_trace_that_repeats_its_question() -> None:
    row = asked(trace=f"<think>Question 0? Question 0?</think>{TRACE}")
    assert found(whole(row), rows=[row]) == {}
    assert found([(HEAD + row.question + TAIL + row.trace + END, True)], rows=[row]) == {"question": 1}


def test_a_prompt_that_opens_the_thought() -> None:
    """The model goes on behind it, so that loss on the mark itself is neither needed nor wrong."""
    row = asked(tail=TAIL + "<think>\n")
    prompt = HEAD + row.question + TAIL
    assert row.opened == len("<think>\n")
    assert found([(prompt + "<think>\n", False), (TRACE[8:] + END, True)], rows=[row]) == {}
    assert found([(prompt, False), (TRACE + END, True)], rows=[row]) == {}
    assert found([(prompt + TRACE[:12], False), (TRACE[12:] + END, True)], rows=[row]) == {"late": 1}


def test_a_prompt_that_ends_on_an_empty_thought() -> None:
    """It asks for an answer without one; what is trained behind `<think>` is then never asked for."""
    row = asked(tail=TAIL + EMPTY)
    assert found([(HEAD + row.question + TAIL, False), (TRACE + END, True)], rows=[row]) == {"prompt": 1}
    late = [(HEAD + row.question + TAIL + TRACE[:19], False), (TRACE[19:] + END, True)]
    assert found(late, rows=[row]) == {"late": 1, "prompt": 1}
