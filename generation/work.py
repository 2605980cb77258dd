"""What an engine does with a question, and the RAW_DATA that is made of all of them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cluster.errors import AllFailedError
from cluster.inference.engine import Engine
from cluster.jobs.job import Job
from cluster.jobs.progress import ONLY_RETRIED
from generation.plan import Plan
from generation.raw.counts import RawCounts, count_folder
from generation.raw.report import raw_card
from generation.raw.schema import RAW_DATA, Origin, Rolled, to_table
from generation.records import Attempt, Question
from generation.rollout import Rollout


@dataclass(frozen=True)
class Work:
    """What an engine does with a question; sent to it once."""

    rollout: Rollout
    task_config: str

    async def __call__(self, engine: Engine, question: Question) -> Rolled:
        attempts = await self.rollout(engine, question)
        origin = Origin(engine.info, self.rollout.sampling, {question.key: question.place}, self.task_config)
        table = await asyncio.to_thread(to_table, attempts, origin)
        return Rolled(table, sum(map(_output_tokens, attempts)))


def _output_tokens(attempt: Attempt) -> int:
    written = attempt.completion.output_tokens
    return written + sum(reflection.completion.output_tokens for reflection in attempt.reflections)


def write_raw_data(
    plan: Plan,
    job: Job,
    look: Callable[[pa.Table], None] | None = None,
    served: Callable[[Sequence[str]], str] | None = None,
) -> RawCounts:
    """Write RAW_DATA/ from the shards: the same rows in the same order, whoever made them; `look` is shown them.

    `served` tells of tasks which trace formats they can serve, for the card.
    Raises AllFailedError where every question has failed.
    """
    failed, finished = job.failed, job.store.finished()
    order = [question.key for question in plan.questions if question.key in finished]
    lost = Counter(failed[question.key] for question in plan.questions if question.key not in finished)
    if not order:
        why = lost.most_common(1)[0][0]
        raise AllFailedError(f"all {len(plan.questions)} questions failed: {why}", ONLY_RETRIED)
    counted: list[RawCounts] = []

    def finish(folder: Path) -> None:
        counts = count_folder(folder, look)
        assert counts.questions == set(order), "questions were lost on the way"
        counts.lost = lost
        counts.served = served(sorted(counts.tasks)) if served else ""
        counted.append(counts)
        card = raw_card(
            counts,
            plan.configuration,
            name=f"{RAW_DATA}-{plan.name}",
            license=plan.license,
            record=job.record,
        )
        (folder / "README.md").write_text(card, encoding="utf-8")

    job.store.merge(order, plan.out / RAW_DATA, finish=finish)
    return counted[0]
