"""Every name, field, argument and message of vLLM that we use, held against the CUDA build that GPUs get.

The build for the CPU, on which all other tests run, takes other paths than that. Its Python files are read, of the
oldest and of the newest release that setup.cfg takes.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from cluster.inference import engine_arguments, vllm_log
from cluster.inference.adapters import Adapter
from cluster.inference.chat import why_no_text
from cluster.inference.engine import FinishReason, Sampling
from cluster.inference.engine_arguments import LIMITS, argument_types, check_engine_args
from cluster.inference.models import Model
from cluster.inference.quantization import why_not_run
from cluster.inference.vllm_settings import VllmSettings
from cluster.inference.vllm_source import vllm_source
from cluster.texts import load_table
from generation.placement import cpu_environment
from tests.wheels import ROOT, Source, ends_of_range, faults, setup_cfg, texts_in, unpacked

pytestmark = pytest.mark.wheels
ENGINE = "cluster/inference/vllm_engine.py"
HELD = {  # what the names of that file hold
    "engine": ("vllm.v1.engine.async_llm", "AsyncLLM"),
    "self._llm": ("vllm.v1.engine.async_llm", "AsyncLLM"),
    "final": ("vllm.outputs", "RequestOutput"),
    "output": ("vllm.outputs", "CompletionOutput"),
}
# Python, PyTorch, the kernel, and NVIDIA's libraries say so.
OF_OTHERS = re.compile(r"[Cc]an(no|')t allocate memory|CUBLAS_STATUS|(?i:nccl)|Connection (closed|reset|was)")
FILLED = re.compile(r"\{[^{}]*\}")  # what a text puts in
JOINT = re.compile(r"""["']\s*\n\s*[rf]*["']""")  # between the pieces of a text
ADAPTER = Adapter("a", "/a", "1", None, ("adapter_config.json",), 16, "m", template=False)
GPU = VllmSettings("m", None, "m", "", 1024, gpu=True)
CPU = replace(GPU, gpu=False)


@pytest.fixture(scope="module", params=["oldest", "newest"])
def source(request: pytest.FixtureRequest) -> Source:
    return Source(unpacked(ends_of_range()[request.param]))


@pytest.fixture
def installed(source: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """The wheel's files are what our own readers take for the installed vLLM."""
    caches = (vllm_source, argument_types, engine_arguments._statements)
    monkeypatch.syspath_prepend(str(source.folder))
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    for one in caches:
        one.cache_clear()
    yield source
    for one in caches:
        one.cache_clear()


def shipped() -> list[Path]:
    return [
        path
        for name in setup_cfg()["options"]["packages"].split()
        for path in ROOT.glob(f"{name.replace('.', '/')}/*.py")
    ]


def test_each_name_and_argument_that_our_code_uses_is_there(source: Source) -> None:
    told = {str(path): faults(path.read_text(), source, HELD if path.match(ENGINE) else {}) for path in shipped()}
    assert {path: found for path, found in told.items() if found} == {}
    engine = (ROOT / ENGINE).read_text()
    assert [name for name in HELD if f"{name}." not in engine] == [], "the table above is of another engine"
    assert sum("vllm" in path.read_text() for path in shipped()) > 3


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("from vllm import SamplingParams\nSamplingParams(temperature=1, seed=2)", []),
        ("from vllm.inputs import TokensPrompt, Nothing", ["vllm.inputs.Nothing"]),
        ("from vllm.nowhere import SamplingParams", ["vllm.nowhere.SamplingParams"]),
        ("import vllm.nowhere", ["import vllm.nowhere"]),
        ("import vllm\nvllm.__version__\nvllm.nothing", ["vllm.nothing"]),
        ("from vllm import SamplingParams as S\nS(heat=1)", ["SamplingParams(heat=)"]),
        ("from vllm.sampling_params import RequestOutputKind as K\nK.FINAL_ONLY, K.NONE", ["RequestOutputKind.NONE"]),
        ("self._llm.generate({}, 1, 'a', lora_request=2)\nself._llm.errored", []),
        ("self._llm.generate({}, 1, 'a', adapter=2)\nself._llm.gone", ["AsyncLLM.generate(adapter=)", "AsyncLLM.gone"]),
        ("self._llm.shutdown(1, 2, 3)", ["AsyncLLM.shutdown takes 1 positional arguments"]),
        ("final.num_cached_tokens, output.token_ids, output.words", ["CompletionOutput.words"]),
    ],
)
def test_what_would_not_be_there_is_seen(source: Source, code: str, told: list[str]) -> None:
    assert faults(code, source, HELD if "." in code.split("(")[0] and "import" not in code else {}) == told


@pytest.mark.parametrize(
    "settings",
    [
        GPU,
        CPU,
        replace(GPU, tensor_parallel=2, adapter=ADAPTER, run_code=True, revision="abc"),
        replace(GPU, max_sequences=1024, memory_share=0.8),
        replace(GPU, cache_bytes=1 << 30, quantized=True),
    ],
)
def test_each_argument_of_an_engine_is_one_and_of_its_type(installed: Source, settings: VllmSettings) -> None:
    known, given = argument_types(), settings.arguments()
    assert len(known) > 100
    assert [name for name in given if name not in known] == []
    assert {name: value for name, value in given.items() if not known[name].takes(value)} == {}
    for name, value in given.items():
        if isinstance(value, dict):
            inner = installed.signature(*_class_of(installed, name))
            assert inner is not None
            assert set(value) <= inner.keywords, name


