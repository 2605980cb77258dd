"""Formats retry and cut: which retries give a trace, and what stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.assemble import assemble
from assembly.candidates import HINT, NO_REFLECTION, OTHER_VARIANT
from assembly.feasibility import Coverage
from assembly.formats import NO_FALSE_STEP, NOT_RETRIED, TOO_ALIKE, read_formats
from assembly.retried import NOT_MENDED, RETRY, SEEN_LEFT_OUT
from assembly.run import main
from assembly.settings import SftSettings
from assembly.traces import assemble_question
from cluster.inference.engine import Request
from generation.raw.reader import ROWS
from generation.raw.schema import PARENT, SEEN_COLUMN
from tests import drive_job
from tests.assembly_rows import RIGHT, WRONG, RawRow, chosen, left_out_of, made_of, pooled, raw_row, retry_row, settings
from tests.scripted import reply
from tests.trace_texts import parse

FALSE = "3 + 4 = 8, so it is\n<answer>8</answer>"
TRUE = "3 + 4 = 7, and 7 + 1 = 8, so it is\n<answer>8</answer>"
SAID = f"8 is not 7. {WRONG}"
FLAGS = ("--questions=12", "--rl_questions=0", "--retries=2")


def retried(**changes: Any) -> RawRow:
    return retry_row("It is seven.", True, changes.pop("first", FALSE), changes.pop("said", SAID), **changes)


def test_a_trace_is_the_sample_its_reflection_and_the_retry() -> None:
    (made,) = made_of([retried()], settings("retry")).made
    trace = parse(made.text)
    assert [(step.response, step.reflection) for step in trace.steps] == [
        (FALSE, SAID),
        ("It is seven.", f"On It is seven.: {RIGHT}"),
    ]
    assert trace.answer == "It is seven."
    assert (made.label, [one.variant for one in made.attempts]) == ("retry", ["original", "retry"])


def test_a_cut_attempt_ends_behind_its_first_false_step() -> None:
    (made,) = made_of([retried()], settings("cut")).made
    assert parse(made.text).steps[0] == ("3 + 4 = 8", SAID)
    named = retried(first=TRUE, said=f'In "7 + 1" is the mistake: 1 was not given, so "7 + 1 = 8" is wrong. {WRONG}')
    (made,) = made_of([named], settings("cut")).made
    assert parse(made.text).steps[0].response == "3 + 4 = 7, and 7 + 1"
    assert made_of([retried(first=TRUE)], settings("cut")).not_given == (("cut", NO_FALSE_STEP),)
    assert made_of([raw_row("7", True)], settings("cut", "retry")).not_given == (
        ("cut", NOT_RETRIED),
        ("retry", NOT_RETRIED),
    )


@pytest.mark.parametrize(
    ("row", "changes", "reason"),
    [
        (retried(), {}, None),
        (retried(seen_outcome="right", seen_answer="7"), {}, NOT_MENDED),
        (retry_row("5", False, FALSE, SAID), {}, NOT_MENDED),
        (retried(seen_mentions_hint=True), {}, SEEN_LEFT_OUT),
        (retried(first="<think> 8"), {}, SEEN_LEFT_OUT),
        (retried(said=f"<sample> {WRONG}"), {}, SEEN_LEFT_OUT),
        (retried(seen_outcome="unknown"), {}, SEEN_LEFT_OUT),  # graded again by another grader
        (retried(seen_answer=None), {}, SEEN_LEFT_OUT),
        (retried(seen_cut=True), {"drop_cut": True}, SEEN_LEFT_OUT),
        (retried(said=f"3 + 4 = 9. {WRONG}"), {"true_arithmetic": True}, SEEN_LEFT_OUT),
        (retried(), {"drop_faults": ("sample_states_false_arithmetic",)}, SEEN_LEFT_OUT),
        (retried(reflections=[]), {}, NO_REFLECTION),
        (retried(mentions_hint=True), {}, HINT),
        (retried(), {"variants": ("original",)}, None),
        (retried(), {"variants": ("rephrase",)}, OTHER_VARIANT),
    ],
)
def test_which_retries_give_a_trace(row: RawRow, changes: dict[str, Any], reason: str | None) -> None:
    wanted = settings("retry", **changes)
    assert len(made_of([row], wanted).made) == (reason is None)
    assert left_out_of([row], wanted) == ({} if reason is None else {reason: 1})


def test_a_retry_is_no_attempt_of_other_formats() -> None:
    rows = [raw_row("seven", True), raw_row("five", False), retried()]
    for name in ("*C_full", "random", "star", "algorithm1", "0C"):
        asked = pooled(rows, settings(name))
        assert [one.response for one in asked.candidates] == ["five", "seven"]
        assert asked.unreflected == ()
        assert left_out_of(rows, settings(name)) == {RETRY: 1}
        with_retries, without = (made_of(some, settings(name, attempts="2")) for some in (rows, rows[:2]))
        assert with_retries == without
    assert left_out_of(rows, settings("*C", "retry")) == {}


def test_a_retry_too_like_its_sample_gives_no_trace() -> None:
    row = retry_row("one two three four five 7", True, "one two three four five 8", SAID, extracted_answer="7")
    assert made_of([row], settings("retry", max_similarity=0.5)).not_given == (("retry", TOO_ALIKE),)
    assert made_of([row], settings("retry", max_similarity=0.9)).made


def test_repeats_draw_other_phrases() -> None:
    many = made_of([retried()], settings("retry", repeats=4)).made
    assert len({one.text for one in many}) == len(many) > 1


TEXTS = st.sampled_from(
    ["3 + 4 = 8", "7", '"7 + 1 = 8" is wrong. ', "2 * 2 = 4. ", "<answer>8</answer>", "<think>", "\n"]
)


@given(st.lists(st.tuples(st.lists(TEXTS, max_size=4).map("".join), st.lists(TEXTS, max_size=3).map("".join))))
def test_what_is_counted_is_what_is_made(told: list[tuple[str, str]]) -> None:
    rows = [raw_row("7", True), *(retried(first=f"a{first}", said=f"{said}{WRONG}") for first, said in told)]
    wanted = settings("retry", "cut")
    coverage = Coverage(wanted)
    coverage.add(pa.Table.from_pylist([row._asdict() for row in rows], schema=ROWS))
    made = made_of(rows, wanted).made
    for name in ("retry", "cut"):
        texts = {one.text for one in made if one.format == name}
        counted = coverage.retried(wanted.words.formats[name]).get("q1", 0)
        assert len(texts) <= counted
        assert bool(texts) is bool(counted)
        assert coverage.served()[name] == bool(counted)
    for one in (one for one in made if one.format == "cut"):
        step = parse(one.text).steps[0].response
        assert any(f"a{first}".startswith(step) for first, _ in told)
        assert "<answer" not in step


def test_a_format_of_ones_own_with_retries(tmp_path: Path) -> None:
    (tmp_path / "formats.toml").write_text('[mine]\nlabel = "m"\nattempts = "cut"\nblocks = ["glue", "ending"]\n')
    assert read_formats(tmp_path)["mine"].retried
    wanted = SftSettings(("mine",), prompts=str(tmp_path))
    (made,) = assemble_question(pooled([retried()], wanted), wanted.chosen, wanted).made
    assert parse(made.text).steps[0] == ("3 + 4 = 8", None)
    assert made.label == "m"


def careless(request: Request) -> str:
    """As `reply`, but every attempt without a check begins with an equation that is false."""
    said = reply(request)
    return said if "# Your attempt" in request.messages[-1]["content"] else f"9 * 9 = 80, I think.\n{said}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("formats") / "run"
    assert drive_job.main([*FLAGS, "--formats=*C,retry,cut", "--attempts=3", f"--out={out}"], careless) == 0
    return out


def test_a_job_gives_them_beside_others(run: Path) -> None:
    rows = pq.read_table(run / "RAW_DATA" / "data").to_pylist()
    traces = pq.read_table(run / "SFT_DATA" / "data").to_pylist()
    pairs = {
        (row[SEEN_COLUMN]["sample"], row["model_responses__mutated_prompts"][0])
        for row in rows
        if row[PARENT] and (row[SEEN_COLUMN]["outcome"], row["outcome"]) == ("wrong", "right")
    }
    made: dict[str, list[list[str]]] = {"*C": [], "retry": [], "cut": []}
    for row in traces:
        made[row["format"]].append([step.response for step in parse(row["conversations"][-1]["content"]).steps])
    again = {row["model_responses__mutated_prompts"][0] for row in rows if row[PARENT]}
    assert made["*C"]
    assert not again & {text for trace in made["*C"] for text in trace} - {first for first, _ in pairs}
    assert made["retry"]
    assert {tuple(trace) for trace in made["retry"]} <= pairs
    assert len(made["cut"]) == len(made["retry"])
    assert {trace[0] for trace in made["cut"]} == {"9 * 9 = 80"}
    card = (run / "RAW_DATA" / "README.md").read_text(encoding="utf-8")
    questions = {row["question_key"] for row in traces if row["format"] == "cut"}
    assert f"| `cut` | {len(questions)} |" in card


def test_the_assembly_makes_them_on_any_number_of_processes(run: Path, tmp_path: Path) -> None:
    wanted = settings("retry", "cut", repeats=2)
    for processes in (1, 2):
        assemble(run / "RAW_DATA", tmp_path / str(processes), wanted, processes)
    one, two = (pq.read_table(tmp_path / name / "data") for name in ("1", "2"))
    assert one.equals(two)
    assert one.num_rows > 0


def test_a_set_without_retries_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert drive_job.main(["--questions=4", "--rl_questions=0", f"--out={out}"], reply) == 0
    with pytest.raises(SystemExit, match="2"):
        main(["--raw", str(out), "--formats=retry,cut", "--out", str(tmp_path / "sft")])
    said = capsys.readouterr().err
    assert "no retry mended a wrong attempt in 4 of 4 questions" in said
    assert "more --retries of generation.run" in said


def test_retries_left_out_are_counted_with_their_reason(run: Path) -> None:
    rows = pq.read_table(run / "RAW_DATA" / "data").to_pylist()
    summary = assemble(run / "RAW_DATA", run.parent / "sft", settings("*C"), 1)
    assert summary.retries == summary.left_out[RETRY] == sum(row[PARENT] is not None for row in rows)
    assert summary.samples == 12 * 4 * 2
    assert chosen([retried()], settings("*C"))["left_out"].to_pylist() == [RETRY]


def test_retries_are_no_samples_that_do_not_count(run: Path, tmp_path: Path) -> None:
    """A pass rate is of samples alone."""
    summary = assemble(run, tmp_path / "SFT_DATA", SftSettings(("retry",), pass_rate="0-1"), 1)
    counts = [count for (_, what), count in summary.chosen.items() if what.startswith("samples that")]
    assert sum(counts) == summary.samples
    assert summary.retries
