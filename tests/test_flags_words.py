"""Words of a command line that belong to no flag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from cluster.flags import flag, parse


@dataclass(frozen=True)
class Config:
    """Make a thing of other things."""

    names: tuple[str, ...] = flag((), "of the others", words=True)
    label: str | None = flag(None, "of the thing")
    seed: int = flag(0, "of its chances")
    dry_run: bool = flag(False, "make nothing")


@pytest.mark.parametrize(
    ("words", "names", "rest"),
    [
        (["a"], ("a",), {}),
        (["a", "b", "--seed", "3"], ("a", "b"), {"seed": 3}),
        (["--dry_run", "a"], ("a",), {"dry_run": True}),
        (["--seed", "3", "a"], ("a",), {"seed": 3}),
        (["--seed=3", "a", "--dry_run"], ("a",), {"seed": 3, "dry_run": True}),
        (["--dry_run", "false", "a"], ("a",), {"dry_run": False}),
        (["--names", "a"], ("a",), {}),
    ],
)
def test_words_of_no_flag_are_those_of_the_first(
    words: list[str], names: tuple[str, ...], rest: dict[str, Any]
) -> None:
    assert parse(Config, words, first="names") == Config(names=names, **rest)


def test_without_a_first_flag_such_words_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(Config, ["a"])
    with pytest.raises(SystemExit, match="2"):
        parse(Config, ["a", "--names=b"], first="names")
    assert "given twice" in capsys.readouterr().err


def test_a_flag_that_takes_one_is_given_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(Config, ["--dry_run", "a"], first="label") == Config(label="a", dry_run=True)
    with pytest.raises(SystemExit, match="2"):
        parse(Config, ["a", "b"], first="label")
    assert "stray word 'b'" in capsys.readouterr().err
