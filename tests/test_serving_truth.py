"""Every sentence of the summary is proved by the rows it speaks of: named reasons, and any rows that may come."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from assembly.assemble import assemble
from assembly.candidates import FRAME_TAG, FRAMED_REFLECTION, NO_REFLECTION
from assembly.feasibility import Coverage
from assembly.formats import FORMATS
from assembly.settings import SftSettings
from tests.assembly_rows import RIGHT, WRONG, RawRow, no_answer, raw_row, settings, write_rows
from tests.test_serving import RIGHT_ROW, WRONG_ROW, said_of, served_by

TOLD = re.compile(r"only star comes|No right sample may|--attempts (\d+) or fewer|no traces come|solved")
MARKED = RIGHT_ROW._replace(response="<think>so</think>7")
THOUGHT = RIGHT_ROW._replace(reflections=[f"<think>so</think>{RIGHT}"])
SILENT = RIGHT_ROW._replace(reflections=["Hm."])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        # 40 of 40 right samples had a true reflection, and star gave none: met with a model that thinks
        ([MARKED] * 40 + [WRONG_ROW], ["No right sample may stand in a trace:", f"       40  {FRAME_TAG}"]),
        (
            [MARKED, MARKED, SILENT, WRONG_ROW],
            [
                "No right sample may stand in a trace, save alone in star:",
                f"        2  {FRAME_TAG}",
                f"        1  {NO_REFLECTION}",
            ],
        ),
        (
            [THOUGHT, WRONG_ROW],
            ["No right sample may stand in a trace, save alone in star:", f"        1  {FRAMED_REFLECTION}"],
        ),
        (
            [MARKED._replace(reflections=[]), WRONG_ROW._replace(reflections=[])],
            ["No right sample may stand in a trace:", f"        1  {FRAME_TAG}"],
        ),
        # what is unknown may be right or wrong
        ([WRONG_ROW, no_answer("eh")], ["No sample is known to be right, and every format needs one."]),
        ([RIGHT_ROW, no_answer("eh")], ["No sample is known to be wrong. *C*IC needs one, and no trace"]),
        (
            [RIGHT_ROW, WRONG_ROW, raw_row("8", False, task="x"), no_answer("eh")._replace(task="x")],
            ["Task x: no sample is known to be right."],
        ),
        (
            [RIGHT_ROW, WRONG_ROW, raw_row("7", True, task="x"), no_answer("eh")._replace(task="x")],
            ["Task x: no sample is known to be wrong."],
        ),
        # three attempts, none of them right, give no trace of any length
        (
            [RIGHT_ROW] + [raw_row(f"{n}", False, question_key="q2") for n in range(3)],
            ["No question with a right one has more than 1 usable attempts: --attempts 1 or", "fewer gives traces."],
        ),
    ],
)
def test_the_reason_is_the_true_one(rows: list[RawRow], told: list[str]) -> None:
    said = said_of(*rows)
    place = said.index(told[0])
    assert said[place : place + len(told)] == told
    assert max(map(len, said)) <= 80


def some_rows(seed: int) -> list[RawRow]:
    """Few questions that lack much."""
    rng = random.Random(seed)
    texts = [RIGHT, WRONG, "Hm.", f"<think>{RIGHT}", f"<reflect>{WRONG}"]
    solved, marks, answers = rng.random() ** 2, rng.choice((0, 0.9, 1)), rng.choice((0.3, 1))
    reflections = rng.sample(texts, rng.randint(0, 3))
    rows = []
    for question in range(rng.randint(1, 3)):
        for n in range(rng.randint(1, 4)):
            text = f"{'<think>' if rng.random() < marks else ''}{n} of {question}"
            key: dict[str, Any] = {"question_key": f"q{question}", "question": f"What is {question}?"}
            drawn = [one for one in reflections if rng.random() < 0.7]
            found = raw_row(text, rng.random() < solved, reflections=drawn, **key)
            rows.append(found if rng.random() < answers else no_answer(text)._replace(**key))
    return rows


def gives(rows: list[RawRow], attempts: str) -> dict[str, int]:
    return dict(served_by(rows, settings("*C", attempts=attempts)).served())


def test_no_sentence_says_what_the_rows_do_not_prove() -> None:
    met = set()
    for seed in range(3000):
        rows = some_rows(seed)
        said, served = said_of(*rows, attempts="2"), gives(rows, "2")
        others = [name for name in FORMATS if name != "star" and served.get(name)]
        for line in said:
            found = re.search(
                r"only star comes|No right sample may|--attempts (\d+) or fewer|no traces come|solved", line
            )
            if found is None:
                continue
            met.add(found[0].split(" ")[0])
            if "only star comes" in line or "save alone in star" in line:
                assert served["star"], (seed, said)
                assert not others, (seed, said)
            elif "No right sample may" in line or "no traces come" in line or "solved nothing" in line:
                assert not served["star"], (seed, said)
                assert not others, (seed, said)
            elif "or fewer gives" in line:
                assert not served["*C"], (seed, said)
                assert gives(rows, found[1])["*C"], (seed, said)
            if "solved" in line:
                assert all(row.outcome != "unknown" for row in rows), (seed, said)
    assert met == {"only", "No", "--attempts", "no", "solved"}


def test_the_reasons_of_an_assembly_count_every_sample(tmp_path: Path) -> None:
    """What it says where nothing comes, on the same kind of rows: counts add up, and no trace comes indeed."""
    nothing = 0
    for seed in range(60):
        rows, wanted = some_rows(seed), settings("*C", "star", attempts="2")
        write_rows(tmp_path / "raw.parquet", rows)
        told = refusal_of(tmp_path / "raw.parquet", tmp_path / "sft", wanted)
        nothing += told is not None
        assert any(gives(rows, "2")[name] for name in wanted.formats) is (told is None), (seed, told)
        counted = re.search(r"of (\d+) samples? none may stand in one: (.*);", told or "")
        if counted is not None:
            reasons = re.findall(r"\((\d+)\)", counted[2])
            assert int(counted[1]) == len(rows) == sum(map(int, reasons)), told
    assert 10 < nothing < 50


def refusal_of(raw: Path, out: Path, wanted: SftSettings) -> str | None:
    try:
        assemble(raw, out, wanted, processes=1)
    except ValueError as error:
        return str(error)
    return None


def test_right_samples_are_told_apart() -> None:
    serving: Coverage = served_by([MARKED, SILENT, THOUGHT, RIGHT_ROW, WRONG_ROW], settings("*C"))
    assert serving.right_left_out == {FRAME_TAG: 1, NO_REFLECTION: 1, FRAMED_REFLECTION: 1}
