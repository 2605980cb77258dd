"""assembly.check without a trainer: what a chat template alone does to the traces of a set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assembly.asked import ends_of
from assembly.assemble import assemble
from assembly.check import main
from assembly.layouts import IGNORED
from assembly.sets import check_rows, copy_rows, find_set
from assembly.settings import load_tokenizer
from generation.builtin import MODEL
from tests.assembly_rows import published_row, settings, write_parquet

TURN = "{{ '<|im_start|>' + m.role + '\\n' }}"
OPENING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
PLAIN = "{{ m.content }}"
REPLY = "{{ m.content.split('</think>')[-1] }}"
EMPTY = "{{ '<think>\\n\\n</think>\\n\\n' + m.content }}"
TRIMMED = "{{ m.content.replace('</think>\\n\\n\\n', '</think>\\n\\n') }}"
NO_END = "{{ m.content }}{% endif %}{% endfor %}"
Check = Callable[..., tuple[int, dict[str, Any], str]]


def template(assistant: str, end: str = "{{ '<|im_end|>\\n' }}", opening: str = OPENING) -> str:
    """A template for turns; what stands in the assistant's is given."""
    told = f"{{% if m.role == 'assistant' %}}{assistant}{{% else %}}{PLAIN}{{% endif %}}"
    return f"{{% for m in messages %}}{TURN}{told}{end}{{% endfor %}}{opening}"


@pytest.fixture
def sft(tmp_path: Path) -> Path:
    rows = [published_row(f"q{q}", f"r{q}/{n}", n % 2 == 0) for q in range(4) for n in range(4)]
    assemble(write_parquet(tmp_path / "raw.parquet", rows), tmp_path / "SFT_DATA", settings("*C_full"), 1)
    return tmp_path / "SFT_DATA"


@pytest.fixture
def check(sft: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(written: str | None, *flags: str, **config: Any) -> tuple[int, dict[str, Any], str]:
        model = tmp_path / "model"
        shutil.copytree(MODEL, model)
        said = json.loads((model / "config.json").read_text(encoding="utf-8"))
        (model / "config.json").write_text(json.dumps(said | config), encoding="utf-8")
        if written is not None:
            (model / "chat_template.jinja").write_text(written, encoding="utf-8")
        code = main(["--sft", str(sft), "--model", str(model), "--json", str(tmp_path / "found.json"), *flags])
        return code, json.loads((tmp_path / "found.json").read_text(encoding="utf-8")), capsys.readouterr().out

    return run


def test_a_template_that_keeps_all(check: Check) -> None:
    code, found, said = check(None)
    assert (code, found["traces"], found["hurt"], found["damage"]) == (0, 12, 0, {})
    assert "every trace is trained whole, and nothing else" in said


@pytest.mark.parametrize(
    ("written", "damage"),
    [
        (template(PLAIN), []),
        (template(REPLY), ["lost"]),
        (template(EMPTY), ["added", "prompt"]),
        (template(TRIMMED), ["spaces"]),
        (template(PLAIN, end=""), ["end"]),
        (template(PLAIN, opening=OPENING.replace("assistant\\n", "assistant\\n<think>\\n")), []),
        (
            template(PLAIN, opening=OPENING.replace("assistant\\n", "assistant\\n<think>\\n\\n</think>\\n\\n")),
            ["prompt"],
        ),
    ],
)
def test_what_a_template_does(written: str, damage: list[str], check: Check) -> None:
    code, found, said = check(written)
    assert list(found["damage"]) == damage
    assert set(found["damage"].values()) <= {12}
    assert code == bool(damage)
    assert len(found["examples"]) == 3 * len(damage)
    assert all(map(str.isprintable, said.splitlines()))


def test_the_page_for_people_is_inert(check: Check, tmp_path: Path) -> None:
    code, _, _ = check(template("{{ '<script>alert(1)</script>' }}"), "--html", str(tmp_path / "found.html"))
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert code == 1
    assert "script&gt;alert(1)&lt;/script" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sft", "nowhere", "--model", "MODEL"], "--sft nowhere holds no SFT_DATA"),
        (["--sft", "SFT_DATA"], "--model is missing"),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--python", "x"], "--python is for a trainer: give --trainer too"),
        (
            ["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "torchtune"],
            "--trainer wants one of llamafactory, trl, verl",
        ),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "trl", "--config", "bad.yaml"], "read as YAML"),
        (
            ["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "trl", "--config", "list.yaml"],
            "holds no settings",
        ),
        (
            ["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "axolotl", "--config", "two.yaml"],
            "needs one entry in datasets",
        ),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "trl", "--python", "./none"], "TRL cannot be asked"),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "verl"], "verl is not found by"),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--rows", "0"], "--rows must be between 1"),
        (
            ["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "axolotl", "--config", "five.yaml"],
            "needs one entry in datasets",
        ),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "trl", "--python", "/bin/true"], "is no Python"),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--chat_kwargs", '{"tokenize": true}'], "cannot set 'tokenize'"),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--json", "same", "--html", "same"], "are one file: give two"),
        (
            ["--sft", "SFT_DATA", "--model", "MODEL", "--json", "no/where.json"],
            "cannot be written: give a file in a folder that is there",
        ),
        # As a device would be, it would be replaced.
        (["--sft", "SFT_DATA", "--model", "MODEL", "--json", "pipe"], "pipe cannot be written"),
    ],
)
def test_wrong_input(
    flags: list[str], message: str, sft: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sft.parent)
    Path("bad.yaml").write_text("a: [")
    Path("list.yaml").write_text("- a")
    Path("five.yaml").write_text("datasets: 5")
    os.mkfifo("pipe")
    Path("two.yaml").write_text("datasets: [{path: a}, {path: b}]")
    with pytest.raises(SystemExit) as ended:
        main([str(MODEL) if flag == "MODEL" else flag for flag in flags])
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert message in error


