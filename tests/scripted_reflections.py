"""A scripted model that reflects on any sample, of whatever task; what it says is a function of the request alone."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from dataclasses import replace
from pathlib import Path

from cluster.inference.engine import Completion, Request


def judge(request: Request) -> str | Completion:
    """A reflection on any sample, with any verdict or none; one that holds "unspeakable" is refused."""
    if any("unspeakable" in turn["content"] for turn in request.messages):
        return Completion("", "error", 7, error="that cannot be said")
    rng = random.Random(request.seed)
    verdict = rng.choice(("<verdict>Correct</verdict>", "<verdict>Incorrect</verdict>", "Who knows."))
    return f"Thought {rng.randrange(10**9)}. {verdict}"


def speak(request: Request) -> str:
    """As `judge`, and nothing is unspeakable."""
    said = judge(replace(request, messages=()))
    assert isinstance(said, str)
    return said


def never(request: Request) -> str:
    """Of a model that should not have been asked."""
    raise AssertionError(f"asked for {request.key}")


async def slow_judge(request: Request) -> str | Completion:
    """As `judge`, after up to 80 ms; kills its own process once, where the file of SKILLFACTORY_TEST_BAIT was put."""
    await asyncio.sleep(random.Random(f"delay/{request.seed}").random() * 0.08)
    bait = os.environ.get("SKILLFACTORY_TEST_BAIT")
    if bait and random.Random(f"death/{request.seed}").random() < 0.05:
        try:
            Path(bait).unlink()
        except FileNotFoundError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return judge(request)


def think_and_judge(request: Request) -> str | Completion:
    """As `judge`, after a thought."""
    said = judge(request)
    return said if isinstance(said, Completion) else f"<think> Is it? </think>\n\n{said}"
