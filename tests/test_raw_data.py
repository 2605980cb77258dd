"""RAW_DATA as written: one row a sample, every column filled, the card true, and read back unchanged."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Features, disable_progress_bars, load_dataset

from cluster.inference.engine import Completion, EngineInfo, FinishReason, Message, Sampling
from generation.raw.counts import count_folder
from generation.raw.schema import COLUMNS, PREFIX, REFLECTIONS, SCHEMA, SCHEMA_VERSION, to_table
from generation.records import CUT, CUT_THOUGHT, ONLY_THOUGHT, Attempt, Grade, Outcome, Question, Reflection
from tests.assembly_rows import read
from tests.raw_rows import card_of

QUESTION = Question(
    text="Make 7 of [3, 4].",
    answer="3 + 4",
    task="countdown_2arg",
    source="made",
    grader="countdown",
    answer_type="equation",
    facts={"target": 7, "numbers": [3, 4]},
    place=5,
)
SAMPLING = Sampling(0.7, 0.8, 20, 1.1, 64, {"min_p": 0.1})
GOOD = Reflection(
    "check",
    Completion("<verdict>Correct</verdict>", "stop", 30, 5, 16, thought="Is it?", thought_tokens=2),
    12,
    True,
    True,
)
SILENT = Reflection("check", Completion("", "error", error="refused"), 13, None, False)
ATTEMPT = Attempt(
    question=QUESTION,
    variant="original",
    index=2,
    messages=(Message(role="system", content="Think."), Message(role="user", content="Make 7.")),
    completion=Completion("<answer>3 + 4</answer>", "stop", 10, 20, 8, thought="Hm.", thought_tokens=9),
    seed=2**63 - 1,
    grade=Grade("right", "", "3 + 4", "the only answer tag"),
    mentions_hint=False,
    reflections=(GOOD, SILENT),
)


def written(attempts: list[Attempt]) -> pa.Table:
    return to_table(attempts, EngineInfo("scripted", "1", "a/model", "abc", 100), SAMPLING, "{}")


def test_a_row_says_all_that_its_record_does() -> None:
    (row,) = written([ATTEMPT]).to_pylist()
    assert row == {
        "question": "Make 7 of [3, 4].",
        "answer": "3 + 4",
        "prompt_variant": "original",
        "model_responses__mutated_prompts": ["<answer>3 + 4</answer>"],
        "model_responses__mutated_prompts__eval_is_correct": [True],
        "model_responses__mutated_prompts__eval_extracted_answers": ["3 + 4"],
        "model_responses__mutated_prompts__finish_reason_length_flags": [False],
        "model_responses__mutated_prompts__internal_answers__eval_is_correct": [[]],
        "model_responses__mutated_prompts__internal_answers__eval_extracted_answers": [[]],
        "sample__thought": "Hm.",
        "sample__attempts": None,
        "model_responses__mutated_prompts_reflection": ["<verdict>Correct</verdict>", ""],
        "reflections__thought": ["Is it?", None],
        "question_key": QUESTION.key,
        "question_index": 5,
        "sample_index": 2,
        "parent": None,
        "parent__seen": None,
        "outcome": "right",
        "outcome_reason": "",
        "answer_found": "the only answer tag",
        "mentions_hint": False,
        "prompt": [{"content": "Think.", "role": "system"}, {"content": "Make 7.", "role": "user"}],
        "task": "countdown_2arg",
        "task_config": "{}",
        "task_source": "made",
        "metadata": '{"answer_type": "equation", "facts": {"numbers": [3, 4], "target": 7}, "grader": "countdown"}',
        "sample__provenance": _request("stop", 2**63 - 1, 10, 20, 8, 9, None),
        "reflections__provenance": [
            {"prompt_name": "check", "verdict": "Correct", "valid": True} | _request("stop", 12, 30, 5, 16, 2, None),
            {"prompt_name": "check", "verdict": None, "valid": False} | _request("error", 13, 0, 0, 0, 0, "refused"),
        ],
        "model": "a/model",
        "model_revision": "abc",
        "engine": "scripted",
        "engine_version": "1",
        "sampling": asdict(SAMPLING) | {"more": '{"min_p": 0.1}'},
        "schema_version": 3,
    }


def _request(finish_reason: str, seed: int, *tokens: object) -> dict[str, object]:
    counts = dict(
        zip(("prompt_tokens", "output_tokens", "cached_tokens", "thought_tokens", "error"), tokens, strict=True)
    )
    return {"seed": seed, "finish_reason": finish_reason, **counts}


def test_the_schema_is_fixed_for_this_version() -> None:
    """Whoever changes a column changes this line, and the version with it."""
    assert SCHEMA_VERSION == 3
    assert [column.name for column in COLUMNS if not column.meaning] == []
    assert list(SCHEMA.field("sampling").type.names) == list(asdict(Sampling()))
    assert SCHEMA.field("schema_version").type == pa.int32()
    assert len(SCHEMA) == 35


GRADES: list[tuple[Outcome, str, bool | None]] = [
    ("right", "", True),
    ("wrong", "not the target", False),
    ("unknown", "no answer", False),
    ("unknown", CUT, False),
    ("unknown", CUT_THOUGHT, False),
    ("unknown", ONLY_THOUGHT, False),
    ("unknown", "cannot be read", None),
    ("unknown", "out of bounds", None),
]


@pytest.mark.parametrize(("outcome", "reason", "published"), GRADES)
def test_not_knowing_is_not_wrong(outcome: Outcome, reason: str, published: bool | None, tmp_path: Path) -> None:
    finish: FinishReason = "length" if reason == CUT else "stop"
    attempt = replace(ATTEMPT, grade=Grade(outcome, reason, None), completion=Completion("x", finish))
    table = written([attempt])
    assert table[f"{PREFIX}__eval_is_correct"].to_pylist() == [[published]]
    pq.write_table(table, tmp_path / "raw.parquet")
    (row,) = read(tmp_path / "raw.parquet")
    assert (row.outcome, row.reason, row.is_correct, row.extracted_answer) == (outcome, reason, published, None)
    assert row.cut is (reason == CUT)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pq.write_table(written([ATTEMPT, replace(ATTEMPT, mentions_hint=True)]), tmp_path / "a.parquet")
    first, second = read(tmp_path)
    assert (first.question_key, first.question, first.answer) == (QUESTION.key, QUESTION.text, QUESTION.answer)
    assert (first.task, first.variant, first.response) == ("countdown_2arg", "original", ATTEMPT.completion.text)
    assert (first.extracted_answer, first.mentions_hint, second.mentions_hint) == ("3 + 4", False, True)
    assert first.reflections == ["<verdict>Correct</verdict>"], "an empty reflection says nothing"


def test_a_lone_surrogate_does_not_lose_the_row(tmp_path: Path) -> None:
    """A byte-level tokenizer can stop in the middle of a character; parquet holds UTF-8 only."""
    broken = Completion("a\ud83d \udc00b", "stop", error="\udfff")
    attempt = replace(
        ATTEMPT, completion=broken, grade=Grade("right", "", "\ud800"), question=replace(QUESTION, text="?\ud800")
    )
    pq.write_table(written([attempt]), tmp_path / "raw.parquet")
    (row,) = read(tmp_path / "raw.parquet")
    assert (row.response, row.extracted_answer, row.question) == ("a\ufffd \ufffdb", "\ufffd", "?\ufffd")
    assert row.question_key == attempt.question.key


def test_no_attempts_are_an_empty_table_of_the_same_schema() -> None:
    assert written([]).schema == SCHEMA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A RAW_DATA of four samples with its card."""
    attempts = [
        ATTEMPT,
        replace(ATTEMPT, grade=Grade("wrong", "no", "4"), reflections=(), mentions_hint=True),
        replace(ATTEMPT, grade=Grade("unknown", CUT), variant="plan|x"),
        replace(ATTEMPT, grade=Grade("unknown", "out of bounds"), completion=Completion("", "error", error="e")),
    ]
    (tmp_path / "data").mkdir()
    pq.write_table(written(attempts), tmp_path / "data" / "train-00000-of-00001.parquet")
    card = card_of(count_folder(tmp_path), {"model": "a/model", "why": "```"})
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    disable_progress_bars()
    return tmp_path


