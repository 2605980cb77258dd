"""What a run does not grow into: less, other questions, and questions that change sides between SFT and RL."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from generation.records import Question
from generation.run import main
from generation.settings import Settings
from generation.tasks.registry import supply
from generation.tasks.task import RL_SHARE, Wanted, split
from tests.crash_report import files
from tests.scripted import reply

BEGUN = ["--questions=8", "--rl_questions=3", "--variants=original,rephrase", "--samples=3", "--reflections=2"]
BEGUN += ["--rl_samples=2", "--formats=star"]
REFUSED: list[tuple[list[str], list[str], str]] = [
    (["--questions=7"], ["--questions was 8, now 7", "a run grows, and never shrinks"], "fewer questions"),
    (["--rl_questions=2"], ["--rl_questions was 3, now 2"], "fewer questions of RL"),
    (["--rl_questions=0", "--rl_samples="], ["--rl_questions was 3, now 0", "--rl_samples was 2, now 0"], "none"),
    (["--samples=2"], ["--samples was 3, now 2"], "fewer samples"),
    (["--reflections=1"], ["--reflections was 2, now 1"], "fewer reflections"),
    (["--reflections=0"], ["--reflections was 2, now 0"], "no reflections"),
    (["--variants=original"], ["--variants was original,rephrase, now original"], "fewer variants"),
    (["--variants=original,alternatively"], ["--variants was original,rephrase"], "others"),
    (["--rl_samples=1"], ["--rl_samples was 2, now 1"], "fewer samples of RL questions"),
    (["--questions=20", "--samples=2"], ["--samples was 3, now 2"], "more of one and less of the other"),
    (["--questions=20", "--seed=1"], ["seed was 0, now 1"], "more, and other questions"),
    (["--samples=4", "--temperature=0.5"], ["sampling.temperature was"], "more, drawn otherwise"),
    (["--samples=4", "--targets=10-60"], ["targets"], "more, of other questions"),
    (["--samples=4", "--task=longmult_2dig"], ["task was"], "more, of another task"),
    (["--samples=4", '--reflection_sampling={"temperature": 0.1}'], ["reflection_sampling"], "other reflections"),
]


def given(*flags: str) -> list[str]:
    """The flags of the run that was begun, with these in place of its own; one without a value is left out."""
    names = {flag.partition("=")[0] for flag in flags}
    kept = [flag for flag in BEGUN if flag.partition("=")[0] not in names]
    return [*kept, *(flag for flag in flags if not flag.endswith("="))]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("begun") / "run"
    assert main([*BEGUN, f"--out={out}"], fleet=Fleet(ScriptedSettings(reply))) == 0
    return out


@pytest.mark.parametrize(("flags", "told", "why"), REFUSED, ids=[why for _, _, why in REFUSED])
def test_what_is_less_or_otherwise_is_refused_by_name(
    flags: list[str], told: list[str], why: str, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (begun / "run.json").read_bytes(), files(begun)
    with pytest.raises(SystemExit, match="2"):
        main([*given(*flags), f"--out={begun}"], fleet=Fleet(ScriptedSettings(reply)))
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert [words for words in told if words not in err] == [], (why, err)
    assert ((begun / "run.json").read_bytes(), files(begun)) == before


def test_what_a_run_was_is_kept(begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a dry run tells what would become of it."""
    flags = given("--samples=5", "--questions=9")
    assert main([*flags, f"--out={begun}", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "questions 8 to 9, samples 3 to 5; rows that are there stay" in " ".join(said.split())
    assert "grown" not in json.loads((begun / "run.json").read_text())
    assert main([*flags, f"--out={begun}"], fleet=Fleet(ScriptedSettings(reply))) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "going on: 3 of 12 questions are done already; 8 others have rows that stay" in said
    record = json.loads((begun / "run.json").read_text())
    (step,) = record["grown"]
    assert step["from"] == {"questions": 8, "samples": 3, "questions_hash": step["from"]["questions_hash"]}
    assert (record["configuration"]["questions"], record["configuration"]["samples"]) == (9, 5)
    with pytest.raises(SystemExit, match="2"):
        main([*BEGUN, f"--out={begun}"], fleet=Fleet(ScriptedSettings(reply)))
    assert "--questions was 9, now 8; --samples was 5, now 3" in capsys.readouterr().err


def pool(count: int) -> list[Question]:
    return [Question(f"{n} + {n}?", str(2 * n), "mine", "mine.jsonl", "number", "number") for n in range(count)]


@pytest.mark.parametrize("total", [5, 40, 101])
def test_questions_of_a_given_set_never_change_sides(total: int) -> None:
    """However many are for either, as long as RL has no more than its share."""
    found = {}
    for held in range(int(total * RL_SHARE) + 1):
        for count in range(1, total - held + 1):
            sft, rl = split(pool(total), Wanted(count, held, seed=3), "mine")
            found[count, held] = {one.key for one in sft}, {one.key for one in rl}
            assert (len(sft), len(rl)) == (count, held)
    for (count, held), (for_sft, for_rl) in found.items():
        assert not for_sft & for_rl
        for more, further in itertools.product((count, count + 1, total), (held, held + 1)):
            if (more, further) in found:
                assert for_sft <= found[more, further][0]
                assert for_rl <= found[more, further][1]


@pytest.mark.parametrize("task", ["countdown_3arg", "longmult_2dig", "acronym_4o", "countdown_3arg,longmult_2dig"])
def test_made_questions_begin_with_those_of_fewer(task: str) -> None:
    fewer, more = (
        supply(Settings(task=task, questions=count, rl_questions=count // 2).parts(small=False)) for count in (32, 120)
    )
    for few, many in ((fewer.sft, more.sft), (fewer.rl, more.rl)):
        for name in task.split(","):
            firsts = [one for one in few if one.task == name]
            assert firsts == [one for one in many if one.task == name][: len(firsts)]
    assert not {one.key for one in more.sft} & {one.key for one in more.rl}


def test_a_question_that_would_change_sides_ends_the_growth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"What is {n} times {n}?", "answer": n * n} for n in range(20)]
    Path("mine.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    flags = ["--questions=mine.jsonl:6", "--reflections=0", "--formats=star", "--out=run", "--grader=number"]

    def say(_: object) -> str:
        return "<answer>4</answer>"

    assert main([*flags, "--rl_questions=1"], fleet=Fleet(ScriptedSettings(say))) in (0, 1)
    with pytest.raises(SystemExit, match="2"):
        main([*flags, "--rl_questions=14"], fleet=Fleet(ScriptedSettings(say)))
    err = capsys.readouterr().err
    assert "that are for SFT in this run, such as" in err
    assert "give as many --rl_questions as before, or another folder" in err
    flags[0] = "--questions=mine.jsonl:14"
    assert main([*flags, "--rl_questions=4"], fleet=Fleet(ScriptedSettings(say))) in (0, 1)
