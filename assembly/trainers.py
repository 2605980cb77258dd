"""Asks a trainer's own data code what it makes of a set, in the trainer's environment, by the package `probe`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from assembly.trained import Example
from cluster.texts import load_table

TRAINERS: dict[str, dict[str, Any]] = load_table("assembly", "trainers.toml")
TEMPLATE = "template"  # the chat template alone, which is no trainer but has remedies as well
_PROBE = Path(__file__).with_name("probe")
_START = "import sys; sys.path[0] = sys.argv.pop(1); from probe.ask import main; main(sys.argv[1])"
_LIMIT_S = 3600.0
_GIVE = "give --python, the one of its environment"


@dataclass
class Answer:
    """What a trainer makes of a set."""

    versions: Mapping[str, str]
    setting: str = ""  # its name for the longest row
    longest: int | None = None  # in tokens, as it is set; None if nothing is cut
    settings: Mapping[str, Any] = field(default_factory=dict)  # that it was asked with
    examples: list[Example] = field(default_factory=list)
    refused: str = ""  # its words, if it does not take the set


def settings_of(trainer: str, layout: str, config: Path | None, template: str) -> dict[str, Any]:
    """Return the trainer's settings: those of the YAML file over ours. `template` is the model's chat template.

    Raises ValueError for a file that cannot be read, for several sets in it, and where the trainer's own template must
    be named and is not.
    """
    known, given = TRAINERS[trainer], dict[str, Any]()
    if config is not None:
        try:
            given = yaml.safe_load(config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"--config {config} cannot be read as YAML: {str(error).splitlines()[0]}") from error
        if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
            raise ValueError(f"--config {config} holds no settings: give {known['shown']}'s own, name: value")
        try:
            json.dumps(given, default=str)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"--config {config} cannot be passed on: {error}") from error
    settings: dict[str, Any] = known["settings"].get(layout, {}) | given
    match settings.get("datasets"):
        case None | [dict()]:
            pass
        case _:
            raise ValueError(f"--config {config} needs one entry in datasets, of this set: leave others out")
    if "templates" in known and "template" not in settings:
        fitting = (row["name"] for row in known["templates"] if _fits(row, template))
        if not (name := next(fitting, "")):
            told = "has a template of its own for each model, and none is known here for this one"
            raise ValueError(f"{known['shown']} {told}: name it in --config, as template: NAME")
        settings["template"] = name
    return settings


def _fits(row: Mapping[str, Any], template: str) -> bool:
    return all(mark in template for mark in row["has"]) and not any(mark in template for mark in row.get("lacks", ()))


class Job(NamedTuple):
    """A set, in a folder, that a trainer is asked about."""

    data: Path
    model: str  # its folder or hub id
    settings: Mapping[str, Any]  # the trainer's own


def ask(trainer: str, python: Path | None, jobs: Sequence[Job]) -> list[Answer]:
    """Return what the trainer makes of each of the sets. Raises ValueError if it cannot be asked."""
    shown, executable = TRAINERS[trainer]["shown"], str(python or sys.executable)
    with tempfile.TemporaryDirectory() as name:
        # By itself: where it lies, modules have names that other packages have too.
        shutil.copytree(_PROBE, Path(name, _PROBE.name))
        todo, log = Path(name, "jobs.json"), Path(name, "log")
        outs = [Path(name, f"{place}.jsonl") for place in range(len(jobs))]
        told = [{**job._asdict(), "out": out} for job, out in zip(jobs, outs, strict=True)]
        todo.write_text(json.dumps({"trainer": trainer, "jobs": told}, default=str), encoding="utf-8")
        try:
            with log.open("wb") as file:
                command = [executable, "-c", _START, name, str(todo)]
                environment = {"TOKENIZERS_PARALLELISM": "false", **os.environ, "TMPDIR": name}
                ended = subprocess.run(
                    command, env=environment, stdout=file, stderr=file, timeout=_LIMIT_S, check=False
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ValueError(f"{shown} cannot be asked by {executable}: {error}") from error
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if ended.returncode:
            last = said[-1] if said else f"exit code {ended.returncode}"
            if "ImportError" in last or "ModuleNotFoundError" in last:
                raise ValueError(f"{shown} is not found by {executable} ({last}): {_GIVE}")
            raise ValueError(f"{shown} was asked by {executable}, and ended: {last}")
        if not all(out.exists() for out in outs):
            raise ValueError(f"{executable} is no Python, and says nothing of {shown}: {_GIVE}")
        return [_read(out, job.settings) for out, job in zip(outs, jobs, strict=True)]


def _read(out: Path, settings: Mapping[str, Any]) -> Answer:
    answer: Answer | None = None
    with out.open(encoding="utf-8") as lines:
        for line in lines:
            said = json.loads(line)
            if "pieces" in said:
                assert answer is not None
                answer.examples.append(Example([(text, trained) for text, trained in said["pieces"]], said["apart"]))
            elif answer is None:
                answer = Answer(**said, settings=settings)
            else:
                answer.refused = said["refused"]
    assert answer is not None
    return answer
