"""The columns in which RL trainers take a question. Each layout holds all of it, so any can be made of any other."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from assembly.layouts import MESSAGES
from cluster.texts import fill, load_table
from generation.raw.schema import Column
from generation.records import RlLayoutName

SOURCE = "skillfactory/"
ENVIRONMENT = "skillfactory"
"""SkyRL's environment in reward.py."""
RL_TRAINERS: dict[str, dict[str, str]] = load_table("assembly", "rl_trainers.toml")
_TEXT = pa.string()
_EXTRA = pa.struct([("index", pa.int64()), ("question_key", _TEXT), ("split", _TEXT)])
_TRUTH = "a JSON string with the gold answer, the grader's name and the facts it needs"
_TURN = "the plain question as one user turn"
_NAMED = f"`{SOURCE}` and the task: a name that no trainer has a rule of its own for"
_EXTRA_INFO = Column("extra_info", _EXTRA, "place among the questions of both splits, the question's name, the split")
_GROUND_TRUTH = Column("ground_truth", _TEXT, _TRUTH)
_DATA_SOURCE = Column("data_source", _TEXT, _NAMED)
_FLAT = (
    Column("question_key", _TEXT, "the question's name"),
    Column("index", pa.int64(), "place among the questions of both splits"),
)


RATES = (
    Column("pass_rate", pa.float64(), "share of the run's own samples of it that are right; null if none was answered"),
    Column("n", pa.int64(), "how many samples that is of: those whose request did not fail"),
)
"""Columns that each layout has behind its own if the questions were sampled."""
RATE_FIELDS = [pa.field(column.name, column.type) for column in RATES]


class Held(NamedTuple):
    """A question held out for RL."""

    place: int  # among the questions of both splits
    key: str
    task: str
    split: str
    text: str
    truth: str  # all that is needed to grade an answer, as JSON
    pass_rate: float | None = None  # share of the run's own samples that are right; None if not known
    n: int | None = None  # samples that this is of; None if the run took none of any question

    @property
    def source(self) -> str:
        return f"{SOURCE}{self.task}"

    @property
    def turns(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.text}]

    @property
    def flat(self) -> dict[str, Any]:
        return {"question_key": self.key, "index": self.place}

    @property
    def extra_info(self) -> dict[str, Any]:
        return {"index": self.place, "question_key": self.key, "split": self.split}


class RlLayout(NamedTuple):
    """The columns of an RL_DATA, and how a question stands in them."""

    columns: tuple[Column, ...]
    row: Callable[[Held], dict[str, Any]]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(column.name, column.type) for column in self.columns])

    def with_rates(self) -> "RlLayout":
        """Return the layout with pass rates in columns behind the others, and in `extra_info` if there is one."""
        extra = Column("extra_info", pa.struct([*_EXTRA, *RATE_FIELDS]), f"{_EXTRA_INFO.meaning}, its pass rate")

        def row(one: Held) -> dict[str, Any]:
            given, rate = self.row(one), {"pass_rate": one.pass_rate, "n": one.n}
            inside = {"extra_info": given["extra_info"] | rate} if "extra_info" in given else {}
            return {**given, **inside, **rate}

        columns = (extra if column == _EXTRA_INFO else column for column in self.columns)
        return RlLayout((*columns, *RATES), row)


def _verl(one: Held) -> dict[str, Any]:
    truth = {"style": "rule", "ground_truth": one.truth}
    asked = {"data_source": one.source, "prompt": one.turns, "ability": "math"}
    return {**asked, "reward_model": truth, "extra_info": one.extra_info}


def _trl(one: Held) -> dict[str, Any]:
    return {"prompt": one.turns, "ground_truth": one.truth, "data_source": one.source, **one.flat}


def _ms_swift(one: Held) -> dict[str, Any]:
    return {"messages": one.turns, "ground_truth": one.truth, "data_source": one.source, **one.flat}


def _openrlhf(one: Held) -> dict[str, Any]:
    return {"prompt": one.text, "ground_truth": one.truth, "datasource": one.source, **one.flat}


def _skyrl(one: Held) -> dict[str, Any]:
    truth = {"method": "rule", "ground_truth": one.truth}
    asked = {"data_source": one.source, "prompt": one.turns, "env_class": ENVIRONMENT}
    return {**asked, "reward_spec": truth, "extra_info": one.extra_info}


RL_LAYOUTS: dict[RlLayoutName, RlLayout] = {
    "verl": RlLayout(
        (
            _DATA_SOURCE,
            Column("prompt", MESSAGES, _TURN),
            Column("ability", _TEXT, "always `math`, as published"),
            Column("reward_model", pa.struct([("style", _TEXT), ("ground_truth", _TEXT)]), f"`rule`, and {_TRUTH}"),
            _EXTRA_INFO,
        ),
        _verl,
    ),
    "trl": RlLayout((Column("prompt", MESSAGES, _TURN), _GROUND_TRUTH, _DATA_SOURCE, *_FLAT), _trl),
    "ms-swift": RlLayout((Column("messages", MESSAGES, _TURN), _GROUND_TRUTH, _DATA_SOURCE, *_FLAT), _ms_swift),
    "openrlhf": RlLayout(
        (
            Column("prompt", _TEXT, "the plain question"),
            _GROUND_TRUTH,
            Column("datasource", _TEXT, _NAMED),
            *_FLAT,
        ),
        _openrlhf,
    ),
    "skyrl": RlLayout(
        (
            _DATA_SOURCE,
            Column("prompt", MESSAGES, _TURN),
            Column("env_class", _TEXT, f"always `{ENVIRONMENT}`, the environment in reward.py"),
            Column("reward_spec", pa.struct([("method", _TEXT), ("ground_truth", _TEXT)]), f"`rule`, and {_TRUTH}"),
            _EXTRA_INFO,
        ),
        _skyrl,
    ),
}


def held_in(row: Mapping[str, Any], split: str) -> Held:
    """Return the question in a row of any layout. Raises LookupError or TypeError for another row."""
    prompt = row["messages"] if "messages" in row else row["prompt"]
    text = prompt if isinstance(prompt, str) else prompt[0]["content"]
    truth = (row.get("reward_model") or row.get("reward_spec") or row)["ground_truth"]
    task = (row["datasource"] if "datasource" in row else row["data_source"]).removeprefix(SOURCE)
    of = row.get("extra_info") or row
    return Held(of["index"], of["question_key"], task, split, text, truth, row.get("pass_rate"), row.get("n"))


def instructions(layout: RlLayoutName, files: Mapping[str, str]) -> str:
    """Return how the layout's trainer is told of the set, in Markdown; `files` are those of its splits."""
    told = RL_TRAINERS[layout]["told"].splitlines()
    # What is said of the split for validation, where there is none, goes with it.
    kept = [line for line in told if "validation" in files or "{validation}" not in line]
    return fill("\n".join(kept), files)
