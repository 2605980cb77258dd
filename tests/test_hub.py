"""Pushing to a hub and reading back, and what is refused before any work: the real client, a hub on this machine."""

from __future__ import annotations

import pytest
from huggingface_hub import DatasetCard

from tests.hub_user import FOLDERS, NAME, User, assert_token_is_nowhere, content, rows_of

# ---- the whole way there and back


def test_the_job_pushes_its_three_sets_and_the_assembly_reads_them_back(user: User) -> None:
    job = user.job("--formats=*C_full")
    assert job.returncode == 0, job.stderr
    for folder in FOLDERS:
        assert user.held(f"someone/{folder}-{NAME}") == content(user.folder / "run" / folder)
        assert user.hub.repositories[f"someone/{folder}-{NAME}"].private
        assert f"pushed      {user.hub.endpoint}/datasets/someone/{folder}-{NAME}, private" in job.stdout

    again = user.run("assembly.run", f"--raw=someone/RAW_DATA-{NAME}", "--formats=*C_full", "--out=again")
    assert again.returncode == 0, again.stderr
    there, here = (sorted((user.folder / place).glob("data/*.parquet")) for place in ("again", "run/SFT_DATA"))
    assert [path.read_bytes() for path in there] == [path.read_bytes() for path in here] != []
    assert_token_is_nowhere(user, job, again)


_LOAD = """
import sys
from datasets import load_dataset
for split, rows in load_dataset(sys.argv[1]).items():
    rows.to_parquet(f"{split}.parquet")
"""


def test_datasets_loads_what_was_pushed_with_equalrows_of(user: User) -> None:
    assert user.job().returncode == 0
    (user.folder / "load_it.py").write_text(_LOAD, encoding="utf-8")
    loaded = user.run("load_it", f"someone/RAW_DATA-{NAME}", PYTHONPATH=str(user.folder))
    assert loaded.returncode == 0, loaded.stderr
    local = [row for path in sorted((user.folder / "run").glob("RAW_DATA/data/*")) for row in rows_of(path)]
    assert rows_of(user.folder / "train.parquet") == local
    assert len(local) == 12 * 4 * 2


def test_the_cards_say_what_a_hub_page_needs(user: User) -> None:
    assert user.job().returncode == 0
    for folder in FOLDERS:
        card = DatasetCard(user.held(f"someone/{folder}-{NAME}")["README.md"].decode())
        data = card.data.to_dict()  # type: ignore[no-untyped-call]
        assert data["license"] == "unknown"
        assert data.get("source_datasets") == ([f"someone/RAW_DATA-{NAME}"] if folder == "SFT_DATA" else None)
        assert data["size_categories"] == ["n<1K"]
        assert "skillfactory" in data["tags"]
        splits = data["dataset_info"]["splits"]
        assert all(split["num_examples"] > 0 and split["num_bytes"] > 0 for split in splits)
        assert data["dataset_info"]["features"]
        assert "How it was made" in card.text
        assert (folder == "RAW_DATA") == ("made again, some rows" in card.text)


# ---- who may see it


def test_public_is_for_everyone(user: User) -> None:
    assert ", public\n" in user.push("public").stdout
    assert not user.hub.repositories["someone/a-set"].private


def test_public_opens_what_was_pushed_privately_and_nothing_closes_it(user: User) -> None:
    assert ", private\n" in user.push().stdout
    assert ", public\n" in user.push("public").stdout
    assert ", public\n" in user.push().stdout
    assert not user.hub.repositories["someone/a-set"].private


# ---- before any work


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"token": "another"}, "a login is not here, and the hub says"),
        ({"role": "read"}, "the token may only read"),
        ({"user": "me"}, "the token is not of that namespace, but of me, anorg"),
    ],
)
def test_a_token_that_may_not_push_ends_the_job_before_any_work(user: User, change: dict[str, str], told: str) -> None:
    for name, value in change.items():
        setattr(user.hub, name, value)
    job = user.job()
    assert job.returncode == 2
    assert told in job.stderr
    assert job.stderr.count("\n") == 1
    assert not (user.folder / "run").exists()
    assert user.hub.repositories == {}
    assert_token_is_nowhere(user, job)


def test_no_token_at_all_names_the_login(user: User) -> None:
    del user.environment["HF_TOKEN"]
    job = user.job()
    assert job.returncode == 2
    assert "hf auth login" in job.stderr
    assert job.stderr.count("\n") == 1


def test_a_member_pushes_into_the_organization(user: User) -> None:
    user.make_folder()
    assert user.run("tests.push", str(user.folder / "data-set"), "anorg", "a-set").returncode == 0
    assert "anorg/a-set" in user.hub.repositories


def test_offline_and_push_exclude_each_other(user: User) -> None:
    job = user.job(HF_HUB_OFFLINE="1")
    assert job.returncode == 2
    assert "HF_HUB_OFFLINE" in job.stderr
    assert not user.hub.asked


def test_no_hub_at_the_endpoint_is_one_line(user: User) -> None:
    job = user.job(HF_ENDPOINT="http://127.0.0.1:1")
    assert job.returncode == 2
    assert "the hub cannot be reached" in job.stderr
    assert job.stderr.count("\n") == 1


def test_public_without_a_push_is_refused(user: User) -> None:
    refused = user.run("tests.drive_job", "--public", "--out=run")
    assert refused.returncode == 2
    assert "--public is for what --push_to pushes" in refused.stderr
