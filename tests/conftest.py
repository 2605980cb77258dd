"""Fixtures shared by the tests: Ray for those that need it, a place for processes that must end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.session import Resources, session


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Resources]:
    """One Ray for all tests that deal work to actors."""
    with session(None) as resources:
        yield resources
