"""run.json, and who is let into a run directory. What is refused leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.run_directory import JSON, check_run, config_of, fingerprint, hold_run, read_record, write_record
from tests.killed import run_killed_at_rename

CONFIGURATION: dict[str, JSON] = {
    "model": "m",
    "samples": 2,
    "formats": ["a"],
    "sampling": {"top_p": 0.5},
}
HOLD = """
import os, sys, time
from pathlib import Path
from cluster.jobs.run_directory import hold_run, write_record
with hold_run(Path(sys.argv[1]), {"a": 1}):
    holder = os.getpid()
    if sys.argv[2] == "plain" or os.fork() == 0:
        print(holder, flush=True)
    time.sleep(60)
"""
OPEN = """
from pathlib import Path
from cluster.jobs.run_directory import hold_run, write_record
with hold_run(Path(sys.argv[1]), {"a": 1}) as record:
    write_record(Path(sys.argv[1]), record | {"state": "done"})
"""
OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from cluster.jobs.run_directory import hold_run, write_record
if os.geteuid() == 0:
    os.setuid(65534)
try:
    with hold_run(Path(sys.argv[1]), {}):
        pass
except ValueError as refused:
    print(refused)
"""


def begin(path: Path, configuration: dict[str, JSON]) -> None:
    """Begin a run, or go on with it, and let it go."""
    with hold_run(path, configuration):
        pass


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def test_a_new_run_writes_its_record_and_goes_on_with_it(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "new"
    with hold_run(path, CONFIGURATION) as record:
        write_record(path, record | {"state": "running", "counts": {"finished": 3}})
    first = read_record(path)
    assert first["configuration"] == CONFIGURATION
    assert first["fingerprint"] == fingerprint(CONFIGURATION)
    assert (first["state"], first["counts"]) == ("running", {"finished": 3})
    with hold_run(path, {**CONFIGURATION, "formats": ("a",)}) as record:
        assert record == first
    assert read_record(path) == record


def test_what_a_run_began_with_is_known_before_anything_is_decided(tmp_path: Path) -> None:
    assert config_of(tmp_path / "nowhere") == config_of(tmp_path) == config_of(tmp_path / ("x" * 300)) == {}
    begin(tmp_path / "run", CONFIGURATION)
    assert config_of(tmp_path / "run") == CONFIGURATION
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json cannot be read"):
        config_of(tmp_path / "run")


def test_a_launchers_logs_may_be_there_before_the_first_start(tmp_path: Path) -> None:
    (tmp_path / "run" / "logs" / "slurm").mkdir(parents=True)
    begin(tmp_path / "run", CONFIGURATION)
    assert read_record(tmp_path / "run")["configuration"] == CONFIGURATION


@pytest.mark.parametrize(
    ("change", "told", "why"),
    [
        ({"samples": 4}, ["samples was 2, now 4"], "a value"),
        ({"samples": 2.0}, ["samples was 2, now 2.0"], "equal in Python, another configuration"),
        ({"samples": None}, ["samples was 2, now null"], "none"),
        ({"seed": 1, "model": "n"}, ['model was "m", now "n"', "seed was not set, now 1"], "several fields"),
        ({"formats": ["a", "b"]}, ['formats was ["a"], now ["a", "b"]'], "a list"),
        ({"formats": []}, ['formats was ["a"], now []'], "an empty list"),
        ({"sampling": {"top_p": 1.0}}, ["sampling.top_p was 0.5, now 1.0"], "the inner field is named"),
        ({"sampling": {}}, ["sampling was not set, now {}"], "an empty table"),
        ({"model": "m\n" + "x" * 999}, ['now "m\\nxxx'], "one line, cut"),
    ],
)
def test_another_configuration_is_refused_with_the_fields_named(
    tmp_path: Path, change: dict[str, JSON], told: list[str], why: str
) -> None:
    begin(tmp_path / "run", CONFIGURATION)
    before = everything(tmp_path)
    with pytest.raises(ValueError, match="another configuration") as refused:
        begin(tmp_path / "run", {**CONFIGURATION, **change})
    message = str(refused.value)
    assert [part for part in told if part not in message] == [], why
    assert "\n" not in message
    assert len(message) < 500 + len(str(tmp_path))
    assert everything(tmp_path) == before, "nothing is left behind"


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.lists(st.integers())))
def test_the_fingerprint_is_of_the_values_not_their_order(values: dict[str, Any]) -> None:
    backwards = dict(reversed(values.items()))
    assert fingerprint(values) == fingerprint(backwards)
    assert fingerprint(values) != fingerprint({**values, "one more": True})


