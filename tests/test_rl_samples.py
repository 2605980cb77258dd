"""--rl_samples: held-out questions are sampled too, for their pass rate alone; and selection by that rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
from datasets import disable_progress_bars, load_dataset

from assembly import run as assembly_run
from assembly.rates import NO_RATE, PassRates, Rate
from assembly.rl import FILES, rl_data
from assembly.rl_layouts import RL_LAYOUTS, held_in
from cluster.flags import parse
from cluster.inference.engine import Completion, Request
from cluster.inference.values import read_shares
from generation.plan import make_plan
from generation.records import RlLayoutName
from generation.run import main
from generation.settings import Settings
from tests import drive_job
from tests.raw_rows import bytes_of
from tests.scripted import reply

FLAGS = ("--questions=6", "--rl_questions=12")
SAMPLES = "--rl_samples=5"


def run(folder: Path, *flags: str, **more: Any) -> int:
    return drive_job.main([*FLAGS, f"--out={folder}", *flags], **more)


def held(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of RL_DATA, in either split, by key."""
    paths = [folder / "RL_DATA" / name for name in FILES.values()]
    of_all = [row for path in paths if path.exists() for row in pq.read_table(path).to_pylist()]
    return {row["extra_info"]["question_key"]: row for row in of_all}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "run"
    assert run(folder) == 0
    return folder


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampled") / "run"
    assert run(folder, SAMPLES) == 0
    return folder


def test_the_other_sets_are_as_without_it(plain: Path, sampled: Path) -> None:
    for folder in ("RAW_DATA", "SFT_DATA"):
        for path in sorted((plain / folder).rglob("*.parquet")):
            assert path.read_bytes() == (sampled / path.relative_to(plain)).read_bytes()
    configuration = json.loads((sampled / "run.json").read_text())["configuration"]
    assert configuration.pop("rl_samples") == 5
    assert configuration == json.loads((plain / "run.json").read_text())["configuration"]
    assert set(held(plain)) == set(held(sampled))
    assert not {"pass_rate", "n"} & set(next(iter(held(plain).values())))


