"""The rows that a contender left, and whether they are all that was asked for: before that, no rate counts."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.peers.work import ROWS, Job
from generation.raw.schema import PREFIX, PROVENANCE, RAW_DATA, REFLECTIONS, SAMPLE_PROVENANCE
from reflection.verdict import parse_verdict

Rows = Sequence[Mapping[str, Any]]


def read_rows(out: Path, job: Job) -> Rows:
    """Return the rows in a contender's folder: the product's, a table of rows, or datatrove's documents."""
    if (out / RAW_DATA).is_dir():
        return read_product(out, job)
    if (out / ROWS).is_file():
        rows: Rows = pq.read_table(out / ROWS).to_pylist()
        return rows
    lines = [line for path in sorted(out.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").split("\n")]
    results = [one for line in lines if line for one in json.loads(line)["metadata"]["rollout_results"]]
    return [one for result in results for one in result["rows"]]


def read_product(out: Path, job: Job) -> Rows:
    """Return RAW_DATA as rows; a sample is known by its seed."""
    ids = {sample.seed: number for number, (_, sample) in job.by_id().items()}
    return [_of_product(one, ids) for path in sorted(out.glob(f"{RAW_DATA}/data/*.parquet")) for one in _rows(path)]


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _of_product(one: Mapping[str, Any], ids: Mapping[int, int]) -> dict[str, Any]:
    def answer(text: str, request: Mapping[str, Any]) -> dict[str, Any]:
        counts = {"tokens": request["output_tokens"], "prompt_tokens": request["prompt_tokens"]}
        return {"text": text, "seed": request["seed"], **counts}

    verdicts = {"Correct": True, "Incorrect": False, None: None}
    looks = [
        answer(text, request) | {"verdict": verdicts[request["verdict"]]}
        for text, request in zip(one[REFLECTIONS], one[PROVENANCE], strict=True)
    ]
    first = answer(one[PREFIX][0], one[SAMPLE_PROVENANCE])
    return {"id": ids.get(first["seed"], -1), **first, "outcome": one["outcome"], "looks": looks}


def tokens_of(rows: Rows) -> int:
    """Return the number of output tokens."""
    return sum(one["tokens"] + sum(look["tokens"] for look in one["looks"]) for one in rows)


def faults(rows: Rows, job: Job) -> list[str]:
    """Return what is wrong with the rows, nothing if they are all there and as asked."""
    wanted, ids = job.by_id(), Counter(one["id"] for one in rows)
    kept = [one for one in rows if one["id"] in wanted]
    told = {
        "samples lost": len(wanted.keys() - ids.keys()),
        "samples that nobody asked for": len(rows) - len(kept),
        "samples twice": sum(count > 1 for count in ids.values()),
        "other prompts": sum(one["prompt_tokens"] != wanted[one["id"]][0].tokens for one in kept),
        "empty answers": sum(not look["tokens"] for one in kept for look in (one, *one["looks"])),
        "wrong grades": sum(not _is_graded(one, wanted) for one in kept),
        "samples with other than their reflections": sum(_owed(one, wanted) != len(one["looks"]) for one in kept),
        "verdicts misread": sum(
            look["verdict"] != parse_verdict(look["text"]) for one in kept for look in one["looks"]
        ),
        "seeds twice": _twice(look["seed"] for one in kept for look in (one, *one["looks"])),
    }
    found = [f"{count:,} {words}" for words, count in told.items() if count]
    if {look["verdict"] for one in kept for look in one["looks"]} == {None}:
        found.append("no verdict at all")
    return found + _same(kept, job)


def _is_graded(one: Mapping[str, Any], wanted: Mapping[int, Any]) -> bool:
    return bool(one["outcome"] == wanted[one["id"]][0].outcome(one.get("shown", one["text"])))


def _owed(one: Mapping[str, Any], wanted: Mapping[int, Any]) -> int:
    """Return how many reflections a sample should have."""
    return 0 if one["outcome"] == "unknown" else len(wanted[one["id"]][1].looks)


def _twice(seeds: Iterable[int | None]) -> int:
    return sum(count - 1 for seed, count in Counter(seeds).items() if seed is not None)


def _same(rows: Rows, job: Job) -> list[str]:
    """A temperature above 0 draws other texts for most prompts; the same seed for all, or none, does not."""
    if not job.sampling["temperature"]:
        return []
    texts: dict[int, list[str]] = defaultdict(list)
    owner = {sample.id: place for place, prompt in enumerate(job.prompts) for sample in prompt.samples}
    for one in rows:
        texts[owner[one["id"]]].append(one["text"])
    several = [of_one for of_one in texts.values() if len(of_one) > 1]
    same = sum(len(set(of_one)) == 1 for of_one in several)
    return (
        [f"{same:,} of {len(several):,} prompts with samples that are all the same"] if 2 * same > len(several) else []
    )
