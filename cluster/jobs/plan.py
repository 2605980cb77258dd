"""The flags of every job that runs a model, and a job's plan: its items, and their rows."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import pyarrow as pa

from cluster.flags import flag
from cluster.inference.chat_templates import check_kwargs
from cluster.inference.engine import SAMPLING_BOUNDS, Sampling
from cluster.inference.engine_arguments import check_engine_args
from cluster.inference.models import Model
from cluster.inference.sampling import NAMED, check_sampling, read_sampling
from cluster.inference.server_flags import check_server_flags
from cluster.inference.tokenizer import ChatFormat
from cluster.inference.values import check_range
from cluster.jobs.card import UNKNOWN, check_license
from cluster.jobs.growth import Amounts, Asked, covers, first_of
from cluster.jobs.run_directory import JSON, Earlier
from cluster.jobs.store import KEY
from cluster.jobs.tracking import TrackerName, check_library
from cluster.paths import dataset_folder, local, local_or_name

_MODEL = "hub id, also @COMMIT, local folder, or well-known name (default: the built-in one)"
_CODE = "run code that came with the model, with all your rights, here and on every node"
_OF_THE_MODEL = "default: the model's generation_config.json"
_LENGTH = "longest sample or reflection (default: 4096 within the context; built-in model 256)"
_SERVER = "URL of a running OpenAI-compatible server to ask instead of starting engines; or several, by comma"
_TEMPLATE = "a Jinja file, one of the model's templates by name, or plain for base models (default: the model's own)"
_VARIABLES = 'variables for the chat template, as JSON: {"enable_thinking": false}'
_MORE = 'further fields of vLLM\'s SamplingParams, as JSON: {"min_p": 0.05, "stop": ["###"]}'
_ARGUMENTS = 'arguments of vLLM\'s engine, as JSON: {"quantization": "fp8", "max_num_seqs": 64}'
_SILENCE = "seconds without an answer until an engine is replaced (default: 300 or more)"


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """Settings that every job has, validated on creation."""

    model: str | None = flag(None, _MODEL, local_or_name, group="model", often=True)
    revision: str | None = flag(None, "commit, branch or tag of a --model on the hub, also as --model NAME@COMMIT")
    adapter: str | None = flag(
        None, "a LoRA adapter for the model: hub id, also @COMMIT, or local folder", local_or_name
    )
    run_model_code: bool = flag(False, _CODE)
    chat_template: str | None = flag(None, _TEMPLATE, local)
    chat_kwargs: dict[str, Any] | None = flag(None, _VARIABLES)
    examples: str | None = flag(
        None, "a JSON Lines file of few-shot examples for samples and reflections: docs/tasks.md", local
    )
    temperature: float | None = flag(None, _OF_THE_MODEL, group="sampling")
    top_p: float | None = flag(None, _OF_THE_MODEL)
    top_k: int | None = flag(None, f"0 keeps all; {_OF_THE_MODEL}")
    repetition_penalty: float | None = flag(None, _OF_THE_MODEL)
    max_tokens: int | None = flag(None, _LENGTH, bounds=(1, 10**7), often=True)
    sampling: dict[str, Any] | None = flag(None, _MORE)
    seed: int = flag(0, "of questions, prompts, requests and traces", bounds=(0, 2**63 - 1))
    engines: int | None = flag(
        None,
        "how many engines (default: all there is room for; CPU 1)",
        bounds=(1, 10_000),
        group="engines",
        often=True,
    )
    tensor_parallel: int = flag(1, "GPUs for each engine", bounds=(1, 64))
    engine_args: dict[str, Any] | None = flag(None, _ARGUMENTS)
    silence: float | None = flag(None, _SILENCE, bounds=(1, 10**6))
    address: str | None = flag(None, "a running Ray cluster (default: a Ray of its own)")
    server: tuple[str, ...] = flag((), _SERVER, often=True)
    api_key_env: str | None = flag(None, "the environment variable that holds the server's key")
    concurrency: int = flag(64, "requests in flight on each server", bounds=(1, 10_000))
    out: str | None = flag(
        None,
        "the run directory (default: runs/<what is asked>-<model>)",
        dataset_folder,
        group="output",
        often=True,
    )
    dry_run: bool = flag(False, "print the plan and stop", often=True, once=True)
    push_to: str | None = flag(None, "a hub namespace to push what is made to, private")
    public: bool = flag(False, "push it for everyone to see")
    license: str = flag(UNKNOWN, "of the cards, in the hub's words, such as apache-2.0 or cc-by-4.0")
    log_to: TrackerName | None = flag(
        None, "a tracker for the run's figures: wandb or mlflow, each an extra of its name"
    )
    retry_failed: bool = flag(False, "try again what failed before", once=True)
    accept_version: bool = flag(
        False, "go on with a run under another version of vLLM, which draws other samples", once=True
    )
    grace_s: int = flag(20, "when told to stop, the longest wait for what is in flight", bounds=(0, 10**6))

    def __post_init__(self) -> None:
        if self.public and self.push_to is None:
            raise ValueError("--public is for what --push_to pushes: give both or neither")
        check_license(self.license)
        check_kwargs(self.chat_kwargs)
        for name in SAMPLING_BOUNDS:
            check_sampling(name, getattr(self, name), f"--{name}")
        check_bounds(self)
        for name in self.sampling or {}:
            if name in NAMED and getattr(self, name) is not None:
                raise ValueError(f"--{name} and {name} in --sampling: give one of them")
        self.given_sampling()
        check_engine_args(self.engine_args or {})
        check_library(self.log_to)
        check_server_flags(self)

    def given_sampling(self) -> dict[str, Any]:
        """Return the sampling parameters that flags give, those in --sampling among them. Raises ValueError."""
        named = {name: value for name in NAMED if (value := getattr(self, name)) is not None}
        return read_sampling(self.sampling or {}, "--sampling") | named


def check_bounds(settings: Any) -> None:
    """Raise ValueError for a number outside the bounds of its flag. A text, if the flag takes one, has no bounds."""
    for one in fields(settings):
        value, bounds = getattr(settings, one.name), one.metadata["bounds"]
        if bounds and not isinstance(value, str):
            check_range(f"--{one.name}", value, *bounds)


class Item(Protocol):
    """One unit of work for an engine: its key, the task of its question or "", and its whole text."""

    @property
    def key(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class JobPlan(ABC):
    """Everything decided about a run before it starts."""

    schema: ClassVar[pa.Schema]  # of the shards
    sort_by: ClassVar[tuple[str, ...]]  # columns that order the rows of an item
    key: ClassVar[str] = KEY  # the column with the item's key
    item: ClassVar[str] = "question"  # what to call one item
    unit: ClassVar[str] = "questions"  # what the user sees counted; an item stands for `size` of them
    grows: ClassVar[Sequence[str]] = ()  # the amounts in its configuration that may become more
    of_each: ClassVar[Sequence[str]] = ()  # those of them that are asked of each item

    name: str  # the last part of the dataset repositories' names
    configuration: Mapping[str, JSON]  # all that the rows depend on; a run directory accepts no other
    model: Model
    sampling: Sampling
    engine_args: Mapping[str, Any]  # of --engine_args
    chat: ChatFormat
    context: int  # of the engines, in tokens
    per_item: int  # requests that one item makes at once
    out: Path
    license: str  # for the cards
    notes: tuple[str, ...] = ()  # for the user, before the run starts
    texts: Mapping[str, JSON] = field(default_factory=dict)  # every text in use, for run.json
    earlier: Earlier | None = field(default=None, compare=False)
    """What its configuration would be with smaller amounts; None if it cannot grow."""

    @property
    def max_tokens(self) -> int:
        """Return the length of the longest completion, in tokens."""
        return self.sampling.max_tokens

    @property
    @abstractmethod
    def keys(self) -> Sequence[str]:
        """Return the keys of all items, in order."""

    @property
    def merged(self) -> Sequence[str]:
        """Return the keys of the items whose rows become the run's first dataset, in order: by default all."""
        return self.keys

    @abstractmethod
    def items(self, keys: Collection[str]) -> Iterable[Item]:
        """Return the items of these keys, in order."""

    @abstractmethod
    def introduction(self) -> Iterable[tuple[str, str]]:
        """Return the lines that the user sees first, with their stages."""

    def size(self, key: str) -> int:
        """Return how many units the item with this key stands for."""
        return 1

    def count(self, keys: Iterable[str]) -> int:
        """Return how many units these items stand for."""
        return sum(map(self.size, keys))

    def asked(self, record: Mapping[str, Any] | None) -> Asked:
        """Return what is asked of each item, and was by the run of this run.json at first."""
        now, first = ({name: of.get(name) for name in self.of_each} for of in (self.configuration, self._first(record)))
        return Asked(now, first, self.whole)

    def _first(self, record: Mapping[str, Any] | None) -> Mapping[str, JSON]:
        return self.configuration if record is None else first_of(record)

    def whole(self, key: str, had: Amounts) -> bool:
        """Return True if an item of which so much was asked lacks nothing."""
        return all(covers(had.get(name), self.configuration.get(name)) for name in self.of_each)

    def resumed(self, item: Any, rows: pa.Table) -> Item:
        """Return the item as it is asked for what it lacks beside these rows, which its result holds too."""
        raise NotImplementedError(f"{type(self).__name__} cannot grow")

    def restated(self, rows: pa.Table) -> pa.Table:
        """Return the rows with what they say of the whole run as it has become."""
        return rows

    def with_notes(self, *notes: str) -> Self:
        """Return the plan with these notes added, except empty ones."""
        return replace(self, notes=(*self.notes, *filter(None, notes)))
