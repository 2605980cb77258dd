"""A hub dataset with questions of one's own: rows that give none are left out and told, as nobody can mend them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.hub_datasets import jsonl
from tests.hub_state import Hub, Repository
from tests.hub_user import User
from tests.test_hub_tasks import asked, refused

SUMS = [{"question": f"{n} + {n}?", "answer": str(2 * n)} for n in range(10)]


def put(hub: Hub, rows: Sequence[Mapping[str, Any]], commit: str = "3" * 40) -> None:
    """At a commit of their own, since a commit is loaded once."""
    hub.repositories["me/sums"] = Repository(private=False, files={"train.jsonl": jsonl(rows)}, commits=[commit])


def test_rows_that_give_no_question_are_left_out_and_counted(hub: Hub, user: User) -> None:
    bad: list[dict[str, Any]] = [
        {"question": "1 + 1?", "answer": "2"},
        {"question": "2 + 2?", "answer": "5"},
        {"question": "null?", "answer": None},
        {"question": None, "answer": "4"},
        {"question": "  ", "answer": "4"},
        {"question": "how many?", "answer": "rather many"},
    ]
    put(hub, [*SUMS[:5], *bad, *SUMS[5:]])
    said = asked(user, "--questions=me/sums", "--grader=number")
    assert (len(said["sft"]), len(said["rl"])) == (8, 2)
    golds = {question["text"]: question["answer"] for question in (*said["sft"], *said["rl"])}
    assert golds == {row["question"]: row["answer"] for row in SUMS}, "the first of those that come twice"
    dropped = {
        "asked in an earlier row": 2,
        "no 'answer'": 1,
        "no 'question'": 1,
        "'question' is empty": 1,
        "a gold answer that is none for number": 1,
    }
    config = {"questions": "me/sums", "grader": "number", "revision": "3" * 40, "dropped": dropped}
    assert said["config"] == config
    (note,) = said["notes"]
    assert note.startswith("me/sums: 6 of 16 rows give no question: asked in an earlier row (2), ")
    assert all(f"{reason} ({count})" in note for reason, count in dropped.items())
    shown = user.run("generation.run", "--questions=me/sums", "--grader=number", "--dry_run")
    assert shown.returncode == 0, shown.stderr
    assert note in shown.stdout

    put(hub, SUMS, "4" * 40)
    whole = asked(user, "--questions=me/sums", "--grader=number")
    assert "dropped" not in whole["config"]
    assert whole["notes"] == []


def test_options_of_which_two_may_be_meant_are_left_out(hub: Hub, user: User) -> None:
    rows = [{"question": f"{n}?", "choices": ["sun", "moon"], "answer": n % 2} for n in range(5)]
    odd = [{"question": "which?", "choices": ["1", "0"], "answer": 1}, {"question": "?", "choices": ["x"], "answer": 0}]
    unanswered = [{"question": "who?", "choices": ["you", "me"], "answer": -1}]
    put(hub, [*rows, *odd, *unanswered])
    said = asked(user, "--questions=me/sums", "--grader=choice")
    assert {question["answer"] for question in (*said["sft"], *said["rl"])} == {"A", "B"}
    assert said["config"]["dropped"] == {
        "an answer that names two options": 1,
        "1 choices, where 2 to 26 can be asked": 1,
        "an answer that is no choice": 1,
    }


def test_a_gold_answer_that_is_left_out_later_is_not_counted_as_taken(hub: Hub, user: User) -> None:
    boxed = [{"question": f"{n}?", "answer": rf"It is \boxed{{{n}x}}."} for n in range(4)]
    put(hub, [*boxed, {"question": "which?", "answer": r"It is \boxed{\foo{1}}."}])
    said = asked(user, "--questions=me/sums", "--grader=math")
    assert said["notes"] == [
        "me/sums: 1 of 5 rows give no question: a gold answer that is none for math (1)",
        r"me/sums: of 4 gold answers the final answer alone is taken: in \boxed{} (4)",
    ]


def test_what_is_wrong_with_all_rows_ends_in_one_line(hub: Hub, user: User) -> None:
    put(hub, [{"question": f"{n}?", "answer": "rather many"} for n in range(3)])
    told = refused(user, "--questions=me/sums", "--grader=number")
    assert (
        "--questions me/sums holds no questions: 3 of 3 rows give no question: a gold answer that is none for" in told
    )
    assert "the first: me/sums row 1: the gold answer 'rather many' is none for number" in told
    # Places that are counted from 1: only the last shows it, and all the others would be misread.
    put(hub, [{"question": f"{n}?", "choices": ["sun", "moon"], "answer": 1 + n % 2} for n in range(4)], "4" * 40)
    told = refused(user, "--questions=me/sums", "--grader=choice")
    assert "me/sums row 2: the answer '2' is none of the choices A, B; a place is counted from 0" in told
    put(hub, [], "5" * 40)
    assert "me/sums" in refused(user, "--questions=me/sums")
