"""What the heads of the cards say: the licence that was asked for, and what a set was made from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from assembly.run import Config
from assembly.run import main as assemble
from cluster.jobs.card import LICENSES, Split, check_license, digest_of, header
from generation.plan import make_plan
from generation.raw.schema import SCHEMA
from generation.settings import Settings
from reflection.added.plan import AdditionSettings
from tests import drive_job
from tests.reflection_rows import add_to


def head_of(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    return read


def origin_of(folder: Path) -> str:
    """The line of the card that names the RAW_DATA."""
    (line,) = re.findall("^From .*", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return str(line)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("licences") / "run"
    flags = ["--questions=12", "--rl_questions=2", "--license=cc-by-4.0"]
    assert drive_job.main([*flags, f"--out={out}"]) == 0
    return out


def test_all_cards_of_a_run_name_the_licence(run: Path) -> None:
    assert {head_of(run / name)["license"] for name in ("RAW_DATA", "SFT_DATA", "RL_DATA")} == {"cc-by-4.0"}


def test_so_do_those_of_the_other_commands(run: Path, tmp_path: Path) -> None:
    after = add_to(run / "RAW_DATA", tmp_path / "more", "--license=mit")
    assert head_of(after)["license"] == "mit"
    assemble([f"--raw={after}", "--formats=0C", "--license=other", f"--out={tmp_path / 'sft'}"])
    assert head_of(tmp_path / "sft")["license"] == "other"
    assemble([f"--raw={after}", "--formats=0C", f"--out={tmp_path / 'sft'}"])
    assert head_of(tmp_path / "sft")["license"] == "unknown", "nobody said it of this one"


def test_the_licence_changes_no_row(run: Path) -> None:
    """A run may go on under another one: it is not part of what makes it this run."""
    plain, licensed = (make_plan(Settings(questions=4, license=name)) for name in ("unknown", "mit"))
    assert plain.configuration == licensed.configuration
    assert drive_job.main(["--questions=12", "--rl_questions=2", f"--out={run}", "--license=cc-by-4.0"]) == 0


def test_the_card_of_the_traces_names_the_rows_they_are_made_from(run: Path, tmp_path: Path) -> None:
    digest = digest_of(sorted((run / "RAW_DATA" / "data").iterdir()))
    told = f"From `RAW_DATA-countdown_3arg-skillfactory-tiny-3m`, whose files have the digest `{digest}`; "
    assert origin_of(run / "SFT_DATA").startswith(told)
    assert "source_datasets" not in head_of(run / "SFT_DATA"), "it has no place on a hub"
    for raw in (run, run / "RAW_DATA"):
        assemble([f"--raw={raw}", "--formats=0C", f"--out={tmp_path / 'sft'}"])
        assert origin_of(tmp_path / "sft").startswith(told)
    (file,) = (run / "RAW_DATA" / "data").iterdir()
    (tmp_path / "lonely.parquet").write_bytes(file.read_bytes())
    assemble([f"--raw={tmp_path / 'lonely.parquet'}", "--formats=0C", f"--out={tmp_path / 'sft'}"])
    assert origin_of(tmp_path / "sft").startswith(f"From `lonely.parquet`, whose files have the digest `{digest}`; ")
    assert str(tmp_path) not in (tmp_path / "sft" / "README.md").read_text(encoding="utf-8")


def test_hub_ids_alone_stand_in_the_head() -> None:
    sources = ["owner/RAW_DATA-x", "RAW_DATA", ""]
    split = Split(1, 1, [])
    told = header(SCHEMA, [split], tags=["x"], models=["a/model", "local"], license="mit", sources=sources)
    read = yaml.safe_load(told.split("---\n")[1])
    assert (read["base_model"], read["source_datasets"], read["license"]) == (["a/model"], ["owner/RAW_DATA-x"], "mit")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Apache-2.0", "did you mean apache-2.0?"),
        ("apache2", "apache-2.0"),
        ("CC BY 4.0", "did you mean cc-by-4.0?"),
        ("cc-by", "cc-by-"),
        ("MIT", "did you mean mit?"),
        ("gplv3", "gpl"),
        ("none", "did you mean unknown?"),
        ("42", "it knows apache-2.0, mit, cc-by-4.0, cc0-1.0, other and unknown"),
        ("", "it knows apache-2.0"),
        ("my own words: you may not", "it knows apache-2.0"),
        ("mit\nlicense: other", "is no licence that the hub knows"),
    ],
)
def test_what_is_no_licence_is_refused(name: str, near: str) -> None:
    with pytest.raises(ValueError, match="--license") as refused:
        check_license(name)
    assert near in str(refused.value)
    for command in (lambda: Settings(license=name), lambda: AdditionSettings(raw="x", license=name)):
        with pytest.raises(ValueError, match="--license"):
            command()
    with pytest.raises(ValueError, match="--license"):
        Config(("x",), license=name)


def test_every_identifier_is_taken() -> None:
    assert {"apache-2.0", "cc-by-4.0", "mit", "other", "unknown", "llama3.1", "openrail++"} <= LICENSES
    for name in LICENSES:
        check_license(name)
