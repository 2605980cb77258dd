"""Fixtures shared by the tests: Ray for those that need it, a place for processes that must end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from cluster.session import Resources, session

# How fast a machine draws examples says nothing about the code; what is drawn stays the same.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Resources]:
    """One Ray for all tests that deal work to actors."""
    with session(None) as resources:
        yield resources
