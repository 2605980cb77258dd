"""Adding reflections: the settings, the plan made from them and the RAW_DATA, and the work done on an engine."""

import asyncio
import itertools
import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, replace
from functools import partial
from typing import Any

import pyarrow as pa

from cluster.errors import ItemFailedError
from cluster.flags import flag
from cluster.inference.chat import Prompt
from cluster.inference.engine import Engine, EngineInfo, Request, Sampling
from cluster.inference.sampling import check_stops
from cluster.jobs.growth import check_growth
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.paths import local, local_or_name
from generation.asking import reflect, together
from generation.examples import NO_EXAMPLES, Examples, check_apart, load_examples, notes_on_reflecting
from generation.model_plan import choose_model, fit_chat, is_builtin, notes_on_prompts, write_out
from generation.raw.grown import with_reflections
from generation.raw.schema import (
    PROVENANCE,
    REFLECTIONS,
    REFLECTIONS_THOUGHT,
    SCHEMA,
    WRITER,
    Rolled,
    without_surrogates,
)
from generation.records import Reflection, request_seed, stable_hash
from generation.served_plan import chat_of
from generation.text_files import PROMPTS_HELP, check_prompts
from reflection import prompts
from reflection.added.source import (
    BLOCK_ROWS,
    Block,
    Sample,
    Source,
    block_keys,
    open_source,
    read_blocks,
    read_samples,
)

BLOCK, ROW = "block", "row"
LISTS = (REFLECTIONS, REFLECTIONS_THOUGHT, PROVENANCE)
MADE = pa.schema(
    [
        (BLOCK, pa.string()),
        (ROW, pa.int64()),
        *map(SCHEMA.field, (*LISTS, *WRITER)),
    ]
)
"""The rows of shards: for each row of a finished block, the reflections that it gets, and which engine wrote them."""
_RAW = "a RAW_DATA or run folder, a parquet file, or a hub dataset (namespace/name)"
_REFLECTIONS = "how many more for each graded sample (default: 4; built-in model 2)"
_MOST_CONTEXT = 32_768


@dataclass(frozen=True, kw_only=True)
class AdditionSettings(JobSettings):
    """Add reflections, by the same or another model, to a RAW_DATA, ours or published; all else stays as it is.

    The RAW_DATA given is only read: what is made is a RAW_DATA of its own in the run directory.
    """

    raw: str = flag(MISSING, _RAW, local_or_name)
    reflections: int | None = flag(None, _REFLECTIONS, bounds=(1, 1_000), group="sampling", often=True)
    reflection_prompts: tuple[str, ...] = flag((), prompts.CHOICE)
    prompts: str | None = flag(None, PROMPTS_HELP, local)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.asked_to_reflect()

    def asked_to_reflect(self) -> dict[str, str]:
        """Return the reflection prompts by name. Raises ValueError as read_reflections and choose do."""
        return prompts.read_reflections(check_prompts(self.prompts)).choose(self.reflection_prompts)


@dataclass(frozen=True)
class AdditionWork:
    """The work on a block; sent to each replica once."""

    reflections: int  # for each sample of known correctness
    sampling: Sampling
    seed: int
    examples: Examples = NO_EXAMPLES
    prompts: Mapping[str, str] = field(default_factory=lambda: prompts.PROMPTS)  # by name

    async def __call__(self, engine: Engine, block: Block) -> Rolled:
        """Return rows of schema MADE. Raises ItemFailedError if every request failed, EngineDiedError."""
        made = {row[ROW]: row for row in block.there}
        asked = [self.requests(block, one)[len(made[one.row][REFLECTIONS]) if made else 0 :] for one in block.samples]
        found = await together(
            reflect(engine, some, one.is_correct) for some, one in zip(asked, block.samples, strict=True)
        )
        completions = [look.completion for looks in found for look in looks]
        if completions and not made and all(completion.finish_reason == "error" for completion in completions):
            raise ItemFailedError(completions[0].error)
        table = await asyncio.to_thread(_table, block, found, engine.info)
        return Rolled(table, sum(completion.output_tokens for completion in completions))

    def requests(self, block: Block, sample: Sample) -> list[tuple[str, Request]]:
        """Return prompt names and requests, whose seeds and, if possible, prompts differ from earlier reflections'."""
        identity = ("addition", *sample.identity)
        rng = random.Random("/".join(map(str, (self.seed, *identity, sample.there))))
        requests = []
        drawn = prompts.draw(self.reflections, rng, sample.used, self.prompts)
        for number, name in enumerate(drawn, sample.there):
            chat = self.examples.look(name, sample.question, sample.response, self.prompts)
            seed = request_seed(self.seed, *identity, number)
            requests.append((name, Request(f"{block.key}/{sample.row}/{number}", chat, self.sampling, seed)))
        return requests


