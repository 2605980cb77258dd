"""From settings and the RAW_DATA given to everything that is decided before an engine starts; and that in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.models import Model
from cluster.vllm_engine import ChatTokenizer
from generation.additions.rows import output_schema
from generation.additions.settings import AdditionSettings
from generation.additions.source import Source, open_source, read_blocks, read_samples
from generation.additions.work import Adding
from generation.plan import BUILTIN_LONGEST, LONGEST, begun_or_newest, builtin_model, sampling_of
from generation.raw_data import RAW_DATA
from generation.raw_files import reading
from generation.records import stable_hash
from reflection import prompts

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
    """What a person should know about the rows."""

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
            "raw_hash": self.source.digest,
            "prompts_hash": stable_hash(*prompts.PROMPTS.items())[:16],
            "reflections": self.work.reflections,
            "sampling": asdict(self.work.sampling),
            "context": self.context,
            "seed": self.work.seed,
        }


def make_plan(settings: AdditionSettings) -> AdditionPlan:
    """Decide everything; every row is read once. Raises ValueError for a model or a RAW_DATA that is not fit."""
    small = settings.model is None
    source = open_source(settings.raw)
    before = f"runs/{source.name}-reflected"
    model = builtin_model() if settings.model is None else begun_or_newest(settings.job, before)
    sampling = sampling_of(settings.job, model, BUILTIN_LONGEST if small else LONGEST)
    check_columns(source)
    survey = look(source)
    if not survey.graded:
        raise ValueError(f"{settings.raw}: no sample is known to be right or wrong, so none gets a reflection")
    work = Adding(settings.reflections or (2 if small else 4), sampling, settings.seed)
    # No more tokens than bytes; a sample that is longer still is refused by the engine, and its row says so.
    context = min(model.context, _MOST_CONTEXT, survey.longest + _FRAME + sampling.max_tokens)
    out = Path(settings.out or f"{before}-{Path(model.name).name}")
    return AdditionPlan(model, source, survey, work, context, out, settings.license)


def check_columns(source: Source) -> None:
    """Raise ValueError where files have other columns than the first one, or one that is ours is another's."""
    first: pa.Schema | None = None
    for file in source.files:
        with reading(file.path):
            schema = pq.read_schema(file.path)
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
    """The plan in words, with the first prompt as the model will see it.

    Raises ValueError when the model's tokenizer or chat template does not work.
    """
    survey, work = plan.survey, plan.work
    block = next(block for block in read_blocks(plan.source, lambda _: True) if block.samples)
    request = work.requests(block, block.samples[0])[0]
    try:
        prompt = ChatTokenizer(plan.model.path, None if plan.model.local else plan.model.revision).render(
            request.messages
        )
    except Exception as error:
        # A template is the model's own program, a tokenizer anyone's file: they fail in their own ways.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise ValueError(f"model {plan.model.name} cannot write a user turn: {reason}") from error
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
            f"--- first prompt, on row {block.samples[0].row:,} " + "-" * 20,
            prompt,
        ]
    )
