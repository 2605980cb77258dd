"""A run of which no trace can come: refused before any work, warned of on the way, told truly at its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assembly.feasibility import FIRST, early_warning
from assembly.settings import SftSettings
from cluster.inference.engine import Completion, Request, ScriptedEngine
from generation.plan import make_plan
from generation.rollout import Work
from generation.run import main
from generation.settings import Settings
from reflection.run import main as reflect
from tests import drive_job
from tests.assembly_rows import PUBLISHED, published_row, write_parquet
from tests.reflection_rows import add_to
from tests.scripted import reply
from tests.thinking import closing_only, endless, only_a_thought, thinking, thinking_of_reflections

Reply = Callable[[Request], str | Completion]


def tagged(request: Request) -> str:
    """A model that was taught a trace's own tags."""
    return f"So I begin.\n<sample>\n{reply(request)}\n</sample>"


def silent(_: Request) -> str:
    return "I do not know."


def cut(request: Request) -> Completion:
    return Completion("So let me see. Let", "length", 7)


def no_verdict(request: Request) -> str:
    return "Well." if "# Your attempt" in request.messages[-1]["content"] else reply(request)


def of_two_minds(request: Request) -> str:
    """Writes tags in two of three samples and reflections."""
    return reply(request) if request.seed % 3 == 0 else tagged(request)


def told_of(reply: Reply, *formats: str, questions: int = FIRST + 3) -> list[str]:
    """What is told after each question, in order."""
    plan = make_plan(Settings(questions=questions, rl_questions=0, samples=1))
    work, engine = Work(plan.rollout, plan.task_config), ScriptedEngine(reply)
    look = early_warning(SftSettings(formats or ("*C_full",), "5", 0))
    return [look(asyncio.run(work(engine, item)).table) for item in plan.items(plan.keys)]


@pytest.mark.parametrize(
    ("reply", "formats", "reason", "help"),
    [
        (tagged, ("*C_full", "star"), "holds a tag of a trace", "no such tags"),
        (endless, ("*C", "star"), "cut at the length limit, in its thought (128)", "enable_thinking"),
        (only_a_thought, ("*C",), "no answer, only a thought (128)", "enable_thinking"),
        (thinking_of_reflections, ("*C",), "no reflection with the right verdict", "--formats star"),
        (silent, ("*C",), "no answer (128)", "<answer> tags"),
        (cut, ("*C", "star"), "cut at the length limit", "--max_tokens"),
        (no_verdict, ("*C",), "no reflection with the right verdict", "--formats star"),
    ],
)
def test_a_rollout_without_hope_is_told_once_after_the_first_questions(
    reply: Reply, formats: tuple[str, ...], reason: str, help: str
) -> None:
    told = told_of(reply, *formats)
    assert [place for place, words in enumerate(told) if words] == [FIRST - 1]
    line = told[FIRST - 1]
    assert "\n" not in line, "it is folded where it is printed, and only on a terminal"
    plain = " ".join(line.split())
    assert plain.startswith("no trace can come of the 128 samples of the first 32 questions: ")
    assert reason in plain
    assert help in plain
    assert plain.endswith("Ctrl-C stops the run")


@pytest.mark.parametrize(
    ("reply", "formats", "questions"),
    [
        (reply, ("*C_full",), FIRST + 3),
        (of_two_minds, ("*C_full",), FIRST + 3),
        (no_verdict, ("star",), FIRST + 3),  # needs no verdict
        (no_verdict, ("*C", "star"), FIRST + 3),
        (thinking, ("*C_full",), FIRST + 3),
        (closing_only, ("*C_full",), FIRST + 3),
        (tagged, ("*C_full",), FIRST - 1),  # over before it is certain
    ],
)
def test_nothing_is_said_where_there_is_hope(reply: Reply, formats: tuple[str, ...], questions: int) -> None:
    assert not any(told_of(reply, *formats, questions=questions))


def test_the_job_says_it_while_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--questions={FIRST + 3}", "--rl_questions=0", "--samples=1", "--attempts=4", f"--out={tmp_path / 'run'}"]
    assert drive_job.main(flags, tagged) == 1
    said = capsys.readouterr().out
    assert said.count("warning     no trace can come of the 128 samples of the first 32 questions: ") == 1
    assert said.index("warning  ") < said.index("rollout     35 questions in ")


