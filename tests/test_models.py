"""Which commit of a hub's model is taken: online and offline, for a new run and for one that goes on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest

from cluster.inference.adapters import find_adapter
from cluster.inference.models import find
from cluster.jobs.run_directory import hold_run
from generation.plan import make_plan
from generation.settings import Settings
from tests.lora import write_lora

ROOT = Path(__file__).parent.parent
REPOSITORY = "someone/a-model"
ADAPTER = "adapter:"  # what a name begins with that `main` takes for one
FIRST, SECOND = "1" * 40, "2" * 40
FILES = {
    "config.json": b'{"max_position_embeddings": 64}',
    "chat_template.jinja": b"{{ messages }}",
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
}


class ModelHub(BaseHTTPRequestHandler):
    """As much of the hub's interface as finding a model asks for; every commit has the same files."""

    def __init__(self, commits: list[str], files: dict[str, bytes], *args: object) -> None:
        self.commits, self.files = commits, files
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        words = self.path.partition("?")[0].removeprefix("/api/models").strip("/").split("/")
        commit = self.commits[-1] if words[3:4] in ([], ["main"]) else words[3]
        if "/".join(words[:2]) != REPOSITORY or commit not in self.commits:
            self.send_error(404)
        elif words[2:3] == ["resolve"]:
            self._answer(self.files[words[4]], commit)
        else:
            files = [{"rfilename": name} for name in self.files]
            self._answer(json.dumps({"id": REPOSITORY, "sha": commit, "siblings": files}).encode(), commit)

    def _answer(self, body: bytes, commit: str) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Machine:
    """One whose cache is empty at first, and the hub that it asks."""

    def __init__(self, home: Path, commits: list[str], files: dict[str, bytes], port: int) -> None:
        self.commits, self.files = commits, files
        self.cache = home / "hub" / "models--someone--a-model"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "1",
        }
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
            self._environment.pop(name, None)

    def find(self, name: str = REPOSITORY, *, offline: bool = False, **begun: str) -> str:
        """The revision found, or why there is none."""
        command = [sys.executable, "-m", "tests.test_models", json.dumps(begun), name]
        environment = self._environment | {"HF_HUB_OFFLINE": str(int(offline))}
        ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        return ended.stdout.removesuffix("\n")

    def load(self, commit: str) -> None:
        """As an engine does, which asks for the commit."""
        for name in ("tokenizer.json", "model.safetensors"):
            (self.cache / "snapshots" / commit / name).write_bytes(FILES[name])


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    commits, files = [FIRST], dict(FILES)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(ModelHub, commits, files))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Machine(tmp_path / "hub-home", commits, files, server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_was_downloaded_here_is_found_offline(machine: Machine) -> None:
    assert machine.find() == FIRST
    machine.load(FIRST)
    assert not (machine.cache / "refs").exists(), "the hub's client keeps no word of main, which is why"
    assert machine.find(offline=True) == FIRST
    machine.commits.append(SECOND)
    assert machine.find() == SECOND
    assert machine.find(offline=True) == FIRST, "of the other one there are no weights"
    machine.load(SECOND)
    told = machine.find(offline=True)
    assert f"at several commits, {FIRST}, {SECOND}, none of them known as main: run `hf download {REPOSITORY}`" in told
    assert "\n" not in told
    assert machine.find(offline=True, model=REPOSITORY, model_revision=FIRST) == FIRST
    (machine.cache / "refs").mkdir()
    (machine.cache / "refs" / "main").write_text(SECOND)
    assert machine.find(offline=True) == SECOND


def test_a_run_goes_on_with_the_commit_that_it_began_with(machine: Machine) -> None:
    machine.commits.append(SECOND)
    assert machine.find(model=REPOSITORY, model_revision=FIRST) == FIRST
    assert machine.find(model="someone/else", model_revision=FIRST) == SECOND
    gone = machine.find(model=REPOSITORY, model_revision="3" * 40)
    assert f"at commit {'3' * 40}, with which this run began, is not here, and the hub" in gone
    assert "HF_HUB_OFFLINE keeps us" in machine.find(offline=True, model=REPOSITORY, model_revision="3" * 40)


def test_a_commit_may_be_asked_for(machine: Machine) -> None:
    machine.commits.append(SECOND)
    assert machine.find() == SECOND
    assert machine.find(f"{REPOSITORY}@{FIRST}") == FIRST
    assert machine.find(f"{REPOSITORY}@main") == SECOND
    begun_with_another = machine.find(f"{REPOSITORY}@{FIRST}", model=REPOSITORY, model_revision=SECOND)
    assert begun_with_another == FIRST, "which that run refuses, by name"
    machine.load(FIRST)
    assert machine.find(f"{REPOSITORY}@{FIRST}", offline=True) == FIRST
    assert "at commit v1 is not here, and HF_HUB_OFFLINE" in machine.find(f"{REPOSITORY}@v1", offline=True)
    assert "at commit v1 is not here, and the hub" in machine.find(f"{REPOSITORY}@v1")


def test_the_hub_s_list_of_files_is_looked_at(machine: Machine) -> None:
    """Its weights are gigabytes, and are not asked for."""
    first, second = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    del machine.files["model.safetensors"]
    index = json.dumps({"weight_map": {"a": first, "b": second}})
    machine.files |= {"model.safetensors.index.json": index.encode(), first: b"weights"}
    told = f"model {REPOSITORY} is not whole: 1 of its 2 files of weights are not there, {second}: download them"
    assert machine.find() == told
    machine.files[second] = b"weights"
    assert machine.find(f"{REPOSITORY}@{FIRST}") == FIRST
    assert not list(machine.cache.rglob("*.safetensors"))


def test_an_adapter_of_the_hub_is_of_one_commit_too(machine: Machine, tmp_path: Path) -> None:
    folder, asked = write_lora(tmp_path / "mine"), f"{ADAPTER}{REPOSITORY}"
    machine.files.clear()
    machine.files |= {path.name: path.read_bytes() for path in folder.iterdir()} | {"README.md": b"of no use"}
    assert machine.find(asked) == FIRST
    machine.commits.append(SECOND)
    assert machine.find(asked) == SECOND
    assert machine.find(asked, adapter=REPOSITORY, adapter_revision=FIRST) == FIRST
    assert machine.find(f"{asked}@{FIRST}") == FIRST
    assert machine.find(f"{asked}@{SECOND}", offline=True) == SECOND
    held = {path.name for path in (machine.cache / "snapshots" / SECOND).iterdir()}
    assert held == {"adapter_config.json", "adapter_model.safetensors"}, "and nothing else"
    assert "at commit v1 is not here" in machine.find(f"{asked}@v1")
    del machine.files["adapter_config.json"]
    machine.commits.append("4" * 40)
    assert "has no adapter_config.json" in machine.find(asked)


@pytest.mark.parametrize("given", [True, False])
def test_a_run_that_goes_on_asks_for_the_commit_that_it_began_with(
    given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = {"model": "someone/a-model", "model_revision": "1" * 40}
    run = tmp_path / "mine" if given else Path("runs/mix-longmult_2dig-countdown_3arg-a-model")
    asked: list[object] = []

    def find_nothing(name: str, configuration: object, own: object, *, run_code: bool) -> NoReturn:
        asked.append((name, configuration))
        raise ValueError("no model")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("generation.model_plan.find", find_nothing)
    settings = Settings(
        model="someone/a-model", task="longmult_2dig:4,countdown_3arg:4", out=str(run) if given else None
    )
    with pytest.raises(ValueError, match="no model"):
        make_plan(settings)
    with hold_run(run, begun):
        pass
    with pytest.raises(ValueError, match="no model"):
        make_plan(settings)
    assert asked == [("someone/a-model", {}), ("someone/a-model", begun)]


def main(begun: str, name: str) -> None:
    try:
        if name.startswith(ADAPTER):
            adapter = find_adapter(name.removeprefix(ADAPTER), json.loads(begun), "")
            here = Path(adapter.on_this_machine())
            print(adapter.revision if here.name == adapter.revision == adapter.hub_revision else adapter)
            return
        found = find(name, json.loads(begun))
        whole = (found.name, found.path, found.hub_revision) == (REPOSITORY, REPOSITORY, found.revision)
        print(found.revision if whole else found)
    except ValueError as error:
        print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
