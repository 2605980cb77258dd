"""A question's sampling ends when it can serve the formats asked for: its rows are the first of what would come."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembly.enough import Enough
from assembly.formats import FORMATS, choose_formats, read_attempts
from assembly.settings import SftSettings
from cluster.inference.engine import Completion, Request, Sampling, ScriptedEngine
from generation.builtin import RANGES
from generation.raw.schema import SCHEMA, to_table
from generation.rollout import TRIES, Rollout
from generation.run import main
from generation.variants import parse_names
from tests import drive_job
from tests.countdown_questions import make
from tests.scripted import reply

QUESTIONS = make("countdown_3arg", 30, rl=False, seed=0, ranges=RANGES)
FULL = Rollout(parse_names(("plain",)), samples=3, reflections=2, sampling=Sampling(max_tokens=512), seed=0)
FLAGS = ("--questions=20", "--rl_questions=3")
ENDING = [name for name, format_ in FORMATS.items() if format_.lengths not in ("alone", "used_up", "retried", "cut")]


def _enough(formats: Sequence[str], attempts: str = "5") -> Enough:
    wanted = SftSettings(tuple(formats), attempts)
    return Enough(wanted, choose_formats(wanted.formats, wanted.bounds))


@given(st.sampled_from(ENDING), st.integers(0, 9), st.integers(0, 9), st.sampled_from(("1", "2", "5", "2-5")))
def test_what_is_lacking_is_the_least_that_could_do(name: str, right: int, wrong: int, attempts: str) -> None:
    format_, bounds = FORMATS[name], read_attempts(attempts)
    if format_.lengths == "all" and bounds.fewest < format_.shortest:
        return
    more = _enough([name], attempts).lacking(right, wrong)

    def served(added: int) -> bool:
        given = ((right + one, wrong + added - one) for one in range(added + 1))
        return any(format_.shortage(*counts, bounds) is None for counts in given)

    assert served(more)
    assert not any(map(served, range(more)))


def test_several_formats_must_all_be_served() -> None:
    both = _enough(["*CC", "*C*IC"], "3")
    assert both.lacking(0, 0) == 3
    assert both.lacking(3, 0) == 1, "one that is wrong is missing"
    assert both.lacking(1, 5) == 1, "one that is right is missing"
    assert both.lacking(2, 1) == 0
    assert pickle.loads(pickle.dumps(both)) == both


@pytest.mark.parametrize("formats", [("*C_full",), ("0C",), ("*CC", "*C*IC")])
def test_the_rows_are_a_prefix_of_the_full_run(formats: tuple[str, ...]) -> None:
    """In the drawn order of samples, no shorter than the formats need, and little longer."""
    enough = _enough(formats)
    rollout = replace(FULL, lacking=enough)
    lengths = set()
    for question in QUESTIONS:
        engine = ScriptedEngine(reply)
        full = {(one.variant, one.index): one for one in asyncio.run(FULL(engine, question))}
        asked = asyncio.run(rollout(engine, question))
        order = [(variant.name, index) for variant, index in rollout.order(question)]
        assert sorted(order) == sorted(full)
        held = {(one.variant, one.index) for one in asked}
        assert held == {*order[: len(asked)]}
        assert all(one == full[one.variant, one.index] for one in asked)
        assert [(one.variant, one.index) for one in asked] == [name for name in full if name in held]

        def lacking(names: Sequence[tuple[str, int]], full: Any = full, engine: Any = engine) -> int:
            table = to_table([full[name] for name in names], engine.info, FULL.recorded, "")
            return enough(table)

        assert len(asked) == len(order) or lacking(order[: len(asked)]) == 0
        # The last batch is what is lacking, or a quarter of those before.
        before = min(len(asked) - 1, len(asked) * 4 // 5)
        assert len(asked) <= enough.lacking(0, 0) or lacking(order[:before]) > 0
        lengths.add(len(asked))
    assert len(lengths) > 1, "some questions need more than others"
    assert min(lengths) == enough(SCHEMA.empty_table())


def test_each_round_has_every_variant_once_in_an_order_of_its_own() -> None:
    rollout = replace(FULL, lacking=_enough(["*C_full"]))
    orders = set()
    for question in QUESTIONS:
        order = rollout.order(question)
        assert order == rollout.order(question)
        for place, start in enumerate(range(0, len(order), 4)):
            round_ = order[start : start + 4]
            assert {index for _, index in round_} == {place}
            assert {variant for variant, _ in round_} == {*FULL.variants}
            orders.add(tuple(variant.name for variant, _ in round_))
    assert len(orders) > 12, "of 24"
    other = replace(rollout, seed=1)
    assert [other.order(one) for one in QUESTIONS] != [rollout.order(one) for one in QUESTIONS]


def test_failed_requests_do_not_end_a_question_that_could_go_on() -> None:
    """Its first batch fails; the others make the question, and what failed is data."""
    rollout = replace(FULL, lacking=_enough(["*C_full"]))
    first = {f"{variant.name}/{index}" for variant, index in rollout.order(QUESTIONS[0])[:5]}
    asked: dict[str, int] = defaultdict(int)

    def refusing(request: Request) -> str | Completion:
        asked[request.key] += 1
        if request.key.split("/", 1)[1].removesuffix("/sample") in first:
            return Completion("", "error", error="refused")
        return reply(request)

    attempts = asyncio.run(rollout(ScriptedEngine(refusing), QUESTIONS[0]))
    failed = [one for one in attempts if one.completion.error]
    assert len(failed) == 5
    assert len(attempts) > 9
    assert all(asked[f"{QUESTIONS[0].key}/{one.variant}/{one.index}/sample"] == TRIES for one in failed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A whole run, and the same with --enough."""
    folder = tmp_path_factory.mktemp("enough")
    assert drive_job.main([*FLAGS, f"--out={folder / 'full'}"]) == 0
    assert drive_job.main([*FLAGS, "--enough", f"--out={folder / 'enough'}"]) == 0
    return folder / "full", folder / "enough"