@pytest.mark.parametrize("reply", [tagged, endless, only_a_thought, silent, cut, no_verdict])
def test_after_a_rollout_without_traces_the_rows_are_kept_and_the_former_set_too(
    reply: Reply, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, flags = tmp_path / "run", ("--questions=6", "--rl_questions=2", f"--out={tmp_path / 'run'}")
    for former in (False, True):
        if former:  # as an earlier start with other formats left it
            (run / "SFT_DATA" / "data").mkdir(parents=True)
            (run / "SFT_DATA" / "dataset_info.json").write_text('{"skillfactory": {}}')
            (run / "SFT_DATA" / ".made-here").touch()
        assert drive_job.main([*flags], reply) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith("failed: no trace comes: of 48 samples none may stand in one: ")
        stays = f"{run / 'SFT_DATA'} stays as it was" if former else "there is no SFT_DATA"
        assert printed.err.splitlines()[1] == f"RAW_DATA is kept in {run}; {stays}"
        assert len(printed.err.splitlines()) == 2
        assert f"made        {run / 'RAW_DATA'}\n" in printed.out
        assert f"made        {run / 'RL_DATA'}\n" in printed.out
        assert f"report      {run / 'report.html'}\n" in printed.out
        assert "SFT_DATA" not in printed.out
        assert pq.read_table(run / "RAW_DATA" / "data").num_rows == 48
        assert (run / "SFT_DATA" / "dataset_info.json").exists() is former
        assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_the_end_names_each_folder_once_and_what_may_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert drive_job.main(["--questions=6", "--rl_questions=2", f"--out={run}"]) == 0
    said = capsys.readouterr().out
    end = [line for line in said.split("\n\n")[-1].splitlines() if line]
    assert end == [
        f"made        {run / 'RAW_DATA'}",
        f"made        {run / 'SFT_DATA'}",
        f"made        {run / 'RL_DATA'}",
        f"report      {run / 'report.html'}",
        "next        train on SFT_DATA: docs/training.md",
        f"next        python -m assembly.run --raw {run} --formats '*C*IC' --out traces",
    ]
    assert said.count("SFT_DATA") == 2
    assert max(len(line) for line in said.splitlines() if str(run) not in line) <= 80


def test_where_only_another_format_can_come_that_is_what_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert drive_job.main(["--questions=6", "--rl_questions=0", f"--out={run}"], no_verdict) == 1
    said = capsys.readouterr().out
    assert said.endswith(f"next        python -m assembly.run --raw {run} --formats star --out traces\n")
    assert said.count("next  ") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--attempts=30"], ["*C_full", "--attempts 30 needs 30", "there are 8 at most", "8 or fewer, or more --samp"]),
        (["--attempts=2-30"], ["--attempts 2-30 needs 30", "there are 8 at most"]),
        (["--attempts=9-30", "--formats=*C"], ["--attempts 9-30 needs 9", "there are 8 at most"]),
        (["--samples=1", "--variants=original"], ["--attempts 5 needs 5", "there is 1 at most"]),
        (["--reflections=0"], ["*C_full", "a reflection judged rightly", "--reflections 1 or more", "--formats star"]),
        (["--reflections=0", "--formats=no_reflection,0C"], ["no_reflection, 0C", "--formats star"]),
        (["--formats=*C*IC", "--attempts=2", "--samples=1", "--variants=original"], ["*C*IC", "take another format"]),
        (["--attempts=30", "--reflections=0", "--formats=*C,*CC"], ["*C, *CC", "--reflections 1 or more"]),
    ],
)
def test_what_cannot_come_is_refused_before_any_work(
    flags: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--dry_run"]):
        with pytest.raises(SystemExit) as ended:
            main([*flags, *more])
        assert ended.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        for word in words:
            assert word in printed.err
        assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("flags", "notes"),
    [
        ([], 0),
        (["--attempts=8"], 0),
        (["--attempts=2-8"], 0),
        (["--attempts=2-30", "--formats=*C"], 0),
        (["--samples=1", "--variants=original", "--formats=0C,algorithm1,star"], 0),
        (["--reflections=0", "--formats=star"], 0),
        (["--reflections=0", "--formats=star,no_reflection"], 1),
        (["--attempts=30", "--formats=*C,*CC,0C"], 2),
    ],
)
def test_what_can_come_is_not_refused_and_what_cannot_beside_it_is_noted(
    flags: list[str], notes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main([*flags, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert said.count("\nnote  ") == notes
    assert said.count("no trace of") == notes
    assert max(map(len, said.split("\nvariants  ")[0].splitlines())) <= 80


def test_the_places_of_the_sets_are_looked_at_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "logs").mkdir(parents=True)
    assert drive_job.main(["--questions=4", "--rl_questions=0", f"--out={tmp_path / 'run'}"]) == 0
    (tmp_path / "run" / "SFT_DATA" / "dataset_info.json").write_text("{}")
    (tmp_path / "run" / "SFT_DATA" / "analysis.json").write_text("{}")
    with pytest.raises(SystemExit, match="2"):
        main(["--questions=4", "--rl_questions=0", f"--out={tmp_path / 'run'}", "--dry_run"])
    assert "SFT_DATA holds something else than an SFT_DATA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({PUBLISHED: ["So: <think> 7"]}, ["no trace can come of these 6 samples", "such as `<think>` (6)"]),
        ({PUBLISHED: ["So: <think> 7"], f"{PUBLISHED}_reflection": []}, ["of these 6 samples", "no such tags"]),
        ({PUBLISHED: ["<think>so</think> 7"]}, []),
        ({}, []),
        ({f"{PUBLISHED}_reflection": []}, []),  # what it is run for
    ],
)
def test_reflections_that_are_no_use_are_told_of_before_they_are_asked_for(
    change: dict[str, Any], told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [published_row("q", f"{n}", n % 2 == 0) | change for n in range(6)]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    assert reflect([f"--raw={raw}", f"--out={tmp_path / 'out'}", "--dry_run"]) == 0
    planned = capsys.readouterr().out
    add_to(raw, tmp_path / "more")
    for said in (planned, capsys.readouterr().out):
        assert ("\nnote  " in said) is bool(told)
        plain = " ".join(said.split())
        for words in told:
            assert words in plain
    assert said.splitlines()[-1] == f"next        python -m assembly.run --raw {tmp_path / 'more'}"


def test_the_note_on_useless_reflections_stands_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = published_row("q", "1", True) | {PUBLISHED: ["So: <think> 7"]}
    raw = write_parquet(tmp_path / "raw.parquet", [row])
    flags = [f"--raw={raw}", f"--out={tmp_path / 'out'}", "--temperature=0", "--reflections=100", "--dry_run"]
    assert reflect(flags) == 0
    said = capsys.readouterr().out
    assert "note        temperature 0" in said
    assert "no trace can come of these" in said
