"""What cards open with: main figures that are true, plots that are there, a question whose texts stay in blocks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import disable_progress_bars, load_dataset
from markdown_it import MarkdownIt

from assembly.assemble import assemble
from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from generation import evaluate
from generation.raw.counts import count_folder
from generation.raw.example import find_example
from generation.raw.figures import opening
from generation.raw.reader import ROWS
from generation.records import REQUEST_FAILED
from tests import drive_job, scripted_evaluations
from tests.assembly_rows import RIGHT, WRONG, RawRow, published_row, raw_row, settings, write_parquet
from tests.raw_rows import card_of
from tests.test_sessions import HOSTILE

MARKUP = ["```\n# Out\n```", "`````\n", "~~~\n<img src=x onerror=alert(1)>", "</details></pre>", "---\na: b\n---"]
FENCED = [*(text for text in HOSTILE if "</think>" not in text), *MARKUP]


def images(card: str) -> list[str]:
    return re.findall(r"^!\[.*\]\((\S+)\)$", card, re.MULTILINE)


def test_a_run_has_plots_in_each_set_that_are_loaded_past(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert drive_job.main(["--questions=12", "--rl_questions=0", f"--out={run}"]) == 0
    disable_progress_bars()
    for name, plots in {"RAW_DATA": ["outcomes", "lengths"], "SFT_DATA": ["traces", "lengths"]}.items():
        card = (run / name / "README.md").read_text(encoding="utf-8")
        assert images(card) == [f"plots/{plot}.png" for plot in plots]
        assert all((run / name / image).is_file() for image in images(card))
        assert "\n| what | figures |\n" in card
        assert load_dataset(str(run / name), split="train", cache_dir=str(tmp_path / "cache")).num_rows > 12


def _folder(rows: list[dict[str, Any]], folder: Path) -> Path:
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", rows)
    return folder


def test_the_main_figures_are_counted(tmp_path: Path) -> None:
    """Three questions: never right, sometimes, always; of four reflections one is wrong and one says nothing."""
    rows = [
        published_row("never", "abc", False),
        published_row("sometimes", "abcd", True, model_responses__mutated_prompts_reflection=[WRONG]),
        published_row("sometimes", "abcde", False),
        published_row("always", "a", True, model_responses__mutated_prompts_reflection=["Hm."]),
    ]
    # What was never asked counts for none of the three.
    kept = {"outcome": None, "outcome_reason": None}
    failed = {"outcome": "unknown", "outcome_reason": REQUEST_FAILED, "model_responses__mutated_prompts_reflection": []}
    rows = [row | kept for row in rows] + [published_row(name, "", None) | failed for name in ("always", "unasked")]
    told = opening(count_folder(_folder(rows, tmp_path)))["main"]
    for line in (
        "| questions | 4: 1 never right, 1 sometimes, 1 always |",
        "| samples | 6: 33.3% right, 33.3% wrong, 33.3% unknown |",
        "| reflections | 4: 50.0% with a right verdict, 25.0% with a wrong one, 25.0% without one |",
        "| length of samples | median 3 characters, longest 5, 0 cut at the limit |",
    ):
        assert line in told.splitlines()


@pytest.mark.parametrize("hostile", FENCED)
def test_no_text_leaves_its_block(hostile: str, tmp_path: Path) -> None:
    """All that a reader sees of it are code blocks; the headings and images are the card's own."""
    rows = [published_row(f"{hostile} {q}", f"{hostile} {n}", n % 2 == 0) for q in range(2) for n in range(4)]
    raw = _folder(rows, tmp_path / "RAW_DATA")
    cards = [card_of(count_folder(raw), {})]
    assemble(raw, tmp_path / "SFT_DATA", settings("*C_full"), 1)
    cards.append((tmp_path / "SFT_DATA" / "README.md").read_text(encoding="utf-8"))
    plain = [published_row(f"plain {q}", f"plain {n}", n % 2 == 0) for q in range(2) for n in range(4)]
    shapes = [_shape(card) for card in cards]
    raw = _folder(plain, tmp_path / "plain" / "RAW_DATA")
    assemble(raw, tmp_path / "plain" / "SFT_DATA", settings("*C_full"), 1)
    of_plain = [card_of(count_folder(raw), {}), (tmp_path / "plain" / "SFT_DATA" / "README.md").read_text()]
    assert shapes == [_shape(card) for card in of_plain]