def test_the_card_counts_what_is_there(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    for line in [
        "| questions | 1 |",
        "| samples | 4 |",
        "| samples that mention their hint | 1 |",
        "| samples whose request failed | 1 |",
        "| reflections | 3 |",
        "| reflections that say Correct | 3 |",
        "| reflections that say Incorrect | 0 |",
        "| reflections without a verdict | 0 |",
        "| reflections whose verdict is right | 1 |",
        "| reflections whose request failed | 3 |",
        "| reflections that are only a thought | 0 |",
        "| tokens read for samples | 30 |\n| of these found in the prefix cache | 24 |",
        "| tokens written as samples | 60 |\n| of these in thoughts | 27 |",
        "| tokens read for reflections | 90 |\n| of these found in the prefix cache | 48 |",
        "| tokens written as reflections | 15 |\n| of these in thoughts | 6 |",
        "| `original` | 3 | 1 | 1 | 1 |",
        "| `plan\\|x` | 1 | 0 | 0 | 1 |",
        "| cut at the length limit | 1 |",
        "| right | 1 | 0 | 0 |",
        "| unknown | 2 | 0 | 0 |",
        "| `Correct` | 100.0% | 100.0% | 100.0% |",
        f"| `{REFLECTIONS}` | `{SCHEMA.field(REFLECTIONS).type}` | the model's reflections on this sample |",
        '````json\n{\n  "model": "a/model",\n  "why": "```"\n}\n````',
    ]:
        assert f"\n{line}\n" in card


def test_the_card_tells_the_dataset_library_the_columns(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = tmp_path_factory.mktemp("cache")
    rows = load_dataset(str(folder), split="train", cache_dir=str(cache))
    assert rows.features == Features.from_arrow_schema(SCHEMA)
    assert rows.num_rows == 4
    assert json.loads(rows[0]["metadata"])["facts"] == {"target": 7, "numbers": [3, 4]}
