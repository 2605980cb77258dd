"""A question that fails for its own reasons: tried as often as said, recorded, counted, tried again on request."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.errors import ItemFailedError
from cluster.inference.engine import Completion, Request, Sampling, ScriptedEngine, ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs.failures import FAILED_ITEMS, Failures
from cluster.jobs.job import Job
from cluster.jobs.tally import FAILED_FROM_THE_START
from generation.asking import TRIES
from generation.builtin import RANGES
from generation.plan import make_plan
from generation.raw.counts import RawCounts
from generation.raw.report import summary, write_raw_data
from generation.records import Question
from generation.rollout import Rollout, Work
from generation.settings import Settings
from generation.tasks import countdown
from generation.variants import parse_names
from tests import drive_job
from tests.countdown_questions import make
from tests.raw_rows import card_of
from tests.scripted import reply

QUESTIONS = make("countdown_3arg", 12, rl=False, seed=0, ranges=RANGES)
ROLLOUT = Rollout(parse_names(("plain",)), samples=1, reflections=1, sampling=Sampling(max_tokens=512), seed=0)
FLAGS = ("--questions", "12", "--rl_questions", "3")


class Refusing:
    """Refuses each of the chosen requests so many times."""

    def __init__(self, times: int, chosen: Callable[[Request], bool]) -> None:
        self.times, self._chosen = times, chosen
        self.asked = Counter[str]()

    def __call__(self, request: Request) -> str | Completion:
        self.asked[request.key] += 1
        if self._chosen(request) and self.asked[request.key] <= self.times:
            return Completion("", "error", error="refused")
        return reply(request)


def test_a_request_is_made_as_often_as_said() -> None:
    once_too_few = Refusing(TRIES - 1, lambda request: True)
    attempts = asyncio.run(ROLLOUT(ScriptedEngine(once_too_few), QUESTIONS[0]))
    assert set(once_too_few.asked.values()) == {TRIES}
    assert all(attempt.completion.error is None for attempt in attempts)
    undisturbed = asyncio.run(ROLLOUT(ScriptedEngine(reply), QUESTIONS[0]))
    assert attempts == undisturbed, "a refusal that passes leaves no trace"


def test_a_question_with_some_samples_keeps_them() -> None:
    """What is missing is data on its row."""
    some = Refusing(TRIES, lambda request: "/rephrase/" in request.key)
    attempts = asyncio.run(ROLLOUT(ScriptedEngine(some), QUESTIONS[0]))
    assert {attempt.variant: attempt.completion.error for attempt in attempts} == {
        "original": None,
        "plan_and_execute": None,
        "alternatively": None,
        "rephrase": "refused",
    }


def test_a_question_without_any_sample_has_failed() -> None:
    every = Refusing(TRIES, lambda request: True)
    with pytest.raises(ItemFailedError, match="refused"):
        asyncio.run(ROLLOUT(ScriptedEngine(every), QUESTIONS[0]))
    assert set(every.asked.values()) == {TRIES}


def test_where_one_request_fails_badly_no_other_of_the_question_goes_on() -> None:
    """The question may be dealt again, on the same engine: its requests must not be there twice."""
    going = 0

    async def answer(request: Request) -> str:
        nonlocal going
        going += 1
        try:
            if "/original/" in request.key:
                await asyncio.sleep(0.01)
                raise ZeroDivisionError
            await asyncio.sleep(60)
        finally:
            going -= 1
        return ""

    async def watch() -> None:
        with pytest.raises(ZeroDivisionError):
            await ROLLOUT(ScriptedEngine(answer), QUESTIONS[0])
        await asyncio.sleep(0)
        assert going == 0

    asyncio.run(watch())


def add(failures: Failures, question: Question, reason: str) -> None:
    failures.add(question.key, task=question.task, question=question.text, reason=reason)


def test_failures_are_kept_and_forgotten(tmp_path: Path) -> None:
    failures = Failures(tmp_path)
    assert failures.reasons() == {}
    add(failures, QUESTIONS[0], "too long")
    add(failures, QUESTIONS[1], "refused")
    assert Failures(tmp_path).reasons() == {QUESTIONS[0].key: "too long", QUESTIONS[1].key: "refused"}
    failures.forget({QUESTIONS[0].key})
    assert Failures(tmp_path).reasons() == {QUESTIONS[1].key: "refused"}


def test_a_failed_question_is_kept_whole(tmp_path: Path) -> None:
    """By its key, with its task: enough to ask it elsewhere."""
    long = dataclasses.replace(QUESTIONS[0], text="Größe? " * 1000)
    add(Failures(tmp_path), long, "too long")
    kept = json.loads((tmp_path / FAILED_ITEMS).read_text(encoding="utf-8"))
    assert kept == {long.key: {"task": long.task, "question": long.text, "reason": "too long"}}


def test_what_an_earlier_version_kept_is_read_and_stays(tmp_path: Path) -> None:
    earlier = {"abc": {"question": "the first 200 characters", "reason": "too long"}}
    (tmp_path / FAILED_ITEMS).write_text(json.dumps(earlier), encoding="utf-8")
    add(Failures(tmp_path), QUESTIONS[1], "refused")
    assert Failures(tmp_path).reasons() == {"abc": "too long", QUESTIONS[1].key: "refused"}
    assert json.loads((tmp_path / FAILED_ITEMS).read_text(encoding="utf-8"))["abc"] == earlier["abc"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 3}', '{"key": {}}'])
def test_a_record_of_failures_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "failed.json").write_text(text)
    with pytest.raises(ValueError, match=r"failed\.json cannot be read; remove it"):
        Failures(tmp_path)


def test_summary_and_card_count_them() -> None:
    counts = RawCounts(lost=Counter({"prompt too | long": 2, "refused": 1}))
    assert "3 questions failed and have no samples:\n        2  prompt too | long" in summary(counts)
    card = card_of(counts, {})
    assert "| questions that failed and have no rows | 3 |" in card
    assert "| `refused` | 1 |" in card
    assert "failed and have no" not in summary(RawCounts())
    assert "Questions without rows" not in card_of(RawCounts(), {})


def test_the_job_tells_what_failed_and_tries_again_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    refused = {question.facts["target"] for question in QUESTIONS[:3]}
    lost = {question.key for question in QUESTIONS if question.facts["target"] in refused}

    def refusing(request: Request) -> str | Completion:
        facts = countdown.facts_of(request.messages[-1]["content"])
        assert facts is not None
        return Completion("", "error", 7, error="no answer") if facts["target"] in refused else reply(request)

    def drive(*flags: str) -> tuple[int, str]:
        code = drive_job.main([*FLAGS, *flags, f"--out={run}"], refusing)
        return code, capsys.readouterr().out

    code, said = drive()
    assert code == 1, "a run without some of its questions does not succeed"
    assert f"{len(lost)} questions failed and have no samples:" in said
    assert f"failed      {len(lost)} of 12 questions, see {run / 'failed.json'}" in said
    assert Failures(run).reasons().keys() == lost
    assert f"| questions that failed and have no rows | {len(lost)} |" in (run / "RAW_DATA" / "README.md").read_text()
    assert keys(run) == {question.key for question in QUESTIONS} - lost
    assert (run / "SFT_DATA" / "README.md").exists()
    assert json.loads((run / "run.json").read_text())["counts"]["failed_questions"] == len(lost)

    refused.clear()
    code, said = drive()
    assert code == 1, "they are not tried again unless asked for"
    assert f"{len(lost)} failed before, --retry_failed tries them again" in said
    assert "engine" not in said, "no engine is started for nothing"

    code, said = drive("--retry_failed")
    assert code == 0
    assert "nothing to try again" not in said
    assert keys(run) == {question.key for question in QUESTIONS}
    assert Failures(run).reasons() == {}
    assert "| questions that failed and have no rows | 0 |" in (run / "RAW_DATA" / "README.md").read_text()

    code, said = drive("--retry_failed")
    assert code == 0
    assert f"note        --retry_failed has nothing to try again: nothing failed in {run} before\n" in said


def refuse(_: Request) -> Completion:
    return Completion("", "error", error="refused")


def test_where_every_question_fails_no_dataset_is_made_of_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drive_job.main([*FLAGS, f"--out={tmp_path}"], refuse) == 1
    said = capsys.readouterr().err
    assert "failed: AllFailedError: all 12 questions failed: refused\n" in said
    assert "the same command does not ask them again: mend that, and add --retry_failed" in said
    assert not (tmp_path / "RAW_DATA").exists()


def test_a_question_that_is_neither_done_nor_failed_is_a_crash(tmp_path: Path) -> None:
    settings = Settings(questions=12, rl_questions=0, out=str(tmp_path))
    fleet = Fleet(ScriptedSettings(reply))
    with Job(settings) as job:
        plan = make_plan(settings)
        job.check(plan, ["RAW_DATA"])
        job.roll_out(replace(plan, questions=plan.questions[1:]), Work(plan.rollout, plan.task_config), fleet)
        with pytest.raises(KeyError):
            write_raw_data(plan, job)
    assert job.code == 0


def test_many_failures_before_the_first_success_are_no_matter_of_the_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: set[str] = set()

    def refuse_and_note(request: Request) -> Completion:
        asked.add(request.key.partition("/")[0])
        return refuse(request)

    assert drive_job.main([f"--questions={FAILED_FROM_THE_START + 30}", f"--out={tmp_path}"], refuse_and_note) == 1
    said = capsys.readouterr().err
    assert f"the first {FAILED_FROM_THE_START} questions all failed: refused" in said
    assert "the same command asks them again, and they fail again until that is mended" in said
    assert len(asked) < FAILED_FROM_THE_START + 30, "not all of them are tried"
    assert Failures(tmp_path).reasons() == {}, "they are owed again"
    assert (tmp_path / "logs" / "failed.txt").read_text().count("refused") >= FAILED_FROM_THE_START


def keys(run: Path) -> set[str]:
    return {
        key for path in run.glob("RAW_DATA/data/*.parquet") for key in pq.read_table(path)["question_key"].to_pylist()
    }
