"""A table of cases as one test, which names every row that fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def check_rows(check: Callable[..., None], rows: Iterable[Any]) -> None:
    """Call `check` with the columns of each row, or with the row where it takes one argument alone."""
    single = len(inspect.signature(check).parameters) == 1
    failed = []
    for row in rows:
        try:
            check(*([row] if single else row))
        except (AssertionError, pytest.fail.Exception, ValueError) as error:
            failed.append(f"{row!r:.300}\n    {type(error).__name__}: {error}")
    assert not failed, f"{len(failed)} rows fail:\n" + "\n".join(failed)
