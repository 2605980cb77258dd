"""Weights as they come: quantized ones, a model's own code, which commit, and what generation_config.json lacks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cluster.inference.chat import load_chat
from cluster.inference.models import find
from cluster.inference.quantization import why_not_run
from cluster.inference.vllm_settings import VllmSettings
from cluster.session import Node, Resources
from generation.model_plan import choose_model
from generation.placement import place
from generation.plan import look_at_prompts, make_plan
from generation.settings import Settings
from tests.bad_inputs import make_model

CASE = {"do_sample": False, "temperature": 0.7, "top_p": 0.0, "top_k": -1, "eos_token_id": 1}  # met in the wild
HERE = Resources((Node(0, 8, 1 << 36),))


def quantized(folder: Path, **said: Any) -> str:
    make_model(folder, {"config.json": said})
    return str(folder)


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({}, ""),
        ({"quantization_config": None}, ""),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"quantization_config": {"config_groups": {}}}, "compressed-tensors"),
        ({"compression_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"text_config": {"quantization_config": {"quant_method": "gptq"}}}, "gptq"),
    ],
)
def test_quantized_weights_keep_the_type_that_they_come_with(
    tmp_path: Path, config: dict[str, Any], method: str
) -> None:
    """Our float32 of the CPU is for others: most methods do not take it."""
    folder = quantized(tmp_path / "mine", **config)
    assert find(folder).quantization == method
    settings = Settings(model=folder, questions=2, engines=1)
    engine = place(make_plan(settings), settings, HERE).settings
    assert isinstance(engine, VllmSettings)
    assert engine.arguments().get("dtype") == (None if method else "float32")


@pytest.mark.parametrize(
    ("method", "gpu", "told"),
    [
        ("", False, ""),
        ("awq", False, ""),
        ("gptq", False, ""),
        ("compressed-tensors", False, ""),
        ("fp8", True, ""),
        ("auto-round", True, ""),
        ("bitsandbytes", True, "the vLLM installed here does not run 'bitsandbytes', only awq, "),
        ("awqq", True, "does not run 'awqq'"),
        ("modelopt_fp4", True, ""),
        ("modelopt_fp4", False, "vLLM runs 'modelopt_fp4' on GPUs alone"),
    ],
)
def test_what_vllm_does_not_run_is_told(method: str, gpu: bool, told: str) -> None:
    assert (told in why_not_run(method, gpu=gpu)) if told else why_not_run(method, gpu=gpu) == ""


def test_what_its_platform_for_the_cpu_lists_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    source = 'class CpuPlatform:\n    supported_quantization: list[str] = ["awq",\n        "gptq"]\n'
    monkeypatch.setattr("cluster.inference.quantization.vllm_source", lambda _: source)
    assert why_not_run("awq", gpu=False) == ""
    assert why_not_run("fp8", gpu=False) == "vLLM runs 'fp8' on GPUs alone"
    assert why_not_run("fp8", gpu=True) == ""


def test_a_model_without_a_generation_config(tmp_path: Path) -> None:
    make_model(tmp_path / "mine", {"generation_config.json": None})
    sampling = make_plan(Settings(model=str(tmp_path / "mine"), questions=2)).sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, dict(sampling.more)) == (1.0, 1.0, 0, {})


@pytest.mark.parametrize(("samples", "notes"), [(1, 0), (4, 1)])
def test_a_generation_config_that_draws_nothing(tmp_path: Path, samples: int, notes: int) -> None:
    make_model(tmp_path / "mine", {"generation_config.json": json.dumps(CASE)})
    settings = Settings(model=str(tmp_path / "mine"), questions=2, samples=samples)
    plan = make_plan(settings)
    assert (plan.sampling.temperature, plan.sampling.top_p, plan.sampling.top_k) == (0.0, 1.0, 0)
    assert [note[:13] for note in plan.notes] == ["temperature 0"] * notes


def test_what_a_model_recommends_reaches_the_configuration(tmp_path: Path) -> None:
    make_model(tmp_path / "mine", {"generation_config.json": {"min_p": 0.05, "min_new_tokens": 2}})
    plan = make_plan(Settings(model=str(tmp_path / "mine"), questions=2))
    assert dict(plan.sampling.more) == {"min_p": 0.05, "min_tokens": 2}
    assert plan.configuration["sampling"] == plan.sampling.parameters()
    given = Settings(model=str(tmp_path / "mine"), questions=2, sampling={"min_p": 0, "stop": "X"})
    assert dict(make_plan(given).sampling.more) == {"min_p": 0.0, "min_tokens": 2, "stop": ["X"]}


_CODE = """
from pathlib import Path
from transformers import Qwen2Config
Path(r"{mark}").write_text("it ran")
class Mine(Qwen2Config):
    model_type = "mine"
"""


def test_code_of_a_model_runs_only_when_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    mark, folder = tmp_path / "mark", tmp_path / "own"
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "configuration_mine.Mine"}, "architectures": ["MineLM"]}
    make_model(folder, {"config.json": config, "configuration_mine.py": _CODE.format(mark=mark)})
    with pytest.raises(ValueError, match=r"code of its own, .*, and that is not run: --run_model_code runs it"):
        load_chat(find(str(folder)))
    plain = make_plan(Settings(model=str(folder), questions=2))
    assert "run_model_code" not in plain.configuration
    assert not mark.exists()
    settings = Settings(model=str(folder), questions=2, run_model_code=True, engines=1)
    plan = look_at_prompts(make_plan(settings))
    assert mark.read_text() == "it ran"
    told = "code that came with the model, named by config.json, runs on this machine and on every node"
    assert plan.notes[0] == told
    assert plan.configuration == {**plain.configuration, "run_model_code": True}
    engine = place(plan, settings, HERE).settings
    assert isinstance(engine, VllmSettings)
    assert engine.arguments()["trust_remote_code"] is True


def test_the_flag_says_nothing_of_a_model_without_code() -> None:
    plan = make_plan(Settings(questions=2, run_model_code=True))
    assert "run_model_code" not in plan.configuration
    assert plan.model.run_code is False


def test_a_commit_may_be_named_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(name: str, *_: object, **__: object) -> None:
        asked.append(name)
        raise ValueError("asked")

    monkeypatch.setattr("generation.model_plan.find", ask)
    for given in ({"model": "a/b", "revision": "v1"}, {"model": "a/b@v1"}, {"model": "Qwen3-4B", "revision": "v1"}):
        with pytest.raises(ValueError, match="asked"):
            choose_model(Settings(**given), "runs/x", 1, "x")  # type: ignore[arg-type]
    assert asked == ["a/b@v1", "a/b@v1", "Qwen3-4B@v1"]
    for given, told in (
        ({"model": "a/b@v1", "revision": "v2"}, "both name a commit"),
        ({"revision": "v1"}, "--revision v1 is of a model of the hub"),
        ({"model": ".", "revision": "v1"}, "--revision v1 is of a model of the hub, and . is none"),
    ):
        with pytest.raises(ValueError, match=re.escape(told)):
            choose_model(Settings(**given), "runs/x", 1, "x")  # type: ignore[arg-type]