def spoil_foreign(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("precious")


def spoil_with(text: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        begin(path, CONFIGURATION)
        (path / "run.json").write_text(text)

    return spoil


def spoil_by_hand(path: Path) -> None:
    begin(path, {**CONFIGURATION, "samples": 3})
    record = read_record(path)
    record["configuration"]["samples"] = 2
    (path / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("spoil", "path", "told"),
    [
        (spoil_foreign, "run", r"holds 'thesis\.tex' and no run\.json"),
        (spoil_with('{"configuration": {"mod'), "run", r"run\.json cannot be read"),
        (spoil_with(""), "run", r"run\.json cannot be read"),
        (spoil_with("[]"), "run", r"run\.json is no record"),
        (spoil_with('{"configuration": 3}'), "run", r"run\.json is no record"),
        (spoil_by_hand, "run", r"run\.json was changed by hand"),
        (lambda path: path.write_text("a file"), "run", "not a folder"),
        (lambda path: path.write_text("a file"), "run/below", "not a folder"),
        (lambda path: path.mkdir(), "run/deep/" + "x" * 300, "too long"),
        (lambda path: path.symlink_to("nowhere"), "run", "cannot be written"),
    ],
)
def test_what_cannot_be_a_run_is_refused_and_left_as_it_was(
    tmp_path: Path, spoil: Callable[[Path], None], path: str, told: str
) -> None:
    spoil(tmp_path / "run")
    before = everything(tmp_path)
    with pytest.raises(ValueError, match=told) as refused:
        begin(tmp_path / path, CONFIGURATION)
    assert "\n" not in str(refused.value)
    assert everything(tmp_path) == before


def test_a_path_without_permission_is_refused() -> None:
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as closed:
        Path(closed).chmod(0o555)
        for path in (closed, f"{closed}/deep/run"):
            command = [sys.executable, "-c", OPEN_AS_NOBODY, path]
            ended = subprocess.run(command, check=True, cwd=root, capture_output=True, text=True)
            assert f"no permission in {closed}" in ended.stdout or f"{path} cannot be written" in ended.stdout
        assert everything(Path(closed)) == {}


def test_a_path_that_the_kernel_refuses(tmp_path: Path) -> None:
    """Also for root, whom no permission stops."""
    with pytest.raises(ValueError, match="/proc/run cannot be written"):
        begin(Path("/proc/run"), CONFIGURATION)


def test_checking_makes_nothing(tmp_path: Path) -> None:
    assert check_run(tmp_path / "deep" / "run", CONFIGURATION) is None
    assert check_run(tmp_path, CONFIGURATION) is None, "an empty folder may be used"
    assert everything(tmp_path) == {}


@pytest.mark.parametrize("how", ["plain", "fork"])
def test_one_driver_at_a_time_and_death_frees_the_run(tmp_path: Path, how: str) -> None:
    """Killed without a chance to clean up; with a forked child that lives on, too."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run"), how]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, start_new_session=True) as holder:
        try:
            assert holder.stdout is not None
            assert int(holder.stdout.readline()) == holder.pid
            with pytest.raises(ValueError, match="being written by another process"):
                begin(tmp_path / "run", {"a": 1})
            holder.kill()
            holder.wait()
            begin(tmp_path / "run", {"a": 1})
        finally:
            os.killpg(holder.pid, signal.SIGKILL) if how == "fork" else holder.kill()


def test_the_same_process_may_open_a_run_again_once_closed(tmp_path: Path) -> None:
    with hold_run(tmp_path, {"a": 1}), pytest.raises(ValueError, match="another process"):
        begin(tmp_path, {"a": 1})
    begin(tmp_path, {"a": 1})


@pytest.mark.parametrize(("nth", "state"), [(1, None), (2, "begun"), (3, "done")])
def test_a_driver_killed_at_any_rename_leaves_a_run_to_open(tmp_path: Path, nth: int, state: str | None) -> None:
    assert run_killed_at_rename(nth, OPEN, tmp_path / "run") == (nth < 3)
    before = check_run(tmp_path / "run", {"a": 1})
    assert (before and before.get("state", "begun")) == state
    begin(tmp_path / "run", {"a": 1})
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["run.json", "run.lock"]
