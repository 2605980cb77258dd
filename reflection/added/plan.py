"""Adding reflections: what a user may set, and what is decided of it and the RAW_DATA before an engine starts."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.flags import flag
from cluster.inference.chat import Prompt
from cluster.inference.vllm_engine import ChatTokenizer
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.jobs.store import differing_columns
from cluster.paths import local_or_name
from generation.model_plan import (
    Prompts,
    choose_sampling,
    find_model,
    is_builtin,
    notes_on_prompts,
    notes_on_sampling,
    run_directory,
    write_out,
)
from generation.raw.files import reading
from generation.raw.reader import check_once
from generation.records import stable_hash
from reflection import prompts
from reflection.added.rows import BLOCK, MADE, ROW, Adding, output_schema
from reflection.added.source import BLOCK_ROWS, Block, Source, block_keys, open_source, read_blocks, read_samples

_MOST_CONTEXT = 32_768
_FRAME = 1024
"""More than the tokens of a reflection prompt without question and sample."""


@dataclass(frozen=True, kw_only=True)
class AdditionSettings(JobSettings):
    """Add reflections, by the same or another model, to a RAW_DATA, ours or published; all else stays as it is.

    The RAW_DATA given is only read: what is made is a RAW_DATA of its own in the run directory.
    """

    raw: str = flag(
        MISSING, "a RAW_DATA or run folder, a parquet file, or a hub dataset (namespace/name)", local_or_name
    )
    reflections: int | None = flag(
        None, "how many more for each graded sample (default: 4; built-in model 2)", bounds=(1, 1_000)
    )


class Survey(NamedTuple):
    """What the rows of a RAW_DATA ask for."""

    outcomes: Counter[str]
    reflections: int
    """There already."""
    longest: int
    """Bytes of the longest question and sample that get reflections."""

    @property
    def graded(self) -> int:
        """Return how many samples get reflections."""
        return self.outcomes["right"] + self.outcomes["wrong"]


@dataclass(frozen=True, kw_only=True)
class AdditionPlan(JobPlan):
    """What a run will do: blocks are dealt, and rows are counted."""

    schema = MADE
    sort_by = (ROW,)
    key = BLOCK
    item = "block"
    unit = "rows"

    source: Source
    survey: Survey
    work: Adding

    @property
    def name(self) -> str:
        return f"{self.source.name}-reflected-{Path(self.model.name).name}"

    @property
    def configuration(self) -> dict[str, Any]:
        """Return what the rows depend on. Where the RAW_DATA lies is not in it."""
        return {
            "model": self.model.name,
            "model_revision": self.model.revision,
            "raw_rows": self.source.rows,
            "raw_hash": self.source.origin.digest,
            "prompts_hash": stable_hash(*prompts.PROMPTS.items())[:16],
            "reflections": self.work.reflections,
            "sampling": asdict(self.sampling),
            "context": self.context,
            "seed": self.work.seed,
        }

    @property
    def keys(self) -> list[str]:
        return [key for file in self.source.files for key in block_keys(file)]

    def items(self, keys: Collection[str]) -> Iterator[Block]:
        """Read the blocks of these keys, in order, as they are asked for."""
        return read_blocks(self.source, lambda key: key in keys)

    def size(self, key: str) -> int:
        """Return how many rows a block holds."""
        number, first = map(int, key.split("-"))
        return min(BLOCK_ROWS, self.source.files[number].rows - first)

    def introduction(self) -> list[tuple[str, str]]:
        """Return what a person sees first, by stage."""
        survey, more, none = self.survey, self.work.reflections, self.survey.outcomes["unknown"]
        return [
            ("model", f"{self.model.name}, revision {self.model.revision or 'unknown'}"),
            ("raw data", f"{self.source.name}: {self.source.rows:,} rows, {survey.reflections:,} reflections"),
            ("plan", f"{more} more on {survey.graded:,} samples; {none:,} of unknown outcome get none"),
            *(("note", note) for note in self.notes),
        ]


def plan_additions(settings: AdditionSettings) -> AdditionPlan:
    """Decide everything, reading every row once. Raises ValueError for a model or a RAW_DATA that is not fit."""
    small = is_builtin(settings.model)
    source = open_source(settings.raw)
    before = f"runs/{source.name}-reflected"
    model = find_model(settings, before)
    sampling = choose_sampling(settings, model)
    check_columns(source)
    survey = look(source)
    if not survey.graded:
        raise ValueError(f"{settings.raw}: no sample is known to be right or wrong, so none gets a reflection")
    out = run_directory(settings, before, model.name)
    if any(out.resolve() in file.path.resolve().parents for file in source.files):
        raise ValueError(f"{out} holds the RAW_DATA to read; give another folder")
    work = Adding(settings.reflections or (2 if small else 4), sampling, settings.seed)
    alike = math.ceil(work.reflections / len(prompts.PROMPTS))
    of_sampling = notes_on_sampling(settings, model, alike, "reflections of one prompt on a sample")
    return AdditionPlan(
        model=model,
        sampling=sampling,
        # No more tokens than bytes; a sample that is longer still is refused by the engine, and its row says so.
        context=min(model.context, _MOST_CONTEXT, survey.longest + _FRAME + sampling.max_tokens),
        per_item=BLOCK_ROWS * work.reflections,
        out=out,
        license=settings.license,
        texts={"reflections": prompts.PROMPTS},
        notes=(*source.origin.notes, *of_sampling),
        source=source,
        survey=survey,
        work=work,
    )


def look_at_samples(plan: AdditionPlan) -> AdditionPlan:
    """Add notes on prompts, as `notes_on_prompts` writes them and raises, to the plan."""
    names = [*prompts.PROMPTS]
    empty = [Prompt(f"reflection {name}", prompts.messages(name, "", "")) for name in names]

    def longer(room: int, widest: int) -> Iterable[Prompt]:
        for block in read_blocks(plan.source, lambda _: True) if plan.survey.longest > room else ():
            for sample in block.samples:
                if len((sample.question + sample.response).encode()) > room:
                    messages = prompts.messages(names[widest], sample.question, sample.response)
                    yield Prompt(f"row {sample.row:,}", messages)

    looked_at = Prompts(
        kinds=[*empty, _first(plan)],
        frames=[prompt.messages for prompt in empty],
        longer=longer,
        total=plan.survey.graded,
        what="samples with their question",
        least=[prompts.VERDICT],
    )
    return plan.noting(*notes_on_prompts(plan, looked_at))


def _first(plan: AdditionPlan) -> Prompt:
    """Return the first prompt on the first row that gets a reflection."""
    block = next(block for block in read_blocks(plan.source, lambda _: True) if block.samples)
    return Prompt(f"row {block.samples[0].row:,}", plan.work.requests(block, block.samples[0])[0][1].messages)


def check_columns(source: Source) -> None:
    """Raise ValueError where files have other columns than the first one, or one that is ours is another's."""
    first: pa.Schema | None = None
    for file in source.files:
        with reading(file.path):
            schema = pq.read_schema(file.path)
        for name in schema.names:
            check_once(name, schema, file.path)
        output_schema(schema, file.path)
        if first is not None and (names := differing_columns(schema, first)):
            raise ValueError(f"{file.path}: other columns than {source.files[0].path.name}: {', '.join(names)}")
        first = schema


