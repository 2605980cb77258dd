"""How many questions can serve each format: told from RAW_DATA, and true when the assembly makes them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assembly.assemble import assemble
from assembly.feasibility import Coverage
from assembly.formats import FORMATS
from assembly.job import coverage_text
from assembly.settings import SftSettings
from cluster.inference.engine import Request
from examples.builtin_model.curriculum import whole_solution
from generation.raw.counts import RawCounts, TaskCounts, count_folder
from generation.raw.reader import ROWS, open_parts, read_part
from generation.raw.schema import PROVENANCE
from generation.tasks import countdown
from tests import drive_job
from tests.assembly_rows import RIGHT, WRONG, RawRow, no_answer, raw_row, settings, write_rows


def drawn_rows(seed: int, questions: int = 40) -> list[RawRow]:
    """Questions that lack this or that: right ones, wrong ones, verdicts, answers; the rows are mixed."""
    rng = random.Random(seed)
    rows = []
    for question in range(questions):
        solved = rng.choice((0.0, 0.2, 0.5, 1.0))
        for n in range(rng.randrange(1, 9)):
            correct = rng.random() < solved
            changes = {"question_key": f"q{question}", "question": f"What is {question}?"}
            texts = [rng.choice((RIGHT, WRONG, "No idea.")) for _ in range(rng.randrange(3))]
            rows += rng.choice(
                (
                    [raw_row(f"{n} of {question}", correct, reflections=texts, **changes)],
                    [raw_row(f"{n} of {question}", correct, **changes)],
                    [no_answer("nothing")._replace(question_key=f"q{question}", question=f"What is {question}?")],
                    [raw_row(f"{n}", None, **changes), raw_row("<think>", correct, **changes)],
                    [raw_row(f"{n} of {question}", correct, mentions_hint=True, **changes)],
                )
            )
    rng.shuffle(rows)
    return rows


def table(rows: Sequence[RawRow]) -> pa.Table:
    return pa.Table.from_pylist([row._asdict() for row in rows], schema=ROWS)


def served_by(rows: Sequence[RawRow], wanted: SftSettings) -> Coverage:
    serving, whole = Coverage(wanted), table(rows)
    for start in range(0, whole.num_rows, 17):
        serving.add(whole.slice(start, 17))
    return serving


@pytest.mark.parametrize("attempts", ["1", "2", "3", "5", "2-4"])
def test_the_assembly_serves_as_many(attempts: str, tmp_path: Path) -> None:
    fewest = int(attempts[0])
    names = [name for name, one in FORMATS.items() if one.lengths != "all" or fewest >= one.shortest]
    rows = drawn_rows(3)
    wanted = settings(*names, attempts=attempts)
    told = served_by(rows, wanted).served()
    write_rows(tmp_path / "raw.parquet", rows)
    made = assemble(tmp_path / "raw.parquet", tmp_path / "sft", wanted, processes=1)
    keys: dict[str, set[str]] = {name: set() for name in names}
    for path in (tmp_path / "sft" / "data").iterdir():
        for row in pq.read_table(path, columns=["format", "question_key"]).to_pylist():
            keys[row["format"]].add(row["question_key"])
    assert {name: len(found) for name, found in keys.items()} == {name: told[name] for name in names}
    assert made.questions == 40
    assert len(set(told.values())) > 1, "the formats differ"


def test_rows_may_come_in_any_order_and_size() -> None:
    rows = drawn_rows(4)
    one = served_by(rows, settings("*C"))
    other = Coverage(settings("*C"))
    other.add(table(list(reversed(rows))))
    assert one.usable() == other.usable()


def test_the_whole_job_tells_what_its_assembly_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formats = "0C,*C,*C_full,I*C,*C*IC,*CC,random,no_reflection,algorithm1,star"
    flags = ["--questions=12", "--rl_questions=0", "--samples=1", f"--formats={formats}", "--attempts=4"]
    assert drive_job.main([*flags, f"--out={tmp_path / 'run'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = lines.index("questions that can serve a format with --attempts 4, of 12")
    told: dict[str, int] = {}
    for line in lines[head + 1 :]:
        if not line.startswith("  ") or "%" not in line:
            break
        count, names = line.split("%  ")
        told |= dict.fromkeys(names.split(", "), int(count.split()[0]))
    rows = pq.read_table(tmp_path / "run" / "SFT_DATA" / "data", columns=["format", "question_key"]).to_pylist()
    made = {name: len({row["question_key"] for row in rows if row["format"] == name}) for name in formats.split(",")}
    assert told == made
    assert len(set(made.values())) > 1
    card = (tmp_path / "run" / "RAW_DATA" / "README.md").read_text()
    for name, questions in made.items():
        assert f"| `{name}` | {questions} |" in card


def said_of(*rows: RawRow, attempts: str = "2", task: str = "") -> list[str]:
    counts = RawCounts(questions={row.question_key for row in rows})
    for row in rows:
        tally = counts.tasks.setdefault(row.task, TaskCounts())
        tally.outcomes[row.variant or "", row.outcome] += 1
        for text in row.reflections:
            verdict = "Correct" if text.endswith(RIGHT) else "Incorrect" if text.endswith(WRONG) else "none"
            tally.verdicts[row.outcome, verdict] += 1
    return coverage_text(served_by(rows, settings("*C", attempts=attempts)), counts).splitlines()


RIGHT_ROW, WRONG_ROW = raw_row("7", True), raw_row("8", False)


def always(expression: str) -> Callable[[Request], str]:
    """A model that answers so; where nothing is given, with a true solution. It trusts itself rightly."""

    def reply(request: Request) -> str:
        said = request.messages[-1]["content"]
        if "# Your attempt" in said:
            return WRONG if expression else RIGHT
        facts = countdown.facts_of(said)
        assert facts is not None
        rng = random.Random(request.seed)
        numbers: Any = facts["numbers"]
        while not expression:
            found = whole_solution(rng.sample(numbers, len(numbers)), rng)
            if found is not None and found.value == facts["target"]:
                return f"<answer>{found.expression}</answer>"
        return f"<answer>{expression}</answer>"

    return reply


@pytest.mark.parametrize(
    ("expression", "told", "traces", "code"),
    [
        ("1000", "The model solved nothing: no sample is right, and every format needs one.", 0, 1),
        ("", "The model solved everything: no sample is wrong. *C*IC needs one, and no trace", 12 * 5, 0),
    ],
)
def test_a_model_that_solves_nothing_or_everything_says_so(
    expression: str,
    told: str,
    traces: int,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--questions=12", "--rl_questions=0", f"--out={tmp_path}", "--formats=*C_full,*C*IC"]
    assert drive_job.main(flags, always(expression)) == code
    said = capsys.readouterr().out
    assert f"\n{told}\n" in said
    assert (f"\n{traces} traces\n" in said) is (code == 0)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([WRONG_ROW] * 3, "The model solved nothing: no sample is right, and every format needs one."),
        ([RIGHT_ROW] * 3, "The model solved everything: no sample is wrong. *C*IC needs one, and no trace"),
        ([no_answer("well")], "No sample could be told right or wrong: no traces come from these."),
        ([raw_row("7", None)], "No sample could be told right or wrong: no traces come from these."),
        (
            [RIGHT_ROW._replace(reflections=[]), WRONG_ROW._replace(reflections=[])],
            "There are no reflections: only star comes; `python -m reflection.run` adds some.",
        ),
        (
            [RIGHT_ROW._replace(reflections=[WRONG]), WRONG_ROW],
            "No right sample has a reflection that says so: only star comes.",
        ),
        (
            [RIGHT_ROW, raw_row("8", False, question_key="q2")],
            "No question has more than 1 usable attempts: --attempts 1 or fewer gives traces.",
        ),
        (
            [RIGHT_ROW, WRONG_ROW, raw_row("8", False, task="products", question_key="q2")],
            "Task products: the model solved nothing.",
        ),
    ],
)
def test_why_no_traces_come_is_said(rows: list[RawRow], told: str) -> None:
    said = said_of(*rows)
    assert told in said
    assert max(map(len, said)) <= 80


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert said_of(RIGHT_ROW, WRONG_ROW) == [
        "questions that can serve a format with --attempts 2, of 1",
        "        1 100%  0C, *C, *C_full, I*C, *C*IC, random, no_reflection, algorithm1,",
        "                star",
        "        0   0%  *CC",
    ]


def test_several_tasks_are_told_apart() -> None:
    rows = [RIGHT_ROW, WRONG_ROW]
    rows += [raw_row("8", False, task="products", question_key=f"q{n}") for n in range(2, 5)]
    said = said_of(*rows, attempts="1")
    place = said.index("  by task            questions        0C        *C     *C*IC       *CC      star")
    assert said[place + 1 : place + 3] == [
        "  products                   3         0         0         0         0         0",
        "  sums                       1         1         1         1         0         1",
    ]
    assert max(map(len, said)) <= 80


def test_fewer_attempts_are_counted_where_they_would_help() -> None:
    rows = [raw_row(f"{n}", n == 0, question_key=f"q{q}") for q in range(4) for n in range(q + 1)]
    said = said_of(*rows, attempts="4")
    assert "  questions with enough attempts for 1C 4  2C 3  3C 2  4C 1" in said
    assert said[1:3] == [
        "        4 100%  0C, algorithm1, star",
        "        1  25%  *C, *C_full, I*C, *C*IC, random, no_reflection",
    ]


def test_many_attempts_still_fit_a_terminal() -> None:
    rows = [raw_row(f"{n}", n == 0, question_key=f"q{q}") for q in range(30) for n in range(q + 1)]
    assert max(map(len, said_of(*rows, attempts="30"))) <= 80


def test_usable_attempts_are_told_apart() -> None:
    rows = [RIGHT_ROW, WRONG_ROW, RIGHT_ROW._replace(reflections=["Hm."]), WRONG_ROW._replace(reflections=["Hm."])]
    assert served_by(rows, settings("*C")).usable() == {(1, 1, 1): 1}


def test_a_folder_is_counted_in_one_pass(tmp_path: Path) -> None:
    """What a second look at the same rows would find."""
    assert drive_job.main(["--questions=6", "--rl_questions=0", f"--out={tmp_path / 'run'}"]) == 0
    raw = tmp_path / "run" / "RAW_DATA"
    first, second = Coverage(settings("*C")), Coverage(settings("*C"))
    counts = count_folder(raw, first.add)
    whole = counts.all()
    rows = [row for part in open_parts(raw) for batch in read_part(part) for row in batch.to_pylist()]
    second.add(table([RawRow(**row) for row in rows]))
    assert first.usable() == second.usable()
    assert whole.samples == len(rows)
    assert whole.reflections == sum(len(row["reflections"]) for row in rows)
    entries = [one for path in raw.glob("data/*") for row in pq.read_table(path)[PROVENANCE].to_pylist() for one in row]
    assert whole.valid == sum(one["valid"] for one in entries)
    for verdict in ("Correct", "Incorrect", None):
        assert whole.verdict(verdict or "none") == sum(one["verdict"] == verdict for one in entries)
