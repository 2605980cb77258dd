"""What is looked at before an engine starts: templates, prompts that do not fit, a model's own code, its sampling."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster.inference.chat import Prompt, check_fit, why_no_text
from cluster.inference.engine import Message
from cluster.inference.models import find
from cluster.inference.tokenizer import ChatTokenizer
from generation.builtin import MODEL, NAME
from generation.plan import describe, look_at_prompts, make_plan
from generation.settings import Settings
from reflection.added.plan import AdditionPlan, AdditionSettings, look_at_samples, plan_additions
from tests.assembly_rows import published_row, write_parquet
from tests.bad_inputs import make_model

Changed = Callable[..., str]

SPARSE_GEMMA3 = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 64,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    },
    "vision_config": {"model_type": "siglip_vision_model"},
}


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """The folder of the built-in model, changed as in the table of bad inputs."""

    def changed(**files: Any) -> str:
        folder = tmp_path / "mine"
        make_model(folder, {name.replace("__", "."): change for name, change in files.items()})
        return str(folder)

    return changed


def reflecting(raw: Path, **given: Any) -> AdditionPlan:
    return look_at_samples(plan_additions(AdditionSettings(raw=str(raw), out="new", **given)))


def notes(model: str | None, **given: Any) -> str:
    plan = look_at_prompts(make_plan(Settings(model=model, **{"questions": 4, "out": "new", **given})))
    assert all(f"note        {note}\n" in describe(plan) for note in plan.notes)
    return "\n".join(plan.notes)


@pytest.mark.parametrize(
    ("config", "context"),
    [
        (SPARSE_GEMMA3, 131_072),  # as AutoConfig reads it: the class's own default
        ({"model_type": "gpt2", "n_positions": 512}, 512),
        ({"model_type": "gpt2", "n_ctx": 256, "n_positions": 512}, 256),
        ({"model_type": "mpt", "max_seq_len": 300}, 300),
        ({"max_sequence_length": 300}, 300),
        ({"seq_length": 300, "max_position_embeddings": 4096}, 300),  # vLLM takes the least
        ({"max_position_embeddings": 8192, "model_max_length": 131_072}, 131_072),  # save for this one
        ({"text_config": {"max_position_embeddings": 77}, "max_position_embeddings": 4096}, 77),
        ({"thinker_config": {"text_config": {"max_position_embeddings": 78}}}, 78),
        ({"llm_config": {}, "max_position_embeddings": 79}, 79),
        ({"model_type": "nobody_knows", "max_position_embeddings": 80}, 80),
        ({"model_type": "qwen2"}, 32_768),
    ],
)
def test_the_context_by_whatever_name(changed: Changed, config: Mapping[str, Any], context: int) -> None:
    assert find(changed(config__json=json.dumps(config))).context == context


def test_nothing_is_said_of_the_built_in_model() -> None:
    assert notes(None) == ""


def test_the_built_in_model_by_the_name_that_rows_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert make_plan(Settings(model=NAME)) == make_plan(Settings())
    raw = write_parquet(tmp_path / "raw.parquet", [published_row("q", "7", True)])
    assert reflecting(raw, model=NAME) == reflecting(raw)
    make_model(tmp_path / NAME, {"config.json": {"max_position_embeddings": 512}})
    assert make_plan(Settings(model=NAME, questions=4)).context == 512, "a folder of that name goes before it"


def test_prompts_that_do_not_fit_are_counted_and_the_longest_is_named(changed: Changed, tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} + 1? " + "Think. " * 40 * (n > 7), "answer": str(n + 1)} for n in range(10)]
    rows[9]["question"] += "Think. "
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given: dict[str, Any] = {
        "questions": str(tmp_path / "q.jsonl"),
        "grader": "number",
        "rl_questions": 0,
        "max_tokens": 8,
    }
    model = changed(config__json={"max_position_embeddings": 100})
    told = notes(model, **given, variants=("original", "rephrase"))
    assert told.startswith(
        "4 of 20 prompts are too long for the context of 100 tokens and will fail: the longest has 1"
    )
    assert "rephrase of 'What is 9 + 1? Think. Think." in told
    assert told.endswith("; give shorter ones, or a model with a longer context")
    assert notes(str(MODEL), **given) == "", "in the context of 1,024 they fit"


def test_samples_that_do_not_fit_are_counted_for_reflections(changed: Changed, tmp_path: Path) -> None:
    samples = [
        "It is <answer>7</answer>",
        "seven, " * 200 + "<answer>7</answer>",
        "seven, " * 300 + "<answer>7</answer>",
    ]
    write_parquet(tmp_path / "raw.parquet", [published_row("What is 3 + 4?", sample, True) for sample in samples])
    model = changed(config__json={"max_position_embeddings": 256})
    plan = reflecting(tmp_path / "raw.parquet", model=model, max_tokens=8, temperature=0)
    (told,) = plan.notes
    assert told.startswith(
        "2 of 3 samples with their question are too long for the context of 256 tokens and will fail"
    )
    assert " tokens, row 2; give shorter ones" in told


class Lengths(ChatTokenizer):
    """Counts a token for each character."""

    def lengths(self, chats: Sequence[Sequence[Message]]) -> list[int]:
        return [sum(len(message["content"]) for message in messages) for messages in chats]


def prompt_of(length: int) -> Prompt:
    return Prompt(f"p{length}", (Message(role="user", content="x" * length),))


def test_what_is_said_of_what_does_not_fit() -> None:
    words = "9 p are too long for the context of 50 tokens"
    most = [prompt_of(length) for length in (65 << 20, *[60] * 255, 70)]  # more than is counted
    for prompts, total, told in (
        ([prompt_of(10)], 9, []),
        ([prompt_of(length) for length in (10, 50, 90, 60)], 9, [f"3 of {words} and will fail: the longest has 90"]),
        (most, 999, ["at least 256 of 999 p are too long for the context of 50 tokens and will fail: the longest"]),
    ):
        said = check_fit(Lengths("m"), prompts, total, 50, what="p", remedy="do this")
        assert [note.startswith(one) and note.endswith("; do this") for note, one in zip(said, told, strict=True)] == [
            True for _ in told
        ], said
    with pytest.raises(
        ValueError, match=r"all 2 p are too long .* tokens: the longest has 60 tokens, p60; give shorter"
    ):
        check_fit(Lengths("m"), [prompt_of(50), prompt_of(60)], 2, 50, what="p")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"chat_template__jinja": "{{ strftime_now('%d %b') }}{% for m in messages %}{{ m.content }}{% endfor %}"},
            "the chat template may write the date: it is told 20",
        ),
        (
            {"config__json": {"auto_map": {"AutoModelForCausalLM": "modeling.Mine"}}},
            "code of the model's own, named by config.json, is not run: that of the libraries is taken",
        ),
        (
            {"tokenizer_config__json": {"auto_map": {"AutoTokenizer": ["tokens.Mine", None]}}},
            "code of the model's own, named by tokenizer_config.json, is not run",
        ),
    ],
)
def test_what_a_person_should_know_of_a_model(changed: Changed, files: dict[str, Any], told: str) -> None:
    assert notes(changed(**files)).startswith(told)


@pytest.mark.parametrize(
    ("generation", "told"),
    [
        ({"min_length": 5}, "generation_config.json also sets min_length, which is not used"),
        (
            {"typical_p": 0.9, "num_beams": 4, "bad_words_ids": [[7]], "temperature": 0.7},
            "generation_config.json also sets typical_p, num_beams, bad_words_ids, which are not used",
        ),
        ({"min_p": 0.05, "min_new_tokens": 4, "stop_strings": ["\n\n"], "presence_penalty": 1}, ""),
        ({"min_p": 0.0, "typical_p": 1.0, "num_beams": 1, "suppress_tokens": [], "min_length": None}, ""),
        ({"max_new_tokens": 2048, "pad_token_id": 0, "transformers_version": "5.19.0", "use_cache": True}, ""),
    ],
)
def test_what_a_model_says_of_sampling_and_is_not_used(changed: Changed, generation: dict[str, Any], told: str) -> None:
    assert notes(changed(generation_config__json=generation)) == told


def test_completions_that_cannot_hold_an_answer() -> None:
    told = notes(None, max_tokens=1).splitlines()
    assert told[0] == "max_tokens 1 is too small: <answer>7</answer> alone has 3 tokens, so it will be cut off"
    assert "<verdict>Correct</verdict>" in told[1]
    assert len(notes(None, max_tokens=1, reflections=0).splitlines()) == 1
    assert notes(None, max_tokens=8) == ""
    (short,) = notes(None, max_tokens=8, reflection_sampling={"max_tokens": 2}).splitlines()
    assert short.startswith("max_tokens 2 is too small: <verdict>Correct</verdict> alone has")


def test_a_class_that_is_unknown_here_is_noted_where_a_cluster_runs_it(changed: Changed) -> None:
    told = notes(changed(config__json={"architectures": ["NoSuchForCausalLM"]}), address="auto")
    assert "NoSuchForCausalLM" in told
    assert told.endswith("the vLLM of the cluster must know it")


@pytest.mark.parametrize(
    "name",
    [
        *("LlamaForCausalLM", "Qwen3ForCausalLM", "Gemma2ForCausalLM", "Gemma3ForConditionalGeneration"),
        *("MistralForCausalLM", "Mistral3ForConditionalGeneration", "Phi3ForCausalLM", "GPT2LMHeadModel"),
        *("DeepseekV3ForCausalLM", "Olmo2ForCausalLM", "Olmo3ForCausalLM", "SmolLM3ForCausalLM", "ChatGLMModel"),
        *("GPTNeoForCausalLM", "InternVLChatModel", "Qwen2VLForConditionalGeneration", "Qwen2LMHeadModel"),
    ],
)
def test_classes_that_write_serve(changed: Changed, name: str) -> None:
    assert why_no_text(find(changed(config__json={"architectures": [name]}))) == ""


def test_a_type_that_vllm_alone_knows_is_left_to_it(changed: Changed) -> None:
    config = {"model_type": "chatglm", "architectures": ["ChatGLMModel"], "auto_map": {"AutoConfig": "x.Y"}}
    assert "is not run" in notes(changed(config__json=config))


@pytest.mark.parametrize(
    ("generation", "given", "expected", "told"),
    [
        (
            {"do_sample": False, "temperature": 0.7, "top_k": -1},
            {},
            (0.0, 0),
            "temperature 0 by the model's generation",
        ),
        ({"do_sample": False}, {"samples": 1}, (0.0, 0), ""),
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.5}, (0.5, 0), ""),
        ({"do_sample": True, "temperature": 0.7, "top_k": 20}, {}, (0.7, 20), ""),
        ({"temperature": 0.7, "top_p": 0.0}, {"top_p": 1.0}, (0.7, 0), ""),  # a flag goes before the file
        (
            {"temperature": 0.7, "top_p": 0.0},
            {},
            (0.0, 0),
            "temperature 0 by the model's generation_config.json (top_p 0 keeps the likeliest token alone)",
        ),
        ({"temperature": 0.7, "top_p": 0}, {"sampling": {"top_p": 0.5}}, (0.7, 0), ""),
        (
            {},
            {"temperature": 0.0, "samples": 3},
            (0.0, 0),
            "temperature 0: nothing is drawn, so all 3 samples of a variant",
        ),
        ({"temperature": 0.01, "top_k": 1}, {}, (0.01, 1), ""),
    ],
)
def test_how_a_model_likes_to_be_sampled(
    changed: Changed, generation: dict[str, Any], given: dict[str, Any], expected: tuple[float, int], told: str
) -> None:
    model = changed(generation_config__json=json.dumps(generation))
    plan = look_at_prompts(make_plan(Settings(model=model, questions=4, out="new", **given)))
    sampling = plan.rollout.sampling
    assert (sampling.temperature, sampling.top_k) == expected
    assert [note[: len(told)] for note in plan.notes] == ([told] if told else [])


def test_reflections_at_temperature_0_are_the_same_where_prompts_come_twice(tmp_path: Path) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", [published_row("q", "7", True)])
    for reflections, count in ((5, 0), (12, 1)):
        plan = reflecting(raw, reflections=reflections, temperature=0)
        assert len(plan.notes) == count
    assert "all 3 reflections of one prompt on a sample will be the same" in plan.notes[0]


def test_wrong_flags_are_told_without_the_heavy_packages(tmp_path: Path) -> None:
    """Only a model and questions that are right so far are worth the seconds of the look."""
    code = (
        "import sys\nfrom generation.run import main\n"
        "try: main(['--engines', '10000', '--dry_run'])\n"
        "except SystemExit as ended: print(ended.code, 'transformers' in sys.modules, 'torch' in sys.modules)"
    )
    # Neither this machine's GPUs and Ray nor a run that lies in the checkout may answer for it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(Path(__file__).parent.parent), "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert ended.stdout == "2 False False\n", ended.stderr
