"""The crash test's kills of whole nodes; the others are in test_kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash_report import kill

pytestmark = pytest.mark.ray


def test_whole_nodes(tmp_path: Path) -> None:
    """Two nodes with an address each, where namespaces can be had; engines on both, the driver on one."""
    report = kill("nodes", 53, tmp_path)
    assert report["kills"].keys() == {"actor", "driver", "node", "write"}
    assert report["spread"] == 2
