"""--prompts: a user's own variants, reflection prompts, phrases and formats, through every command that uses them."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assembly import run as assembly
from assembly.formats import FORMATS, read_formats, rows_of
from assembly.phrases import PHRASES, read_phrases
from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from generation import evaluate, variants
from generation import run as generation
from generation.text_files import FILES
from generation.variants import read_variants
from reflection import prompts as reflections
from reflection import run as reflecting
from tests.own_words import PHRASES as OWN_PHRASES
from tests.own_words import REFLECTIONS, TEXTS, VARIANTS, reply, write_own

FLAGS = ["--questions", "6", "--samples", "4", "--variants", "all", "--attempts", "3", "--formats", "plainly,bare,back"]


def _fleet() -> Fleet:
    return Fleet(ScriptedSettings(reply))


def _generate(out: Path, own: Path, *flags: str) -> int:
    return generation.main(["--out", str(out), "--prompts", str(own), *(flags or FLAGS)], fleet=_fleet())


def _rows(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "data").to_pylist()
    return rows


def _traces(out: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in _rows(out):
        found.setdefault(row["format"], []).append(row["conversations"][1]["content"])
    return found


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(tmp_path_factory.mktemp("own") / "mine")


@pytest.fixture(scope="module")
def made(own: Path) -> Path:
    out = own.parent / "run"
    assert _generate(out, own) == 0
    return out


def test_what_is_written_out_is_read_back_as_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generation.main(["--write_prompts", str(tmp_path / "ours")]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in FILES)
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == sorted(FILES)
    assert read_variants(tmp_path / "ours") == variants.OURS
    assert reflections.read_reflections(tmp_path / "ours") == reflections.OURS
    assert read_phrases(tmp_path / "ours") == PHRASES
    assert read_formats(tmp_path / "ours") == FORMATS


@pytest.mark.parametrize("name", TEXTS)
def test_each_file_may_come_alone(name: str, tmp_path: Path) -> None:
    folder = write_own(tmp_path / "one", name)
    read = (read_variants, reflections.read_reflections, read_phrases, read_formats)
    ours = (variants.OURS, reflections.OURS, PHRASES, FORMATS)
    own = dict(zip(TEXTS, (one(folder) for one in read), strict=True))
    assert [key for key, one in zip(TEXTS, ours, strict=True) if own[key] != one] == [name]


def test_a_file_that_was_edited_is_read_anew(tmp_path: Path) -> None:
    """As in a notebook, which runs one command after another."""
    folder = write_own(tmp_path / "own", "phrases")
    assert read_phrases(folder)["confirm"] == ("Own: twice.",)
    (folder / "phrases.toml").write_text(OWN_PHRASES.replace("twice", "two times"), encoding="utf-8")
    assert read_phrases(folder)["confirm"] == ("Own: two times.",)


def test_formats_are_told_as_rows_that_read_back(own: Path, tmp_path: Path) -> None:
    for known in (FORMATS, read_formats(own)):
        rows = [f"[{json.dumps(name)}]\n{text}\n" for name, text in rows_of(list(known.values())).items()]
        folder = write_own(tmp_path / str(len(rows)), "formats", formats="\n".join(rows))
        assert read_formats(folder) == known


def test_rows_were_asked_in_the_users_own_words(made: Path) -> None:
    rows = _rows(made / "RAW_DATA")
    plain = ["middle", "bare", "fifth"]
    assert Counter(row["prompt_variant"] for row in rows) == dict.fromkeys(
        [*plain, *(f"{one}_told" for one in plain)], 24
    )
    turns = {row["prompt_variant"]: row["prompt"] for row in rows if row["question_index"] == 0}
    question, answer = rows[0]["question"], rows[0]["answer"]
    middle = f"Here it comes: {question} Now count, and give an equation in <answer></answer>."
    assert [turn["content"] for turn in turns["middle"]] == ["You count on your fingers. Close with </answer>.", middle]
    assert [turn["content"] for turn in turns["bare"]] == [f"{question}\n\nAnswer in <answer></answer>."]
    told = turns["middle_told"][-1]["content"]
    assert told == f"{middle}\n\nTip: {answer} is right. Keep the tip to yourself."
    for row in rows:
        response = row["model_responses__mutated_prompts"][0]
        assert row["mentions_hint"] is (row["prompt_variant"].endswith("_told") and "Tip!" in response)
    assert any(row["mentions_hint"] for row in rows)
    asked = {look["prompt_name"] for row in rows for look in row["reflections__provenance"]}
    assert asked == {"count_again", "ask_mother"}  # the first group


def test_traces_are_of_the_users_own_formats_and_phrases(made: Path) -> None:
    traces = _traces(made / "SFT_DATA")
    assert {name: len(texts) for name, texts in traces.items()} == {"plainly": 6, "bare": 6, "back": 6}
    for text in traces["plainly"]:
        assert text.startswith("<scratch>\n<try>\n")
        assert text.count("<try>") == text.count("</try>") == text.count("<check>") == 3
        assert text.count("\nOwn: ") == 3
        assert "</scratch>\n\n\nOwn: the end:\n\n<answer>" in text
    for text in traces["bare"]:
        assert text.startswith("<think>\n<sample>\n")
        assert "Own: " not in text
        assert "</think>\n\n\n<answer>" in text
    for text in traces["back"]:
        assert text.startswith("<sample>\n")
        assert "Own: back to it." in text
        assert "think>" not in text
    assert not any("Tip!" in text for texts in traces.values() for text in texts)
    labels = {(row["format"], row["sft_template_type_idx"]) for row in _rows(made / "SFT_DATA")}
    assert labels == {("plainly", "3 plainly"), ("bare", "bare"), ("back", "back")}


def test_run_and_cards_hold_the_users_own_texts_and_none_of_ours(made: Path, own: Path) -> None:
    record = json.loads((made / "run.json").read_text())
    texts = record["texts"]
    assert [*texts["variants"]] == ["middle", "bare", "fifth", "middle_told", "bare_told", "fifth_told"]
    assert [*texts["reflections"]] == ["count_again", "ask_mother"]
    assert texts["phrases"] == tomllib.loads(OWN_PHRASES)
    assert [*texts["formats"]] == ["plainly", "bare", "back"]
    assert 'frame = "scratch"' in texts["formats"]["plainly"]
    raw, sft = ((made / name / "README.md").read_text() for name in ("RAW_DATA", "SFT_DATA"))
    for text in ("You count on your fingers. Close with </answer>.", "What would my mother say?"):
        assert text in raw
    assert "Own: it went badly." in sft
    assert 'sample = "try"' in sft
    assert '"prompts": "own, ' in sft
    assert str(own.parent) not in raw.partition("## The run")[0] + sft.partition("## The run")[0]
    ours = [one.user for one in variants.VARIANTS.values()] + [text for kind in PHRASES.values() for text in kind]
    assert [text for text in ours if text in raw + sft] == []
    assert "*C" not in raw.partition("## The run")[0], "its table of formats is of the user's own"


def test_other_words_are_refused_by_name_and_other_phrases_make_other_traces(own: Path, tmp_path: Path) -> None:
    mine = write_own(tmp_path / "mine")
    flags = ["--questions", "2", "--variants", "middle,bare", "--formats", "plainly", "--attempts", "2"]
    assert _generate(tmp_path / "run", mine, *flags) == 0
    rows = (tmp_path / "run" / "RAW_DATA" / "data" / "train-00000-of-00001.parquet").read_bytes()
    for name, text in (("variants", VARIANTS), ("reflections", REFLECTIONS)):
        other = write_own(tmp_path / name, **{name: text.replace("Count again", "Recount").replace("count", "tell")})
        with pytest.raises(SystemExit, match="2"):
            _generate(tmp_path / "run", other, *flags)
    other = write_own(tmp_path / "phrases", phrases=OWN_PHRASES.replace("Own: the end:", "Own: finis:"))
    assert _generate(tmp_path / "run", other, *flags) == 0
    assert (tmp_path / "run" / "RAW_DATA" / "data" / "train-00000-of-00001.parquet").read_bytes() == rows
    assert all("Own: finis:" in text for text in _traces(tmp_path / "run" / "SFT_DATA")["plainly"])
    assert json.loads((tmp_path / "run" / "run.json").read_text())["texts"]["phrases"]["ending"] == ["Own: finis:"]


def test_what_differs_is_named(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_own(tmp_path / "other", variants=VARIANTS.replace("on your fingers", "in your head"))
    with pytest.raises(SystemExit, match="2"):
        _generate(made, other)
    said = capsys.readouterr().err
    assert "prompts_hash was " in said
    assert said.count("\n") == 1


def test_assembly_takes_them_too(made: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--raw", str(made), "--attempts", "3", "--prompts", str(own)]
    assembly.main([*flags, "--formats", "plainly,bare,back", "--out", str(tmp_path / "again")])
    assert _traces(tmp_path / "again") == _traces(made / "SFT_DATA")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        assembly.main([*flags, "--formats", "*C", "--out", str(tmp_path / "ours")])
    assert "unknown format *C; known are plainly, bare, back" in capsys.readouterr().err
    assembly.main(["--raw", str(made), "--attempts", "3", "--out", str(tmp_path / "ours")])
    assert all("Own: " not in text for text in _traces(tmp_path / "ours")["*C_full"])


def test_reflections_are_added_by_the_prompts_chosen(made: Path, own: Path, tmp_path: Path) -> None:
    for name, flags in (("other", ["--prompts", str(own)]), ("response", [])):
        out = tmp_path / name
        argv = ["--raw", str(made), "--out", str(out), "--reflections", "1", "--reflection_prompts", name, *flags]
        assert reflecting.main(argv, fleet=Fleet(ScriptedSettings(lambda _: "<verdict>Correct</verdict>"))) == 0
        added = {
            row["reflections__provenance"][-1]["prompt_name"]
            for row in _rows(out / "RAW_DATA")
            if row["reflections__added"]
        }
        assert added <= ({"whole"} if flags else {*reflections.OURS.groups["response"]})
        assert added
        texts = json.loads((out / "run.json").read_text())["texts"]["reflections"]
        assert [*texts] == ["whole"] if flags else [*reflections.OURS.groups["response"]]


def test_an_evaluation_asks_under_them(own: Path, tmp_path: Path) -> None:
    flags = ["--questions", "3", "--samples", "1", "--out", str(tmp_path / "eval")]
    argv = [*flags, "--prompts", str(own), "--variants", "fifth,bare"]
    assert evaluate.main(argv, fleet=Fleet(ScriptedSettings(reply))) == 0
    (data,) = (tmp_path / "eval").glob("EVAL_DATA*")
    said = (data / "README.md").read_text()
    assert "Take five, then answer" in said
    rows = [row for path in data.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(rows) == 6


def test_plain_means_the_files_list_or_all_without_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write_own(tmp_path / "own", "variants")
    flags = ["--questions", "2", "--dry_run", "--attempts", "2"]
    assert _generate(tmp_path / "run", own, *flags) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "--variants plain leaves out fifth, which its list does not name" in said
    assert "variants middle, bare note" in said
    whole = write_own(tmp_path / "whole", "variants", variants="\n".join(VARIANTS.splitlines()[2:]))
    assert _generate(tmp_path / "run", whole, *flags) == 0
    said = capsys.readouterr().out
    assert "variants    middle, bare, fifth\n" in said
    assert "leaves out" not in said


def test_a_preview_shows_the_users_own(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _generate(tmp_path / "run", own, *FLAGS, "--preview", "1") == 0
    said = capsys.readouterr().out
    for words in ("Now count, and give an equation", "a reflection on it, count_again", "<scratch>", "Own: the end:"):
        assert words in said


def test_a_report_names_them(made: Path) -> None:
    page = (made / "report.html").read_text()
    assert "What would my mother say?" in page
    assert "3 plainly" in page


def test_own_tags_are_looked_for_in_texts(made: Path, own: Path, tmp_path: Path) -> None:
    """A sample that holds a tag of the user's own frame would break the trace."""
    rows = pq.read_table(made / "RAW_DATA" / "data").to_pylist()
    name = "model_responses__mutated_prompts"
    for row in rows:
        row[name] = [f"<try>{row[name][0]}"]
    schema = pq.read_table(made / "RAW_DATA" / "data").schema
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "raw.parquet")
    argv = [
        "--raw",
        str(tmp_path / "raw.parquet"),
        "--prompts",
        str(own),
        "--attempts",
        "1",
        "--out",
        str(tmp_path / "o"),
    ]
    with pytest.raises(SystemExit, match="2"):
        assembly.main([*argv, "--formats", "plainly"])
    assembly.main([*argv, "--formats", "bare"])