def _class_of(source: Source, argument: str) -> tuple[str, str]:
    """Return the module and the class that an engine's argument is of."""
    module, engine_args = "vllm.engine.arg_utils", "EngineArgs"
    found = source.find(module, engine_args)
    assert found
    named = {one.target.id: one for one in found[1].body if isinstance(one, ast.AnnAssign)}  # type: ignore
    classes = [one.id for one in ast.walk(named[argument].annotation) if isinstance(one, ast.Name)]
    return module, next(name for name in classes if name.endswith("Config"))


def test_the_table_of_arguments_names_no_other(source: Source, installed: Source) -> None:
    """A name may be of one release alone: the other end of the range, or the build on which the tests run."""
    here = set(argument_types())
    for wanted in ends_of_range().values():
        here |= Source(unpacked(wanted)).members("vllm.engine.arg_utils", "AsyncEngineArgs")
    table = engine_arguments._TABLE
    named = {*LIMITS, *table["free"]["names"], *table["refused"], *table["cpu"]}
    assert named - here - _of_the_tests() == set()
    assert set(LIMITS) - set(argument_types()) == set(), "limits are set by us, so each release must have them"
    check_engine_args({"dtype": "bfloat16", "max_num_seqs": 64, "compilation_config": {"level": 0}})
    with pytest.raises(ValueError, match="dtpye is no argument"):
        check_engine_args({"dtpye": "half"})


def _of_the_tests() -> set[str]:
    """Return the arguments of the vLLM that is installed in this environment."""
    folders = [Path(folder) for folder in sys.path if Path(folder, "vllm", "engine").is_dir()]
    return {name for folder in folders for name in Source(folder).members("vllm.engine.arg_utils", "AsyncEngineArgs")}


def test_each_sampling_parameter_is_a_field(source: Source) -> None:
    table = load_table("cluster.inference", "sampling.toml")
    there = source.members("vllm.sampling_params", "SamplingParams")
    ours = {one.name for one in fields(Sampling)} - {"more"}
    passed_on = {one["field"] for one in table["recommended"].values() if "field" in one}
    assert (ours | set(table["taken"]) | passed_on) - there == set()
    other = {
        name
        for wanted in ends_of_range().values()
        for name in Source(unpacked(wanted)).members("vllm.sampling_params", "SamplingParams")
    }
    assert set(table["refused"]) - other == set()


def test_each_variable_of_the_environment_is_known(source: Source) -> None:
    texts = [path.read_text() for path in (*shipped(), *ROOT.glob("cluster/**/*.toml"), *ROOT.glob("cluster/*.sh"))]
    named = {name for text in texts for name in re.findall(r"\bVLLM_[A-Z0-9_]+\b", text)}
    assert {"VLLM_NO_USAGE_STATS", *(name for name in cpu_environment(1) if name.startswith("VLLM"))} <= named
    known = (source.folder / "vllm/envs.py").read_text()
    assert {name for name in named if f'"{name}"' not in known} == set()


def test_each_message_that_is_looked_for_in_a_log_is_one_of_vllm(source: Source) -> None:
    told = [text.rpartition("Error: ")[2] for text in texts_in(load_table("cluster.inference", "vllm.toml")["log"])]
    whole = "\0".join(JOINT.sub("", path.read_text()) for path in source.folder.rglob("*.py"))
    assert [text for text in told if text not in whole and not OF_OTHERS.search(text)] == []
    assert "no such message" not in whole
    numbered = FILLED.sub("1", whole)
    assert [one.pattern for one in (vllm_log._FREE, vllm_log._NEEDED, vllm_log._FITS) if not one.search(numbered)] == []


def test_ends_of_an_answer_are_those_that_we_tell_apart(source: Source) -> None:
    found = source.find("vllm.v1.engine", "FINISH_REASON_STRINGS")
    assert found
    reasons: Any = ast.literal_eval(found[1].value)  # type: ignore[union-attr, arg-type]
    assert set(get_args(FinishReason)) <= set(reasons), "all others are errors"


@pytest.mark.parametrize(
    ("name", "told"),
    [("Qwen2ForCausalLM", ""), ("LlamaForCausalLM", ""), ("BertForSequenceClassification", "writes no text")],
)
def test_classes_that_write_are_read_from_it(installed: Source, name: str, told: str) -> None:
    why = why_no_text(Model("m", "/m", "1", None, 64, architectures=(name,)))
    assert told in why
    assert bool(why) == bool(told)


@pytest.mark.parametrize(
    ("method", "gpu", "runs"), [("fp8", True, True), ("awq", True, True), ("nonsense", True, False)]
)
def test_quantizations_are_read_from_it(installed: Source, method: str, gpu: bool, runs: bool) -> None:
    assert (why_not_run(method, gpu=gpu) == "") == runs
