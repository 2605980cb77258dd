"""Limits of engines on GPUs: known GPUs as nvidia-smi names them, Qwen2.5 by its config.json, the default context."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.inference.engine import ScriptedSettings
from cluster.inference.limits import Limits, Shape, check_weights, choose_limits, shape_of, weights_of
from cluster.inference.models import find
from cluster.inference.replicas import Fleet
from cluster.machine import Gpu
from generation.builtin import MODEL
from generation.run import main
from tests.scripted import reply

GIB, CONTEXT = 1 << 30, 12_288


def config(layers: int, hidden: int, inner: int, heads: int, kv_heads: int, *, tied: bool) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": 151_936 if tied else 152_064,
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
    }


CONFIGS = {
    "0.5B": config(24, 896, 4864, 14, 2, tied=True),
    "1.5B": config(28, 1536, 8960, 12, 2, tied=True),
    "7B": config(28, 3584, 18_944, 28, 4, tied=False),
    "32B": config(64, 5120, 27_648, 40, 8, tied=False),
}
GPUS = {
    "H100": Gpu("NVIDIA H100 80GB HBM3", 81_559 << 20),
    "A100 80": Gpu("NVIDIA A100-SXM4-80GB", 81_920 << 20),
    "A100 40": Gpu("NVIDIA A100-SXM4-40GB", 40_960 << 20),
    "L40S": Gpu("NVIDIA L40S", 46_068 << 20),
    "4090": Gpu("NVIDIA GeForce RTX 4090", 24_564 << 20),
    "T4": Gpu("Tesla T4", 15_360 << 20),
    "H200": Gpu("NVIDIA H200", 143_771 << 20),
}
FULL = (1024, 16_384)
LONG = (1024, 8192)


def limits_of(gpu: str, model: str, workers: int) -> tuple[int, int]:
    shape = shape_of([CONFIGS[model]])
    weights = weights_of(shape, 0, quantized=False)
    return choose_limits(GPUS[gpu], shape, weights, context=CONTEXT, workers=workers)[:2]


@pytest.mark.parametrize(
    ("gpu", "model", "expected"),
    [
        ("H100", "0.5B", {1: FULL, 2: FULL, 4: FULL, 8: FULL}),
        ("H100", "1.5B", {1: FULL, 2: FULL, 4: FULL, 8: FULL}),
        ("H100", "7B", {1: FULL, 2: FULL, 4: FULL, 8: FULL}),
        ("H100", "32B", {1: (32, 2048), 2: (384, 16_384), 4: FULL, 8: FULL}),
        ("A100 80", "0.5B", {1: LONG, 2: LONG, 4: LONG, 8: LONG}),
        ("A100 80", "1.5B", {1: LONG, 2: LONG, 4: LONG, 8: LONG}),
        ("A100 80", "7B", {1: LONG, 2: LONG, 4: LONG, 8: LONG}),
        ("A100 80", "32B", {1: (32, 2048), 2: (400, 8192), 4: LONG, 8: LONG}),
        ("A100 40", "0.5B", {1: LONG, 2: LONG, 4: LONG, 8: LONG}),
        ("A100 40", "1.5B", {1: LONG, 2: LONG, 4: LONG, 8: LONG}),
        ("A100 40", "7B", {1: (432, 8192), 2: LONG, 4: LONG, 8: LONG}),
        ("A100 40", "32B", {1: (8, 2048), 2: (32, 2048), 4: (368, 8192), 8: LONG}),
        ("L40S", "0.5B", {1: LONG, 2: LONG, 4: LONG, 8: LONG}),
        ("L40S", "1.5B", {1: LONG, 2: LONG, 4: LONG, 8: LONG}),
        ("L40S", "7B", {1: (544, 8192), 2: LONG, 4: LONG, 8: LONG}),
        ("L40S", "32B", {1: (8, 2048), 2: (64, 8192), 4: (464, 8192), 8: LONG}),
        ("4090", "0.5B", {1: LONG, 2: LONG, 4: LONG, 8: LONG}),
        ("4090", "1.5B", {1: (720, 8192), 2: LONG, 4: LONG, 8: LONG}),
        ("4090", "7B", {1: (96, 8192), 2: (528, 8192), 4: LONG, 8: LONG}),
        ("4090", "32B", {1: (8, 2048), 2: (8, 2048), 4: (80, 8192), 8: (464, 8192)}),
        ("T4", "0.5B", {1: (976, 8192), 2: LONG, 4: LONG, 8: LONG}),
        ("T4", "1.5B", {1: (368, 8192), 2: (816, 8192), 4: (880, 8192), 8: (912, 8192)}),
        ("T4", "7B", {1: (8, 2048), 2: (176, 8192), 4: (640, 8192), 8: (784, 8192)}),
        ("T4", "32B", {1: (8, 2048), 2: (8, 2048), 4: (8, 2048), 8: (144, 8192)}),
        ("H200", "0.5B", {1: FULL, 2: FULL, 4: FULL, 8: FULL}),
        ("H200", "1.5B", {1: FULL, 2: FULL, 4: FULL, 8: FULL}),
        ("H200", "7B", {1: FULL, 2: FULL, 4: FULL, 8: FULL}),
        ("H200", "32B", {1: (304, 16_384), 2: (960, 16_384), 4: FULL, 8: FULL}),
    ],
)
def test_known_gpus(gpu: str, model: str, expected: dict[int, tuple[int, int]]) -> None:
    assert {workers: limits_of(gpu, model, workers) for workers in expected} == expected


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_a_larger_model_gets_no_more_and_vllm_takes_the_limits(gpu: str, workers: int) -> None:
    found = [limits_of(gpu, model, workers) for model in CONFIGS]
    assert [sequences for sequences, _ in found] == sorted((sequences for sequences, _ in found), reverse=True)
    assert all(sequences <= tokens for sequences, tokens in found), "vLLM refuses more sequences than tokens of a step"


def test_the_arithmetic_on_one_gpu() -> None:
    """28 KiB a token of Qwen2.5-1.5B, 768 tokens a sequence; 16 bytes for each of its 151,936 entries."""
    shape = shape_of([CONFIGS["1.5B"]])
    weights = weights_of(shape, 0, quantized=False)
    assert round(weights / GIB, 1) == 2.9
    limits = choose_limits(GPUS["H100"], shape, weights, context=CONTEXT)
    step = 16_384 * 2 * (4 * 1536 + 3 * 8960)
    room = int(0.9 * (81_559 << 20)) - weights - int(1.5 * GIB) - step
    fitting = room // (768 * (28 << 10) + 16 * 151_936)
    told = f"beside 2.9 GiB of weights the GPU (NVIDIA H100 80GB HBM3, 80 GiB) can hold {fitting:,} of 768 tokens"
    assert limits.reason == told


@pytest.mark.parametrize(
    ("gpu", "model", "weights", "told"),
    [
        (None, "7B", 14 * GIB, "vLLM's own, as the GPU's memory is not known"),
        (Gpu("NVIDIA GB10", 0), "7B", 14 * GIB, "vLLM's own, as the GPU's memory is not known"),
        (GPUS["H100"], "", 14 * GIB, "vLLM's own, as the size of the model is not known"),
        (GPUS["H100"], "7B", 0, "vLLM's own, as the size of the model is not known"),
    ],
)
def test_what_is_not_known_gives_the_limits_of_vllm(gpu: Gpu | None, model: str, weights: int, told: str) -> None:
    shape = shape_of([CONFIGS.get(model, {})])
    assert choose_limits(gpu, shape, weights, context=CONTEXT) == (256, 8192, told)


def test_long_contexts_hold_fewer_and_short_ones_no_more_than_there_are() -> None:
    shape = shape_of([CONFIGS["7B"]])
    most = [choose_limits(GPUS["A100 40"], shape, 14 * GIB, context=context)[0] for context in (256, 8192, 131_072)]
    assert most == [1024, 640, 32]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0.5B", 0.494e9),
        ("1.5B", 1.544e9),
        ("7B", 7.616e9),
        ("32B", 32.764e9),
    ],
)
def test_parameters_by_arithmetic_are_those_of_the_model_s_card(name: str, expected: float) -> None:
    shape = shape_of([CONFIGS[name]])
    assert shape
    assert abs(shape.parameters / expected - 1) < 0.01


def test_weights_in_memory() -> None:
    shape = shape_of([CONFIGS["1.5B"]])
    assert shape
    wide = shape._replace(weight_bytes=4)
    assert weights_of(shape, 3 * GIB, quantized=False) == 3 * GIB
    assert weights_of(wide, 6 * GIB, quantized=False) == 3 * GIB, "vLLM halves weights of 32 bits"
    assert weights_of(wide, 6 * GIB, quantized=False, item=4) == 6 * GIB
    assert weights_of(wide, GIB, quantized=True) == GIB
    assert weights_of(None, GIB, quantized=False) == GIB
    assert weights_of(shape, 0, quantized=False) == 2 * shape.parameters
    mixture = shape_of([{**CONFIGS["7B"], "num_experts": 60}])
    assert weights_of(mixture, 0, quantized=False) == 0, "not guessed"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([{}], None),
        ([{"num_hidden_layers": 2}], None),
        ([{"num_hidden_layers": "2", "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 9}], None),
        # old names, and what follows from others
        ([{"n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 9}], (2, 8, 32, 2, 4, 9)),
        # layers that keep a state instead of keys and values, and one vector for both
        (
            [{**CONFIGS["7B"], "layer_types": ["linear_attention"] * 21 + ["full_attention"] * 7}],
            (7, 3584, 18_944, 4, 128, 152_064),
        ),
        (
            [{**CONFIGS["7B"], "kv_lora_rank": 512, "qk_rope_head_dim": 64}],
            (28, 3584, 18_944, 1, 288, 152_064),
        ),
        ([{**CONFIGS["7B"], "layer_types": "full"}], (28, 3584, 18_944, 4, 128, 152_064)),
        # the text model of a multimodal one, then the whole
        (
            [{"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "head_dim": 6, "vocab_size": 9}, {}],
            (2, 8, 32, 2, 6, 9),
        ),
    ],
)
def test_a_shape_is_read_or_not_known(parts: list[dict[str, Any]], expected: tuple[int, ...] | None) -> None:
    shape = shape_of(parts)
    assert (shape and shape[:6]) == expected


def test_a_model_tells_its_shape() -> None:
    shape = find(str(MODEL)).shape
    assert isinstance(shape, Shape)
    assert shape.layers > 0


def test_a_run_tells_and_keeps_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = Limits(96, 8192, "beside 14.2 GiB of weights the GPU can hold 111 of 768 tokens")
    fleet = Fleet(ScriptedSettings(reply))
    fleet.placement = replace(fleet.placement, gpus_each=1, limits=limits)
    main(["--questions=2", f"--out={tmp_path / 'run'}"], fleet=fleet)
    assert f"engines     96 sequences and 8,192 tokens a step each: {limits.reason}" in " ".join(
        capsys.readouterr().out.split("\n            ")
    )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["starts"][0]["engines"]["limits"] == limits._asdict()


@pytest.mark.parametrize(
    ("gpu", "weights", "workers", "told"),
    [
        ("T4", 61, 2, "the weights of model m are 61.0 GiB, and 2 GPUs hold 30.0: give --tensor_parallel 8 or more"),
        (
            "A100 40",
            61,
            1,
            "the weights of model m are 61.0 GiB, and a GPU holds 40.0: give --tensor_parallel 2 or more",
        ),
        ("A100 40", 61, 2, ""),
        ("T4", 15, 1, ""),  # nothing is left, but that is vLLM's to say
    ],
)
def test_weights_that_no_engine_could_load_are_refused(gpu: str, weights: int, workers: int, told: str) -> None:
    if told:
        with pytest.raises(ValueError, match=told):
            check_weights(GPUS[gpu], weights * GIB, workers, "m")
    else:
        check_weights(GPUS[gpu], weights * GIB, workers, "m")
    check_weights(None, 1000 * GIB, 1, "m")
    check_weights(Gpu("NVIDIA GB10", 0), 1000 * GIB, 1, "m")
