"""Sets that are chosen, as the command makes them: who sees the splits, what counts, what the card tells."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import disable_progress_bars, load_dataset

from assembly.assemble import assemble
from assembly.candidates import choose
from assembly.check import main as check
from assembly.feasibility import NothingMadeError
from assembly.layouts import LAYOUTS, LayoutName
from assembly.rates import rates_in
from assembly.report import main as report
from assembly.run import main
from assembly.sft import DATASET_INFO, Summary
from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from generation.builtin import MODEL
from generation.raw.reader import ROWS
from generation.run import main as generate
from generation.tasks import countdown
from generation.tasks.same import identity_of
from tests.assembly_rows import PUBLISHED, RIGHT, WRONG, no_answer, published_row, raw_row, settings, write_parquet
from tests.raw_rows import bytes_of
from tests.scripted import reply

NUMBERS = [[a, b, 9] for a in range(1, 7) for b in range(a + 1, 8)]


def asked(count: int = 20) -> list[dict[str, Any]]:
    """Countdown questions, each worded twice, its numbers in another order; of two tasks in turn."""
    return [
        published_row(countdown.problem(numbers, 50, "").text, f"{order} {n}", n % 2 == 0, task="ab"[place % 2])
        for place, one in enumerate(NUMBERS[:count])
        for order, numbers in enumerate((one, one[::-1]))
        for n in range(4)
    ]


def made(folder: Path, rows: list[dict[str, Any]] | None = None, processes: int = 1, **changes: Any) -> Summary:
    raw = write_parquet(folder / "raw.parquet", asked() if rows is None else rows)
    return assemble(raw, folder / "SFT_DATA", settings("*C_full", attempts="3", **changes), processes)


def questions(folder: Path) -> set[Any]:
    return {identity_of(turns[-2]["content"]) for turns in pq.read_table(folder)["conversations"].to_pylist()}


def told(card: Path) -> dict[tuple[str, str], int]:
    """The card's section on what was chosen."""
    section = (card / "README.md").read_text(encoding="utf-8").partition("## What was chosen")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {(flag.strip("`"), what): int(count.replace(",", "")) for flag, what, count in rows}


