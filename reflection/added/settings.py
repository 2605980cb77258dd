"""What a user may set for more reflections, checked once when built."""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, dataclass
from functools import cached_property

from cluster.flags import flag
from cluster.jobs.card import UNKNOWN
from cluster.paths import dataset_folder, local_or_name
from generation.settings import Settings


@dataclass(frozen=True)
class AdditionSettings:
    """Add reflections, by the same or another model, to a RAW_DATA, ours or published; all else stays as it is.

    The RAW_DATA given is only read: what is made is a RAW_DATA of its own in the run directory.
    """

    raw: str = flag(
        MISSING, "a RAW_DATA or run folder, a parquet file, or a hub dataset (namespace/name)", local_or_name
    )
    reflections: int | None = flag(None, "how many more for each graded sample (default: 4; built-in model 2)")
    model: str | None = flag(
        None, "hub id, also @COMMIT, local folder, or well-known name (default: the built-in one)", local_or_name
    )
    temperature: float | None = flag(None, "default: the model's generation_config.json")
    top_p: float | None = flag(None, "default: the model's generation_config.json")
    top_k: int | None = flag(None, "0 keeps all; default: the model's generation_config.json")
    repetition_penalty: float | None = flag(None, "default: the model's generation_config.json")
    max_tokens: int | None = flag(None, "longest reflection (default: 4096 within the context; built-in 256)")
    seed: int = flag(0, "of prompts and requests")
    engines: int | None = flag(None, "how many engines (default: all there is room for; CPU 1)")
    tensor_parallel: int = flag(1, "GPUs for each engine")
    silence: float | None = flag(None, "seconds without an answer until an engine is replaced (default: 300 or more)")
    retry_failed: bool = flag(False, "try the rows again that failed before")
    address: str | None = flag(None, "a running Ray cluster (default: a Ray of its own)")
    grace_s: int = flag(20, "when told to stop, the longest wait for rows in flight")
    out: str | None = flag(None, "the run directory (default: runs/<raw>-reflected-<model>)", dataset_folder)
    push_to: str | None = flag(None, "a hub namespace to push the dataset to, private")
    public: bool = flag(False, "push it for everyone to see")
    license: str = flag(UNKNOWN, "of the card, in the hub's words, such as apache-2.0 or cc-by-4.0")
    dry_run: bool = flag(False, "print the plan and stop")

    def __post_init__(self) -> None:
        if self.reflections == 0:
            raise ValueError("--reflections must be between 1 and 1,000, not 0")
        assert self.job  # its own checks

    @cached_property
    def job(self) -> Settings:
        """The shared flags, as generation.run takes them."""
        shared = {one.name for one in dataclasses.fields(Settings)} & {one.name for one in dataclasses.fields(self)}
        return Settings(**{name: getattr(self, name) for name in shared})
