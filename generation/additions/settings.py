"""What a user may set for more reflections, checked once when built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from functools import cached_property
from typing import Any

from cluster.paths import dataset_folder, local_or_name
from generation.licenses import UNKNOWN
from generation.settings import Settings


def _flag(default: Any, text: str, path: Callable[[str], str] | None = None) -> Any:
    return field(default=default, metadata={"help": text, "path": path})


@dataclass(frozen=True)
class AdditionSettings:
    """Add reflections, by the same or another model, to a RAW_DATA, ours or published; all else stays as it is.

    The RAW_DATA given is only read: what is made is a RAW_DATA of its own in the run directory.
    """

    raw: str = _flag(
        MISSING, "a RAW_DATA or run folder, a parquet file, or a hub dataset (namespace/name)", local_or_name
    )
    reflections: int | None = _flag(None, "how many more for each graded sample (default: 4; built-in model 2)")
    model: str | None = _flag(
        None, "hub id, also @COMMIT, local folder, or well-known name (default: the built-in one)", local_or_name
    )
    temperature: float | None = _flag(None, "default: the model's generation_config.json")
    top_p: float | None = _flag(None, "default: the model's generation_config.json")
    top_k: int | None = _flag(None, "0 keeps all; default: the model's generation_config.json")
    repetition_penalty: float | None = _flag(None, "default: the model's generation_config.json")
    max_tokens: int | None = _flag(None, "longest reflection (default: 4096 within the context; built-in 256)")
    seed: int = _flag(0, "of prompts and requests")
    engines: int | None = _flag(None, "how many engines (default: all there is room for; CPU 1)")
    tensor_parallel: int = _flag(1, "GPUs for each engine")
    silence: float | None = _flag(None, "seconds without an answer until an engine is replaced (default: 300 or more)")
    retry_failed: bool = _flag(False, "try the rows again that failed before")
    address: str | None = _flag(None, "a running Ray cluster (default: a Ray of its own)")
    grace_s: int = _flag(20, "when told to stop, the longest wait for rows in flight")
    out: str | None = _flag(None, "the run directory (default: runs/<raw>-reflected-<model>)", dataset_folder)
    push_to: str | None = _flag(None, "a hub namespace to push the dataset to, private")
    public: bool = _flag(False, "push it for everyone to see")
    license: str = _flag(UNKNOWN, "of the card, in the hub's words, such as apache-2.0 or cc-by-4.0")
    dry_run: bool = _flag(False, "print the plan and stop")

    def __post_init__(self) -> None:
        if self.reflections == 0:
            raise ValueError("--reflections must be between 1 and 1,000, not 0")
        assert self.job  # its own checks

    @cached_property
    def job(self) -> Settings:
        """The same flags as those of the whole job, which they are: of model, sampling, engines and hub."""
        shared = {one.name for one in dataclasses.fields(Settings)} & {one.name for one in dataclasses.fields(self)}
        return Settings(**{name: getattr(self, name) for name in shared})
