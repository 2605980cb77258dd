"""The layouts of a set: what each holds, and that a model's template alone trains it whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from assembly.layouts import IGNORED, LAYOUTS, LayoutName, layout_of, written_in
from assembly.rendering import framed
from assembly.run import main
from assembly.sets import asked_in, find_set, written_in_full
from assembly.settings import SftSettings, load_tokenizer
from assembly.sft import schema_in
from assembly.trained import compare
from generation.builtin import MODEL
from tests.assembly_rows import published_row, write_parquet

TEMPLATED = ["--model", str(MODEL)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    rows = [published_row(f"q{q}", f"r{q}/{n}", n % 2 == 0) for q in range(4) for n in range(4)]
    return write_parquet(tmp_path / "raw.parquet", rows)


def made(raw: Path, *flags: str) -> tuple[Path, list[dict[str, Any]]]:
    out = raw.parent / "SFT_DATA"
    main(["--raw", str(raw), "--attempts", "3", "--out", str(out), *flags])
    return out, pq.read_table(out / "data").to_pylist()


def test_the_thought_apart(raw: Path) -> None:
    _, rows = made(raw, "--layout", "reasoning")
    _, plain = made(raw)
    for row, other in zip(rows, plain, strict=True):
        (question, reply), (asked, trace) = row["messages"], other["conversations"]
        assert question == asked | {"reasoning_content": None}
        assert f"<think>\n{reply['reasoning_content']}\n</think>\n\n\n{reply['content']}" == trace["content"]


def test_a_row_without_a_thought_has_none(raw: Path) -> None:
    _, rows = made(raw, "--layout", "reasoning", "--formats", "star")
    assert {row["messages"][1]["reasoning_content"] for row in rows} == {None}


def test_text_after_the_template(raw: Path) -> None:
    _, rows = made(raw, "--layout", "prompt_completion", *TEMPLATED)
    _, plain = made(raw, *TEMPLATED)
    chat = load_tokenizer(str(MODEL))
    for row, other in zip(rows, plain, strict=True):
        question, trace = other["conversations"]
        assert row["prompt"] == chat.render([question])
        assert row["completion"] == f"{trace['content']}<|im_end|>"


def test_tokens_are_those_that_vllm_sees(raw: Path) -> None:
    _, rows = made(raw, "--layout", "tokens", *TEMPLATED)
    _, plain = made(raw)
    chat = load_tokenizer(str(MODEL))
    for row, other in zip(rows, plain, strict=True):
        question, trace = other["conversations"]
        prompt = chat.encode([question])
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["labels"] == [IGNORED] * len(prompt) + row["input_ids"][len(prompt) :]
        assert chat.decode(row["input_ids"][len(prompt) :]) == f"{trace['content']}<|im_end|>"
        assert row["attention_mask"] == [1] * len(row["input_ids"])


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_is_read_back_whole(name: LayoutName, raw: Path, tmp_path: Path) -> None:
    out, rows = made(raw, "--layout", name, *TEMPLATED)
    assert layout_of(pq.read_schema(next((out / "data").iterdir()))) == name
    assert pq.read_schema(next((out / "data").iterdir())).equals(schema_in(SftSettings(layout=name, model=str(MODEL))))
    assert len(load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))) == len(rows) == 12
    assert find_set(out) == out
    chat = load_tokenizer(str(MODEL))
    asked = asked_in(chat, rows)
    assert compare(asked, written_in_full(chat, rows)).counts() == ({"lost": 12} if name == "reasoning" else {})
    assert (out / "verl_tokens.py").exists() is (name == "tokens")
    assert (out / "dataset_info.json").exists() is (LAYOUTS[name].takes is not None)
    made(raw)  # which replaces it
    assert layout_of(pq.read_schema(next((out / "data").iterdir()))) == "sharegpt"


@pytest.mark.parametrize("frame", ["none", "thinking"])
def test_another_frame(frame: str, raw: Path) -> None:
    _, rows = made(raw, "--frame", frame)
    _, plain = made(raw)
    for row, other in zip(rows, plain, strict=True):
        text, trace = row["conversations"][1]["content"], other["conversations"][1]["content"]
        assert "think>" not in text
        if frame == "none":
            assert text == trace.replace("<think>\n", "").replace("</think>\n", "")
        else:
            assert text == trace.replace("think>", "thinking>")


def test_a_frame_that_a_text_holds_already_is_refused() -> None:
    with pytest.raises(ValueError, match="a sample holds a tag of this name"):
        framed("<think>\n<sample>\n</ idea>\n</sample>\n</think>\n\n\nSo.", "idea")
    assert framed("A sample alone, <idea>", "idea") == "A sample alone, <idea>"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layout", "tokens"], "--layout tokens needs the model to be trained: give --model too"),
        (["--layout", "alpaca"], "--layout wants one of sharegpt, messages, reasoning, prompt_completion, tokens"),
        (["--frame", "a b"], "--frame must be none or the name of a tag"),
        (["--frame", "sample"], "--frame must be none or the name of a tag"),
        (["--frame", "none", "--layout", "reasoning"], "--layout reasoning has a thought without a tag"),
    ],
)
def test_what_does_not_go(flags: list[str], message: str, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--raw", str(raw), *flags])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_card_has_the_longest_in_tokens(raw: Path) -> None:
    out, rows = made(raw, *TEMPLATED)
    card = (out / "README.md").read_text(encoding="utf-8")
    _, tokens = made(raw, "--layout", "tokens", *TEMPLATED)
    assert len(tokens) == len(rows)
    longest = max(len(row["input_ids"]) for row in tokens)
    assert f"the longest trace has {longest:,} tokens" in card
    out, _ = made(raw)
    assert "the longest trace has" not in (out / "README.md").read_text(encoding="utf-8")


def test_a_prompt_that_ends_on_an_empty_thought_is_told(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = raw.parent / "model"
    shutil.copytree(MODEL, model)
    template = (model / "chat_template.jinja").read_text(encoding="utf-8")
    ending = "{% if add_generation_prompt and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    (model / "chat_template.jinja").write_text(template + ending, encoding="utf-8")
    made(raw, "--model", str(model))
    assert "ends its prompt on an empty thought" in " ".join(capsys.readouterr().out.split())
    made(raw, "--model", str(model), "--chat_kwargs", '{"enable_thinking": true}')
    assert "empty thought" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["prompt_completion", "tokens"])
def test_a_set_for_another_template_is_not_whole(name: str, raw: Path) -> None:
    _, rows = made(raw, "--layout", name, *TEMPLATED)
    model = raw.parent / "model"
    shutil.copytree(MODEL, model)
    template = (model / "chat_template.jinja").read_text(encoding="utf-8")
    (model / "chat_template.jinja").write_text(f"Today is Monday.{template}", encoding="utf-8")
    chat = load_tokenizer(str(model))
    assert compare(asked_in(chat, rows), written_in_full(chat, rows)).counts() == {"prompt": 12}


def test_llama_factory_is_told_of_each_that_it_takes(raw: Path) -> None:
    out, _ = made(raw, "--layout", "prompt_completion", *TEMPLATED)
    told = json.loads((out / "dataset_info.json").read_text(encoding="utf-8"))["skillfactory"]
    assert told["columns"] == {"prompt": "prompt", "response": "completion"}


def test_rows_keep_their_other_columns() -> None:
    rows = pa.table(
        {"conversations": [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]], "x": [1]}
    )
    assert written_in("messages", None)(rows).column_names == ["messages", "x"]
    assert written_in("reasoning", None)(rows).to_pylist()[0]["x"] == 1


def test_the_thought_stands_where_the_template_looks_for_it(raw: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    template = (
        "{% for m in messages %}[{{ m.role }}]"
        "{% if m.thinking %}<a>{{ m.thinking }}</a>{% endif %}{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    (model / "chat_template.jinja").write_text(template, encoding="utf-8")
    out, rows = made(raw, "--layout", "reasoning", "--model", str(model))
    assert all(row["messages"][1]["thinking"].startswith("<sample>") for row in rows)
    assert layout_of(pq.read_schema(next((out / "data").iterdir()))) == "reasoning"
    (asked, *_) = asked_in(load_tokenizer(str(model)), rows)
    assert asked.trace.startswith("<a><sample>")
