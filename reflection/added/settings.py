"""What a user may set for more reflections, checked once when built."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from cluster.flags import flag
from cluster.jobs.settings import JobSettings, check_range
from cluster.paths import local_or_name


@dataclass(frozen=True, kw_only=True)
class AdditionSettings(JobSettings):
    """Add reflections, by the same or another model, to a RAW_DATA, ours or published; all else stays as it is.

    The RAW_DATA given is only read: what is made is a RAW_DATA of its own in the run directory.
    """

    raw: str = flag(
        MISSING, "a RAW_DATA or run folder, a parquet file, or a hub dataset (namespace/name)", local_or_name
    )
    reflections: int | None = flag(None, "how many more for each graded sample (default: 4; built-in model 2)")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("--reflections", self.reflections, 1, 1_000)
