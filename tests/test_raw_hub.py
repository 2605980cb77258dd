"""A RAW_DATA that lies on a hub: the real client against the hub of the tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.assembly_rows import published_row, write_parquet
from tests.hub_server import serving
from tests.hub_state import Hub, Repository
from tests.hub_user import User
from tests.report_pages import told_in

REPOSITORY = "someone/RAW_DATA-small"


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """Somebody whose hub holds one repository: a RAW_DATA, and a large file of no use."""
    file = write_parquet(tmp_path / "raw.parquet", [published_row("a", "right", True)])
    files = {"data/train-00000-of-00001.parquet": file.read_bytes(), "README.md": b"#", "weights.bin": b"x"}
    with serving(Hub(repositories={REPOSITORY: Repository(private=False, files=files)})) as hub:
        yield User(hub, tmp_path)


def test_a_hub_repository_is_fetched_and_assembled(user: User) -> None:
    done = user.run("assembly.run", f"--raw={REPOSITORY}", "--formats=0C")
    assert done.returncode == 0, done.stderr
    assert "1 questions with 1 samples in all" in done.stdout
    assert (user.folder / "SFT_DATA" / "dataset_info.json").exists()
    assert user.hub.count("GET .*train-00000-of-00001.parquet") == 1
    assert user.hub.count("weights.bin") == 0


def test_the_card_names_the_repository_and_its_commit(user: User) -> None:
    done = user.run("assembly.run", f"--raw={REPOSITORY}", "--formats=0C", "--license=cc-by-4.0")
    assert done.returncode == 0, done.stderr
    card = (user.folder / "SFT_DATA" / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    assert (head["source_datasets"], head["license"]) == ([REPOSITORY], "cc-by-4.0")
    commit, digest = re.findall(f"\nFrom `{REPOSITORY}`, at commit `(.+)`, whose files have the digest `(.+)`", card)[0]
    assert commit == user.hub.repositories[REPOSITORY].commits[-1]
    assert re.fullmatch("[0-9a-f]{16}", digest)


def test_a_repository_that_is_not_there_is_told_in_one_line(user: User) -> None:
    done = user.run("assembly.run", "--raw=someone/else", "--formats=0C")
    assert done.returncode == 2
    assert "someone/else: a file or folder of this name is not here, and" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_report_shows_a_hub_repository(user: User) -> None:
    done = user.run("assembly.report", REPOSITORY)
    assert (done.returncode, done.stdout) == (0, "report      report.html\n"), done.stderr
    (side,) = told_in(user.folder / "report.html")["sides"]
    assert (side["name"], side["sets"][0]["revision"]) == (REPOSITORY, user.hub.repositories[REPOSITORY].commits[-1])
    assert user.hub.count("GET .*train-00000-of-00001.parquet") == 1
