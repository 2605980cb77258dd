"""assembly.check without a trainer: what a chat template alone does to the traces of a set."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assembly.asked import ends_of
from assembly.assemble import assemble
from assembly.check import main
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
        (["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "trl", "--config", "list.yaml"], "holds no settings"),
        (
            ["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "axolotl", "--config", "two.yaml"],
            "names several sets",
        ),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "trl", "--python", "./none"], "TRL cannot be asked"),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--trainer", "verl"], "verl is not found by"),
        (["--sft", "SFT_DATA", "--model", "MODEL", "--rows", "0"], "--rows must be between 1"),
        (
            ["--sft", "SFT_DATA", "--model", "MODEL", "--json", "no/where.json"],
            "cannot be written: give a file in a folder that is there",
        ),
    ],
)
def test_wrong_input(
    flags: list[str], message: str, sft: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sft.parent)
    Path("bad.yaml").write_text("a: [")
    Path("list.yaml").write_text("- a")
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
    assert "5 traces, the longest row of" in done.stdout
