"""What an engine is asked about a block of rows: so many more reflections on each graded sample."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from cluster.errors import ItemFailedError
from cluster.inference.engine import Engine, EngineInfo, Request, Sampling
from generation.raw.schema import PROVENANCE, REFLECTIONS, SCHEMA, Rolled, provenance_of, without_surrogates
from generation.records import Reflection, request_seed
from generation.rollout import reflect, together
from reflection import prompts
from reflection.added.source import Block, Sample

BLOCK, ROW = "block", "row"
WRITER = ("model", "model_revision", "engine", "engine_version")
MADE = pa.schema(
    [(BLOCK, pa.string()), (ROW, pa.int64()), *(SCHEMA.field(name) for name in (REFLECTIONS, PROVENANCE, *WRITER))]
)
"""What shards hold: for each row of a finished block the reflections that it gets, and who wrote them."""


@dataclass(frozen=True)
class Adding:
    """What an actor does with a block; sent to it once."""

    reflections: int
    """For each sample whose correctness is known."""
    sampling: Sampling
    seed: int

    async def __call__(self, engine: Engine, block: Block) -> Rolled:
        """Return rows of schema MADE. Raises ItemFailedError when no request succeeded, EngineDiedError."""
        found = await together(self._of_sample(engine, block, sample) for sample in block.samples)
        looks = [look for of_sample in found for look in of_sample]
        if looks and all(look.completion.finish_reason == "error" for look in looks):
            raise ItemFailedError(looks[0].completion.error)
        table = await asyncio.to_thread(_table, block, found, engine.info)
        return Rolled(table, sum(look.completion.output_tokens for look in looks))

    async def _of_sample(self, engine: Engine, block: Block, sample: Sample) -> list[Reflection]:
        asked = self.requests(block, sample)
        return await together(reflect(engine, request, name, sample.is_correct) for name, request in asked)

    def requests(self, block: Block, sample: Sample) -> list[tuple[str, Request]]:
        """Return a prompt's name and a request for each reflection.

        Seeds and prompts are others than those of reflections that the sample has already.
        """
        identity = ("addition", *sample.identity)
        rng = random.Random("/".join(map(str, (self.seed, *identity, sample.there))))
        names = prompts.draw(self.reflections, rng, sample.used)
        return [
            (
                name,
                Request(
                    f"{block.key}/{sample.row}/{number}",
                    prompts.messages(name, sample.question, sample.response),
                    self.sampling,
                    request_seed(self.seed, *identity, number),
                ),
            )
            for number, name in enumerate(names, sample.there)
        ]


def _table(block: Block, found: Sequence[Sequence[Reflection]], engine: EngineInfo) -> pa.Table:
    looks = {sample.row: of_sample for sample, of_sample in zip(block.samples, found, strict=True)}
    rows = [
        {
            BLOCK: block.key,
            ROW: row,
            REFLECTIONS: [look.completion.text for look in looks.get(row, ())],
            PROVENANCE: [provenance_of(look) for look in looks.get(row, ())],
            **{name: getattr(engine, name) for name in WRITER},
        }
        for row in range(block.first, block.first + block.size)
    ]
    return pa.Table.from_pylist([without_surrogates(row) for row in rows], schema=MADE)