def test_no_question_stands_in_two_splits_and_everyone_sees_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = made(tmp_path, validation=0.3)
    out = tmp_path / "SFT_DATA"
    train, held = questions(out / "data"), questions(out / "validation")
    assert not train & held
    assert len(train) + len(held) == 20
    assert 2 <= len(held) <= 12
    disable_progress_bars()
    splits = load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in splits.items()} == {
        name: told(out)["--validation 0.3", f"traces in {name}"] for name in ("train", "validation")
    }
    assert sum(map(len, splits.values())) == summary.traces.total() == 120
    info = json.loads((out / DATASET_INFO).read_text(encoding="utf-8"))
    assert {name: entry["file_name"] for name, entry in info.items()} == {
        "skillfactory": "data",
        "skillfactory_validation": "validation",
    }
    capsys.readouterr()
    assert check(["--sft", str(out), "--model", str(MODEL)]) == 0
    assert "looked at   120 traces" in capsys.readouterr().out
    report([str(out), "--out", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count('"split": "validation"') + page.count('"split":"validation"') > 0


def test_a_question_stays_on_its_side_when_others_come(tmp_path: Path) -> None:
    for name, count in (("few", 12), ("many", 20)):
        (tmp_path / name).mkdir()
        made(tmp_path / name, asked(count), validation=0.3)
    few, many = (
        {one: questions(tmp_path / name / "SFT_DATA" / one) for one in ("data", "validation")}
        for name in ("few", "many")
    )
    assert few["validation"] <= many["validation"]
    assert few["data"] <= many["data"]


def test_the_same_choices_give_the_same_bytes_however_the_work_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assembly.assemble.BUCKET_BYTES", 3000)
    chosen = {"validation": 0.3, "weights": ("a=0.5", "b=2"), "cap": ("question=4", "variant=90"), "subsample": 60}
    rows = asked()
    found = []
    for name, processes in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        made(tmp_path / name, random.Random(processes).sample(rows, len(rows)), processes, pairs=2, **chosen)
        files = {k: v for k, v in bytes_of(tmp_path / name).items() if "README" not in k and "SFT_DATA" in k}
        found.append((files, told(tmp_path / name / "SFT_DATA")))
    assert found[0][1] == found[1][1]
    assert {k: v for k, v in found[0][0].items() if k.endswith(".json")} == {
        k: v for k, v in found[1][0].items() if k.endswith(".json")
    }
    assert [v for k, v in found[0][0].items() if k.endswith("parquet")] == [
        v for k, v in found[1][0].items() if k.endswith("parquet")
    ]


def test_weights_are_multiples_of_what_a_task_has_and_nothing_comes_twice(tmp_path: Path) -> None:
    made(tmp_path, weights=("a=0.5", "b=2"))
    rows = pq.read_table(tmp_path / "SFT_DATA" / "data").to_pylist()
    assert Counter(row["task"] for row in rows) == {"a": 30, "b": 120}
    texts = [row["conversations"][1]["content"] for row in rows]
    assert len({(row["question_key"], text) for row, text in zip(rows, texts, strict=True)}) == len(rows)
    labels = Counter((row["task"], row["sft_template_type_idx"]) for row in rows)
    assert {count for (task, _), count in labels.items() if task == "b"} == {40}
    assert told(tmp_path / "SFT_DATA")["--weights b=2", "of these drawn anew"] == 60


def test_a_weight_that_other_draws_cannot_reach_is_told(tmp_path: Path) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", asked())
    assemble(raw, tmp_path / "SFT_DATA", settings("star", weights=("a=3",)), 1)
    counts = told(tmp_path / "SFT_DATA")
    assert counts["--weights a=3", "traces kept"] == 40
    assert counts["--weights a=3", "traces lacking, since other draws gave no other trace"] == 80


def test_caps_hold_in_the_set(tmp_path: Path) -> None:
    made(tmp_path, cap=("question=2", "task=25"))
    rows = pq.read_table(tmp_path / "SFT_DATA" / "data").to_pylist()
    assert max(Counter(row["question_key"] for row in rows).values()) == 2
    assert Counter(row["task"] for row in rows) == {"a": 25, "b": 25}


def test_what_counts_in_a_pass_rate() -> None:
    rows = [
        raw_row("7", True),
        raw_row("8", False),
        no_answer("eh"),  # the model failed: it counts, as published
        raw_row("9", None),  # undecided: it does not
        raw_row("7 by a hint", True, variant="original_rationalized"),  # it was told the answer
        raw_row("plan", True, variant="plan"),
    ]
    for changes, right, n in (({}, 2, 4), ({"variants": ("original",)}, 1, 3), ({"variants": ("plan",)}, 1, 1)):
        wanted = settings("*C", **changes)  # type: ignore[arg-type]
        hints = [name for name, one in wanted.words.variants.known.items() if one.rationalized]
        named = [one._replace(variant=hints[0]) if "hint" in one.response else one for one in rows]
        pool = choose(pa.Table.from_pylist([one._asdict() for one in named], schema=ROWS), wanted)
        assert rates_in(pool) == {"q1": (right, n)}, changes


def test_questions_are_chosen_by_pass_rate_ends_included(tmp_path: Path) -> None:
    rows = [published_row(f"q{right}", f"{n}", n < right) for right in range(5) for n in range(4)]
    rows += [published_row("unknown", f"{n}", None) for n in range(4)]
    made(tmp_path, rows, pass_rate="0.25-0.75")
    asked_ = {
        turns[0]["content"] for turns in pq.read_table(tmp_path / "SFT_DATA" / "data")["conversations"].to_pylist()
    }
    assert asked_ == {"q1", "q2", "q3"}
    flag, counts = "--pass_rate 0.25-0.75", told(tmp_path / "SFT_DATA")
    assert counts[flag, "samples that count"] == 20
    assert counts[flag, "samples that do not: undecided, or of prompts that tell the answer"] == 4
    assert counts[flag, "questions left out: its pass rate is unknown, since no sample counts"] == 1
    with pytest.raises(NothingMadeError, match="of 6 questions none is wanted"):
        made(tmp_path, rows, pass_rate="0.9-0.95")
    assert questions(tmp_path / "SFT_DATA" / "data")  # it stays as it was


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_system_turn_stands_in_every_layout_and_is_counted(layout: LayoutName, tmp_path: Path) -> None:
    plain = made(tmp_path, asked(3), layout=layout, model=str(MODEL))
    summary = made(tmp_path, asked(3), layout=layout, model=str(MODEL), system="Check yourself.")
    assert summary.longest > plain.longest
    found = tmp_path / "found.json"
    check(["--sft", str(tmp_path / "SFT_DATA"), "--model", str(MODEL), "--json", str(found)])
    # The built-in model's template leaves a thought out that stands apart; nothing else befalls a trace.
    assert {*json.loads(found.read_text())["damage"]} == ({"lost"} if layout == "reasoning" else set())
    row = pq.read_table(tmp_path / "SFT_DATA" / "data").to_pylist()[0]
    if turns := row.get("conversations") or row.get("messages"):
        assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]
        assert turns[0]["content"] == "Check yourself."
    elif "prompt" in row:
        assert row["prompt"].index("Check yourself.") < row["prompt"].index("Using the numbers")


def test_only_reflections_under_the_prompts_asked_for(tmp_path: Path) -> None:
    names = ["doubt", "careful", None]
    rows = []
    for row in asked(4):
        (right,) = row[f"{PUBLISHED}__eval_is_correct"]
        said = [f"{name}: {RIGHT if right else WRONG}" for name in names]
        looks = [{"prompt_name": name} for name in names]
        rows.append(row | {f"{PUBLISHED}_reflection": said, "reflections__provenance": looks})
    made(tmp_path, rows, reflection_prompts=("doubt",))
    texts = [
        turns[1]["content"] for turns in pq.read_table(tmp_path / "SFT_DATA" / "data")["conversations"].to_pylist()
    ]
    assert all("doubt: " in text and "careful: " not in text and "None: " not in text for text in texts)
    assert told(tmp_path / "SFT_DATA") == {
        ("--reflection_prompts", "reflections kept, under doubt"): 32,
        ("--reflection_prompts", "reflections left out, under careful"): 32,
        ("--reflection_prompts", "reflections left out, whose prompt is not known"): 32,
    }
    with pytest.raises(ValueError, match="under it, only careful, doubt; did you mean doubt"):
        made(tmp_path, rows, reflection_prompts=("doubts",))


def test_a_run_is_assembled_with_every_choice(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert generate([f"--out={run}", "--questions=24", "--samples=3"], fleet=Fleet(ScriptedSettings(reply))) == 0
    rows = pq.read_table(run / "RAW_DATA" / "data", columns=["question", "reflections__provenance"]).to_pylist()
    row = rows[0]
    held = tmp_path / "held.jsonl"
    held.write_text(json.dumps({"question": row["question"]}) + "\n", encoding="utf-8")
    prompts = sorted({one["prompt_name"] for row in rows for one in row["reflections__provenance"]})
    flags = [
        "--validation",
        "0.2",
        "--weights",
        "countdown_3arg=1.5",
        "--cap",
        "9",
        "--pairs",
        "3",
        "--pass_rate",
        "0-1",
    ]
    words = [*flags, "--exclude", str(held), "--system", "Check.", "--reflection_prompts", ",".join(prompts)]
    main(["--raw", str(run), "--attempts", "2", *words, "--processes", "1"])
    flags_told = {flag.split(" ")[0] for flag, _ in told(run / "SFT_DATA")}
    assert flags_told == {"--validation", "--weights", "--cap", "--pass_rate", "--exclude", "--reflection_prompts"}
    for folder in (run / "SFT_DATA", run / "PAIRS_DATA"):
        assert identity_of(row["question"]) not in questions(folder / "data") | questions(folder / "validation")