def _table(block: Block, found: Sequence[Sequence[Reflection]], engine: EngineInfo) -> pa.Table:
    made = {sample.row: looks for sample, looks in zip(block.samples, found, strict=True)}
    writer = {name: getattr(engine, name) for name in WRITER}
    empty: dict[str, Any] = {BLOCK: block.key, **{name: [] for name in LISTS}, **writer}
    there = block.there or [{**empty, ROW: row} for row in range(block.first, block.first + block.size)]
    rows = [with_reflections(row, made.get(row[ROW], ())) for row in there]
    return pa.Table.from_pylist([without_surrogates(dict(row)) for row in rows], schema=MADE)


@dataclass(frozen=True, kw_only=True)
class AdditionPlan(JobPlan):
    """A plan whose items are blocks of rows, counted in rows."""

    schema = MADE
    sort_by = (ROW,)
    key = BLOCK
    item = "block"
    unit = "rows"
    grows = of_each = ("reflections",)

    source: Source
    work: AdditionWork

    @property
    def keys(self) -> list[str]:
        return [key for number, file in enumerate(self.source.files) for key in block_keys(number, 0, file.rows)]

    def items(self, keys: Collection[str]) -> Iterator[Block]:
        return read_blocks(self.source, keys)

    def resumed(self, item: Block, rows: pa.Table) -> Block:
        return item._replace(there=tuple(rows.sort_by(ROW).to_pylist()))

    def size(self, key: str) -> int:
        number, first = map(int, key.split("-"))
        return min(BLOCK_ROWS, self.source.files[number].rows - first)

    def introduction(self) -> list[tuple[str, str]]:
        source, more, none = self.source, self.work.reflections, self.source.rows - self.source.graded
        return [
            ("model", f"{self.model.full_name}, revision {self.model.full_revision or 'unknown'}"),
            ("raw data", f"{source.name}: {source.rows:,} rows, {source.reflections:,} reflections"),
            ("plan", f"{more} more on {source.graded:,} samples; {none:,} of unknown outcome get none"),
            *(("note", note) for note in self.notes),
        ]


def plan_additions(settings: AdditionSettings) -> AdditionPlan:
    """Decide everything, reading every row once. Raises ValueError for an unsuitable model or RAW_DATA."""
    source = open_source(settings.raw)
    looks = settings.asked_to_reflect()
    examples, of_examples = _examples(settings, source)
    reflections = settings.reflections or (2 if is_builtin(settings) else 4)
    alike = math.ceil(reflections / len(looks))
    what = "reflections of one prompt on a sample"
    model, sampling, chat, chosen, out, notes = choose_model(settings, f"runs/{source.name}-reflected", alike, what)
    check_stops(sampling, "verdict", "reflection")
    if any(out.resolve() in file.path.resolve().parents for file in source.files):
        raise ValueError(f"{out} holds the RAW_DATA to read; give another folder")
    # A text has no more tokens than bytes. The engine rejects a sample that is longer still, and its row says so.
    # Around a sample stand a chat template and the longest prompt.
    frame = 256 + max(len(text.encode()) for text in looks.values()) + examples.size((), looks)
    context = min(model.context, _MOST_CONTEXT, source.longest + frame + sampling.max_tokens)
    # Where the RAW_DATA is, is not part of it.
    configuration = {
        **chosen,
        "raw_rows": source.rows,
        "raw_hash": source.origin.digest,
        "prompts_hash": stable_hash(*looks.items())[:16],
        "reflections": reflections,
        "sampling": sampling.parameters(),
        "context": context,
        "seed": settings.seed,
        **examples.configuration,
    }

    def earlier(before: Mapping[str, Any]) -> Mapping[str, Any]:
        if "raw_rows" not in before:
            return configuration
        check_growth(AdditionPlan.grows, before, configuration)
        return {**configuration, "reflections": before["reflections"]}

    return AdditionPlan(
        name=f"{source.name}-reflected-{model.label}",
        configuration=configuration,
        earlier=earlier,
        model=model,
        sampling=sampling,
        engine_args=settings.engine_args or {},
        chat=chat,
        context=context,
        per_item=BLOCK_ROWS * reflections,
        out=out,
        license=settings.license,
        texts={"reflections": looks, "examples": examples.texts, "chat_template": chat.template},
        notes=(*source.origin.notes, *notes, *of_examples),
        source=source,
        work=AdditionWork(reflections, sampling, settings.seed, examples, looks),
    )


