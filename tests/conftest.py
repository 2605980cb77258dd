"""Fixtures shared by the tests: Ray, a hub, and somebody who uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cluster.session import Resources, session
from tests.hub_server import serving
from tests.hub_state import Hub
from tests.hub_user import User
from tests.processes import Job

# How fast a machine draws examples says nothing about the code; what is drawn stays the same.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Resources]:
    """One Ray for all tests that deal work to actors."""
    with session(None) as resources:
        yield resources


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Starts `python -m MODULE ARGS`, each with a log of its own; ends whatever a failed test leaves."""
    jobs: list[Job] = []

    def start(module: str, *args: str, **environment: str) -> Job:
        jobs.append(Job(module, args, tmp_path / f"log-{len(jobs)}", environment))
        return jobs[-1]

    yield start
    for job in jobs:
        job.clean()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub()) as hub:
        yield hub


@pytest.fixture
def user(hub: Hub, tmp_path: Path) -> User:
    return User(hub, tmp_path)
