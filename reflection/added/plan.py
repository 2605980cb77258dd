"""From settings and the RAW_DATA given to everything that is decided before an engine starts; and that in words."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.inference.chat import (
    MARGIN,
    Prompt,
    check_fit,
    look_at_template,
    look_for_too_short,
    notes_on,
    open_chat,
)
from cluster.inference.engine import Message
from cluster.inference.models import Model
from cluster.inference.vllm_engine import ChatTokenizer
from generation.asked_model import asked_model, is_builtin, notes_on_sampling, sampling_of
from generation.raw.files import reading
from generation.raw.reader import check_once
from generation.raw.schema import RAW_DATA
from generation.records import stable_hash
from reflection import prompts
from reflection.added.rows import output_schema
from reflection.added.settings import AdditionSettings
from reflection.added.source import Source, open_source, read_blocks, read_samples
from reflection.added.work import Adding

_MOST_CONTEXT = 32_768
_FRAME = 1024
"""More than the tokens of a reflection prompt without question and sample."""


class Survey(NamedTuple):
    """What the rows of a RAW_DATA ask for."""

    outcomes: Counter[str]
    reflections: int
    """There already."""
    longest: int
    """Bytes of the longest question and sample that get reflections."""

    @property
    def graded(self) -> int:
        """Samples that get reflections."""
        return self.outcomes["right"] + self.outcomes["wrong"]


@dataclass(frozen=True)
class AdditionPlan:
    """What a run will do."""

    model: Model
    source: Source
    survey: Survey
    work: Adding
    context: int
    """Of the engines, in tokens."""
    out: Path
    license: str
    notes: tuple[str, ...] = ()
    """What a person should know before it starts."""

    @property
    def name(self) -> str:
        """As the dataset repository is called after it."""
        return f"{self.source.name}-reflected-{Path(self.model.name).name}"

    @property
    def raw_data(self) -> Path:
        return self.out / RAW_DATA

    @property
    def configuration(self) -> dict[str, Any]:
        """What makes a run this run: whatever the rows depend on. Where the RAW_DATA lies is not in it."""
        return {
            "model": self.model.name,
            "model_revision": self.model.revision,
            "raw_rows": self.source.rows,
            "raw_hash": self.source.origin.digest,
            "prompts_hash": stable_hash(*prompts.PROMPTS.items())[:16],
            "reflections": self.work.reflections,
            "sampling": asdict(self.work.sampling),
            "context": self.context,
            "seed": self.work.seed,
        }


def make_plan(settings: AdditionSettings) -> AdditionPlan:
    """Decide everything, reading every row once. Raises ValueError for a model or a RAW_DATA that is not fit."""
    small = is_builtin(settings.model)
    source = open_source(settings.raw)
    before = f"runs/{source.name}-reflected"
    model = asked_model(settings.job, before)
    sampling = sampling_of(settings.job, model, small=small)
    check_columns(source)
    survey = look(source)
    if not survey.graded:
        raise ValueError(f"{settings.raw}: no sample is known to be right or wrong, so none gets a reflection")
    work = Adding(settings.reflections or (2 if small else 4), sampling, settings.seed)
    # No more tokens than bytes; a sample that is longer still is refused by the engine, and its row says so.
    context = min(model.context, _MOST_CONTEXT, survey.longest + _FRAME + sampling.max_tokens)
    out = Path(settings.out or f"{before}-{Path(model.name).name}")
    alike = math.ceil(work.reflections / len(prompts.PROMPTS))
    notes = [
        *source.origin.notes,
        *notes_on_sampling(settings.job, model, alike, "reflections of one prompt on a sample"),
    ]
    return AdditionPlan(model, source, survey, work, context, out, settings.license, tuple(notes))


def look_at_prompts(plan: AdditionPlan) -> AdditionPlan:
    """Add notes on the model's template and on samples that do not fit to the plan; takes seconds.

    Raises ValueError if the template does not write a prompt as it stands, or if no sample fits.
    """
    model = plan.model
    chat = open_chat(model)
    empty = [Prompt(f"reflection {name}", prompts.messages(name, "", "")) for name in prompts.PROMPTS]
    row, first = _first(plan)
    of_template = look_at_template(model, chat, [*empty, Prompt(f"row {row:,}", first)])
    frames = dict(zip(prompts.PROMPTS, chat.lengths([prompt.messages for prompt in empty]), strict=True))
    widest = max(frames, key=lambda name: frames[name])
    # No more tokens than bytes: only what may not fit is counted.
    room = plan.context - frames[widest] - MARGIN
    long = (
        Prompt(f"row {sample.row:,}", prompts.messages(widest, sample.question, sample.response))
        for block in (read_blocks(plan.source, lambda _: True) if plan.survey.longest > room else ())
        for sample in block.samples
        if len((sample.question + sample.response).encode()) > room
    )
    short = look_for_too_short(chat, plan.work.sampling.max_tokens, [prompts.VERDICT])
    fit = check_fit(chat, long, plan.survey.graded, plan.context, what="samples with their question")
    notes = [*notes_on(model, chat), *of_template, *short, *fit]
    return replace(plan, notes=(*plan.notes, *notes))


def _first(plan: AdditionPlan) -> tuple[int, tuple[Message, ...]]:
    """The first row that gets a reflection, and its first prompt."""
    block = next(block for block in read_blocks(plan.source, lambda _: True) if block.samples)
    return block.samples[0].row, plan.work.requests(block, block.samples[0])[0][1].messages


def check_columns(source: Source) -> None:
    """Raise ValueError where files have other columns than the first one, or one that is ours is another's."""
    first: pa.Schema | None = None
    for file in source.files:
        with reading(file.path):
            schema = pq.read_schema(file.path)
        for name in schema.names:
            check_once(name, schema, file.path)
        output_schema(schema, file.path)
        if first is not None and not schema.equals(first):
            names = sorted({field.name for field in {*schema} ^ {*first}}) or ["their order"]
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


def describe(plan: AdditionPlan) -> str:
    """Write the plan in words, with the first prompt as the model will see it."""
    survey, work = plan.survey, plan.work
    row, messages = _first(plan)
    prompt = ChatTokenizer(plan.model.path, plan.model.hub_revision).render(messages)
    requests = survey.graded * work.reflections
    none = survey.outcomes["unknown"]
    return "\n".join(
        [
            f"model       {plan.model.name} (revision {plan.model.revision or 'none'}, context {plan.context})",
            f"raw data    {plan.source.name}: {plan.source.rows:,} rows in {len(plan.source.files):,} files, "
            f"{survey.reflections:,} reflections",
            f"samples     {survey.graded:,} graded ones get {work.reflections} more, {none:,} of unknown outcome none",
            f"sampling    {', '.join(f'{name} {value:g}' for name, value in asdict(work.sampling).items())}",
            *(f"note        {note}" for note in plan.notes),
            f"run         {plan.out}",
            f"requests    {requests:,} reflections",
            f"tokens      at most {requests * work.sampling.max_tokens:,} written",
            "",
            f"--- first prompt, on row {row:,} " + "-" * 20,
            prompt,
        ]
    )
