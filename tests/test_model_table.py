"""The whole job on the real engine with tiny models of today's architectures, and prompts by their real templates."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.inference.thoughts import tokens_in
from cluster.inference.tokenizer import ChatTokenizer
from reflection.prompts import PROMPTS, messages
from tests.forked_engines import drive, forking
from tests.template_models import first_prompt, look
from tests.tiny_models import TINY, make

# vLLM and torch, imported here, warn of themselves.
pytestmark = [pytest.mark.ray, pytest.mark.engine, pytest.mark.filterwarnings("default")]
Find = Callable[[str], str]
_QUESTIONS = [{"question": "What is 3 + 4?", "answer": "7"}, {"question": "What is 3 + 5?", "answer": "8"}]
_FEW = ["--rl_questions=0", "--variants=original", "--samples=1", "--reflections=1", "--max_tokens=32"]
_FEW += ["--formats=star", "--attempts=1", "--temperature=0.2"]
_FLAGS = {"gpt-neox": ["--chat_template=plain"]}
_REFUSED = {
    "gpt-neox": "has no chat template, so it is a base model; give --chat_template plain",
    "deepseek as it comes": "makes 'Sowetry12+34.' of 'So we try 12 + 34.'",
}
_THOUGHTS = {"qwen3 thinks": ("Hm.", "Well <answer>\n7</ANSWER>")}  # and replies
_SOON_S = 20.0  # of processor time


@pytest.fixture(scope="module", autouse=True)
def _forking() -> Iterator[None]:
    with forking():
        yield


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Find:
    """Return the folder of the tiny model of this name, made once."""
    made: dict[str, str] = {}

    def find(name: str) -> str:
        if name not in made:
            assert request.config.cache
            folder = tmp_path_factory.mktemp("models") / name.replace(" ", "-")
            made[name] = str(make(folder, TINY[name], request.config.cache))
        return made[name]

    return find


@pytest.mark.parametrize("name", [name for name in TINY if name not in _REFUSED or name in _FLAGS])
def test_the_whole_job_runs(name: str, model: Find, tmp_path: Path) -> None:
    questions = tmp_path / "asked.jsonl"
    thought, says = _THOUGHTS.get(name, (None, TINY[name].says))
    questions.write_text("".join(json.dumps(one) + "\n" for one in _QUESTIONS))
    flags = [f"--model={model(name)}", f"--questions={questions}", f"--out={tmp_path / 'run'}", *_FEW]
    assert drive([*flags, *_FLAGS.get(name, ())]) == 0
    rows = pq.read_table(tmp_path / "run" / "RAW_DATA" / "data").to_pylist()
    assert {row["outcome"] for row in rows} == {"right", "wrong"}
    for row in rows:
        assert row["model_responses__mutated_prompts"] == [says]
        assert row["model_responses__mutated_prompts_reflection"] == [says]
        assert (row["sample__thought"], row["reflections__thought"]) == (thought, [thought])
        assert row["model_responses__mutated_prompts__finish_reason_length_flags"] == [False]
    (trace,) = pq.read_table(tmp_path / "run" / "SFT_DATA" / "data").to_pylist()
    assert says in trace["conversations"][-1]["content"]


@pytest.mark.parametrize("name", _REFUSED)
def test_what_cannot_be_is_refused_soon(
    name: str, model: Find, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, began = model(name), time.process_time()
    with pytest.raises(SystemExit, match="2"):
        drive([f"--model={folder}", "--questions=2", *_FEW, f"--out={tmp_path / 'run'}"])
    told = capsys.readouterr().err
    assert _REFUSED[name] in told
    assert told.count("\n") == 1
    assert time.process_time() - began < _SOON_S
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "begins", "ends"),
    [
        (
            "llama",
            "<|begin_of_text|><|start_header_id|>{}<|end_header_id|>\n\n",
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("qwen3", "<|im_start|>{}\n", "<|im_end|>\n<|im_start|>assistant\n"),
        ("gemma3", "<bos><start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"),
        ("deepseek", "<｜begin▁of▁sentence｜>", "<｜Assistant｜>"),
    ],
)
def test_a_prompt_as_a_real_template_writes_it(
    name: str, begins: str, ends: str, model: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan, chat = look(model(name), rl_questions=0)
    assert plan.notes == ()
    question, variant = plan.questions[0], plan.rollout.variants[0]
    reflection = next(iter(PROMPTS))
    asked = messages(reflection, question.text, "So <answer>7</answer>")
    for prompt, first, texts in (
        (first_prompt(plan, chat), begins.format("system"), (variant.system, question.text, variant.user)),
        (chat.render(asked), begins.format("user"), (question.text, "So <answer>7</answer>")),
    ):
        assert prompt.startswith(first)
        assert prompt.endswith(ends)
        assert [prompt.count(text.strip()) for text in texts] == [1] * len(texts)
    ids = chat.encode(asked)
    (bos,) = chat.tokenize([begins.partition(">")[0] + ">"])[0]
    assert (ids[0], ids.count(bos)) == (bos, 2 if name == "qwen3" else 1), "Qwen's turns begin so, and it has no BOS"


def test_thinking_is_switched_off_by_a_variable_of_qwen_s_template(
    model: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    thinks, chat = look(model("qwen3"))
    thinks_not, other = look(model("qwen3"), chat_kwargs={"enable_thinking": False})
    assert first_prompt(thinks_not, other) == f"{first_prompt(thinks, chat)}<think>\n\n</think>\n\n"
    assert thinks_not.configuration["chat"] == {"kwargs": {"enable_thinking": False}}


@pytest.mark.parametrize(
    ("name", "said", "thought", "reply"),
    [
        ("qwen3", "<think>\nHm.\n</think>\n\nSo 7", "Hm.", "So 7"),
        ("qwen3", "Hm.\n</think>\n\nSo 7", "Hm.", "So 7"),
        ("qwen3", "<think>\n\n</think>\n\nSo 7", "", "So 7"),
        ("qwen3", "<think>\nHm.", "Hm.", ""),
        ("qwen3", "So 7", None, "So 7"),
        ("llama", "<think>\nHm.\n</think>\n\nSo 7", "Hm.", "So 7"),
        ("llama", "So 7</think>", None, "So 7</think>"),
        ("gemma3", "<think>\nNaïve 😀\n</think>\n\nSo 7", "Naïve 😀", "So 7"),
    ],
)
def test_a_thought_is_told_and_counted_in_a_real_tokenizer_s_tokens(
    name: str, said: str, thought: str | None, reply: str, model: Find
) -> None:
    chat = ChatTokenizer(model(name))
    assert chat.reread(said) == said
    parted, head = chat.thinking.part(said), "".join(said.partition("</think>")[:2])
    assert (parted.thought, parted.reply) == (thought, reply)
    ids, up_to_the_mark = chat.tokenize([said, head])
    counted = tokens_in(parted.spans, len(ids), lambda first, end: chat.width(ids[first:end]))
    assert counted == (0 if thought is None else len(up_to_the_mark))