def _shape(card: str) -> list[str]:
    """The blocks of a card in order, behind its header."""
    return [one.type for one in MarkdownIt("commonmark").enable("table").parse(card.split("\n---\n", 1)[1])]


def _example(*rows: RawRow) -> Any:
    return find_example(pa.Table.from_pylist([row._asdict() for row in rows], schema=ROWS))


def test_the_example_has_both_and_is_short() -> None:
    long = [raw_row(f"{word} {'x' * 200}", word == "yes", question_key="long", question="?") for word in ("yes", "no")]
    alone = [raw_row("a", True, question_key="alone", question="a?")]
    short = [
        raw_row("seven", True, reflections=[WRONG, f"Mm. {RIGHT}"], question_key="short", question="Seven?"),
        raw_row("eight", False, question_key="short", question="Seven?", variant=None),
        raw_row("I think it is eight", False, question_key="short", question="Seven?"),
    ]
    found = _example(*long, *alone, *short)
    assert (found.question, found.whole) == ("Seven?", True)
    assert [(one.outcome, one.response, one.verdict) for one in found.samples] == [
        ("right", "seven", 1),
        ("wrong", "eight", 0),
    ]
    assert found.samples[0].reflection == f"Mm. {RIGHT}"
    assert found.markdown().count("A reflection on it, which says") == 2
    assert _example(*short, *long) == found, "the order of questions does not matter"


def test_without_a_sample_of_known_outcome_there_is_none() -> None:
    assert _example(raw_row("?", None)) is None
    one = _example(raw_row("seven", True, reflections=[]))
    assert [sample.reflection for sample in one.samples] == [None]
    assert "reflection" not in one.markdown()


@pytest.mark.parametrize("variant", ["a`b", "a\n\n# b", "``", " `x` <b>"])
def test_a_variant_cannot_end_the_code_it_stands_in(variant: str) -> None:
    """Published sets name them as they like."""
    card = _example(raw_row("seven", True, variant=variant, reflections=[])).markdown()
    assert _shape(f"\n---\n{card}") == _shape(f"\n---\n{_example(raw_row('seven', True, reflections=[])).markdown()}")
    (line,) = [one for one in card.splitlines() if one.startswith("A right sample")]
    assert line.count("`") == 2
    assert line.endswith("`:")


@pytest.mark.parametrize("argv", [[], ["--force_to=60", "--force_at=20"]], ids=["plain", "forced"])
def test_an_evaluation_opens_with_its_rates(argv: list[str], tmp_path: Path) -> None:
    asked = ["--task=countdown_3arg:8,countdown_4arg:4", "--samples=3", f"--out={tmp_path}", *argv]
    evaluate.main(asked, fleet=Fleet(ScriptedSettings(scripted_evaluations.reply)))
    folder = tmp_path / "EVAL_DATA"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert images(card) == ["plots/right.png", "plots/lengths.png"]
    assert all((folder / image).is_file() for image in images(card))
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    for one in figures["tasks"]:
        share = one["figures"]["pass@1"]["value"]
        named = f"{one['task']}, arm {one['arm']}" if one["arm"] else one["task"]
        assert re.search(rf"^\| `{named}` \| {one['questions']} \| .*\| {100 * share:.1f}% \[", card, re.MULTILINE)
    assert "A right reply, under `question`:" in card
    assert "A wrong reply, under `question`:" in card
