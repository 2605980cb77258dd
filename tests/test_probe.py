"""A plan with what to expect: from a probe, an earlier run or shards; nothing is made, and what was expected comes."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from assembly.expected import lack_of_room
from cluster.flags import parse
from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs import tally
from cluster.jobs.run_directory import read_record
from cluster.jobs.status import Moment, add_moment
from generation import probe, sources
from generation.builtin import RANGES
from generation.measured import measure, rows_of, speed_of
from generation.plan import make_plan
from generation.preview import evenly
from generation.probe import Span, speed_in
from generation.records import Question
from generation.run import main
from generation.settings import Settings
from generation.sources import find_source
from tests.countdown_questions import make
from tests.openai_server import OpenAIServer, serving
from tests.scripted import reply, slow_reply

FLAGS = ("--questions=60", "--rl_questions=10", "--samples=4")


def fleet(answer: object = reply, **more: int) -> Fleet:
    return Fleet(ScriptedSettings(answer, **more))  # type: ignore[arg-type]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The lines of the plan, by their first word; the last of each."""
    head = capsys.readouterr().out.partition("--- first prompt")[0]
    return dict(line.split(maxsplit=1) for line in head.splitlines() if re.match(r"\w+ {2,}\S", line))


def ends(text: str) -> tuple[float, float]:
    found = re.match(r"([\d.,]+)(?: to ([\d.,]+))?", text)
    assert found is not None, text
    low, high = (float((one or found[1]).replace(",", "")) for one in found.groups())
    return low, high


def test_without_a_source_it_is_said_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry_run", f"--out={tmp_path}/run"]) == 0
    lines = told(capsys)
    assert lines["expected"].startswith("unknown: --probe")
    assert lines["tokens"].startswith("at most")


def test_what_a_probe_foretells_comes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And of a probe nothing stays, but what a run makes is then foretold by another that is like it."""
    run, flags = tmp_path / "run", [*FLAGS, "--formats=*C_full,*C*IC,star", "--rl_samples=3"]
    assert main([*flags, "--probe", f"--out={run}"], fleet=fleet(slow_reply)) == 0
    assert [*tmp_path.iterdir()] == []
    lines = told(capsys)
    assert "--probe, 500 samples of 70 questions" in lines["expected"], (
        "two under each variant, two of each RL question"
    )
    assert main([*flags, f"--out={run}"], fleet=fleet()) == 0
    start = read_record(run)["starts"][0]
    low, high = ends(lines["expected"])
    assert 0.97 * low <= start["output_tokens"] <= 1.03 * high
    traces = Counter(row["format"] for row in pq.read_table(run / "SFT_DATA" / "data").to_pylist())
    assert lines["format"].startswith("star ")
    low, high = ends(lines["format"].partition(": ")[2])
    assert 0.9 * low <= traces["star"] <= 1.1 * high
    capsys.readouterr()

    assert (
        main(["--questions=200", "--rl_questions=0", "--variants=all", f"--like={run}", f"--out={tmp_path}/new"]) == 0
    )
    out = capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    assert f"from {run}, 990 samples of 70 questions" in out
    assert "no samples under alternatively_with_hint" in re.sub("_rationalized", "_with_hint", out)
    assert main([*flags, "--dry_run", f"--out={run}"]) == 0
    assert "expected" not in told(capsys), "nothing is owed"


def test_shards_foretell_the_rest_of_their_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    first: set[str] = set()

    refused = Completion("", "error", 7, error="not now", final=True)

    def half(request: Request) -> str | Completion:
        first.add(request.key.split("/")[0])
        asked = sorted(first).index(request.key.split("/")[0])
        return reply(request) if asked % 2 == 0 else refused

    assert main([*FLAGS, f"--out={run}"], fleet=fleet(half)) == 1
    capsys.readouterr()
    assert main([*FLAGS, "--dry_run", "--retry_failed", f"--out={run}"]) == 0
    lines = told(capsys)
    assert "more tokens written" in lines["expected"]
    assert "the shards that are there" in lines["expected"]
    assert main([*FLAGS, "--retry_failed", f"--out={run}"], fleet=fleet()) == 0
    low, high = ends(lines["expected"])
    assert 0.9 * low <= read_record(run)["starts"][1]["output_tokens"] <= 1.1 * high


def test_of_many_rows_some_of_the_whole_run_are_read_and_tasks_not_begun_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run asks its tasks one after the other, and each shard is of one of them."""
    monkeypatch.setattr(tally, "SHARD_ROWS", 1)
    run, flags = tmp_path / "run", ["--rl_questions=0", "--samples=2"]
    asked = "--task=countdown_3arg:30,countdown_4arg:30"
    assert main([asked, *flags, f"--out={run}"], fleet=Fleet(ScriptedSettings(reply), in_flight=1)) == 0
    plan = make_plan(parse(Settings, [asked, *flags, f"--out={run}"]))
    monkeypatch.setattr(sources, "_MOST_BYTES", 1 << 18)
    source = find_source(plan, parse(Settings, [f"--like={run}"]), {*plan.keys}, None)
    assert source is not None
    assert 4 < len(source.tables) < 40
    assert {task for table in source.tables for task in table["task"].to_pylist()} == {
        one.task for one in plan.questions
    }

    for shard in (run / "shards").iterdir():
        if "countdown_4arg" in pq.read_table(shard)["task"].to_pylist():
            shard.unlink()
    capsys.readouterr()
    assert main([asked, *flags, "--dry_run", f"--out={run}"]) == 0
    assert "have no samples of countdown_4arg yet" in " ".join(capsys.readouterr().out.split())