def look(source: Source) -> Survey:
    """Count what there is to do. Raises ValueError for rows that cannot be read."""
    outcomes, reflections, longest = Counter[str](), 0, 0
    for file in source.files:
        for rows in read_samples(file):
            outcomes.update({one["values"]: one["counts"] for one in pc.value_counts(rows["outcome"]).to_pylist()})
            reflections += pc.sum(rows["there"]).as_py() or 0
            asked = rows.filter(pc.not_equal(rows["outcome"], "unknown"))
            sizes = pc.add(pc.binary_length(asked["question"]), pc.binary_length(asked["response"]))
            longest = max(longest, pc.max(sizes).as_py() or 0)
    return Survey(outcomes, reflections, longest)


def describe_additions(plan: AdditionPlan) -> str:
    """Write the plan in words, with the first prompt as the model will see it."""
    survey, more, none = plan.survey, plan.work.reflections, plan.survey.outcomes["unknown"]
    files, requests = len(plan.source.files), survey.graded * more
    row, messages = _first(plan)
    return write_out(
        plan,
        ChatTokenizer(plan.model.path, plan.model.hub_revision),
        asked=[
            f"raw data    {plan.source.name}: {plan.source.rows:,} rows in {files:,} files, "
            f"{survey.reflections:,} reflections",
            f"samples     {survey.graded:,} graded ones get {more} more, {none:,} of unknown outcome none",
        ],
        bounds=[
            f"requests    {requests:,} reflections",
            f"tokens      at most {requests * plan.sampling.max_tokens:,} written",
        ],
        shown=[Prompt(f", on {row}", messages)],
    )
