"""python -m generation.evaluate on a scripted engine: its rows, its arms, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from generation import evaluate
from generation.evaluation.questions import asked_in
from generation.evaluation.reader import read_evaluation
from generation.evaluation.schema import EVAL_SCHEMA, PREFIX
from generation.tasks import countdown
from tests import scripted_evaluations
from tests.openai_server import OpenAIServer, serving
from tests.raw_rows import bytes_of

SMALL = ["--task", "countdown_3arg:12", "--samples", "3", "--inputs", "1-10", "--targets", "10-50"]
FORCED = [*SMALL, "--force_to", "60", "--force_at", "12"]
GOLDEN_ASKED = ["--task", "countdown_2arg:3", "--samples", "2", "--seed", "5", *SMALL[4:]]
GOLDEN = Path(__file__).parent / "golden" / "evaluation.json"


def run(out: Path, *argv: str, reply: Any = scripted_evaluations.reply) -> int:
    return evaluate.main([*argv, "--out", str(out)], fleet=Fleet(ScriptedSettings(reply)))


def rows_of(out: Path) -> list[dict[str, Any]]:
    (path,) = sorted((out / "EVAL_DATA" / "data").glob("*.parquet"))
    assert path.name == "test-00000-of-00001.parquet"
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def evaluated(folder: Path, *argv: str) -> Path:
    """A run in which a question whose every request fails is lost, and says so."""
    assert run(folder / "run", *argv) == 1
    return folder / "run"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tmp_path_factory.mktemp("plain"), *SMALL)


@pytest.fixture(scope="module")
def forced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tmp_path_factory.mktemp("forced"), *FORCED)


def test_a_row_is_a_question_with_all_its_replies(plain: Path) -> None:
    rows = rows_of(plain)
    lost = json.loads((plain / "failed.json").read_text())
    assert len(rows) + len(lost) == 12
    assert lost
    assert len({row["question_key"] for row in rows}) == len(rows)
    for row in rows:
        lists = [row[name] for name in EVAL_SCHEMA.names if name.startswith((PREFIX, "responses__"))]
        assert {len(values) for values in lists} == {3}
        assert row["prompt"] == [{"content": row["question"], "role": "user"}]
        assert (row["arm"], row["prompt_variant"], row["original_split"]) == ("", "question", "test")
        assert json.loads(row["metadata"])["grader"] == "countdown"


def test_replies_of_every_kind_are_graded_and_taken_apart(plain: Path) -> None:
    rows = rows_of(plain)
    outcomes = {outcome for row in rows for outcome in row["responses__outcome"]}
    assert outcomes == {"right", "wrong", "unknown"}
    traces = 0
    for row in rows:
        replies = zip(
            row["responses__thought"],
            row["responses__attempts"],
            row[f"{PREFIX}__internal_answers__eval_is_correct"],
            row[f"{PREFIX}__internal_answers__eval_extracted_answers"],
            strict=True,
        )
        for thought, attempts, right, answers in replies:
            assert len(attempts) == len(right) == len(answers) == (thought or "").count("<sample>")
            assert [one["is_correct"] for one in attempts] == right
            traces += bool(attempts)
    assert traces


def test_datasets_opens_it_and_the_card_says_what_it_holds(plain: Path) -> None:
    loaded = load_dataset(str(plain / "EVAL_DATA"), split="test")
    assert len(loaded) == len(rows_of(plain))
    card = (plain / "EVAL_DATA" / "README.md").read_text()
    for words in (
        "pass@1",
        "countdown_3arg",
        "responses__same_answer",
        "test-*",
        'split="test"',
        "scripted",
    ):
        assert words in card, words
    figures = json.loads((plain / "EVAL_DATA" / "figures.json").read_text())
    assert figures


def test_no_other_question_is_asked_twice_or_by_training(plain: Path, tmp_path: Path) -> None:
    """Of the family held out for RL, and apart from a run that is named."""
    for row in rows_of(plain):
        facts = countdown.facts_of(row["question"])
        assert facts is not None
    assert run(tmp_path / "other", *SMALL, "--apart_from", str(plain)) in (0, 1)
    asked = [{row["question"] for row in rows_of(out)} for out in (plain, tmp_path / "other")]
    assert not asked[0] & asked[1]
    # Of a run that has made no set yet the shards tell.
    (tmp_path / "begun").mkdir()
    shutil.copytree(plain / "shards", tmp_path / "begun" / "shards")
    assert asked_in(tmp_path / "begun") == asked_in(plain)


def test_an_evaluation_that_was_stopped_goes_on_to_the_same_bytes(forced: Path, tmp_path: Path) -> None:
    """Half of the questions fail at first, as if the engines had gone, and are asked again."""
    out, seen = tmp_path / "run", set[str]()

    def broken(request: Any) -> Any:
        said = request.messages[-1]["content"]
        if said not in seen and len(seen) < 5:
            seen.add(said)
        if said not in seen:
            raise RuntimeError("gone")
        return scripted_evaluations.reply(request)

    assert run(out, *FORCED, reply=broken) == 1
    assert run(out, *FORCED, "--retry_failed") == 1
    assert bytes_of(out / "EVAL_DATA") == bytes_of(forced / "EVAL_DATA")


def test_forced_replies_go_on_from_where_their_form_ends(forced: Path) -> None:
    rows, kinds = rows_of(forced), set[str]()
    by_arm = {
        arm: {row["question_key"]: row for row in rows if row["arm"] == arm} for arm in ("stopped", "forced", "control")
    }
    assert len({len(of) for of in by_arm.values()}) == 1
    for key, row in by_arm["forced"].items():
        base = by_arm["stopped"][key]
        for number, how in enumerate(row["responses__forced"]):
            asked, first = row["responses__provenance"][number], base["responses__provenance"][number]
            assert asked["seed"] == first["seed"]
            if first["error"]:
                assert how is None
                continue
            assert asked["output_tokens"] > first["output_tokens"]
            assert asked["output_tokens"] <= 60 + 64
            kinds.add(how["trigger"].strip())
            if how["trigger"].startswith("<sample>"):
                assert "<sample>" in base["responses__thought"][number]
                assert len(row["responses__attempts"][number]) >= len(base["responses__attempts"][number])
            else:
                assert how["trigger"] == "Wait"
    assert kinds == {"<sample>", "Wait"}


def test_the_control_is_the_same_reply_unless_its_limit_ended_it(forced: Path) -> None:
    rows = rows_of(forced)
    by_arm = {arm: {row["question_key"]: row for row in rows if row["arm"] == arm} for arm in ("stopped", "control")}
    longer = 0
    for key, base in by_arm["stopped"].items():
        control = by_arm["control"][key]
        for number in range(3):
            was_cut, how = base[f"{PREFIX}__finish_reason_length_flags"][number], control["responses__forced"][number]
            if not was_cut and how is None:
                assert control[PREFIX][number] == base[PREFIX][number]
            elif was_cut:
                said = control["responses__thought"][number] or control[PREFIX][number]
                assert said.startswith((base["responses__thought"][number] or base[PREFIX][number])[:20])
                longer += 1
            if how is not None:
                assert how == {"trigger": "", "kept": None, "answer": True}
    assert longer


def test_it_reads_back_as_it_was_written(forced: Path) -> None:
    evaluation = read_evaluation(forced)
    assert evaluation.order == ("countdown_3arg",)
    rows = rows_of(forced)
    assert evaluation.replies.num_rows == 3 * len(rows)
    assert set(evaluation.replies["arm"].to_pylist()) == {"stopped", "forced", "control"}
    assert evaluation.replies.equals(read_evaluation(forced / "EVAL_DATA").replies)


def test_the_rows_of_a_small_evaluation_are_golden(tmp_path: Path) -> None:
    """Word for word: what changes here changes for everyone who reads EVAL_DATA."""
    assert run(tmp_path / "run", *GOLDEN_ASKED) == 0
    rows = rows_of(tmp_path / "run")
    assert rows == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_an_answer_that_was_asked_for_in_vain_leaves_the_reply_as_it_was(tmp_path: Path) -> None:
    def refuses(request: Request) -> str | Completion:
        if request.begun.endswith("<answer>\n"):
            return Completion("", "error", 7, error="no room", final=True)
        return scripted_evaluations.reply(request)

    assert run(tmp_path / "run", *FORCED, reply=refuses) == 1
    control = [row for row in rows_of(tmp_path / "run") if row["arm"] == "control"]
    texts = [
        text or thought
        for row in control
        for text, thought, reason in zip(row[PREFIX], row["responses__thought"], row["responses__reason"], strict=True)
        if reason.startswith("no answer")
    ]
    assert texts
    assert all(texts)


def test_what_does_not_fit_the_context_is_refused_before_an_engine_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        evaluate.main([*SMALL, "--force_to", "1000", "--out", str(tmp_path / "run"), "--dry_run"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    most = int(re.findall(r"give (\d+) at most", said)[0])
    assert evaluate.main([*SMALL, "--force_to", str(most), "--out", str(tmp_path / "run"), "--dry_run"]) == 0


def test_a_server_answers_as_an_engine_does(plain: Path, tmp_path: Path) -> None:
    def answer(request: Request) -> str | Completion:
        asked = countdown.facts_of(request.messages[-1]["content"]) is not None
        return scripted_evaluations.reply(request) if asked else "Hello."

    with serving(OpenAIServer(reply=answer)) as server:
        flags = [*SMALL, "--server", f"{server.url}/v1", "--model", "scripted", "--out", str(tmp_path / "run")]
        assert evaluate.main(flags) == 1
    rows = {row["question_key"]: row for row in rows_of(tmp_path / "run")}
    assert {row["engine"] for row in rows.values()} == {"vllm server"}
    assert {key: len(row[PREFIX]) for key, row in rows.items()} == {row["question_key"]: 3 for row in rows_of(plain)}