def test_a_probe_ends_after_its_time_and_finishes_what_it_began(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "LASTS_S", 0.3)
    asked: Counter[str] = Counter()

    async def slow(request: Request) -> str:
        asked[request.key.split("/")[0]] += request.key.count("/") == 2
        await asyncio.sleep(0.05)
        return reply(request)

    one = fleet(slow, max_sequences=8)
    assert main(["--questions=1000", "--rl_questions=0", "--probe", f"--out={tmp_path}/run"], fleet=one) == 0
    said = told(capsys)["expected"]
    found = re.search(r"([\d,]+) samples of ([\d,]+) questions", said)
    assert found is not None
    samples, questions = (int(text.replace(",", "")) for text in found.groups())
    assert 4 <= questions < 500
    assert samples == 8 * questions, "two under each of four variants, of each question that was begun"


def test_a_probe_whose_engine_refuses_everything_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = Completion("", "error", 7, error="not today", final=True)
    assert main([*FLAGS, "--probe", f"--out={tmp_path}/run"], fleet=fleet(lambda _: refused)) == 1
    assert "not today" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_the_goal_of_traces_shortens_what_is_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*FLAGS, "--probe", f"--out={tmp_path}/run"]
    assert main(flags, fleet=fleet()) == 0
    whole = ends(told(capsys)["expected"])
    assert main([*flags, "--traces=50"], fleet=fleet()) == 0
    lines = told(capsys)
    assert "50 traces" in lines["ending"]
    assert ends(lines["expected"])[1] < whole[0] / 2
    assert main([*FLAGS, "--traces=50", f"--out={tmp_path}/run"], fleet=fleet()) == 0
    (count,) = re.findall(r"possible after ([\d,]+) of 60 questions", capsys.readouterr().out)
    low, high = ends(lines["ending"].removeprefix("after "))
    assert low - 2 <= int(count) <= high + 2


def test_what_enough_saves_is_foretold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--questions=100", "--rl_questions=0", "--samples=8", "--enough", "--attempts=4", f"--out={tmp_path}/run"]
    assert main([*flags, "--probe"], fleet=fleet()) == 0
    lines = told(capsys)
    assert main(flags, fleet=fleet()) == 0
    rows = pq.read_table(tmp_path / "run" / "RAW_DATA" / "data").num_rows
    low, high = ends(lines["ending"].partition("after ")[2])
    assert 0.9 * low <= 100 * rows / 3200 <= 1.1 * high
    low, high = ends(lines["expected"])
    assert 0.9 * low <= read_record(tmp_path / "run")["starts"][0]["output_tokens"] <= 1.1 * high


def test_each_beginning_of_the_order_has_its_share_of_each_task() -> None:
    questions = [
        Question(f"{task} {n}", "", task, "", "", "") for task, many in (("a", 300), ("b", 100)) for n in range(many)
    ]
    order = evenly(questions, seed=0)
    assert sorted(one.text for one in order) == sorted(one.text for one in questions)
    for count in (8, 40, 200):
        assert Counter(one.task for one in order[:count])["b"] == pytest.approx(count / 4, abs=1)
    assert {one.task for one in order[:4]} == {"a", "b"}
    assert order == evenly(questions, seed=0) != evenly(questions, seed=1)
    places = [questions.index(one) for one in order[:100] if one.task == "a"]
    assert 100 < np.mean(places) < 200, "from all over the set"


