"""How many rewards a second one core gives, on what a run's model really wrote.

    python -m benchmarks.reward_rate RUN

Scores every sample of RUN's RAW_DATA, and every trace of its SFT_DATA, against its question's ground truth,
as verl's batch manager asks for it: the batch as often as fills five seconds, on one thread.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from assembly.reward import compute_score_batch, truth_of
from generation.raw.schema import PREFIX
from generation.records import Question

SECONDS = 5.0


def _table(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]


def _truth(row: dict[str, Any]) -> str:
    told = json.loads(row["metadata"])
    return truth_of(Question(row["question"], row["answer"], row["task"], "", told["grader"], "", told["facts"]))


def rate(what: str, responses: list[str], truths: list[str]) -> None:
    tasks = ["countdown"] * len(responses)
    right = sum(compute_score_batch(tasks, responses, truths))
    started = time.perf_counter()
    turns = 0
    while time.perf_counter() - started < SECONDS:
        compute_score_batch(tasks, responses, truths)
        turns += 1
    seconds = time.perf_counter() - started
    length = sum(map(len, responses)) / len(responses)
    scored = turns * len(responses) / seconds
    print(f"{len(responses)} {what} of {length:,.0f} characters, {right:.0f} right: {scored:,.0f} scores/s")


def main(run: Path) -> None:
    samples = _table(run / "RAW_DATA")
    truths = {row["question_key"]: _truth(row) for row in samples}
    rate("samples", [row[PREFIX][0] for row in samples], [truths[row["question_key"]] for row in samples])
    traces = _table(run / "SFT_DATA")
    texts = [row["conversations"][1]["content"] for row in traces]
    rate("traces", texts, [truths[row["question_key"]] for row in traces])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