def test_fewer_samples_give_as_many_traces(runs: tuple[Path, Path]) -> None:
    full, enough = ({_name(row): row for row in _rows(run)} for run in runs)
    assert len(enough) < 0.9 * len(full)
    assert all(full[name] == row for name, row in enough.items()), "each row is that of the full run"
    traces = [json.loads((run / "run.json").read_text())["counts"]["traces"] for run in runs]
    assert traces[0] == traces[1] > 50


def test_what_was_saved_is_told(runs: tuple[Path, Path]) -> None:
    full, enough = (list(_rows(run)) for run in runs)
    left, card = len(full) - len(enough), (runs[1] / "RAW_DATA" / "README.md").read_text(encoding="utf-8")
    assert f"| samples not asked, since their questions had enough | {left:,} |" in card
    written = sum(_tokens(row) for row in enough)
    assert f"estimated by the mean of those asked | {round(left * written / len(enough)):,} |" in card
    assert "not asked" not in (runs[0] / "RAW_DATA" / "README.md").read_text(encoding="utf-8")


def test_a_run_without_it_is_as_it_always_was(runs: tuple[Path, Path]) -> None:
    configurations = [json.loads((run / "run.json").read_text())["configuration"] for run in runs]
    assert configurations[1].pop("enough") == {"formats": ["*C_full"], "attempts": "5"}
    assert configurations[0] == configurations[1]
    assert "enough" not in configurations[0]
    assert "rl_samples" not in configurations[0]


@settings(deadline=None, max_examples=3)
@given(st.integers(1, 15))
def test_a_run_that_lost_shards_comes_out_the_same(runs: tuple[Path, Path], lost: int) -> None:
    """As after a crash: what is in no shard is asked again, and its sampling ends where it did."""
    run = runs[1]
    before = [path.read_bytes() for path in sorted((run / "RAW_DATA" / "data").iterdir())]
    shards = sorted((run / "shards").glob("*.parquet"))
    table = pq.read_table(shards[0])
    keys = table["question_key"].unique().to_pylist()[:lost]
    rest = table.filter(pc.invert(pc.is_in(table["question_key"], pa.array(keys))))
    for shard in shards:
        shard.unlink()
    if rest.num_rows:
        pq.write_table(rest, shards[0])
    assert drive_job.main([*FLAGS, "--enough", f"--out={run}"]) == 0
    assert [path.read_bytes() for path in sorted((run / "RAW_DATA" / "data").iterdir())] == before


def test_other_formats_are_another_run(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*FLAGS, "--enough", "--formats=0C", f"--out={runs[1]}"])
    assert 'enough.formats was ["*C_full"], now ["0C"]' in capsys.readouterr().err


def test_a_format_that_cannot_come_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """*C*IC with attempts 9 never comes of eight samples; 0C does of one."""
    flags = ("--formats=0C,*C*IC", "--attempts=9", "--enough")
    assert drive_job.main([*FLAGS, *flags, f"--out={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "no trace of *C*IC can come" in said
    assert min(_counts(tmp_path).values()) == 1


def _rows(run: Path) -> list[dict[str, Any]]:
    paths = sorted((run / "RAW_DATA" / "data").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def _name(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["question_key"], row["prompt_variant"], row["sample_index"]


def _counts(run: Path) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for row in _rows(run):
        counts[row["question_key"]] += 1
    return counts


def _tokens(row: dict[str, Any]) -> int:
    looks: list[dict[str, int]] = row["reflections__provenance"]
    tokens: int = row["sample__provenance"]["output_tokens"] + sum(look["output_tokens"] for look in looks)
    return tokens
