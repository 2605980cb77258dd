"""The model of a run and how it is sampled: as asked for, else as the model says of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cluster.inference.engine import Sampling
from cluster.inference.models import Model, find
from cluster.jobs.run_directory import begun_with
from generation import builtin
from generation.settings import DRAWING, Settings, check_drawing

LONGEST = 4096
BUILTIN_LONGEST = 256
"""Tokens of a sample or reflection, unless another number is asked for."""


def is_builtin(name: str | None) -> bool:
    """Return True for the built-in model: unnamed, or by its own name unless a folder has that name."""
    return name is None or (name == builtin.NAME and not Path(name).is_dir())


def asked_model(settings: Settings, before: str) -> Model:
    """Find the model asked for, at the commit with which the run began; `before` is how a default --out begins.

    Raises ValueError if it is not there or not fit.
    """
    if settings.model is None or is_builtin(settings.model):
        return replace(find(str(builtin.MODEL)), name=builtin.NAME)
    if settings.model.startswith(f"{builtin.NAME}@"):
        raise ValueError(f"model {settings.model}: the built-in model has no commits; give --model {builtin.NAME}")
    name = Path(settings.model.partition("@")[0]).name
    return find(settings.model, begun_with(Path(settings.out or f"{before}-{name}")), (builtin.NAME,))


def sampling_of(settings: Settings, model: Model, *, small: bool) -> Sampling:
    """Choose the sampling: flags go before generation_config.json; `small` models write less. Raises ValueError."""
    for name in DRAWING:
        if getattr(settings, name) is None:
            _check_own(name, model)

    def choose(name: str, neutral: float) -> float:
        asked: float | None = getattr(settings, name)
        return asked if asked is not None else model.sampling.get(name, neutral)

    longest = BUILTIN_LONGEST if small else LONGEST
    max_tokens = settings.max_tokens or min(longest, model.context // 2)
    if max_tokens >= model.context:
        raise ValueError(f"--max_tokens {max_tokens} leaves no room for a prompt: the context is {model.context}")
    return Sampling(
        temperature=choose("temperature", 1.0),
        top_p=choose("top_p", 1.0),
        top_k=int(choose("top_k", 0)),
        repetition_penalty=choose("repetition_penalty", 1.0),
        max_tokens=max_tokens,
    )


def _check_own(name: str, model: Model) -> None:
    try:
        check_drawing(name, model.sampling.get(name), f"model {model.name}: {name} in generation_config.json")
    except ValueError as error:
        raise ValueError(f"{error}; give --{name}, which goes before it") from error


def notes_on_sampling(settings: Settings, model: Model, several: int, what: str = "samples of a variant") -> list[str]:
    """Return notes on what will not be drawn as the model says of itself, or would be the same each time."""
    notes = []
    if model.unused:
        are = "is" if len(model.unused) == 1 else "are"
        notes.append(f"generation_config.json also sets {', '.join(model.unused)}, which {are} not used")
    asked = settings.temperature
    temperature = asked if asked is not None else model.sampling.get("temperature", 1.0)
    if not temperature and several > 1:
        source = "" if asked is not None else " by the model's generation_config.json"
        notes.append(
            f"temperature 0{source}: nothing is drawn, so all {several:,} {what} will be the same; give a --temperature"
        )
    return notes
