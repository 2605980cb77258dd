"""Sampling parameters as users and models give them: which fields there are, and what their values must be."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from cluster.inference.engine import SAMPLING_BOUNDS, Sampling
from cluster.inference.values import check_range, is_number, read_value
from cluster.texts import load_table, nearest

FIELDS: dict[str, dict[str, Any]] = load_table("cluster.inference", "sampling.toml")
NAMED = tuple(one.name for one in fields(Sampling) if one.name != "more")  # each has a flag of its own too
_MAX_TOKENS = {"kind": "count", "low": 1, "high": 10**7}
_COLDEST = 0.01  # vLLM raises a lower temperature to this one, unless it is 0


def check_sampling(name: str, value: float | None, shown: str) -> None:
    """Raise ValueError, calling the value `shown`, if engines would reject it or silently use another."""
    check_range(shown, value, *SAMPLING_BOUNDS[name])
    if name == "temperature" and value is not None and 0 < value < _COLDEST:
        raise ValueError(f"{shown} must be 0, or between {_COLDEST:g} and 2, not {value}: engines draw no colder")
    if name == "top_k" and value is not None and value != int(value):
        raise ValueError(f"{shown} must be a whole number, not {value}")


def read_sampling(given: Mapping[str, Any], flag: str) -> dict[str, Any]:
    """Return the fields of a JSON object, each in its one form. Raises ValueError, naming the flag it came with."""
    return {name: _read(f"{flag}: {name}", name, value) for name, value in given.items()}


def check_stops(sampling: Sampling, tag: str, what: str) -> None:
    """Raise ValueError if a stop text ends every one of `what`, such as "sample", before it closes the tag."""
    kept = bool(sampling.more.get("include_stop_str_in_output"))
    for text in sampling.more.get("stop", ()):
        if any(text in mark and not (kept and mark.endswith(text)) for mark in (f"<{tag}>", f"</{tag}>")):
            closes = f"</{tag}>".endswith(text) and not kept
            remedy = 'add "include_stop_str_in_output": true' if closes else "take another"
            raise ValueError(f"stop {text!r} ends each {what} before its <{tag}> is closed: {remedy}")


def _read(shown: str, name: str, value: Any) -> Any:
    if name in FIELDS["taken"]:
        return read_value(shown, value, FIELDS["taken"][name])
    if name == "max_tokens":
        return read_value(shown, value, _MAX_TOKENS)
    if name in SAMPLING_BOUNDS:
        if not is_number(value):
            raise ValueError(f"{shown} must be a number, not {value!r}")
        check_sampling(name, value, shown)
        return int(value) if name == "top_k" else float(value)
    if why := FIELDS["refused"].get(name):
        raise ValueError(f"{shown} is not taken: {why}")
    near = nearest(name, [*NAMED, *FIELDS["taken"], *FIELDS["refused"]], most=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it takes {', '.join([*NAMED, *FIELDS['taken']])}"
    raise ValueError(f"{shown} is no field of vLLM's SamplingParams; {hint}")


def unusual(generation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of FIELDS["recommended"] a generation_config.json sets to other than neutral values."""
    given = {key: value for key, value in generation.items() if value is not None and value is not False}
    known = FIELDS["recommended"]
    return {key: value for key, value in given.items() if key in known and value not in known[key]["neutral"]}


def not_passed_on(found: Mapping[str, Any]) -> list[str]:
    """Return the keys, of those that `unusual` found, that vLLM has no field for."""
    return [key for key in found if "field" not in FIELDS["recommended"][key]]


def recommended(found: Mapping[str, Any], given: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return what `unusual` found as fields, but for those given by the user. Raises ValueError for a bad value."""
    taken = dict[str, Any]()
    for key, value in found.items():
        if (field := FIELDS["recommended"][key].get("field")) and field not in given:
            shown = f"model {model}: {key} in generation_config.json"
            try:
                taken[field] = read_value(shown, value, FIELDS["taken"][field])
            except ValueError as error:
                raise ValueError(f"{error}; give {field} in --sampling, which overrides it") from error
    # In transformers a reply keeps the text that stopped it.
    return ({"include_stop_str_in_output": True} if "stop" in taken else {}) | taken


def changed(sampling: Sampling, given: Mapping[str, Any]) -> Sampling:
    """Return the sampling with the fields of `read_sampling` in place of its own. Raises ValueError for a conflict."""
    named = {name: value for name, value in given.items() if name in NAMED}
    more = {name: value for name, value in given.items() if name not in NAMED}
    result = replace(sampling, **named, more={**sampling.more, **more})
    if (least := result.more.get("min_tokens", 0)) > result.max_tokens:
        raise ValueError(f"min_tokens {least:,} is more than --max_tokens {result.max_tokens:,}, the longest reply")
    return result


def check_token_ids(sampling: Sampling, size: int) -> None:
    """Raise ValueError for a token that a vocabulary of this size does not have: vLLM would refuse each request."""
    for name in ("allowed_token_ids", "stop_token_ids", "logit_bias"):
        for token in map(int, sampling.more.get(name) or ()):
            if not 0 <= token < size:
                raise ValueError(f"{name} holds {token}, and the model's last token is {size - 1}: give one of its own")
