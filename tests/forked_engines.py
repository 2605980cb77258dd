"""Real vLLM engines for one test process, each started in a few seconds: a fork of it, which imported vllm once."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import cast
from unittest.mock import patch

from cluster.inference.replicas import Fleet
from cluster.inference.vllm_settings import VllmSettings
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.session import local_resources
from generation import run
from generation.placement import place

_STARTERS = ("vllm.v1.engine.utils", "vllm.v1.executor.multiproc_executor")
_CACHE = 64 << 20


@contextmanager
def forking() -> Iterator[None]:
    """vLLM's processes are forks of this one meanwhile; on the CPU it would spawn them, each to import vllm anew."""
    fork = multiprocessing.get_context("fork")
    with ExitStack() as stack:
        # vLLM itself changes the environment, above all LD_PRELOAD, for all that start later.
        stack.enter_context(patch.dict(os.environ))
        for module in _STARTERS:
            stack.enter_context(patch(f"{module}.get_mp_context", lambda: fork))
        yield
        # vLLM leaves its sockets to the collector, which warns of them, and here nobody minds.
        gc.collect()


def drive(argv: Sequence[str]) -> int:
    """Return the exit code of the whole job, whose engine is as it would be on Ray, but in this process."""

    def fleet(plan: JobPlan, flags: JobSettings) -> Fleet:
        placement = place(plan, flags, local_resources())
        os.environ.update(placement.environment)
        settings = cast("VllmSettings", placement.settings)
        return Fleet(replace(settings, cache_bytes=_CACHE), in_flight=placement.in_flight, per_item=placement.per_item)

    with patch("generation.run.choose_fleet", fleet):
        return run.main(argv)
