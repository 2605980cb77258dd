"""Whether each node of a cluster has what an engine needs; nodes are processes of this machine here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.nodes import check_nodes, wait_for
from cluster.session import session

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parent.parent


def test_what_a_node_lacks_is_said_in_a_line(tmp_path: Path) -> None:
    # In a process of its own: a process has one Ray, and other tests share that of this one.
    shutil.copytree(ROOT / "generation", tmp_path / "generation", ignore=shutil.ignore_patterns("model"))
    (tmp_path / "generation" / "rollout.py").write_text("# another version\n")
    command = [sys.executable, "-m", "tests.test_nodes", str(tmp_path)]
    subprocess.run(command, check=True, timeout=150, cwd=ROOT)


def look(other: str) -> None:
    with session(None):
        assert wait_for(1, 10)
        assert not wait_for(2, 0)
        check_nodes(other, None)
        check_nodes("some/model", "abc")  # a node that may ask the hub will
        with pytest.raises(ValueError, match="the model folder /nowhere/model is not there: put it on a file system"):
            check_nodes("/nowhere/model", None)
        sys.path.insert(0, other)  # what this process would import, not what the workers would
        with pytest.raises(ValueError, match="another version of our code is installed there"):
            check_nodes(other, None)


def test_a_node_that_may_not_ask_the_hub_needs_the_model_in_its_cache(tmp_path: Path) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "tests.test_nodes"]
    subprocess.run(command, check=True, timeout=150, cwd=ROOT, env=environment)


def look_for_a_hub_model() -> None:
    with session(None), pytest.raises(ValueError, match="some/model is not in the hub's cache there: share HF_HOME"):
        check_nodes("some/model", "abc")


if __name__ == "__main__":
    look(sys.argv[1]) if len(sys.argv) > 1 else look_for_a_hub_model()