def test_a_token_at_which_vllm_stops_is_an_end(sft: Path, tmp_path: Path) -> None:
    """As GLM's `<|user|>`, which is no EOS token of its tokenizer."""
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    before = ends_of(load_tokenizer(str(model)))
    (other,) = load_tokenizer(str(model)).tokenize(["7"])
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": other}), encoding="utf-8")
    load_tokenizer.cache_clear()
    assert ends_of(load_tokenizer(str(model))) == (*before, "7")


def test_no_code_of_a_model_is_run(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    """As ms-swift would, whatever it is told."""
    with pytest.raises(SystemExit) as ended:
        check(None, "--trainer", "ms-swift", auto_map={"AutoConfig": "code.Config"})
    assert ended.value.code == 2
    assert "ms-swift would run the code that config.json of" in capsys.readouterr().err


def test_it_runs_as_a_module_on_a_run(sft: Path) -> None:
    command = [sys.executable, "-m", "assembly.check", "--sft", str(sft.parent), "--model", str(MODEL), "--rows", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 of 12 traces, the longest row of" in done.stdout


def laid_out(sft: Path, **more: Any) -> None:
    """Make the set again, in another layout."""
    assemble(sft.with_name("raw.parquet"), sft, replace(settings("*C_full"), **more), 1)


def columns(sft: Path, **made: Callable[[list[int]], list[int]]) -> None:
    """Change columns of the set of tokens."""
    (path,) = (sft / "data").glob("*.parquet")
    table = pq.read_table(path)
    for name, change in made.items():
        column = pa.array(map(change, table[name].to_pylist()), table.schema.field(name).type)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("name", "change", "damage"),
    [
        ("labels", lambda labels: [*labels[:-9], IGNORED, *labels[-8:]], "early"),
        ("labels", lambda labels: [*labels[:-1], IGNORED], "end"),
        ("labels", lambda labels: [label if label == IGNORED else 5 for label in labels], "late"),
        ("attention_mask", lambda mask: [*mask[:-40], *[0] * 40], "cut"),
    ],
)
def test_labels_that_are_not_the_trace_are_told(
    name: str, change: Callable[[list[int]], list[int]], damage: str, sft: Path, check: Check
) -> None:
    laid_out(sft, layout="tokens", model=str(MODEL))
    columns(sft, **{name: change})
    code, found, _ = check(None)
    assert (code, damage in found["damage"]) == (1, True), found["damage"]


@pytest.mark.parametrize(
    ("reply", "damage"),
    [
        ("<think>\n{{ m.reasoning_content }}\n</think>\n\n{{ m.content }}", None),
        ("<think>\n{{ m.reasoning_content }}\n</think>", "cut"),
        ("<think>\n{{ m.reasoning_content }}\n</think>I am a helpful bot.{{ m.content }}", "added"),
        ("{{ m.content }}", "lost"),
    ],
)
def test_a_template_that_takes_thoughts_apart_keeps_all_of_them(
    reply: str, damage: str | None, sft: Path, check: Check
) -> None:
    laid_out(sft, layout="reasoning")
    code, found, _ = check(template(reply))
    assert (code, [*found["damage"]]) == (int(damage is not None), [damage] if damage else []), found["examples"]


def test_what_a_template_says_behind_a_reply_is_added(check: Check) -> None:
    code, found, _ = check(template(PLAIN, end="{{ '<|im_end|>\\nP.S. I like you.<|im_end|>\\n' }}"))
    assert (code, "added" in found["damage"]) == (1, True), found["damage"]


@pytest.mark.parametrize(
    ("written", "note"),
    [
        ("{{ strftime_now('%d %b %Y') }}" + template(PLAIN), "writes the day's date"),
        (template(PLAIN, end="{{ '<|endoftext|>\\n' }}"), "at which vLLM does not stop"),
        (template(PLAIN), ""),
    ],
)
def test_what_is_asked_otherwise_another_day_or_never_ends_is_noted(written: str, note: str, check: Check) -> None:
    _, found, said = check(written)
    assert [note in one for one in found["notes"]] == ([True] if note else [])
    assert note in " ".join(said.split())


def test_the_longest_rows_are_among_those_looked_at(sft: Path, tmp_path: Path) -> None:
    every, total = copy_rows(sft, 10**6, tmp_path / "all")
    some, of = copy_rows(sft, 11, tmp_path / "some")
    assert (total, of, some.num_rows) == (12, 12, 11)
    sizes = [sum(len(turn["content"]) for turn in row) for row in every["conversations"].to_pylist()]
    kept = [sum(len(turn["content"]) for turn in row) for row in some["conversations"].to_pylist()]
    assert sorted(sizes)[-10:] == sorted(kept)[-10:]


def test_a_set_without_all_of_its_files_is_refused(sft: Path) -> None:
    (path,) = (sft / "data").glob("*.parquet")
    path.rename(path.with_name("train-00000-of-00002.parquet"))
    with pytest.raises(ValueError, match="holds 1 of its 2 files"):
        find_set(sft)


def test_a_row_that_is_none_is_named(sft: Path) -> None:
    turn = {"role": "user", "content": "2 + 2?"}
    with pytest.raises(ValueError, match=r"row 1 of those looked at is not one question and one trace"):
        check_rows([{"messages": [turn, {"role": "assistant", "content": "4"}]}, {"messages": [turn]}])
