"""--examples: few-shot turns before what is asked, in prompts, rows, the run's record and its cards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster.flags import parse
from generation import variants
from generation.plan import Plan, look_at_prompts, make_plan
from generation.settings import Settings
from generation.variants import VARIANTS
from reflection import prompts
from reflection.added.plan import AdditionSettings, plan_additions
from reflection.prompts import PROMPTS
from tests import drive_job
from tests.assembly_rows import published_row, write_parquet

ANSWERING: dict[str, Any] = {"question": "What is 1 + 1?", "response": "It is 2.\n<answer>\n2\n</answer>"}
OTHER: dict[str, Any] = {"question": "What is 2 + 2?", "response": "It is 4.", "answer": 4, "variant": "rephrase"}
REFLECTING: dict[str, Any] = {
    "question": "What is 3 + 3?",
    "response": "It is 7.\n<answer>7</answer>",
    "reflection": "3 + 3 = 6, not 7.\n<verdict>Incorrect</verdict>",
}
RIGHT = REFLECTING | {"response": "It is 6.", "reflection": "So it is. <verdict>Correct</verdict>", "prompt": "explain"}
SMALL = ["--questions=4", "--rl_questions=2", "--variants=original,rephrase"]


def written(path: Path, *rows: Mapping[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"--examples={path}"


def plan_of(flags: Sequence[str]) -> Plan:
    return make_plan(parse(Settings, flags))


def contents(messages: Sequence[Any]) -> list[str]:
    return [message["content"] for message in messages]


@pytest.fixture
def examples(tmp_path: Path) -> str:
    return written(tmp_path / "shots.jsonl", ANSWERING, OTHER, REFLECTING, RIGHT)


def test_a_sample_is_asked_for_after_the_examples_of_its_variant(examples: str) -> None:
    plan = plan_of([*SMALL, examples])
    assert plan.rollout.examples.described == ["examples    2 of answering, 2 of reflecting"]
    question = plan.questions[0]
    for name, shown in (("original", [ANSWERING]), ("rephrase", [ANSWERING, OTHER])):
        variant = VARIANTS[name]
        asked = plan.rollout.sample_request(question, variant, 0).messages
        system, own = variants.messages(variant, question)
        assert [message["role"] for message in asked] == ["system", *["user", "assistant"] * len(shown), "user"]
        assert (asked[0], asked[-1]) == (system, own)
        assert [message["content"] for message in asked[2::2]] == [one["response"] for one in shown]
        for message, one in zip(asked[1:-1:2], shown, strict=True):
            assert message["content"] == own["content"].replace(question.text, str(one["question"]))


def test_a_rationalized_variant_gives_away_the_gold_answer_of_the_example(examples: str) -> None:
    plan = plan_of(["--questions=4", "--variants=rephrase_rationalized", examples])
    asked = plan.rollout.sample_request(plan.questions[0], plan.rollout.variants[0], 0).messages
    assert "a correct equation is 2\n" in asked[1]["content"], "the last answer in the response"
    plain = written(Path(examples.partition("=")[2]), OTHER | {"variant": None})
    plan = plan_of(["--questions=4", "--variants=rephrase_rationalized", plain])
    asked = plan.rollout.sample_request(plan.questions[0], plan.rollout.variants[0], 0).messages
    assert "a correct equation is 4\n" in asked[1]["content"], "the answer that is given"


def test_a_reflection_is_asked_for_after_the_examples_of_its_prompt(examples: str) -> None:
    of_run = plan_of([*SMALL, examples]).rollout.examples
    for name in PROMPTS:
        shown = [REFLECTING, RIGHT] if name == "explain" else [REFLECTING]
        asked = of_run.look(name, "Q", "A")
        assert [message["role"] for message in asked] == [*["user", "assistant"] * len(shown), "user"]
        assert asked[-1:] == prompts.messages(name, "Q", "A")
        assert contents(asked[1::2]) == [one["reflection"] for one in shown]
        users = [prompts.messages(name, one["question"], one["response"])[0] for one in shown]
        assert list(asked[:-1:2]) == users


def test_all_questions_share_the_examples_as_a_prefix(examples: str) -> None:
    plan = plan_of([*SMALL, examples])
    variant = plan.rollout.variants[0]
    before = {str(plan.rollout.sample_request(one, variant, 0).messages[:-1]) for one in plan.questions}
    assert len(before) == 1


def test_examples_are_part_of_the_configuration_by_what_they_say(examples: str, tmp_path: Path) -> None:
    without, first = plan_of(SMALL), plan_of([*SMALL, examples])
    assert {*first.configuration} - {*without.configuration} == {"examples_hash"}
    rows = [dict(reversed(row.items())) for row in (ANSWERING, OTHER, REFLECTING, RIGHT)]
    assert plan_of([*SMALL, written(tmp_path / "moved.jsonl", *rows)]).configuration == first.configuration
    changed = plan_of([*SMALL, written(tmp_path / "moved.jsonl", *rows[:-1])])
    assert changed.configuration["examples_hash"] != first.configuration["examples_hash"]


def test_the_context_has_room_for_the_examples(tmp_path: Path) -> None:
    without = plan_of([*SMALL, "--max_tokens=100"])
    for row in (ANSWERING, REFLECTING):
        long = written(tmp_path / "long.jsonl", row | {"response": "It is 2, or 7. " * 20 + row["response"]})
        plan = plan_of([*SMALL, long, "--max_tokens=100"])
        assert plan.context >= min(plan.model.context, without.context + 300)
    with pytest.raises(ValueError, match="before any question, and the context is"):
        look_at_prompts(plan_of([*SMALL, written(tmp_path / "long.jsonl", *[REFLECTING] * 200)]))


@pytest.mark.parametrize(
    ("rows", "flags", "says"),
    [
        (
            [ANSWERING, OTHER],
            [],
            ["looked for, and samples like them get no grade (first {path} line 2)"],
        ),
        (
            [OTHER],
            [],
            ["1 of 1 examples of answering have no answer where it is looked for", "none is for variant original"],
        ),
        ([ANSWERING], [], []),
        ([ANSWERING], ["--answer_in=boxed"], ["1 of 1 examples of answering have no answer where it is looked for"]),
        ([REFLECTING], [], []),
        ([REFLECTING, REFLECTING], [], ["all 2 reflections say Incorrect"]),
        ([REFLECTING, REFLECTING], ["--reflections=0"], []),
        ([REFLECTING, RIGHT], [], []),
    ],
    ids=str,
)
def test_notes(rows: list[dict[str, Any]], flags: list[str], says: list[str], tmp_path: Path) -> None:
    given = written(tmp_path / "shots.jsonl", *rows)
    notes = [note for note in plan_of([*SMALL, *flags, given]).notes if note.startswith("--examples")]
    assert len(notes) == len(says)
    for note, words in zip(notes, says, strict=True):
        assert words.format(path=tmp_path / "shots.jsonl") in note


def test_a_whole_job(examples: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows hold every turn, training sets none; the record and the card quote the examples; a run keeps to its own."""
    out = tmp_path / "run"
    flags = [*SMALL, "--samples=3", f"--out={out}"]
    assert drive_job.main([*flags, examples]) == 0
    rows = pq.read_table(out / "RAW_DATA" / "data").to_pylist()
    for row in rows:
        shown = [ANSWERING, OTHER] if row["prompt_variant"] == "rephrase" else [ANSWERING]
        assert contents(row["prompt"])[2::2] == [one["response"] for one in shown]
        assert row["question"] in row["prompt"][-1]["content"]
    sft = pq.read_table(out / "SFT_DATA" / "data").to_pylist()
    assert {row["conversations"][0]["content"] for row in sft} <= {row["question"] for row in rows}
    rl = pq.read_table(out / "RL_DATA" / "train.parquet").to_pylist()
    assert rl
    for made in (sft, rl):
        assert not any(one["response"] in str(made) for one in (ANSWERING, OTHER, REFLECTING))
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["texts"]["examples"] == {
        "answering 1": ANSWERING | {"answer": "2"},
        "answering 2": OTHER | {"answer": "4"},
        "reflecting 1": REFLECTING,
        "reflecting 2": RIGHT,
    }
    card = (out / "RAW_DATA" / "README.md").read_text(encoding="utf-8")
    assert "### examples: `reflecting 1`" in card
    assert REFLECTING["reflection"] in card
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        drive_job.main(flags)
    assert ended.value.code == 2
    assert "examples_hash was" in capsys.readouterr().err


def test_more_reflections_take_the_examples_of_reflecting(examples: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    published = [published_row("What is 4 + 4?", "<answer>8</answer>", correct=True)]
    write_parquet(raw / "data" / "train-00000-of-00001.parquet", published)
    plan = plan_additions(parse(AdditionSettings, [f"--raw={raw}", f"--out={tmp_path / 'out'}", examples]))
    assert "2 examples of answering are not used" in " ".join(plan.notes)
    texts: Any = plan.texts["examples"]
    assert [*texts] == ["reflecting 1", "reflecting 2"]
    block = next(iter(plan.items(plan.keys)))
    for name, request in plan.work.requests(block, block.samples[0]):
        assert request.messages == plan.work.examples.look(name, "What is 4 + 4?", "<answer>8</answer>")
        assert len(request.messages) == (5 if name == "explain" else 3)
    kept = written(tmp_path / "some.jsonl", REFLECTING, RIGHT)
    again = plan_additions(parse(AdditionSettings, [f"--raw={raw}", f"--out={tmp_path / 'out'}", kept]))
    assert again.configuration == plan.configuration, "what is not used changes nothing"
