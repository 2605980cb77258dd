"""Settings as words of OpenRLHF's command line, and what that makes of them."""

from __future__ import annotations

import argparse
import ast
import importlib.util
from collections.abc import Container, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn


def openrlhf_arguments(settings: dict[str, Any]) -> Any:
    """Return what its own command line makes of settings. Raises ValueError for what that refuses."""

    class Parser(argparse.ArgumentParser):
        def parse_args(self, *_: Any) -> Any:  # type: ignore[override]
            return super().parse_args(words_of(settings, self._option_string_actions))

        def error(self, message: str) -> NoReturn:
            raise ValueError(message)

    # Its source is run up to where it trains: to import it takes flash-attn and deepspeed.
    found = importlib.util.find_spec("openrlhf.cli.train_sft")
    assert found is not None
    path = str(found.origin)
    (block,) = (node for node in ast.parse(Path(path).read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    names: dict[str, Any] = {"argparse": SimpleNamespace(ArgumentParser=Parser), "datetime": datetime}
    exec(compile(ast.Module(block.body[:-1], []), path, "exec"), names)
    return names["args"]


def words_of(settings: dict[str, Any], known: Container[str]) -> Iterator[str]:
    """Yield settings as words of a command line: both `max_len` and `data: {max_len: 9}` are `--data.max_len=9`."""
    given = dict[str, Any]()
    for name, value in flat(settings):
        given[name if f"--{name}" in known or f"--data.{name}" not in known else f"data.{name}"] = value
    for name, value in given.items():
        if isinstance(value, list):
            yield from (f"--{name}", *map(str, value))
        elif value is True:
            yield f"--{name}"
        elif name == "data.input_template":
            # An empty one is none, for which there is no other word.
            yield f"--{name}={value or ''}"
        elif value is not False and value is not None:
            yield f"--{name}={value}"


def flat(settings: dict[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings with the sections that they stand in: `data: {max_len: 1}` is data.max_len."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{section}{name}.")
        else:
            yield f"{section}{name}", value
