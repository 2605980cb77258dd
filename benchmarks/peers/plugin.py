"""A plugin of vLLM that marks the first request and the first token of an engine's front end, and then steps aside."""

from __future__ import annotations

import os
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.peers.work import MARKS, REQUEST, TOKEN, mark

_NAME = "peers_marks-1.dist-info"
_METADATA = "Metadata-Version: 2.1\nName: peers-marks\nVersion: 1\n"
_ENTRY = "[vllm.general_plugins]\npeers_marks = benchmarks.peers.plugin:register\n"


def install(folder: Path) -> None:
    """Make a folder that, on PYTHONPATH, brings the plugin to every vLLM."""
    there = folder / _NAME
    there.mkdir(parents=True, exist_ok=True)
    (there / "METADATA").write_text(_METADATA, encoding="utf-8")
    (there / "entry_points.txt").write_text(_ENTRY, encoding="utf-8")


def register() -> None:
    """What vLLM calls in each of its processes."""
    if MARKS not in os.environ:
        return
    from vllm.v1.engine.output_processor import OutputProcessor

    _once(OutputProcessor, "add_request", REQUEST)
    _once(OutputProcessor, "process_outputs", TOKEN)


def _once(owner: Any, name: str, moment: str) -> None:
    """Mark the first call of a method with something in its first argument, and put the method back."""
    method = getattr(owner, name)

    @wraps(method)
    def marking(self: Any, given: Any, *others: Any, **named: Any) -> Any:
        if given:
            setattr(owner, name, method)
            mark(moment)
        return method(self, given, *others, **named)

    setattr(owner, name, marking)
