"""Whole jobs on models that think: traces come, rows keep the thoughts, and what is told at the end is true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assembly.run import main as assemble
from cluster.inference.engine import Request
from generation.raw.schema import PREFIX, PROVENANCE, REFLECTIONS, REFLECTIONS_THOUGHT, SAMPLE_PROVENANCE, THOUGHT
from generation.variants import VARIANTS
from tests import drive_job
from tests.assembly_rows import PUBLISHED, RIGHT, left_out_of, published_row, raw_row, read, settings, write_parquet
from tests.reflection_rows import add_to, rows_of
from tests.scripted import reply
from tests.thinking import THOUGHT as SAID
from tests.thinking import closing_only, endless, only_a_thought, thinking, thinking_of_reflections

FLAGS = ["--questions=8", "--rl_questions=0", "--attempts=2"]


def run(folder: Path, reply: Callable[[Request], str], code: int = 0) -> Path:
    assert drive_job.main([*FLAGS, f"--out={folder}"], reply) == code
    return folder


def traces_of(folder: Path) -> list[str]:
    return [row["conversations"][1]["content"] for row in rows_of(folder / "data")]


def test_a_thinking_model_gives_the_traces_of_one_that_does_not_think(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = run(tmp_path / "plain", reply)
    expected = traces_of(plain / "SFT_DATA")
    assert expected
    for model in (thinking, closing_only):
        made = run(tmp_path / model.__name__, model)
        assert traces_of(made / "SFT_DATA") == expected, "a thought leaves no mark"
        rows = rows_of(made / "RAW_DATA")
        assert {row[THOUGHT] for row in rows} == {SAID}
        assert {thought for row in rows for thought in row[REFLECTIONS_THOUGHT]} == {SAID}
        assert not [row for row in rows if "think>" in str([row[PREFIX], row[REFLECTIONS]])]
        for row in rows:
            requests = [row[SAMPLE_PROVENANCE], *row[PROVENANCE]]
            assert all(0 < one["thought_tokens"] < one["output_tokens"] for one in requests)
        card = (made / "RAW_DATA" / "README.md").read_text()
        for requests in ([row[SAMPLE_PROVENANCE] for row in rows], [one for row in rows for one in row[PROVENANCE]]):
            assert f"| of these in thoughts | {sum(one['thought_tokens'] for one in requests):,} |" in card
    asked = [[turn["content"] for turn in row["prompt"]] for row in rows]
    assert asked == [[turn["content"] for turn in row["prompt"]] for row in rows_of(plain / "RAW_DATA")]


@pytest.mark.parametrize(
    ("model", "reason", "help"),
    [
        (endless, "cut at the length limit, in its thought", "take more --max_tokens"),
        (only_a_thought, "no answer, only a thought", "--chat_kwargs '{\"enable_thinking\": false}'"),
    ],
)
def test_a_thought_that_is_never_closed_is_no_answer_and_the_reason_says_so(
    model: Callable[[Request], str], reason: str, help: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(run(tmp_path / "run", model, code=1) / "RAW_DATA")
    assert {(row["outcome"], row["outcome_reason"], *row[PREFIX]) for row in rows} == {("unknown", reason, "")}
    assert {row[f"{PREFIX}__eval_is_correct"][0] for row in rows} == {False}, "as published"
    assert all(row[THOUGHT] and not row[REFLECTIONS] for row in rows)
    tokens = [row[SAMPLE_PROVENANCE] for row in rows]
    assert all(one["thought_tokens"] == one["output_tokens"] > 0 for one in tokens)
    told = capsys.readouterr()
    assert f"{len(rows)}  {reason}" in told.out
    assert f"{reason} ({len(rows)}); " in told.err
    assert help in told.err
    assert "only star" not in told.out


def test_reflections_that_are_only_thoughts_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(tmp_path / "run", thinking_of_reflections, code=1)
    rows = rows_of(made / "RAW_DATA")
    lost = sum(len(row[REFLECTIONS_THOUGHT]) for row in rows)
    assert {text for row in rows for text in row[REFLECTIONS]} == {""}
    said = capsys.readouterr().out
    assert f"{lost:,} reflections are only a thought" in said
    assert "Every reflection is only a thought: only star comes." in said
    assert "There are no reflections" not in said
    assert f"| reflections that are only a thought | {lost:,} |" in (made / "RAW_DATA" / "README.md").read_text()


def test_show_writes_the_thought_as_text_before_the_reply(tmp_path: Path) -> None:
    made = run(tmp_path / "run", thinking)
    assemble([f"--raw={made}", "--attempts=2", "--thoughts=show", f"--out={tmp_path / 'shown'}"])
    assemble([f"--raw={made}", "--attempts=2", f"--out={tmp_path / 'dropped'}"])
    dropped, shown = traces_of(tmp_path / "dropped"), traces_of(tmp_path / "shown")
    assert dropped == traces_of(made / "SFT_DATA")
    assert sorted(shown) == sorted(text.replace("<sample>\n", f"<sample>\n{SAID}\n\n") for text in dropped)
    assert '"thoughts": "show"' in (tmp_path / "shown" / "README.md").read_text()


HINTED = next(name for name, one in VARIANTS.items() if one.rationalized)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"thought": "I see."}, [None, None]),
        ({"thought": ""}, [None, None]),
        ({"thought": None}, [None, None]),
        ({"thought": "a <sample> b"}, [None, "holds a tag of a trace"]),
        ({"thought": "The hint says so."}, [None, None]),
        ({"thought": "The hint says so.", "variant": HINTED}, [None, "mentions its hint"]),
        ({"thought": "I see.", "variant": HINTED}, [None, None]),
    ],
)
def test_what_only_the_thought_holds_counts_only_where_it_is_shown(
    changes: dict[str, Any], reasons: list[str | None]
) -> None:
    for thoughts, reason in zip(("drop", "show"), reasons, strict=True):
        found = left_out_of([raw_row("7", True, **changes)], settings("*C", thoughts=thoughts))
        assert bool(found) is bool(reason)
        assert all(why.startswith(str(reason)) for why in found)


def old(response: str, **changes: Any) -> dict[str, Any]:
    """A row without columns for thoughts."""
    return published_row("What is 3 + 4?", response, True) | {f"{PUBLISHED}__eval_extracted_answers": ["7"]} | changes


@pytest.mark.parametrize(
    ("response", "thought", "reply", "why"),
    [
        ("<think>a</think>\n\n<answer>7</answer>", "a", "<answer>7</answer>", "as it came out of the model"),
        ("a\n</think>\n\n<answer>7</answer>", "a", "<answer>7</answer>", "opened by the template"),
        ("<think>a", "a", "", "never closed"),
        ("7", None, "7", "none"),
        ("So: <think>a</think> 7", None, "So: <think>a</think> 7", "in the middle it may be text"),
        ("<think>a <answer>7</answer></think> So.", None, "<think>a <answer>7</answer></think> So.", "graded by it"),
    ],
)
def test_rows_of_before_tell_their_thoughts_by_their_tags(
    response: str, thought: str | None, reply: str, why: str, tmp_path: Path
) -> None:
    given = {f"{PUBLISHED}_reflection": [f"<think>hm</think>\n{RIGHT}", f"hm</think>{RIGHT}", f"<think>{RIGHT}"]}
    (row,) = read(write_parquet(tmp_path / "raw.parquet", [old(response, **given)]))
    assert (row.thought, row.response) == (thought, reply), why
    assert row.reflections == [RIGHT, RIGHT], "a verdict in a thought is none"


@pytest.mark.parametrize(
    ("text", "cut", "reason"),
    [
        ("<think>a", True, "cut at the length limit, in its thought"),
        ("<think>a", False, "no answer, only a thought"),
        ("<think>a</think>b", False, "no answer"),
        ("a", False, "no answer"),
    ],
)
def test_rows_of_before_say_why_they_have_no_answer(text: str, cut: bool, reason: str, tmp_path: Path) -> None:
    flags = {f"{PUBLISHED}__finish_reason_length_flags": [cut], f"{PUBLISHED}__eval_extracted_answers": [None]}
    given = old(text, **flags, **{f"{PUBLISHED}__eval_is_correct": [False]})
    assert [row.reason for row in read(write_parquet(tmp_path / "raw.parquet", [given]))] == [reason]


def test_a_column_of_thoughts_is_believed(tmp_path: Path) -> None:
    rows = [
        old("a</think>b", **{THOUGHT: None}),
        old("b", **{THOUGHT: "a"}),
        old("<think>a</think>b", **{THOUGHT: None}),
    ]
    first, second, third = read(write_parquet(tmp_path / "raw.parquet", rows))
    assert (first.thought, first.response) == (None, "a</think>b")
    assert (second.thought, second.response) == ("a", "b")
    assert (third.thought, third.response) == ("a", "b"), "no model writes that as text at its beginning"


def first_version(made: Path, raw: Path) -> None:
    """The rows as version 1 would have written them: no thoughts, nor tokens of thoughts, nor other parameters."""

    def narrowed(type_: pa.DataType) -> pa.DataType:
        if pa.types.is_list(type_):
            return pa.list_(narrowed(type_.value_type))
        if not pa.types.is_struct(type_):
            return type_
        return pa.struct([(one.name, one.type) for one in type_ if one.name not in ("thought_tokens", "more")])

    (raw / "data").mkdir(parents=True)
    for path in sorted(made.glob("**/*.parquet")):
        table = pq.read_table(path)
        kept = [field for field in table.schema if field.name not in (THOUGHT, REFLECTIONS_THOUGHT)]
        schema = pa.schema([(field.name, narrowed(field.type)) for field in kept])
        pq.write_table(pa.Table.from_pylist(table.select(schema.names).to_pylist(), schema), raw / "data" / path.name)


def without_new_fields(entry: Any) -> Any:
    return {name: value for name, value in entry.items() if name not in ("thought_tokens", "more")}


def test_rows_of_the_first_version_get_reflections_of_a_model_that_thinks(tmp_path: Path) -> None:
    made = run(tmp_path / "run", reply)
    first_version(made / "RAW_DATA", tmp_path / "first")
    after = add_to(tmp_path / "first", tmp_path / "more", "--reflections=2", reply="think_and_judge")
    before, grown = rows_of(tmp_path / "first"), rows_of(after)
    for one, other in zip(before, grown, strict=True):
        count = len(one[REFLECTIONS])
        assert other[REFLECTIONS][:count] == one[REFLECTIONS]
        assert [*map(without_new_fields, other[PROVENANCE][:count])] == one[PROVENANCE]
        assert [entry["thought_tokens"] for entry in other[PROVENANCE][:count]] == [None] * count
        more = other[REFLECTIONS_THOUGHT][count:]
        assert other[REFLECTIONS_THOUGHT][:count] == [None] * count
        assert more == ["Is it?"] * (2 if one["outcome"] != "unknown" else 0)
        assert all(entry["thought_tokens"] == 4 for entry in other[PROVENANCE][count:])
    card = (after / "README.md").read_text()
    written = sum(entry["output_tokens"] for row in grown for entry in row[PROVENANCE])
    assert f"| tokens written as reflections | {written:,} |" in card, "those of the old rows too"

    again = add_to(tmp_path / "more", tmp_path / "again", "--reflections=1", reply="think_and_judge")
    for one, other in zip(grown, rows_of(again), strict=True):
        for name in (REFLECTIONS, REFLECTIONS_THOUGHT, PROVENANCE):
            assert other[name][: len(one[name])] == one[name]
