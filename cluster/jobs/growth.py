"""How a run grows: which fields of its configuration may become more, and which items have all that is asked of them.

Amounts are fields of a configuration: a number, a list of names, or either by task. They become more, never less.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from cluster.jobs.run_directory import GROWN, JSON

Amounts = Mapping[str, JSON]


class Asked(NamedTuple):
    """What a run asks of each of its items, and what it asked at its first start, of which its shards say nothing."""

    now: Amounts = MappingProxyType({})
    first: Amounts = MappingProxyType({})
    whole: Callable[[str, Amounts], bool] = lambda key, had: True
    """Returns True if the item with this key lacks nothing where so much was asked of it."""


def covers(more: Any, less: Any) -> bool:
    """Return True if the first amount is no less than the second; one that is not set is nothing."""
    if isinstance(more, Mapping) or isinstance(less, Mapping):
        return all(covers((more or {}).get(name), value) for name, value in (less or {}).items())
    if isinstance(more, list | tuple) or isinstance(less, list | tuple):
        return {*(more or ())} >= {*(less or ())}
    return (more or 0) >= (less or 0)


def check_growth(names: Sequence[str], before: Amounts, now: Amounts) -> None:
    """Raise ValueError if one of these amounts has become less."""
    less = [name for name in names if not covers(now.get(name), before.get(name))]
    if less:
        told = "; ".join(f"--{name} was {_words(before.get(name))}, now {_words(now.get(name))}" for name in less)
        raise ValueError(f"{told}: a run grows, and never shrinks; give at least as much, or another folder")


def grown(names: Collection[str], before: Amounts, now: Amounts) -> str:
    """Say which of these amounts have become more, "" if none has."""
    more = [name for name in names if not covers(before.get(name), now.get(name))]
    return ", ".join(f"{name} {_words(before.get(name))} to {_words(now.get(name))}" for name in more)


def first_of(record: Mapping[str, Any]) -> Mapping[str, JSON]:
    """Return the configuration that the run of this run.json began with."""
    configuration = dict(record["configuration"])
    for step in reversed(record.get(GROWN, ())):
        configuration |= step["from"]
    return {name: value for name, value in configuration.items() if value is not None}


def _words(amount: Any) -> str:
    if isinstance(amount, Mapping):
        return ",".join(f"{name}={_words(value)}" for name, value in amount.items())
    if isinstance(amount, list | tuple):
        return ",".join(map(str, amount))
    return f"{amount or 0:,}"
