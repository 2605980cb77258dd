"""Progress of the assembly for a person: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from cluster.messages import bars

T = TypeVar("T")
_EVERY_S = 10.0
_BAR = "{desc}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} parts, {remaining} left"
_LINE = "{desc}{n_fmt}/{total_fmt} parts, {remaining} left"


def follow(results: Iterable[T], total: int, stage: str) -> Iterator[T]:
    """Yield the results as they come and show progress; nothing is said of what is done within ten seconds."""
    started = spoke = time.monotonic()
    name = f"{stage:<12}"
    bar = tqdm(results, name, total, leave=False, bar_format=_BAR, dynamic_ncols=True, delay=2, disable=not bars())
    for done, result in enumerate(bar, 1):
        yield result
        now = time.monotonic()
        if bar.disable and now - spoke > _EVERY_S:
            spoke = now
            print(tqdm.format_meter(done, total, now - started, prefix=name, bar_format=_LINE), flush=True)
