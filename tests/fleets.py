"""A job up to RAW_DATA with any engines, and scripted engines as actors of Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

from cluster.inference.engine import EngineSettings
from cluster.inference.ray_replicas import RayFleet
from cluster.inference.replicas import Fleet, Placement
from cluster.jobs.job import Job
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.session import Resources
from generation.placement import place
from generation.plan import Plan, make_plan
from generation.raw.report import write_raw_data
from generation.raw.schema import RAW_DATA
from generation.rollout import Work
from generation.settings import Settings


def on_ray(
    plan: JobPlan,
    settings: JobSettings,
    change: Callable[[EngineSettings], EngineSettings],
    *,
    in_flight: int,
    tell: Callable[[Placement, Resources], None] = lambda *_: None,
) -> RayFleet:
    """As many engines as the job would have, where it would have them, each started by other settings."""

    def place_others(resources: Resources) -> Placement:
        # Ray's GPUs may be make-believe, which scripted engines do not mind, and the vLLM here is that for the CPU.
        with patch("cluster.nodes.unfit", lambda *_: ""):
            placement = place(plan, settings, resources)
        tell(placement, resources)
        return replace(placement, settings=change(placement.settings), in_flight=in_flight)

    return RayFleet(settings.address, place_others)


def roll(settings: Settings, fleet: Fleet | Callable[[Plan], Fleet]) -> Job:
    """Roll every question that is owed and write RAW_DATA, as the whole job does; return the job, which is over."""
    with Job(settings) as job:
        plan = make_plan(settings)
        job.check(plan, [RAW_DATA])
        job.roll_out(plan, Work(plan.rollout, plan.task_config), fleet(plan) if callable(fleet) else fleet)
        write_raw_data(plan, job)
        job.set_state("done")
    return job