def test_a_pass_rate_is_that_of_the_samples(sampled: Path) -> None:
    shards = [row for path in (sampled / "shards").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    of_rl = [row for row in shards if row["prompt_variant"] == "question"]
    assert {row["question_key"] for row in of_rl} == set(held(sampled))
    assert all(row["prompt"] == [{"content": row["question"], "role": "user"}] for row in of_rl)
    assert not any(row["reflections__provenance"] for row in of_rl)
    assert len({row["sample__provenance"]["seed"] for row in of_rl}) == 60
    for key, row in held(sampled).items():
        outcomes = [one["outcome"] for one in of_rl if one["question_key"] == key]
        assert (row["n"], row["pass_rate"]) == (5, outcomes.count("right") / 5)
    assert sorted({row["question_index"] for row in shards}) == [*range(18)]


@pytest.mark.parametrize("layout", get_args(RlLayoutName))
def test_every_layout_has_the_rates_and_keeps_them(
    layout: RlLayoutName, sampled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assembly_run.main([f"--raw={sampled}", f"--rl_layout={layout}", f"--out={tmp_path / 'set'}"])
    made = tmp_path / "RL_DATA"
    disable_progress_bars()
    splits = load_dataset(str(made), cache_dir=str(tmp_path / "cache"))
    assert splits["train"].column_names == [*RL_LAYOUTS[layout].schema.names, "pass_rate", "n"]
    rows = [held_in(row, split) for split, of in splits.items() for row in of]
    assert {one.key: (one.pass_rate, one.n) for one in rows} == {
        key: (row["pass_rate"], row["n"]) for key, row in held(sampled).items()
    }
    for row in splits["train"]:
        assert (
            "extra_info" not in row
            or {name: row[name] for name in ("pass_rate", "n")}.items() <= row["extra_info"].items()
        )
    cards = [(folder / "README.md").read_text(encoding="utf-8") for folder in (made, sampled / "RL_DATA")]
    assert "| `pass_rate` | `double` |" in cards[0]
    told = [card.partition("## Pass rates\n")[2].partition("\n## ")[0] for card in cards]
    assert "groups without contrast" in told[1]
    assert told[0] == told[1]


def test_selection_is_made_anew_from_all_rates_without_an_engine(
    sampled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = held(sampled)
    before = bytes_of(sampled / "RL_DATA")
    low, high = 0.4, 0.6
    assert main([*FLAGS, SAMPLES, f"--out={sampled}", f"--rl_pass_rate={low}-{high}"]) == 0
    kept = {key: row for key, row in whole.items() if low <= row["pass_rate"] <= high}
    assert held(sampled) == kept
    assert 0 < len(kept) < len(whole)
    below = sum(row["pass_rate"] < low for row in whole.values())
    said, card = capsys.readouterr().out, (sampled / "RL_DATA" / "README.md").read_text(encoding="utf-8")
    assert f"{below:>7}  left out: below\n" in said
    assert f"| left out: below | {below} |" in card
    assert "Kept are those with a `pass_rate` from 0.4 to 0.6." in card
    assert "| groups without contrast | of 8 answers | of 16 answers |" in card
    assert [line[2:18].strip() for line in said.splitlines() if " to " in line] == ["all questions", "those kept"]
    assert max(map(len, said.split("RL questions", 1)[1].splitlines()[1:9])) <= 80
    assert main([*FLAGS, SAMPLES, f"--out={sampled}"]) == 0
    assert bytes_of(sampled / "RL_DATA") == before


def test_where_nothing_is_left_no_set_is_replaced(
    sampled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = held(sampled)
    assert main([*FLAGS, SAMPLES, f"--out={sampled}", "--rl_pass_rate=0.01-0.02"]) == 1
    said = capsys.readouterr()
    told = f"--rl_pass_rate 0.01-0.02 leaves none of 12 RL questions; {sampled / 'RL_DATA'} stays as it was"
    assert f"failed: {told}\n" in said.err
    assert held(sampled) == before


def refusing_rl(request: Request) -> str | Completion:
    """Refuses every sample of one of three RL questions, and the first of each other."""
    key, name, *rest = request.key.split("/")
    if name == "question" and (int(key, 16) % 3 == 0 or rest[0] == "0"):
        return Completion("", "error", error="refused")
    return reply(request)


def test_failed_requests_are_left_out_of_n_and_a_failed_question_has_no_rate(
    tmp_path: Path, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, SAMPLES, reply=refusing_rl) == 1
    failed = {key for key in held(plain) if int(key, 16) % 3 == 0}
    assert failed
    for key, row in held(tmp_path).items():
        assert row["n"] == (0 if key in failed else 4)
        assert (row["pass_rate"] is None) == (key in failed)
    said = capsys.readouterr().out
    assert f"{len(failed):>7}  failed, without a rate\n" in said
    assert f"failed      {len(failed)} of 18 questions" in said
    assert len({row["question"] for row in pq.read_table(tmp_path / "RAW_DATA" / "data").to_pylist()}) == 6
    assert run(tmp_path, SAMPLES, "--retry_failed") == 0
    assert {row["n"] for row in held(tmp_path).values()} == {4, 5}


def test_what_is_in_no_shard_is_asked_again_and_nothing_else(tmp_path: Path, sampled: Path) -> None:
    """As after a crash that lost every other question, those of RL among them."""
    seen = set[str]()

    def noting(request: Request) -> str:
        seen.add(request.key.partition("/")[0])
        return reply(request)

    assert run(tmp_path, SAMPLES, reply=noting) == 0
    shards = sorted((tmp_path / "shards").glob("*.parquet"))
    table = pq.read_table(shards)
    held_back = table["question_key"].unique().to_pylist()[::2]
    kept = table.filter([key not in held_back for key in table["question_key"].to_pylist()])
    for shard in shards:
        shard.unlink()
    pq.write_table(kept, shards[0])
    seen.clear()
    assert run(tmp_path, SAMPLES, reply=noting) == 0
    assert seen == set(held_back)
    assert held(tmp_path).keys() == held(sampled).keys()
    for path in sorted((sampled / "RAW_DATA").rglob("*.parquet")):
        assert path.read_bytes() == (tmp_path / path.relative_to(sampled)).read_bytes()


def test_a_dry_run_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bounds = []
    for flags in ((), (SAMPLES,)):
        assert main([*FLAGS, f"--out={tmp_path / 'run'}", "--dry_run", *flags]) == 0
        said = capsys.readouterr().out
        line = next(line for line in said.splitlines() if line.startswith("tokens"))
        bounds.append(int(line.split()[3].replace(",", "")))
        assert ("            60 samples of the RL questions\n" in said) == bool(flags)
        assert ("--- first prompt of RL question ---" in said) == bool(flags)
    assert bounds[1] - bounds[0] == 60 * 256


def test_reading_a_range() -> None:
    for text, ends in (("0.05-0.95", (0.05, 0.95)), ("0-1", (0, 1)), (".5-.5", (0.5, 0.5)), (None, None)):
        assert read_shares("--rl_pass_rate", text) == ends
    for text in ("", "0.5", "0.9-0.1", "-0.1-0.5", "0-1.5", "0.1-nan", "a-b", "1e-3-1", "0.1-0.5-0.9"):
        with pytest.raises(ValueError, match=r"--rl_pass_rate must be LOW-HIGH"):
            read_shares("--rl_pass_rate", text)


def test_the_ends_are_kept(tmp_path: Path) -> None:
    questions = make_plan(parse(Settings, [*FLAGS, f"--out={tmp_path / 'run'}"])).rl_questions[:11]
    rates = {one.key: Rate(right, 10) for right, one in enumerate(questions)}
    for low in range(11):
        chosen = PassRates(rates, (low / 10, 0.9))
        rights = {rates[key].right for key in chosen.kept}
        assert rights == set(range(low, 10))
    rl_data(questions, tmp_path / "RL_DATA", sampled=PassRates({one.key: NO_RATE for one in questions}))
    assert {row["n"] for row in held(tmp_path).values()} == {0}
