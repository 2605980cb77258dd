"""Whole jobs on servers: killed, while the server is away, without any package of an engine, and with a key."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster.jobs.store import KEY as KEY_COLUMN
from cluster.jobs.store import finished_in
from generation.run import main
from reflection.run import main as reflect
from tests.openai_server import Fault, OpenAIServer, serving

ROOT = Path(__file__).parent.parent
QUESTIONS = 12
_MADE = (f"--questions={QUESTIONS}", "--rl_questions=2", "--inputs=1-10", "--targets=10-50", "--variants=original")
FLAGS = (*_MADE, "--samples=3", "--reflections=1", "--attempts=2")
KEY = "sk-2b7f-not-to-be-seen"
_SHARDS = "import sys; from cluster.jobs import tally; tally.SHARD_S = 0.1; from generation.run import main; "
_MAIN = "sys.exit(main(sys.argv[1:]))"
_WALL = """
import sys
from importlib.machinery import PathFinder
import ray
find = PathFinder.find_spec
heavy = {"vllm", "torch", "transformers"}
PathFinder.find_spec = lambda name, *rest: None if name.split(".")[0] in heavy else find(name, *rest)
def refuse(*args, **named):
    raise AssertionError("Ray is started")
ray.init = refuse
"""


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with serving(OpenAIServer()) as running:
        yield running


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started = list[subprocess.Popen[str]]()

    def begin(code: str, *flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *flags]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((run / "RAW_DATA").rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def wait_for_shards(run: Path, count: int) -> int:
    """Return how many questions lie in shards, once they are so many."""
    for _ in range(600):
        if len(found := finished_in(run / "shards", KEY_COLUMN)) >= count:
            return len(found)
        time.sleep(0.05)
    raise AssertionError("no shards")


def test_a_killed_run_asks_only_what_was_in_flight_again(server: OpenAIServer, start: Start, tmp_path: Path) -> None:
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    assert main(["--server", server.url, *FLAGS, f"--out={quiet}"]) == 0
    asked = server.sent()
    assert len(asked) == len(set(asked))
    server.answered.clear()
    server.delay_s = 0.3
    flags = ["--server", f"{server.url}/v1", "--concurrency=2", *FLAGS, f"--out={killed}"]
    process = start(_SHARDS + _MAIN, *flags)
    safe = wait_for_shards(killed, 3)
    process.kill()
    process.communicate()
    assert safe < QUESTIONS
    before, server.delay_s = set(server.sent()), 0.0
    server.answered.clear()
    assert main(flags) == 0
    again = [key for key in server.sent() if key in before]
    assert len(again) == len(set(again))
    # In flight are at most two questions, with three samples and three reflections each, and shards lag a moment.
    assert len(again) <= 4 * 6
    assert before | set(server.sent()) == set(asked)
    assert rows_of(killed) == rows_of(quiet)


def test_a_server_that_goes_away_is_waited_for(server: OpenAIServer, start: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    server.delay_s = 0.6
    process = start(_SHARDS + _MAIN, "--server", server.url, "--concurrency=2", "--silence=3", *FLAGS, f"--out={run}")
    wait_for_shards(run, 3)
    before = {json.dumps(body["messages"]) for body in server.answered}
    server.stop()
    assert process.stdout is not None
    printed = ""
    while f"waiting for {server.url}/v1: " not in printed and (line := process.stdout.readline()):
        printed += line
    server.delay_s = 0
    server.start()
    rest, _ = process.communicate(timeout=180)
    printed += rest
    assert process.returncode == 0, printed
    assert f"waiting for {server.url}/v1: " in printed
    assert f"engine 0 was lost ({server.url}/v1: " in printed
    # Twice, or once more where the machine is too busy for an answer within three seconds.
    assert printed.count(f"engine 0 asking {server.url}/v1") in (2, 3)
    assert f"{server.url}/v1 answers again" in printed
    keys = server.sent()
    assert len(keys) - len(set(keys)) <= 4 * 6
    assert len(rows_of(run)) == QUESTIONS * 3
    assert before


def test_a_laptop_without_any_engine_drives_a_server(server: OpenAIServer, start: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(_WALL + "from generation.run import main; " + _MAIN, "--server", server.url, *FLAGS, f"--out={run}")
    printed, _ = process.communicate(timeout=180)
    assert process.returncode == 0, printed
    assert {(row["engine"], row["engine_version"]) for row in rows_of(run)} == {("vllm server", "0.0.test")}
    assert {(row["model"], row["model_revision"]) for row in rows_of(run)} == {("scripted", "")}
    more = start(
        _WALL + "from reflection.run import main; " + _MAIN,
        *("--raw", str(run), "--server", server.url, "--reflections=1", f"--out={tmp_path / 'more'}"),
    )
    printed, _ = more.communicate(timeout=180)
    assert more.returncode == 0, printed


def test_a_finished_run_needs_no_server(server: OpenAIServer, tmp_path: Path) -> None:
    flags = ["--server", server.url, *FLAGS, f"--out={tmp_path / 'run'}"]
    assert main(flags) == 0
    server.stop()
    assert main([*flags, "--formats=0C"]) == 0
    assert main(["--server", "http://127.0.0.1:9", *FLAGS, f"--out={tmp_path / 'run'}", "--dry_run"]) == 0


def test_a_run_goes_on_without_a_model_or_a_folder_named(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says what it serves, and the run how it treats requests, whatever it does now."""
    monkeypatch.chdir(tmp_path)
    flags = ["--server", server.url, *FLAGS]
    assert main(flags) == 0
    asked, server.seeds = len(server.asked), False
    assert main([*flags, "--dry_run"]) == main([*flags, "--formats=0C"]) == 0
    assert len(server.asked) == asked


