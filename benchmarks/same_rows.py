"""How often the real engine answers otherwise when it is asked otherwise: the same questions, made several ways.

`python -m benchmarks.same_rows [QUESTIONS]`. A batch of one on one core is the most deterministic; larger batches, the
prefix cache, and another order change floats. Rows are compared with those of the first way.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cluster.inference.ray_replicas import RayFleet
from cluster.inference.replicas import Placement
from cluster.inference.vllm_settings import VllmSettings
from cluster.session import Resources
from generation.placement import place
from generation.plan import Plan
from generation.raw.schema import RAW_DATA
from generation.settings import Settings
from tests.crash_report import identity, read
from tests.fleets import roll

WAYS = (
    ("one by one", 1, 1),
    ("one by one", 2, 1),
    ("one by one", 4, 1),
    ("default batch", 1, 0),
    ("default batch", 2, 0),
)
"""What it is called, engines, sequences side by side (0 for the default)."""
ONE_CORE = {"OMP_NUM_THREADS": "1"}
_TOKENS = "cached_tokens"


def make(questions: int, engines: int, sequences: int) -> dict[tuple[Any, ...], dict[str, Any]]:
    """RAW_DATA's rows by identity."""
    with tempfile.TemporaryDirectory(prefix="same-rows-") as folder:
        settings = Settings(
            questions=questions, rl_questions=0, variants=("original",), max_tokens=64, engines=engines, out=folder
        )

        def place_others(plan: Plan, resources: Resources) -> Placement:
            placement = place(plan, settings, resources)
            assert isinstance(placement.settings, VllmSettings)
            engine = replace(placement.settings, max_sequences=sequences) if sequences else placement.settings
            environment = {**placement.environment, **(ONE_CORE if sequences else {})}
            return replace(placement, settings=engine, environment=environment)

        job = roll(settings, lambda plan: RayFleet(None, partial(place_others, plan)))
        assert job.code == 0
        return {identity(row): row for row in read(Path(folder, RAW_DATA))}


def differing(row: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    """Columns that differ; the count of cached tokens apart, since it tells only who was asked before."""
    found = {name for name in row if _plain(row[name]) != _plain(other[name])}
    return found or ({_TOKENS} if row != other else set())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if name != _TOKENS}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def main(questions: str = "32") -> None:
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, engines, sequences in WAYS:
        made = make(int(questions), engines, sequences)
        first = first or made
        assert made.keys() == first.keys()
        columns = [differing(row, first[key]) for key, row in made.items()]
        texts = sum(bool(found - {_TOKENS}) for found in columns)
        counts = sum(found == {_TOKENS} for found in columns)
        print(
            f"{name}, {engines} engines: {texts} of {len(made)} rows differ, {counts} more in cached tokens alone",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