def _examples(settings: AdditionSettings, source: Source) -> tuple[Examples, list[str]]:
    """Return the examples of reflecting and notes on them. Raises ValueError if there are none in the file."""
    path = settings.examples
    given = load_examples(path, among=prompts.read_reflections(check_prompts(settings.prompts)).all)
    examples = Examples(reflecting=given.reflecting)
    if given.answering and not given.reflecting:
        raise ValueError(f"--examples {path} holds no example of reflecting: give lines with a 'reflection'")
    tables = itertools.chain.from_iterable(map(read_samples, source.files))
    check_apart(examples, (text for rows in tables for text in rows["question"].unique().to_pylist()))
    unused = f"--examples: {len(given.answering):,} examples of answering are not used: no sample is drawn"
    return examples, [*([unused] if given.answering else []), *notes_on_reflecting(examples)]


def look_at_samples(plan: AdditionPlan) -> AdditionPlan:
    """Return the plan with chats as the template takes them, and the notes on them. Raises as notes_on_prompts does."""
    if plan.model.served:
        return plan
    names = [*plan.work.prompts]
    look = partial(plan.work.examples.look, among=plan.work.prompts)
    empty = [Prompt(f"reflection {name}", look(name, "", "")) for name in names]

    kinds = [*empty, _first(plan)]
    fitted = fit_chat(plan, kinds)
    plan = replace(plan, chat=fitted.chat.format)

    def longer(room: int, widest: int) -> Iterable[Prompt]:
        for block in read_blocks(plan.source) if plan.source.longest > room else ():
            for sample in block.samples:
                if len((sample.question + sample.response).encode()) > room:
                    yield Prompt(f"row {sample.row:,}", look(names[widest], sample.question, sample.response))

    notes = notes_on_prompts(
        plan,
        fitted.chat,
        kinds=kinds,
        frames=[prompt.messages for prompt in empty],
        longer=longer,
        total=plan.source.graded,
        what="samples with their question",
        least={prompts.VERDICT: plan.sampling.max_tokens},
    )
    return plan.with_notes(*fitted.notes, *notes)


def _first(plan: AdditionPlan) -> Prompt:
    """Return the first prompt of the first row that gets a reflection."""
    block = next(block for block in read_blocks(plan.source) if block.samples)
    return Prompt(f"row {block.samples[0].row:,}", plan.work.requests(block, block.samples[0])[0][1].messages)


def describe_additions(plan: AdditionPlan) -> str:
    """Describe the plan, with the first prompt as the model will see it."""
    source, more, none = plan.source, plan.work.reflections, plan.source.rows - plan.source.graded
    files, requests = len(source.files), source.graded * more
    row, messages = _first(plan)
    return write_out(
        plan,
        chat_of(plan),
        asked=[
            f"raw data    {source.name}: {source.rows:,} rows in {files:,} files, {source.reflections:,} reflections",
            f"samples     {source.graded:,} graded ones get {more} more, {none:,} of unknown outcome none",
            *plan.work.examples.described,
        ],
        bounds=[
            f"requests    {requests:,} reflections",
            f"tokens      at most {requests * plan.sampling.max_tokens:,} written",
        ],
        shown=[Prompt(f", on {row}", messages)],
    )
