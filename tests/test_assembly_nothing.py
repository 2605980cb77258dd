"""A choice of which no trace comes: exit code 2, a line that says what is there, the set that was there untouched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assembly import candidates, retried
from assembly import formats as asked
from assembly.assemble import assemble
from assembly.feasibility import ADVICE, NothingMadeError
from assembly.run import main
from generation import records
from generation.builtin import MODEL
from tests.assembly_rows import PUBLISHED, RIGHT, published_row, settings, write_parquet
from tests.bad_inputs import make_model

REFLECTION = f"{PUBLISHED}_reflection"
NO_ANSWER = {f"{PUBLISHED}__eval_extracted_answers": [None], f"{PUBLISHED}__eval_is_correct": [False]}


def question(key: str, right: int, wrong: int, **changes: Any) -> list[dict[str, Any]]:
    """Its samples, by turns under two variants."""
    outcomes = [True] * right + [False] * wrong
    variants = ("original", "rephrase")
    return [
        published_row(key, f"{n} of {key}", correct, prompt_variant=variants[n % 2], **changes)
        for n, correct in enumerate(outcomes)
    ]


ROWS = [*question("a", 1, 6), *question("b", 1, 5), *question("c", 0, 8), *question("d", 3, 0)]


def marked(row: dict[str, Any]) -> dict[str, Any]:
    return row | {PUBLISHED: [f"I see: <think>hm</think> {row[PUBLISHED][0]} <sample>"]}


def tagged_reflections(row: dict[str, Any]) -> dict[str, Any]:
    return row | {REFLECTION: [f"<reflect>hm</reflect>{text}" for text in row[REFLECTION]]}


def without_column(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != REFLECTION}


def without_variant(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "prompt_variant"}


def near_copies(row: dict[str, Any]) -> dict[str, Any]:
    return row | {PUBLISHED: [f"the very same words {row[PUBLISHED][0]}"]}


def as_is(row: dict[str, Any]) -> dict[str, Any]:
    return row


TOKENIZER = ("--model", str(MODEL))


@pytest.mark.parametrize(
    ("change", "flags", "told"),
    [
        (as_is, ["--variants=orignal"], ["--variants orignal", "only under original, rephrase", "mean original?"]),
        (as_is, ["--variants=original,plan"], ["--variants plan", "only under original, rephrase"]),
        (without_variant, ["--variants=original"], ["names no prompt variants", "leave --variants out"]),
        (as_is, ["--attempts=20"], ["--attempts 20 needs 20", "there are 8 at most", "give --attempts 8 or fewer"]),
        (as_is, ["--attempts=9-20"], ["--attempts 9-20 needs 20", "there are 8 at most"]),
        (as_is, ["--formats=*C", "--attempts=9-20"], ["--attempts 9-20 needs 9", "there are 8 at most"]),
        (as_is, ["--attempts=5", "--variants=original"], ["there are 4 at most", "give --attempts 4 or fewer"]),
        (as_is, ["--formats=*C", "--attempts=3", "--unique_variants"], ["under 3 prompt variants", "there are 2"]),
        (
            as_is,
            ["--formats=*C", "--attempts=2", "--unique_variants", "--variants=original,original"],
            ["under 2 prompt variants", "there is 1"],
        ),
        (as_is, ["--formats=*C,*CC", "--attempts=20"], ["no trace of *C, *CC can come", "--attempts 8 or fewer"]),
        (
            as_is,
            ["--attempts=8"],
            ["*C_full: fewer usable", "in 3, ", "attempts in 1 of 4", "give fewer"],
        ),
        (as_is, ["--formats=*CC", "--attempts=7"], ["*CC: ", "of 4 questions"]),
        (as_is, ["--formats=algorithm1", "--unique_variants"], ["algorithm1", "leave them out"]),
        (as_is, ["--formats=algorithm1,*C", "--attempts=2", "--max_similarity=0.5"], ["algorithm1", "leave them out"]),
        (near_copies, ["--formats=*C", "--attempts=3", "--max_similarity=0"], ["too few usable", "--max_similarity"]),
        (as_is, [*TOKENIZER, "--max_trace_tokens=5"], ["longer than --max_trace_tokens 5", "the shortest has"]),
        (
            marked,
            [],
            [
                "of 24 samples none",
                "holds a tag of a trace, such as `<think>` (24)",
                "that writes no such tags",
            ],
        ),
        (
            tagged_reflections,
            [],
            ["each reflection with the right verdict holds tags of a trace (24)", "no such tags"],
        ),
        (
            lambda row: row | {REFLECTION: ["Well."]},
            [],
            ["no reflection with the right verdict (24)", "reflection.run"],
        ),
        (without_column, [], ["and none has any", "`python -m reflection.run` adds some", "star needs none"]),
        (without_column, ["--formats=0C,no_reflection"], ["no trace of 0C, no_reflection can come", "star needs none"]),
        (lambda row: row | NO_ANSWER, [], ["of 24 samples none", "no answer (24)", "<answer> tags"]),
        (
            lambda row: row | {f"{PUBLISHED}__eval_is_correct": [None]},
            [],
            ["correctness undecided (24)", "outcome_reason"],
        ),
        (
            lambda row: row | {REFLECTION: [f"3 + 4 = 8. {text}" for text in row[REFLECTION]]},
            ["--true_arithmetic"],
            ["states a false equation", "leave --true_arithmetic out"],
        ),
        (
            lambda row: row | {f"{PUBLISHED}__finish_reason_length_flags": [True]},
            ["--drop_cut"],
            ["cut at the length limit (24)", "--drop_cut"],
        ),
        (
            lambda row: row | {f"{PUBLISHED}__eval_is_correct": [False], REFLECTION: ["<verdict>Incorrect</verdict>"]},
            ["--attempts=3"],
            ["too few correct attempts in 4 of 4 questions", "stronger model"],
        ),
    ],
)
def test_it_ends_with_2_and_the_set_that_is_there_stays(
    change: Callable[[dict[str, Any]], dict[str, Any]],
    flags: list[str],
    told: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_parquet(tmp_path / "good.parquet", ROWS)
    main([f"--raw={tmp_path / 'good.parquet'}", "--formats=0C", f"--out={tmp_path / 'SFT_DATA'}"])
    raw = write_parquet(tmp_path / "raw.parquet", list(map(change, ROWS)))
    before = bytes_below(tmp_path)
    capsys.readouterr()
    for out in ("SFT_DATA", "new/deep/SFT_DATA"):
        with pytest.raises(SystemExit) as ended:
            main([f"--raw={raw}", f"--out={tmp_path / out}", *flags])
        assert ended.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        for words in told:
            assert words in printed.err
        assert bytes_below(tmp_path) == before


def bytes_below(folder: Path) -> dict[Path, bytes]:
    return {path: b"" if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def test_all_advice_is_on_a_reason_that_there_is() -> None:
    modules = (candidates, asked, records, retried)
    known = {value for module in modules for value in vars(module).values() if type(value) is str}
    assert not ADVICE.keys() - known
    assert {asked.TOO_FEW, asked.TOO_FEW_CORRECT, asked.TOO_FEW_INCORRECT, asked.TOO_ALIKE} <= ADVICE.keys()


def test_what_stays_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", list(map(marked, ROWS)))
    (tmp_path / "SFT_DATA").mkdir()
    with pytest.raises(SystemExit):
        main([f"--raw={raw}"])
    assert capsys.readouterr().err.endswith(f"; {tmp_path / 'SFT_DATA'} stays as it was\n")


@pytest.mark.parametrize(
    ("flags", "notes"),
    [
        (["--formats=*C_full,*CC", "--attempts=6"], ["no trace of *CC: too few correct attempts in"]),
        (["--formats=0C", "--subsample=500"], ["--subsample 500 is more than there are: all 3 traces are kept"]),
        (["--formats=0C", "--subsample=3"], []),
        (["--formats=0C,*C", "--attempts=20"], ["no trace of *C: fewer usable attempts than asked for in"]),
        (
            ["--formats=0C,*C", "--attempts=6", "--model", str(MODEL), "--max_trace_tokens=180"],
            ["no trace of *C is kept: all 2 are longer than --max_trace_tokens"],
        ),
    ],
)
def test_a_part_of_the_choice_that_gives_nothing_is_noted(
    flags: Sequence[str], notes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", ROWS)
    main([f"--raw={raw}", *flags])
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note  ")]
    assert len(said) == len(notes)
    for line, note in zip(said, notes, strict=True):
        assert note in line
    assert pq.read_table(tmp_path / "SFT_DATA" / "data").num_rows > 0


def test_a_tokenizer_that_cannot_write_a_conversation_is_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    make_model(model, {"chat_template.jinja": "{{ raise_exception('no assistant here') }}"})
    raw = write_parquet(tmp_path / "raw.parquet", ROWS)
    with pytest.raises(SystemExit) as ended:
        main([f"--raw={raw}", "--formats=0C", f"--model={model}", "--max_trace_tokens=900"])
    assert ended.value.code == 2
    assert f"--model {model} cannot write a conversation: no assistant here" in capsys.readouterr().err


def test_a_raw_data_without_rows_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = write_parquet(tmp_path / "full.parquet", ROWS)
    raw = write_parquet(tmp_path / "raw.parquet", [], pq.read_schema(full))
    with pytest.raises(SystemExit) as ended:
        main([f"--raw={raw}"])
    assert ended.value.code == 2
    assert "raw.parquet: holds no rows; expected one row a sample" in capsys.readouterr().err
    assert not (tmp_path / "SFT_DATA").exists()


def test_questions_are_counted_over_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a question may lie in several files; what it has at most is their sum."""
    monkeypatch.setattr("assembly.assemble.BUCKET_BYTES", 1000)
    rows = question("a", 2, 4)
    write_parquet(tmp_path / "raw" / "a.parquet", rows[::2])
    write_parquet(tmp_path / "raw" / "b.parquet", rows[1::2])
    made = assemble(tmp_path / "raw", tmp_path / "sft", settings("*C", attempts="6"), processes=1)
    assert made.traces.total() == 1
    with pytest.raises(ValueError, match="there are 6 at most"):
        assemble(tmp_path / "raw", tmp_path / "sft", settings("*C", attempts="7"), processes=1)


def test_rows_without_a_key_or_variant_are_counted_too(tmp_path: Path) -> None:
    rows = [without_variant(row) | {"question_key": None if n % 2 else ""} for n, row in enumerate(question("a", 2, 4))]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    with pytest.raises(ValueError, match="there are 6 at most"):
        assemble(raw, tmp_path / "sft", settings("*C", attempts="7"), processes=1)


def test_in_processes_of_their_own_it_ends_alike(tmp_path: Path) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", list(map(marked, ROWS)))
    with pytest.raises(NothingMadeError, match="holds a tag of a trace"):
        assemble(raw, tmp_path / "sft", settings("*C"), processes=2)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.parquet"]


def test_a_true_reflection_beside_a_marked_one_is_enough(tmp_path: Path) -> None:
    rows = [row | {REFLECTION: ["<think> " + RIGHT, *row[REFLECTION]]} for row in ROWS]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    assert assemble(raw, tmp_path / "sft", settings("0C"), processes=1).traces.total() == 3
