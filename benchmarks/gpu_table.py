"""The results of `benchmarks.gpu` as Markdown. Everything in it was measured, or is a ratio of what was."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

LEAST_RATE, LEAST_RATIO = 12_000, 0.95  # wanted: tokens/s on an H100 at the default job's lengths; job over benchmark
DEFAULT_LENGTHS = "the default job's lengths, seeded"
JOB, VERY_REQUESTS, BENCH = "generation", "the job's very requests", "the same lengths as `vllm bench throughput` asks"
FLASHINFER, INVARIANT = "FlashInfer's sampler", "batch invariant"
Names = tuple[str, str]  # of a measurement and of its figure


def table(record: Mapping[str, Any]) -> str:
    """Return the whole report: the machine, each measurement's end, its figures, and ratios with what was wanted."""
    lines = ["# One GPU", "", *_machine(record), ""]
    lines += ["| measurement | figure | median | each round |", "| --- | --- | ---: | --- |"]
    for one in record["measurements"]:
        lines.append(f"| **{one['name']}** | {_end(one)} | | |")
        for what, figure in one.get("figures", {}).items():
            values, unit = figure["values"], figure["unit"]
            each = ", ".join(_number(value) for value in values) if len(values) > 1 else ""
            lines.append(f"| | {what} | {_number(statistics.median(values))} {unit} | {each} |")
    if found := list(ratios(record)):
        lines += ["", "| ratio of medians | | wanted |", "| --- | ---: | ---: |"]
        lines += [f"| {what} | {value:.2f} | {wanted} |" for what, value, wanted in found]
    for one in record["measurements"]:
        if tail := one.get("log_tail"):
            lines += ["", f"The log's end of {one['name']}:", "", *(f"    {line}" for line in tail)]
    return "\n".join(lines) + "\n"


def _machine(record: Mapping[str, Any]) -> Iterator[str]:
    here = record["machine"]
    if record["stand_in"]:
        yield "**A stand-in on the CPU, with the built-in model: the steps work, and its figures mean nothing.**\n"
    if gpu := here.get("gpu"):
        card = f"{gpu['name']}, {gpu['memory.total']} MiB ({gpu['memory.free']} free at first)"
        yield f"{card}, compute capability {gpu['compute_cap']}, driver {gpu['driver_version']}\\"
    yield f"{here['cores']} cores, {here['memory_gib']} GiB, {here['system']}, Python {here['python']}\\"
    yield f"{', '.join(f'{name} {version}' for name, version in here['packages'].items())}\\"
    yield f"commit {here['commit']}, begun {record['begun']}, budget {record['budget_s']:.0f} s, {record['state']}"


def _end(one: Mapping[str, Any]) -> str:
    told = [one["state"], one.get("cause", "").replace("|", "/").replace("\n", " ")]
    if "seconds" in one:
        told.append(f"{one['seconds']:.0f} of {one['limit_s']} s")
    facts = {name: value for name, value in one.get("facts", {}).items() if not isinstance(value, dict | list)}
    told += [f"{name.replace('_', ' ')} {value}" for name, value in facts.items()]
    return ", ".join(filter(None, told))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def ratios(record: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    """Yield what is compared, the ratio of medians, and what was wanted, for whatever was measured on both sides."""
    medians = {
        (one["name"], what): statistics.median(figure["values"])
        for one in record["measurements"]
        for what, figure in one.get("figures", {}).items()
    }
    for (name, what), value in medians.items():
        if what.startswith("seeded, "):
            other = medians.get((name, f"un{what}"))
            if other:
                yield f"{name}, {what.removeprefix('seeded, ')}: seeded over unseeded", value / other, ""
    for above, below in (
        ("old runner", "new runner"),
        ("graphs to 1024", "new runner"),
        (FLASHINFER, "new runner"),
        (INVARIANT, "new runner"),
    ):
        for (name, what), value in medians.items():
            if name == above and "sequences" in what and (other := medians.get((below, what))):
                yield f"{above} over {below}: {what}", value / other, ""
    yield from _starts(medians)
    for what, wanted in ((VERY_REQUESTS, ""), (BENCH, "" if record["stand_in"] else f"≥ {LEAST_RATIO}")):
        job, bare = medians.get(("whole job", JOB)), medians.get(("LLM.generate", what))
        if job and bare:
            yield f"the job's generation over LLM.generate, {what}", job / bare, wanted
    for names in (("new runner", DEFAULT_LENGTHS), ("whole job", JOB)):
        if names in medians and not record["stand_in"]:
            yield f"{', '.join(names)}, over {LEAST_RATE:,} tokens/s", medians[names] / LEAST_RATE, "≥ 1 on an H100"


def _starts(medians: Mapping[Names, float]) -> Iterator[tuple[str, float, str]]:
    starts = {name: value for (name, what), value in medians.items() if what.startswith("start to first token")}
    first = next((name for name in ("new runner", "old runner") if name in starts), None)
    if first and "warm start" in starts:
        yield f"the first start ({first}, cold) over the warm one", starts[first] / starts["warm start"], ""
