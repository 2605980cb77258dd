"""Words of a command line that belong to no flag."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.flags import parse
from tests.test_flags import Config


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