def test_a_dry_run_needs_no_server_but_says_what_it_finds(
    server: OpenAIServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.context = 2048
    assert main(["--server", server.url, *FLAGS, "--dry_run", f"--out={tmp_path / 'run'}"]) == 0
    assert "scripted (revision none, context 2048)" in capsys.readouterr().out
    assert server.asked == []
    server.stop()
    assert main(["--server", server.url, "--model=m", *FLAGS, "--dry_run", f"--out={tmp_path / 'run'}"]) == 0
    printed = capsys.readouterr().out
    assert f"the server is not there yet ({server.url}/v1: " in printed
    assert "a context of 32,768 tokens is assumed here" in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("system", ["kept", "dropped", "refused"])
def test_a_system_text_reaches_the_model(system: str, tmp_path: Path) -> None:
    with serving(OpenAIServer(system=system)) as server:
        assert main(["--server", server.url, *FLAGS, f"--out={tmp_path / 'run'}"]) == 0
    rows = rows_of(tmp_path / "run")
    roles = {tuple(message["role"] for message in row["prompt"]) for row in rows}
    assert roles == {("system", "user") if system == "kept" else ("user",)}
    assert all("step by step. Write out your reasoning" in str(row["prompt"]) for row in rows)
    configuration = json.loads((tmp_path / "run" / "run.json").read_text())["configuration"]
    assert configuration["server"] == {"context": 32768, "system": system, "seeds": "kept"}
    card = (tmp_path / "run" / "RAW_DATA" / "README.md").read_text()
    assert "cannot be made again" not in card
    assert "1 over HTTP, " in card
    assert "on the CPU" not in card


def test_of_several_servers_the_one_that_takes_least_decides(
    server: OpenAIServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(OpenAIServer(system="dropped", seeds=False, context=4096)) as other:
        urls = f"--server={server.url},{other.url}"
        assert main([urls, *FLAGS, f"--out={tmp_path / 'run'}"]) == 0
        assert {len(row["prompt"]) for row in rows_of(tmp_path / "run")} == {1}
        configuration = json.loads((tmp_path / "run" / "run.json").read_text())["configuration"]
        assert configuration["server"] == {"context": 4096, "system": "dropped", "seeds": "ignored"}
        other.model = "another"
        capsys.readouterr()
        with pytest.raises(SystemExit, match="2"):
            main([urls, *FLAGS, f"--out={tmp_path / 'new'}"])
    assert f"error: {other.url}/v1: 404 Not Found" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_server_that_ignores_seeds_is_told_in_the_card(
    server: OpenAIServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.seeds = False
    flags = ["--server", server.url, *FLAGS, f"--out={tmp_path / 'run'}"]
    assert main(flags) == 0
    assert "the server does not keep to seeds: rows cannot be made again" in capsys.readouterr().out
    assert (
        "did not keep to the seeds: **they cannot be made again.**"
        in (tmp_path / "run" / "RAW_DATA" / "README.md").read_text()
    )


def test_questions_that_a_server_refuses_fail_alone(server: OpenAIServer, tmp_path: Path) -> None:
    first = list[str]()

    def refuse(body: dict[str, Any]) -> Fault | None:
        text = body["messages"][-1]["content"]
        if "numbers in the list" not in text or "# Your attempt" in text:
            return None
        first[:] = first or [text]
        return Fault(400, {"error": {"message": "no"}}) if text == first[0] else None

    server.fault, run = refuse, tmp_path / "run"
    assert main(["--server", server.url, *FLAGS, f"--out={run}"]) == 1
    failed = json.loads((run / "failed.json").read_text())
    assert f"{server.url}/v1: 400 Bad Request: no" in json.dumps(failed)
    assert len(rows_of(run)) == (QUESTIONS - 1) * 3
    asked = [body for body in server.asked if body["messages"][-1]["content"] == first[0]]
    # Each of the three samples once, and once with one token, to learn whether it was too long.
    assert len(asked) == 2 * 3


def test_the_key_is_sent_and_stands_nowhere(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server.key = KEY
    monkeypatch.setenv("THE_KEY", KEY)
    flags = ["--server", server.url, "--api_key_env", "THE_KEY", *FLAGS, f"--out={tmp_path / 'run'}"]
    server.fault = lambda body: Fault(400, f"bad key {KEY}") if "# Your attempt" in str(body) else None
    assert main(flags) in (0, 1)
    monkeypatch.setenv("THE_KEY", f"{KEY}-wrong")
    with pytest.raises(SystemExit) as ended:
        main([*flags[:-1], f"--out={tmp_path / 'other'}"])
    assert ended.value.code == 2
    printed = "".join(capfd.readouterr())
    assert "401 Unauthorized: Invalid API key: Bearer (the key)" in printed
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in printed
    columns = [
        row["reflections__provenance"][0]["error"]
        for row in rows_of(tmp_path / "run")
        if row["reflections__provenance"]
    ]
    assert any("bad key (the key)" in (error or "") for error in columns)


def test_a_key_that_is_revoked_ends_the_run(
    server: OpenAIServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The questions are not to blame, and stay owed."""
    server.fault = lambda body: Fault(401, {"error": "revoked"}) if len(server.answered) > 20 else None
    flags = ["--server", server.url, *FLAGS, f"--out={tmp_path / 'run'}"]
    assert main(flags) == 1
    assert (
        f"engine 0 did not start 3 times in a row: {server.url}/v1: 401 Unauthorized: revoked" in capfd.readouterr().err
    )
    server.fault = lambda _: None
    assert main(flags) == 0
    assert len(rows_of(tmp_path / "run")) == QUESTIONS * 3


def test_other_additions_are_by_the_server_too(server: OpenAIServer, tmp_path: Path) -> None:
    assert main(["--server", server.url, *FLAGS, f"--out={tmp_path / 'run'}"]) == 0
    server.seeds = False
    more = tmp_path / "more"
    assert reflect(["--raw", str(tmp_path / "run"), "--server", server.url, "--reflections=1", f"--out={more}"]) == 0
    assert "cannot be made again" in (more / "RAW_DATA" / "README.md").read_text()
