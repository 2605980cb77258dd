"""A RAW_DATA that lies on a hub: the real client against a small hub on this machine."""

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

import pytest

from tests.assembly_rows import published_row, write_parquet

REPOSITORY = "someone/RAW_DATA-small"
COMMIT = "0" * 40


class SmallHub(BaseHTTPRequestHandler):
    """As much of the hub's interface as a download of one dataset repository asks for."""

    def __init__(self, files: dict[str, bytes], *args: object) -> None:
        self.files = files
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name = path.removeprefix(f"/datasets/{REPOSITORY}/resolve/{COMMIT}/")
        if name in self.files:
            self._answer(self.files[name])
        elif path.startswith(f"/api/datasets/{REPOSITORY}/revision/"):
            files = [{"rfilename": name} for name in self.files]
            self._answer(json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": files}).encode())
        elif path.startswith(f"/api/datasets/{REPOSITORY}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": _digest(body)}
                for name, body in self.files.items()
            ]
            self._answer(json.dumps(tree).encode())
        else:
            self.send_error(404)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{_digest(body)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _digest(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """For a process whose hub holds one repository: a RAW_DATA, and a large file of no use."""
    file = write_parquet(tmp_path / "raw.parquet", [published_row("a", "right", True)])
    files = {"data/train-00000-of-00001.parquet": file.read_bytes(), "README.md": b"#", "weights.bin": b"x"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SmallHub, files))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    server.shutdown()
    thread.join()
    server.server_close()


def _assemble(repository: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "assembly.run", f"--raw={repository}", "--formats=0C"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=folder
    )


def test_a_hub_repository_is_fetched_and_assembled(environment: dict[str, str], tmp_path: Path) -> None:
    done = _assemble(REPOSITORY, environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 questions with 1 samples in all" in done.stdout
    assert (tmp_path / "SFT_DATA" / "dataset_info.json").exists()
    fetched = [path.name for path in (tmp_path / "hub").rglob("*") if path.is_symlink() or path.suffix]
    assert "train-00000-of-00001.parquet" in fetched
    assert "weights.bin" not in fetched


def test_a_repository_that_is_not_there_is_told_in_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    done = _assemble("someone/else", environment, tmp_path)
    assert done.returncode == 2
    assert "someone/else: a file or folder of this name is not here, and" in done.stderr
    assert done.stderr.count("\n") == 1
