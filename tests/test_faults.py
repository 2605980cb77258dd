"""The faults that rules find in what traces claim, what they must not find, and how --drop_faults leaves them out."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.candidates import (
    CONTRADICTORY,
    DENYING_REFLECTION,
    FALSE_REFLECTION,
    FALSE_SAMPLE,
    HINTING,
    HINTING_REFLECTION,
)
from assembly.claims import denies_given, verdict_of
from assembly.faults import FAULTS
from assembly.formats import FAULTY, FORMATS
from assembly.phrases import PHRASES
from assembly.run import main
from assembly.settings import FAULT_NAMES, SftSettings
from cluster.texts import load_table
from generation.raw.schema import SCHEMA_VERSION
from tests.assembly_rows import (
    RIGHT,
    WRONG,
    RawRow,
    left_out_of,
    made_of,
    pooled,
    published_row,
    raw_row,
    settings,
    write_parquet,
)

NUMBERS = (3, 5, 5, 12)
ONCE = "(3 + 5) * 12"  # the answer where none is said


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("5 was not given.", ONCE),
        ("It uses 3, 5 and 12, and 5 was not given.", ONCE),
        ("so 12 is not in the list of numbers\n<verdict>Incorrect</verdict>", ONCE),
        ("The number 12 isn't one of the given numbers, so it fails.", ONCE),
        ("It uses 12, which was not given.", ONCE),
        ("The mistake: 12 was not provided", ONCE),
        ("26 is not 44, and 5 was not given", ONCE),
        ("As for the numbers 3 and 5, 5 was used too often.", ONCE),
        ("5 was used too often.", "5 * (5 + 3)"),  # twice, and twice given
        ("5 was used more often than given.", f"{ONCE} = 96"),
        ("12 was used too many times!", ONCE),
    ],
)
def test_denials_of_given_numbers_are_found(text: str, answer: str) -> None:
    assert denies_given(text, NUMBERS, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("each was given.", ONCE),
        ("7 was not given.", ONCE),  # true
        (
            "15 was not given, and 2.5 was not given, and 1,5 was not given.",
            ONCE,
        ),  # other numbers that end on a given one
        ("-5 was not given and 3/5 was not given.", ONCE),
        ("3 + 5 was not given.", ONCE),  # the end of an expression
        ("x5 was not given.", ONCE),
        ("3 and 5 was not given.", ONCE),  # whatever that says of which
        ("Step 5 is not given.", ONCE),  # counted, not given
        ("line 12 is not in the list", ONCE),
        ("5 was not given twice.", ONCE),  # another claim
        ("5 was not given to me as such", ONCE),
        ("5 is not in the list that I made", ONCE),
        ("If 5 was not given, the answer is wrong.", ONCE),  # a condition
        ("I wonder whether 5 was not given.", ONCE),
        ("It says that 5 was not given.", ONCE),  # somebody else's
        ("It is not true that 5 was not given.", ONCE),
        ('"5 was not given"', ONCE),  # a quotation
        ("5 was not given?", ONCE),
        ("5 was given.", ONCE),
        ("5 was used too often.", "5 * 5 * 5"),  # true
        ("12 was used too often.", "12 + 12"),
        ("7 was used too often.", ONCE),  # not given: no such number is denied
        ("5 was used too often.", "5 + 5 = 10, 10 - 5 = 5"),  # steps: an operand may be an earlier result
        ("5 was used too often.", "5"),  # what it stands for was worked out elsewhere
        ("5 was used too often.", "five and so on"),
        ("5 was used too often.", "(" * 500 + "5"),
        ("5 was used too often to be an accident.", ONCE),
        ("5 was used.", ONCE),
        ("9" * 5000 + " was not given", ONCE),
        ("5 " * 5000 + "was not", ONCE),
    ],
)
def test_what_is_no_denial_of_a_given_number(text: str, answer: str) -> None:
    assert not denies_given(text, NUMBERS, answer)


@given(st.text(), st.lists(st.integers(0, 99)), st.text())
def test_a_denial_needs_a_number_that_was_given(text: str, numbers: list[int], answer: str) -> None:
    found = denies_given(f"{text} 5 was not given.", numbers, answer)
    assert not found or 5 in numbers or denies_given(text, numbers, answer)
    assert not denies_given(text, (), answer)


@pytest.mark.parametrize(
    ("phrase", "verdict"),
    [
        ("That looks right.", True),
        ("Not right yet.", False),  # the longer words first
        ("No mistakes, as far as I see.", True),
        ("That isn’t right.", False),
        ("THIS  IS\tWRONG", False),
        ("Once more.", None),
        ("That was right, no, wrong.", None),  # both
        ("All right, once more.", None),
        ("Let me correct it.", None),  # a verb
        ("Where is the right answer?", None),
        ("What went wrong, I wonder?", None),
        ("A rightful wrongdoer fails2", None),  # parts of other words
        ("", None),
    ],
)
def test_what_a_phrase_says_of_the_attempt_before_it(phrase: str, verdict: bool | None) -> None:
    assert verdict_of(phrase) is verdict


def test_no_phrase_of_ours_contradicts_the_verdict_before_it() -> None:
    told = {kind: {verdict_of(phrase) for phrase in PHRASES[kind]} for kind in ("generic", "correct", "incorrect")}
    assert told == {"generic": {None}, "correct": {True, None}, "incorrect": {False}}


def test_the_words_of_verdicts_are_each_in_one_list_and_as_they_are_looked_for() -> None:
    table = load_table("assembly", "verdict_words.toml")
    assert [*table] == ["right", "wrong", "neither"]
    words = list(itertools.chain(*table.values()))
    assert len(set(words)) == len(words)
    assert [word for word in words if word != " ".join(word.lower().split())] == []


def _metadata(*numbers: int) -> str:
    return json.dumps({"grader": "countdown", "facts": {"numbers": numbers, "target": 96}})


def test_numbers_are_those_of_the_metadata_or_else_of_the_wording() -> None:
    worded = "Using the numbers in the list [3, 5, 12], create an equation that equals 96."
    for changes, numbers in [
        ({"metadata": _metadata(3, 5)}, (3, 5)),
        ({"question": worded}, (3, 5, 12)),
        ({"question": worded, "metadata": _metadata(4)}, (4,)),
        ({}, ()),
        ({"metadata": '{"facts": {"numbers": [1.5, "2"]}}'}, ()),  # no whole numbers
        ({"metadata": '{"facts": ["numbers"]}'}, ()),
        ({"metadata": "[" * 5000}, ()),
        ({"metadata": "5"}, ()),
    ]:
        assert pooled([raw_row("96", True, **changes)]).numbers == numbers


def test_the_names_of_the_flag_are_those_of_the_rules() -> None:
    assert tuple(FAULTS) == FAULT_NAMES


FALSE = "3 + 4 = 8, so seven"
DENIES = f"I used 5, and 5 was not given. {RIGHT}"


def _of(*faults: str, formats: tuple[str, ...] = ("*C",), **changes: Any) -> SftSettings:
    return settings(*formats, drop_faults=faults, **changes)


@pytest.mark.parametrize(
    ("fault", "faulty", "why"),
    [
        ("sample_states_false_arithmetic", raw_row(FALSE, True), FALSE_SAMPLE),
        ("sample_states_false_arithmetic", raw_row("3 + 4 = 8", False), FALSE_SAMPLE),
        ("sample_contradicts_verdict", raw_row("no solution, so seven", True), CONTRADICTORY),
        ("names_hint", raw_row("the hint says seven", True), HINTING),
        ("names_hint", raw_row("sept", True, reflections=[f"By the hint {RIGHT}"]), HINTING_REFLECTION),
        (
            "reflection_states_false_arithmetic",
            raw_row("7", True, reflections=[f"1 + 1 = 3 {RIGHT}"]),
            FALSE_REFLECTION,
        ),
        (
            "reflection_denies_a_given_number",
            raw_row("3 + 5", True, reflections=[DENIES], metadata=_metadata(3, 5)),
            DENYING_REFLECTION,
        ),
        ("cut_at_the_length_limit", raw_row("sept", True, cut=True), "cut at the length limit"),
    ],
)
def test_samples_and_reflections_with_a_fault_of_their_own_are_left_out(fault: str, faulty: RawRow, why: str) -> None:
    rows = [faulty, raw_row("seven", True), raw_row("eight", False)]
    assert left_out_of(rows) == {}
    assert faulty.response in {one.response for one in pooled(rows).candidates}
    for asked in (_of(fault), _of("all")):
        assert left_out_of(rows, asked) == {why: 1}
        for seed in range(10):  # the question gives another trace
            (one,) = made_of(rows, _of(fault, attempts="2", seed=seed)).made
            assert faulty.response not in {attempt.response for attempt in one.attempts}


def test_a_sample_keeps_its_other_reflections() -> None:
    row = raw_row("3 + 5", True, reflections=[DENIES, RIGHT], metadata=_metadata(3, 5))
    (kept,) = pooled([row], _of("reflection_denies_a_given_number")).candidates
    assert kept.reflections == [RIGHT]


def test_a_final_attempt_that_is_false_is_drawn_again() -> None:
    rows = [raw_row(FALSE, True), raw_row("seven", True), raw_row("9 - 1 = 7, so nine", False)]
    fault = "final_attempt_states_false_arithmetic"
    drawn = [made_of(rows, settings("*C", attempts="3", seed=seed)).made[0] for seed in range(20)]
    assert {FAULTS[fault](one) for one in drawn} == {True, False}
    for seed, name in itertools.product(range(20), ("*C", "*C*IC", "*CC", "no_reflection", "star")):
        for one in made_of(rows, _of(fault, formats=(name,), seed=seed)).made:
            assert one.final.response == "seven"
            assert not FAULTS[fault](one)
    wrong = [raw_row("9 - 1 = 7", False), raw_row("seven", True)]
    asked = settings("random", attempts="1")
    assert not any(
        FAULTS[fault](one) for seed in range(9) for one in made_of(wrong, asked).made
    )  # an answer that is wrong


def test_a_question_without_another_trace_is_counted() -> None:
    fault = "final_attempt_states_false_arithmetic"
    made = made_of([raw_row(FALSE, True)], _of(fault, formats=("0C", "star", "algorithm1"), attempts="1"))
    assert made == ((), (("0C", FAULTY), ("star", FAULTY), ("algorithm1", FAULTY)))
    assert made_of([raw_row("same", True), raw_row("Same", False)], _of("repeats_an_attempt", attempts="2")).made == ()


def _own_phrases(folder: Path, **lists: list[str]) -> Path:
    texts = {kind: [*phrases] for kind, phrases in PHRASES.items()} | lists
    folder.mkdir()
    (folder / "phrases.toml").write_text("".join(f"{kind} = {json.dumps(some)}\n" for kind, some in texts.items()))
    return folder


def test_glue_that_contradicts_the_verdict_is_found_and_drawn_again(tmp_path: Path) -> None:
    own = _own_phrases(tmp_path / "own", generic=["That was wrong, so again.", "Again."], correct=["It is right."])
    rows = [raw_row(f"{n}", n > 2) for n in range(6)]
    fault = "glue_contradicts_verdict"
    asked: dict[str, Any] = {"prompts": str(own), "attempts": "5"}
    drawn = [one for seed in range(20) for one in made_of(rows, settings("*C", seed=seed, **asked)).made]
    assert {FAULTS[fault](one) for one in drawn} == {True, False}
    for one in drawn:
        assert one.trace is not None
        after = zip(one.attempts, one.trace.glue or (), strict=False)
        assert FAULTS[fault](one) is any(before.correct and "wrong" in phrase for before, phrase in after)
    kept = [one for seed in range(20) for one in made_of(rows, _of(fault, seed=seed, **asked)).made]
    assert len(kept) == 20
    assert not any(FAULTS[fault](one) for one in kept)
    silent = made_of(rows, settings("no_reflection", **asked)).made
    assert not any(FAULTS[fault](one) for one in silent)  # no verdict is shown


@given(st.sets(st.sampled_from([*FAULT_NAMES, "all"])), st.integers(0, 99), st.sampled_from([*FORMATS]))
def test_no_trace_shows_what_was_left_out(faults: set[str], seed: int, name: str) -> None:
    """And what nobody asked for changes nothing."""
    rows = [
        *(raw_row(f"{text} {n}", n % 2 > 0, cut=n == 1) for text in (FALSE, "seven", "a hint") for n in range(3)),
        raw_row("3 + 5", True, reflections=[DENIES, f"2 + 2 = 5 {RIGHT}", RIGHT], metadata=_metadata(3, 5)),
        raw_row("this works", False, reflections=[WRONG]),
    ]
    asked = _of(*sorted(faults), formats=(name,), seed=seed)
    made = made_of(rows, asked).made
    assert [fault for one in made for fault in asked.dropped if FAULTS[fault](one)] == []
    if not faults:
        assert made == made_of(rows, settings(name, seed=seed)).made


def test_what_was_left_out_stands_in_the_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["one 3 + 4 = 8", "two", "three 5 - 5 = 1", "four", "five"]
    rows = [published_row(f"question {q}", text, n > 1) for q in range(3) for n, text in enumerate(texts)]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    main(["--raw", str(raw), "--out", str(tmp_path / "all"), "--attempts", "3"])
    flags = ["--drop_faults", "sample_states_false_arithmetic,final_attempt_states_false_arithmetic"]
    main(["--raw", str(raw), "--out", str(tmp_path / "some"), "--attempts", "3", *flags])
    assert f"{FALSE_SAMPLE}" in capsys.readouterr().out
    shown = {name: pq.read_table(tmp_path / name / "data")["faults"].to_pylist() for name in ("all", "some")}
    assert "sample_states_false_arithmetic" in {fault for faults in shown["all"] for fault in faults}
    assert shown["some"] == [[]] * 9
    card, analysis = ((tmp_path / "some" / name).read_text() for name in ("README.md", "analysis.json"))
    assert f"| {FALSE_SAMPLE} | 6 |" in card
    assert '"drop_faults": [' in card
    found = json.loads(analysis)
    assert [*found] == [*FAULT_NAMES]
    assert found["sample_states_false_arithmetic"]["by_label"]["3C"] == {"traces": 3, "share": 0.0}


def test_metadata_of_somebody_else_is_not_read(tmp_path: Path) -> None:
    rows = [published_row("question", text, text > "b", metadata={"level": 5}) for text in "abc"]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    main(["--raw", str(raw), "--out", str(tmp_path / "out"), "--attempts", "1"])
    assert len(pq.read_table(tmp_path / "out" / "data")) == 1
    assert SCHEMA_VERSION == 3  # whose metadata is read
