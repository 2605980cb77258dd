"""Every bad input of the table, tried on its command: exit code 2, one line, within seconds, nothing left behind."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import pytest

from tests.bad_inputs import BadInput, bad_inputs, lay_out

LONGEST_S = 10.0
"""Of processor time: what runs beside the tests does not count."""
LONGEST_WAIT_S = 30.0
TABLE = bad_inputs()


@pytest.mark.parametrize(("name", "one"), TABLE, ids=[name for name, _ in TABLE])
def test_a_bad_input_ends_in_one_line(
    name: str, one: BadInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_out(one, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable, value in one.environment.items():
        monkeypatch.setenv(variable, value)
    before = sorted(tmp_path.rglob("*"))
    main = importlib.import_module(one.command).main
    started, worked = time.monotonic(), time.process_time()
    with pytest.raises(SystemExit) as ended:
        main(one.argv)
    assert time.process_time() - worked < LONGEST_S
    assert time.monotonic() - started < LONGEST_WAIT_S
    printed = capsys.readouterr()
    assert ended.value.code == 2, printed
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert "Traceback" not in printed.err
    for words in one.says:
        assert words in printed.err, (one.argv, one.why)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_table_is_long_and_has_every_command() -> None:
    assert len(TABLE) >= 100
    commands = {one.command for _, one in TABLE}
    work = {"generation.run", "generation.evaluate", "generation.regrade", "reflection.run"}
    assert commands == {*work, "assembly.run", "cluster.slurm", "cluster.status"}
    lines = [(one.command, *one.argv, str(one.files), str(one.models), str(one.raw)) for _, one in TABLE]
    assert len(set(lines)) == len(lines)
