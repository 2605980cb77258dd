"""The whole job on the real engine with tiny models of today's architectures, templates and tokenizers."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.forked_engines import drive, forking
from tests.tiny_models import TINY, make

# vLLM and torch, imported here, warn of themselves.
pytestmark = [pytest.mark.ray, pytest.mark.engine, pytest.mark.filterwarnings("default")]
_QUESTIONS = [{"question": "What is 3 + 4?", "answer": "7"}, {"question": "What is 3 + 5?", "answer": "8"}]
_FEW = ["--rl_questions=0", "--variants=original", "--samples=1", "--reflections=1", "--max_tokens=32"]
_FEW += ["--formats=star", "--attempts=1", "--temperature=0.2"]
_SOON_S = 20.0


@pytest.fixture(scope="module", autouse=True)
def _forking() -> Iterator[None]:
    with forking():
        yield


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of the tiny model of this name, made once."""
    made: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in made:
            assert request.config.cache
            made[name] = make(tmp_path_factory.mktemp("models") / name, TINY[name], request.config.cache)
        return made[name]

    return find


def cpu():
    return sum(sum(resource.getrusage(w)[:2]) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@pytest.mark.parametrize("name", [name for name in TINY if name not in ("gpt-neox",)])
def test_the_whole_job_runs(name: str, model: Callable[[str], Path], tmp_path: Path) -> None:
    questions = tmp_path / "asked.jsonl"
    questions.write_text("".join(json.dumps(one) + "\n" for one in _QUESTIONS))
    c = cpu()
    folder = model(name)
    print("MADE", name, round(cpu() - c, 1))
    c = cpu()
    code = drive([f"--model={folder}", f"--questions={questions}", *_FEW, f"--out={tmp_path / 'run'}"])
    print("DROVE", name, round(cpu() - c, 1))
    assert code == 0
    rows = pq.read_table(tmp_path / "run" / "RAW_DATA" / "data").to_pylist()
    assert len(rows) == 2
    print(rows[0])


@pytest.mark.parametrize(("name", "says"), [("gpt-neox", "has no chat template")])
def test_what_cannot_be_is_refused_soon(
    name: str, says: str, model: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, began = model(name), time.monotonic()
    with pytest.raises(SystemExit, match="2"):
        drive([f"--model={folder}", *_FEW, f"--out={tmp_path / 'run'}"])
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert time.monotonic() - began < _SOON_S
    assert not (tmp_path / "run").exists()
