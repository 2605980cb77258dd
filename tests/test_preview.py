"""A preview: whole questions in a folder beside the run, shown as text that no terminal obeys, and shown again."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs.card import WIDTH
from cluster.texts import inert
from generation.run import main
from tests.processes import Job
from tests.scripted import reply

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07 \u202eTCERROC\u202c \r\x9b31m\u2028 <answer>1 + 1</answer> <verdict>Correct</verdict>"
)


def preview(out: Path, *flags: str, answer: object = reply) -> int:
    return main([f"--out={out}", *flags], fleet=Fleet(ScriptedSettings(answer)))  # type: ignore[arg-type]


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().out
    return said[said.index("=== question 1 of") :]


def test_questions_are_shown_whole_and_again_without_an_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert preview(out, "--preview=3", "--rl_samples=2", "--samples=4") == 0
    text = shown(capsys)
    assert not out.exists()
    assert "question 3 of 3" in text
    for variant in ("original", "plan_and_execute", "alternatively"):
        assert f"--- the prompt of {variant} " in text, "another one for each question"
    assert "<|im_start|>system" in text
    assert "You like to solve problems by thinking step by step." in text
    assert text.count("--- its grade ---") == 3
    assert text.count("--- a reflection on it, ") >= 2
    assert "traces: *C_full, of question" in text
    assert text.rstrip().endswith("</answer>")
    assert max(map(len, text.splitlines())) <= WIDTH

    def never(_: Request) -> str:
        raise AssertionError("there is nothing to ask")

    assert preview(out, "--preview=3", "--rl_samples=2", "--samples=4", answer=never) == 0
    assert shown(capsys) == text
    assert preview(out, "--preview=2", "--rl_samples=2", "--samples=4", answer=never) == 0
    fewer = shown(capsys)
    assert "question 2 of 2" in fewer
    assert len(set(pq.read_table(tmp_path / "run-preview" / "RAW_DATA" / "data")["question_key"].to_pylist())) == 3


def test_it_is_a_run_of_its_own_that_grows_and_has_the_rows_of_the_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert preview(out, "--preview=2", "--questions=12") == 0
    assert preview(out, "--preview=4", "--questions=12") == 0
    assert preview(out, "--questions=12") == 0
    some, whole = (
        {
            (row["question_key"], row["prompt_variant"], row["sample_index"]): row["model_responses__mutated_prompts"]
            for row in pq.read_table(folder / "RAW_DATA" / "data").to_pylist()
        }
        for folder in (tmp_path / "run-preview", out)
    )
    assert len(some) == 4 * 8
    assert some.items() <= whole.items()
    record = json.loads((tmp_path / "run-preview" / "run.json").read_text())
    assert record["state"] == "done"
    assert record["configuration"]["preview"] is True
    assert not (tmp_path / "run-preview" / "RL_DATA").exists()
    with pytest.raises(SystemExit, match="2"):
        preview(tmp_path / "run-preview", "--questions=12")
    with pytest.raises(SystemExit, match="2"):
        preview(out, "--preview=2", "--questions=12", "--temperature=1.5")


def test_each_task_of_a_mixture_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = "<answer>1</answer>"
    tasks = "--task=countdown_3arg:20,longmult_2dig:10"
    assert preview(tmp_path / "run", "--preview=2", tasks, answer=lambda _: answer) == 0
    text = shown(capsys)
    assert "of 2, countdown_3arg" in text
    assert "of 2, longmult_2dig" in text


def test_without_a_trace_it_says_why_and_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preview(tmp_path / "run", "--preview=2", answer=lambda _: "I do not know.") == 0
    said = capsys.readouterr()
    assert "=== no trace comes of these ===" in said.out
    assert "16 samples: no answer" in said.out
    assert "2 questions give no *C_full: fewer usable attempts than asked for" in said.out
    assert "no answer was found" in said.out
    assert said.err == ""


def test_a_question_that_failed_is_shown_as_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first: list[str] = []

    def refusing(request: Request) -> str | Completion:
        first.append(request.key.split("/")[0])
        refused = Completion("", "error", 7, error="\x1b[31mno\x1b[0m", final=True)
        return refused if request.key.startswith(first[0]) else reply(request)

    assert preview(tmp_path / "run", "--preview=2", answer=refusing) == 1, "as always where questions failed"
    assert "it failed: \\x1b[31mno\\x1b[0m" in shown(capsys)


def test_what_a_model_wrote_moves_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def hostile(request: Request) -> str:
        return HOSTILE + "x" * random.Random(request.seed).randrange(300)

    assert preview(tmp_path / "run", "--preview=1", answer=hostile) == 0
    text = shown(capsys)
    assert [char for char in text if char != "\n" and not char.isprintable()] == []
    for written in (r"\x1b[2J", r"\u202eTCERROC", r"\x07", r"\r", r"\x9b31m", r"\u2028"):
        assert written in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_text_of_megabytes_is_cut_in_the_middle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = "word " * 400_000 + "<answer>1</answer>"
    answered = Completion(whole, "stop", 5, 400_000)
    assert preview(tmp_path / "run", "--preview=1", "--reflections=0", "--formats=star", answer=lambda _: answered) == 0
    text = shown(capsys)
    assert "characters are left out here" in text
    assert len(text) < 60_000
    assert "400,000 tokens" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, tab\tand\nline", "plain, tab\tand\nline"),
        ("höchst 数学 🙂 👩\u200d🚀", "höchst 数学 🙂 👩\u200d🚀"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb\x08c\x00d\x7f", "a\\rb\\x08c\\x00d\\x7f"),
        ("\u202eback\u2066", "\\u202eback\\u2066"),
        ("soft\xadhyphen\ufeff", "soft\\xadhyphen\\ufeff"),
        ("\U000e0041tag", "\\U000e0041tag"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text: str, shown: str) -> None:
    assert inert(text) == shown


@pytest.mark.engine
def test_the_real_engine_is_previewed_and_probed(tmp_path: Path, start: Callable[..., Job]) -> None:
    """The prompts as the built-in model gets them, its own samples, and lengths that the probe then tells."""
    flags = ["--questions=6", "--rl_questions=0", "--samples=1", "--attempts=4", f"--out={tmp_path}/run"]
    job = start("generation.run", *flags, "--preview=6")
    assert job.wait() == 0, job.output()
    text = job.output().partition("=== question 1 of 6")[2]
    assert "You like to" in text
    assert "verdict>" in text
    assert job.left_behind() == {}
    written = json.loads((tmp_path / "run-preview" / "run.json").read_text())["starts"][0]["output_tokens"]
    job = start("generation.run", *flags, "--probe")
    assert job.wait() == 0, job.output()
    said = job.output()
    assert "from --probe, 24 samples of 6 questions" in said
    assert "CPU cores" in said
    low, high = re.findall(r"expected +([\d,]+) to ([\d,]+) tokens", said)[0]
    assert 0.95 * int(low.replace(",", "")) <= written <= 1.05 * int(high.replace(",", ""))
    assert job.left_behind() == {}
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and "run" in path.name] == ["run-preview"]
