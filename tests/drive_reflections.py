"""Reflections added by a scripted engine in this process: `python -m tests.drive_reflections REPLY FLAGS`.

Flags and exit codes are those of `python -m reflection.run FLAGS`; shards are small.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

import tests.scripted_reflections
from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from reflection import run


def main(reply: str, argv: list[str]) -> int:
    with patch("cluster.jobs.tally.SHARD_ROWS", 40):
        return run.main(argv, fleet=Fleet(ScriptedSettings(getattr(tests.scripted_reflections, reply))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