def test_speed_is_that_of_full_engines() -> None:
    """Two requests at a time of 100 tokens in 2 s each, until the last question begins at 40 s, then one alone."""
    spans = [Span(2.0 * n, 2.0 * n + 2, 100) for n in range(20)] * 2 + [Span(40, 50, 100)]
    speed, ending_s = speed_in(spans, [2.0 * n + 2 for n in range(20)] + [50.0], 0.0, 40.0, engines=1)
    assert speed is not None
    assert (speed.low, speed.mean, speed.high) == pytest.approx((100, 100, 100))
    assert ending_s == pytest.approx(9.0), "ten seconds for what takes one when they are full"


def test_speed_of_what_began_at_once_is_that_of_the_whole() -> None:
    speed, ending_s = speed_in([Span(0, 4, 100), Span(0, 10, 100)], [10.0], 0.0, 0.1, engines=2)
    assert speed is not None
    assert (speed.mean, ending_s, speed.engines) == (20.0, 0.0, 2)
    assert speed_in([Span(0, 4, 0)], [4.0], 0.0, 0.1, engines=1) == (None, 0.0)


def test_speed_of_an_earlier_run_is_of_its_starts_or_of_its_history(tmp_path: Path) -> None:
    def start(tokens: int, seconds: float, wanted: int = 1) -> dict[str, object]:
        return {"output_tokens": tokens, "seconds": seconds, "engines": {"wanted": wanted, "gpus_each": 0}}

    starts = [start(5000, 50, wanted=2), start(2000, 20), start(0, 30), start(3000, 15), start(7, 1)]
    speed = speed_of(tmp_path, starts)
    assert speed is not None
    assert (speed.low, speed.high, speed.engines) == (100, 200, 1), "of as many engines as the last had"
    assert speed.mean == pytest.approx(5000 / 35)
    assert speed_of(tmp_path, [start(7, 1)]) is None
    (tmp_path / "logs").mkdir()
    for seconds, tokens in ((0.0, 0), (10.0, 100), (30.0, 3000), (60.0, 4500)):
        add_moment(tmp_path, Moment("", 3, seconds, 0, 0, tokens, 1, 0))
    speed = speed_of(tmp_path, starts)
    assert speed is not None
    assert (speed.low, speed.high) == (50, 100), "the moments of that start in the place of its mean"


def test_too_little_room_is_told_and_nothing_refused(tmp_path: Path) -> None:
    assert lack_of_room(tmp_path / "not" / "there", 1) == ""
    assert "TiB" not in (said := lack_of_room(tmp_path / "not" / "there", 1e18))
    assert "left" in said


def test_what_is_measured_of_rows_is_what_they_say(tmp_path: Path) -> None:
    assert main(["--questions=5", "--rl_questions=0", f"--out={tmp_path}/run"], fleet=fleet()) == 0
    files = sorted((tmp_path / "run" / "RAW_DATA" / "data").glob("*.parquet"))
    rows = pq.read_table(files[0]).to_pylist()
    found = measure([*rows_of(files)])
    assert len(found.questions) == len(make("countdown_3arg", 5, rl=False, seed=0, ranges=RANGES))
    assert found.tokens.tolist() == [row["sample__provenance"]["output_tokens"] for row in rows]
    looks = [row["reflections__provenance"] for row in rows]
    assert found.reflection_tokens.tolist() == [sum(look["output_tokens"] for look in one) for one in looks]
    assert found.agreeing.tolist() == [sum(look["valid"] for look in one) for one in looks]
    assert found.unsaid.tolist() == [sum(look["verdict"] is None for look in one) for one in looks]


def test_a_server_is_probed_and_previewed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --dry_run too, which alone asks a server nothing."""
    made = ["--questions=12", "--rl_questions=2", "--inputs=1-10", "--targets=10-50", "--variants=original"]
    with serving(OpenAIServer()) as server:
        flags = [*made, "--samples=3", "--attempts=2", f"--server={server.url}", f"--out={tmp_path}/run"]
        assert main([*flags, "--probe", "--dry_run"]) == 0
        lines = told(capsys)
        assert "24 samples of 12 questions" in lines["expected"]
        assert "on a server" in lines["expected"]
        assert "on 1 server at" in lines["time"]
        assert "cost" not in lines
        assert [*tmp_path.iterdir()] == []
        assert main([*flags, "--preview=1"]) == 0
    assert "=== question 1 of 1" in capsys.readouterr().out
