"""A browser for each test, which has seen no error and asked no network when the test is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.lab import Browser, browsing


@pytest.fixture
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser
        assert browser.console() == []
        assert browser.requests() == []
