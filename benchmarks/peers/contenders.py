"""Who is compared, in the order of a round; each name is one of `--only`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """A command: `python -m benchmarks.peers.MODULE JOB OUT FLAGS`, in its environment."""

    what: str
    module: str  # "" for the product, which is a command of its own
    flags: tuple[str, ...] = ()
    ours: bool = False  # True if it runs with the product's environment variables, and arguments of vLLM
    environment: str = ""  # of requirements/; "" for ours
    after: str = ""  # the contender of the same round whose rows it asks for again


SCRIPT, SCRIPT_OURS, PRODUCT = "script", "script_ours", "product"
CONTENDERS = {
    PRODUCT: Contender("the product", ""),
    "bare": Contender("bare `LLM.generate`, the product's requests known at once", "bare", (), True, "", PRODUCT),
    SCRIPT: Contender("script with three barriers, vLLM's defaults", "barriers"),
    SCRIPT_OURS: Contender("the same, our settings", "barriers", ("--ours",), True),
    "script_reload": Contender("script, engine loaded for each stage", "barriers", ("--reload",)),
    "ray_data": Contender("ray.data.llm, defaults", "ray_data", (), False, "ray_data"),
    "ray_data_ours": Contender("ray.data.llm, tuned", "ray_data", ("--ours",), True, "ray_data"),
    "datatrove": Contender("datatrove, defaults", "datatrove_runner", (), False, "datatrove"),
    "datatrove_ours": Contender("datatrove, tuned", "datatrove_runner", ("--ours",), True, "datatrove"),
    "asyncio": Contender("asyncio over AsyncLLM, our settings, seeded", "asyncio_llm", (), True),
}
