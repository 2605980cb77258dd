"""From settings to a plan: defaults by model, models that do not fit, and the plan in words."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from cluster.inference.engine import Completion, Request, ScriptedEngine
from cluster.inference.models import find
from cluster.inference.tokenizer import ChatTokenizer
from generation.builtin import MODEL, NAME
from generation.plan import Plan, describe, look_at_prompts, make_plan
from generation.settings import Settings
from generation.variants import PLAIN, VARIANTS
from reflection.prompts import PROMPTS
from tests.model_folders import weights
from tests.scripted import reply

GENERATION = {"temperature": 0.6, "top_p": 0.9, "top_k": 40, "eos_token_id": 0}
MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """A folder that looks like a model: a real tokenizer and chat template; weights are not read here."""

    def make(*, without: str = "", context: object = 8192, generation: object = GENERATION) -> Path:
        folder = tmp_path / "my-model"
        folder.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(MODEL / name, folder)
        (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "max_position_embeddings": context}))
        (folder / "generation_config.json").write_text(json.dumps(generation))
        (folder / "model.safetensors").write_bytes(weights())
        if without:
            (folder / without).unlink()
        return folder

    return make


def plan_of(folder: Path | None, **given: Any) -> Plan:
    return make_plan(Settings(model=None if folder is None else str(folder), **given))


def test_defaults_with_the_built_in_model() -> None:
    plan = plan_of(None)
    assert (plan.model.name, plan.task, plan.out) == (NAME, "countdown_3arg", Path(f"runs/countdown_3arg-{NAME}"))
    assert (len(plan.questions), len(plan.rl_questions)) == (32, 8)
    assert (plan.rollout.samples, plan.rollout.reflections, plan.rollout.sampling.max_tokens) == (2, 2, 256)
    assert tuple(variant.name for variant in plan.rollout.variants) == PLAIN
    assert plan.context == 1024
    assert json.loads(plan.task_config) == {"inputs": [1, 10], "targets": [10, 50], "seed": 0}
    told = json.loads((MODEL / "generation_config.json").read_text())
    assert plan.rollout.sampling.temperature == told["temperature"]
    assert plan.rollout.sampling.repetition_penalty == 1.0, "it would fall on the digits of the question"


def test_defaults_with_another_model(make_model: MakeModel) -> None:
    plan = plan_of(make_model())
    assert (len(plan.questions), len(plan.rl_questions)) == (4000, 1000)
    assert json.loads(plan.task_config) == {"inputs": [1, 99], "targets": [100, 200], "seed": 0}
    assert (plan.model.name, plan.out) == ("my-model", Path("runs/countdown_3arg-my-model"))
    sampling = plan.rollout.sampling
    assert (plan.rollout.samples, plan.rollout.reflections) == (16, 4)
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.6, 0.9, 40)
    assert (sampling.repetition_penalty, sampling.max_tokens) == (1.0, 4096)
    assert plan.context == 8192


@pytest.mark.parametrize(
    ("context", "given", "max_tokens", "engine_context"),
    [
        (32768, {}, 4096, 2 * 4096 + 4096),
        (32768, {"max_tokens": 20_000}, 20_000, 32768),
        (2048, {}, 1024, 2048),
        (2048, {"max_tokens": 2047}, 2047, 2048),
        (1_000_000, {"max_tokens": 100}, 100, 4296),
    ],
)
def test_lengths_fit_the_context(
    make_model: MakeModel, context: int, given: dict[str, Any], max_tokens: int, engine_context: int
) -> None:
    plan = plan_of(make_model(context=context), questions=4, **given)
    assert (plan.rollout.sampling.max_tokens, plan.context) == (max_tokens, engine_context)


def test_what_is_set_counts(make_model: MakeModel) -> None:
    given: dict[str, Any] = {"temperature": 0.0, "top_p": 0.5, "top_k": 0, "repetition_penalty": 1.1}
    more: dict[str, Any] = {"samples": 3, "reflections": 0, "variants": ("rephrase",), "out": "here", "rl_questions": 0}
    plan = plan_of(make_model(), questions=5, inputs="1-20", targets="30-40", seed=9, **given, **more)
    sampling = plan.rollout.sampling
    assert {name: getattr(sampling, name) for name in given} == given
    assert (plan.rollout.samples, plan.rollout.reflections, plan.rollout.seed) == (3, 0, 9)
    assert (plan.out, len(plan.questions), plan.rl_questions) == (Path("here"), 5, ())
    assert json.loads(plan.task_config) == {"inputs": [1, 20], "targets": [30, 40], "seed": 9}
    assert "reflection" not in describe(plan).partition("--- first prompt")[2]


def test_own_questions(make_model: MakeModel, tmp_path: Path) -> None:
    """A fifth is held out, the same ones whatever the order of the file."""
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(10)]
    path = tmp_path / "sums.jsonl"
    plans = []
    folder = make_model()
    for order in (rows, rows[::-1]):
        path.write_text("\n".join(map(json.dumps, order)))
        plans.append(plan_of(folder, questions=str(path)))
    for plan in plans:
        assert (plan.task, plan.out) == ("sums", Path("runs/sums-my-model"))
        assert (len(plan.questions), len(plan.rl_questions)) == (8, 2)
        assert not {q.key for q in plan.questions} & {q.key for q in plan.rl_questions}
    assert {q.key for q in plans[0].rl_questions} == {q.key for q in plans[1].rl_questions}
    for told, given in (("leaves none of the 10", {"rl_questions": 10}), ("--inputs 1-9 is for", {"inputs": "1-9"})):
        with pytest.raises(ValueError, match=told):
            plan_of(folder, questions=str(path), **given)
    path.write_text(path.read_text().replace('"10"', '"ten"'))
    changed = plan_of(folder, questions=str(path)).configuration
    assert changed["questions_hash"] != plans[1].configuration["questions_hash"], "rows depend on the gold answers"


FIELDS = {
    *("model", "model_revision", "task", "task_config", "questions", "rl_questions", "questions_hash"),
    *("prompts_hash", "variants", "samples", "reflections", "sampling", "context", "seed"),
}


def test_the_configuration_is_what_rows_depend_on(make_model: MakeModel) -> None:
    folder = make_model()
    base = plan_of(folder, questions=4).configuration
    assert set(base) == FIELDS
    assert json.loads(json.dumps(base)) == base
    same: list[dict[str, Any]] = [
        {"engines": 3},
        {"attempts": 2},
        {"formats": ("0C",)},
        {"out": "x"},
        {"dry_run": True},
    ]
    for given in same:
        assert plan_of(folder, questions=4, **given).configuration == base, given
    others: list[dict[str, Any]] = [{"samples": 2}, {"reflections": 1}, {"temperature": 0.1}, {"rl_questions": 2}]
    others += [{"seed": 1}, {"inputs": "1-50"}, {"variants": ("all",)}, {"max_tokens": 9}, {"task": "countdown_4arg"}]
    for given in others:
        assert plan_of(folder, questions=4, **given).configuration != base, given
    (folder / "model.safetensors").write_bytes(weights(b"other weights"))
    assert plan_of(folder, questions=4).configuration["model_revision"] != base["model_revision"]


@pytest.mark.parametrize(
    ("without", "changes", "told"),
    [
        ("config.json", {}, "has no config.json"),
        ("model.safetensors", {}, "has no weights: no *.safetensors file in it"),
        ("tokenizer.json", {}, "has no tokenizer: none of tekken.json, tokenizer.json"),
        (
            "chat_template.jinja",
            {},
            "has no chat template, so it is a base model; give --chat_template plain, for turns in plain text, or",
        ),
        ("", {"context": None}, "does not say its context: config.json has no max_position_embeddings"),
        ("", {"context": 1}, "does not say its context"),
        ("", {"context": "8192"}, "does not say its context"),
        ("", {"generation": ["temperature"]}, "holds no JSON object"),
        ("", {"generation": {"top_p": "much"}}, "top_p in generation_config.json must be a number, not 'much'"),
    ],
)
def test_a_folder_that_is_no_model_is_told(
    make_model: MakeModel, without: str, changes: dict[str, Any], told: str
) -> None:
    folder = make_model(without=without, **changes)
    with pytest.raises(ValueError, match="my-model") as error:
        plan_of(folder, questions=4)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_torn_config_is_told(make_model: MakeModel) -> None:
    folder = make_model()
    (folder / "config.json").write_text('{"model_type": "qw')
    with pytest.raises(ValueError, match=r"config\.json cannot be read as JSON"):
        find(str(folder))


def test_a_prompt_must_find_room(make_model: MakeModel) -> None:
    folder = make_model(context=512)
    with pytest.raises(ValueError, match="--max_tokens 512 leaves no room for a prompt: the context is 512"):
        plan_of(folder, questions=4, max_tokens=512)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("my-own-model", "model 'my-own-model' is no folder and no well-known name: give a folder or a hub id"),
        ("./nowhere", "model folder ./nowhere is not there: give a folder that is"),
        ("/no/where", "model folder /no/where is not there"),
        ("Qwen2.5-1.5B-Instruct", "model Qwen/Qwen2.5-1.5B-Instruct is not here, and HF_HUB_OFFLINE keeps us"),
        ("nobody/nothing", "model nobody/nothing is not here, and HF_HUB_OFFLINE keeps us"),
        ("a/b/c", "model a/b/c is not here, and the hub says: Repo id must be"),
        ("setup.cfg", "model setup.cfg is a file: give the folder"),
        ("x" * 5000, "is no folder and no well-known name"),
    ],
)
def test_a_model_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch, name: str, told: str) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"^model ") as error:
        find(name)
    assert time.monotonic() - started < 5
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def _counting(chat: ChatTokenizer, read: list[int], written: list[int]) -> Callable[[Request], Completion]:
    """The scripted model, with tokens counted as the real one would."""

    def answer(request: Request) -> Completion:
        text = reply(request)
        read.append(len(chat.encode(request.messages)))
        written.append(len(chat.encode([{"role": "assistant", "content": text}])))
        return Completion(text, "stop", read[-1], written[-1])

    return answer


def test_the_plan_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Every prompt as the model will see it, and bounds that a whole run of long answers stays within."""
    plan = plan_of(None, questions=6, variants=("all",), samples=1)
    text = describe(plan)
    chat, question = ChatTokenizer(plan.model.path), plan.questions[0]
    for name, variant in VARIANTS.items():
        system, user = plan.rollout.sample_request(question, variant, 0).messages
        rendered = (
            f"<|im_start|>system\n{system['content']}<|im_end|>\n<|im_start|>user\n{user['content']}<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        assert f"--- first prompt of variant {name} " in text
        assert rendered in text
    for name in PROMPTS:
        shown = text.partition(f"--- first prompt of reflection {name} ")[2]
        assert shown.split("\n", 1)[1].startswith(f"<|im_start|>user\n{PROMPTS[name].partition('{')[0]}{question.text}")
    read: list[int] = []
    written: list[int] = []
    engine = ScriptedEngine(_counting(chat, read, written))
    for one in plan.questions:
        asyncio.run(plan.rollout(engine, one))
    counts = {int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", text.split("---")[0])}
    bounds = re.search(r"at most ([\d,]+) written and ([\d,]+) read", text)
    assert bounds is not None
    most_written, most_read = (int(number.replace(",", "")) for number in bounds.groups())
    assert sum(written) <= most_written == 48 * 3 * 256
    assert sum(read) <= most_read
    assert {48, 96} <= counts, "samples and reflections"
    assert len(read) <= 48 + 96
    assert capsys.readouterr().out == ""


def test_the_bound_goes_by_the_longest_question(make_model: MakeModel, tmp_path: Path) -> None:
    folder, bounds = make_model(), []
    for length in (1, 300):
        rows = [{"question": f"{n}? " + "and " * length * (n == 3), "answer": "1"} for n in range(5)]
        (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
        text = describe(plan_of(folder, questions=str(tmp_path / "q.jsonl"), rl_questions=0))
        found = re.search(r"([\d,]+) read", text)
        assert found is not None
        bounds.append(int(found.group(1).replace(",", "")))
    assert bounds[1] > bounds[0] + 5 * 16 * 4 * 300


def test_a_template_that_refuses_our_turns_is_told(make_model: MakeModel) -> None:
    folder = make_model()
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no system turn, please') }}")
    with pytest.raises(ValueError, match="cannot write a system and a user turn: no system turn, please"):
        look_at_prompts(plan_of(folder, questions=2))
