"""The flags that every job on a model has: the model, how it is sampled, its engines, its folder, the hub."""

from dataclasses import dataclass

from cluster.flags import flag
from cluster.jobs.card import UNKNOWN, check_license
from cluster.paths import dataset_folder, local_or_name

DRAWING: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (1e-9, 1),
    "top_k": (0, 10**6),
    "repetition_penalty": (0.01, 100),
}
"""How tokens are drawn, and between what bounds; vLLM takes no more."""
_COLDEST = 0.01
"""Above 0, vLLM draws at no lower temperature than this, whatever it is told."""
_OF_THE_MODEL = "default: the model's generation_config.json"


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What a user may set for any job, checked once when built."""

    model: str | None = flag(
        None, "hub id, also @COMMIT, local folder, or well-known name (default: the built-in one)", local_or_name
    )
    temperature: float | None = flag(None, _OF_THE_MODEL)
    top_p: float | None = flag(None, _OF_THE_MODEL)
    top_k: int | None = flag(None, f"0 keeps all; {_OF_THE_MODEL}")
    repetition_penalty: float | None = flag(None, _OF_THE_MODEL)
    max_tokens: int | None = flag(
        None, "longest sample or reflection (default: 4096 within the context; built-in model 256)"
    )
    seed: int = flag(0, "of questions, prompts, requests and traces")
    engines: int | None = flag(None, "how many engines (default: all there is room for; CPU 1)")
    tensor_parallel: int = flag(1, "GPUs for each engine")
    silence: float | None = flag(None, "seconds without an answer until an engine is replaced (default: 300 or more)")
    retry_failed: bool = flag(False, "try again what failed before")
    address: str | None = flag(None, "a running Ray cluster (default: a Ray of its own)")
    grace_s: int = flag(20, "when told to stop, the longest wait for what is in flight")
    out: str | None = flag(None, "the run directory (default: runs/<what is asked>-<model>)", dataset_folder)
    push_to: str | None = flag(None, "a hub namespace to push what is made to, private")
    public: bool = flag(False, "push it for everyone to see")
    license: str = flag(UNKNOWN, "of the cards, in the hub's words, such as apache-2.0 or cc-by-4.0")
    dry_run: bool = flag(False, "print the plan and stop")

    def __post_init__(self) -> None:
        if self.public and self.push_to is None:
            raise ValueError("--public is for what --push_to pushes: give both or neither")
        check_license(self.license)
        for name in DRAWING:
            check_drawing(name, getattr(self, name), f"--{name}")
        check_range("--max_tokens", self.max_tokens, 1, 10**7)
        check_range("--seed", self.seed, 0, 2**63 - 1)
        check_range("--engines", self.engines, 1, 10_000)
        check_range("--silence", self.silence, 1, 10**6)
        check_range("--tensor_parallel", self.tensor_parallel, 1, 64)
        check_range("--grace_s", self.grace_s, 0, 10**6)


def check_drawing(name: str, value: float | None, shown: str) -> None:
    """Raise ValueError, naming it as `shown`, where engines would refuse the value or draw by another one."""
    check_range(shown, value, *DRAWING[name])
    if name == "temperature" and value is not None and 0 < value < _COLDEST:
        raise ValueError(f"{shown} must be 0, or between {_COLDEST:g} and 2, not {value}: engines draw no colder")
    if name == "top_k" and value is not None and value != int(value):
        raise ValueError(f"{shown} must be a whole number, not {value}")


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise ValueError where the value is given and not between the bounds."""
    if value is not None and not low <= value <= high:
        least, most = (f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for bound in (low, high))
        raise ValueError(f"{name} must be between {least} and {most}, not {value}")
