"""The frame of a command that works in a run directory: signals, wrong input, a dry run, failures, exit codes.

What is decided, opened and done is handed in; so `generation.run` and `reflection.run` end alike.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from cluster.flags import fail, page
from cluster.jobs.progress import STOPPED, failed, fitted, say, stopped
from cluster.jobs.stop import Left, Stop


class Asked(Protocol):
    """What the frame needs of a command's settings."""

    @property
    def grace_s(self) -> int: ...

    @property
    def dry_run(self) -> bool: ...


class Planned(Protocol):
    """A plan knows its run directory."""

    @property
    def out(self) -> Path: ...


class Opened(Protocol):
    """A run that is open, and how far it has come."""

    @property
    def done(self) -> int: ...

    @property
    def total(self) -> int: ...

    @property
    def unit(self) -> str:
        """What is counted, in the plural."""
        ...

    def tell(self, state: str) -> None:
        """Write down the state of the run."""
        ...


S = TypeVar("S", bound=Asked)
P = TypeVar("P", bound=Planned)
J = TypeVar("J", bound=Opened)


def carry_out(
    settings: S,
    decide: Callable[[S], P],
    describe: Callable[[P], str],
    open_job: Callable[[P, S, ExitStack], J],
    work: Callable[[J, S, Stop], int],
) -> int:
    """Run a command from its settings; return the exit code: 0 done, 1 failed, 75 stopped; exit with 2 for wrong input.

    A ValueError of `decide`, `describe` and `open_job` is wrong input.
    """
    stop = Stop(settings.grace_s)
    stop.listen()
    plan: P | None = None
    job: J | None = None
    with ExitStack() as opened:
        try:
            with stop.leaving(at_once=True):
                plan = decide(settings)
                if settings.dry_run:
                    page(_shown(describe(plan)))
                    return 0
                job = open_job(plan, settings, opened)
            stop.listen()  # once more: Ray replaces handlers
            return work(job, settings, stop)
        except Left:
            if job is not None and plan is not None:
                job.tell("stopped")
                return say_stopped(job, plan.out)
            say("stopped", "before anything was asked; the same command begins again")
            return STOPPED
        except Exception as error:
            if job is None and isinstance(error, ValueError):
                fail(str(error))
            if plan is None:
                raise
            if job is not None:
                with suppress(OSError):  # the disk may be what failed
                    job.tell("failed")
            return failed(error, plan.out, *((None, 0) if job is None else (job.done, job.total, job.unit)))


def _shown(plan: str) -> str:
    """The plan for a person: its lines fitted, the prompts behind the first empty line as they are."""
    head, gap, prompts = plan.partition("\n\n")
    return fitted(head) + gap + prompts


def say_stopped(job: Opened, run: Path) -> int:
    """Say how far a stopped run has come; return the exit code."""
    return stopped(run, job.done, job.total, job.unit)
