"""The coroutine for one question: sample, grade, reflect, retry. The only place where these stages meet.

All samples of all variants are requested at once, or with `lacking` as many as are still needed. Each is graded on
arrival, and its reflections are requested immediately from the same engine, which still has their prefix cached.
A retry follows a reflection that says Incorrect, and is graded and reflected on as a sample; none follows a retry.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from cluster.errors import ItemFailedError
from cluster.inference.engine import Engine, Message, Request, Sampling, without_system
from generation import variants
from generation.asking import ask, reflect, together
from generation.examples import NO_EXAMPLES, Examples
from generation.grading import grade
from generation.parents import names_of, parents_in, parents_of, shown_of
from generation.raw.grown import Grown, Row, sample_of, samples_in, with_reflections
from generation.raw.schema import PARENT, SCHEMA, Rolled, to_table
from generation.records import (
    RETRY,
    Attempt,
    Grade,
    InnerAttempt,
    InnerReflection,
    Parent,
    Question,
    collapse_spaces,
    request_seed,
)
from generation.variants import BARE, Variant
from reflection import prompts
from reflection.inner import attempts_in
from reflection.prompts import OURS
from reflection.verdict import parse_verdict

Lacking = Callable[[pa.Table], int]
"""Returns how many more samples a question with these rows needs at least; 0 if it has enough. Picklable."""


@dataclass(frozen=True)
class Rollout:
    """How every question is sampled and reflected on."""

    variants: tuple[Variant, ...]
    samples: int  # per variant
    reflections: int  # per sample whose correctness is known
    sampling: Sampling
    seed: int
    fold_system: bool = False  # True if the system text goes into the user's turn
    reflection_sampling: Sampling | None = None  # of reflections, where they differ from samples
    examples: Examples = NO_EXAMPLES
    rl_samples: int = 0  # of each question held out for RL, which has no variants and no reflections
    prompts: Mapping[str, str] = field(default_factory=lambda: prompts.PROMPTS)  # of reflections, by name
    retries: int = 0  # of each sample at most, after as many of its reflections that say Incorrect, right or not
    retry_prompt: str = OURS.retry
    lacking: Lacking | None = None  # None takes all samples of each question

    @property
    def of_reflections(self) -> Sampling:
        """Return how reflections are sampled."""
        return self.reflection_sampling or self.sampling

    @property
    def recorded(self) -> Sampling:
        """Return the sampling as a row tells it: that of reflections, where it differs, is in `more`."""
        if self.reflection_sampling is None:
            return self.sampling
        more = {**self.sampling.more, "reflections": self.reflection_sampling.parameters()}
        return replace(self.sampling, more=more)

    async def __call__(self, engine: Engine, question: Question) -> tuple[Attempt, ...]:
        """Return all attempts that the question lacks, by variant and index, retries last.

        Raises ItemFailedError if every sample failed, EngineDiedError.
        """
        order, attempts = self.order(question), dict[tuple[str, int], Attempt]()
        there, asked = samples_in(question.there), 0
        retries = await self._lacking_retries(engine, question)
        # Samples that are there are met again in their turn, so that as many are asked as if none had been there.
        while count := await self._count(engine, question, attempts, order[:asked]) if asked < len(order) else 0:
            batch, asked = order[asked : asked + count], asked + count
            missing = [one for one in batch if (one[0].name, one[1]) not in there]
            for one, *after in await together(self._with_retries(engine, question, *lacking) for lacking in missing):
                attempts[one.variant, one.index] = one
                retries += after
        names = [variant.name for variant in (*self.variants, BARE)]
        sorted_ = sorted(attempts.values(), key=lambda one: (names.index(one.variant), one.index))
        if not there and all(attempt.completion.finish_reason == "error" for attempt in sorted_):
            raise ItemFailedError(sorted_[0].completion.error)
        return (*sorted_, *sorted(retries, key=lambda one: (one.index, one.parent and one.parent.name)))

    async def reflected(self, engine: Engine, question: Question) -> list[Grown]:
        """Return the rows of the question that are there, with the reflections that they lacked."""

        async def one(row: Row) -> Grown:
            sample = sample_of(row)
            drawn, key = names_of(question, row)
            lacking = self._looks(question, drawn, key, sample.shown, there=sample.reflections)
            asked = lacking if sample.outcome != "unknown" and not question.held_out else []
            return Grown(row, tuple(await reflect(engine, asked, sample.is_correct)))

        return await together(map(one, question.there))

    def order(self, question: Question) -> list[tuple[Variant, int]]:
        """Return variant and index of each sample of the question, in the order of asking.

        With `lacking` they come in rounds: round i has sample i of every variant, in an order drawn for it.
        """
        if question.held_out:
            return [(BARE, index) for index in range(self.rl_samples)]
        if self.lacking is None:
            return [(variant, index) for variant in self.variants for index in range(self.samples)]
        drawn = (random.Random(f"{self.seed}/{question.key}/round {index}") for index in range(self.samples))
        rounds = (rng.sample(self.variants, len(self.variants)) for rng in drawn)
        return [(variant, index) for index, variants in enumerate(rounds) for variant in variants]

    async def _count(
        self,
        engine: Engine,
        question: Question,
        attempts: Mapping[tuple[str, int], Attempt],
        asked: Sequence[tuple[Variant, int]],
    ) -> int:
        """Return how many samples come next, after those `asked`, which are attempts or were there."""
        if self.lacking is None or question.held_out:
            return len(self.order(question))
        if not asked:
            return self.lacking(SCHEMA.empty_table())
        places = {(variant.name, index) for variant, index in asked}
        table = await asyncio.to_thread(to_table, tuple(attempts.values()), engine.info, self.recorded, "")
        there = [row for place, row in samples_in(question.there).items() if place in places]
        table = pa.concat_tables([pa.Table.from_pylist(there, SCHEMA), table]).combine_chunks()
        return next_batch(await asyncio.to_thread(self.lacking, table), len(asked))

    async def _with_retries(self, engine: Engine, question: Question, variant: Variant, index: int) -> list[Attempt]:
        """Return a sample, and the retries after it."""
        request, drawn = self.sample_request(question, variant, index), f"{question.key}/{variant.name}/{index}"
        sample = await self._attempt(engine, question, variant, request, drawn, index=index)
        return [sample, *await self._retried(engine, question, parents_of(sample, self.retries))]

    async def _lacking_retries(self, engine: Engine, question: Question) -> list[Attempt]:
        """Return the retries after samples that are there which are not there themselves."""
        known = {row[PARENT] for row in question.there}
        after = [one for row in samples_in(question.there).values() for one in parents_in(row, self.retries)]
        return await self._retried(engine, question, [one for one in after if one.name not in known])

    async def _retried(self, engine: Engine, question: Question, after: Iterable[Parent]) -> list[Attempt]:
        """Return a retry after each of these."""
        variants = {variant.name: variant for variant in self.variants}
        return await together(self._retry(engine, question, variants[parent.variant], parent) for parent in after)

    async def _retry(self, engine: Engine, question: Question, variant: Variant, parent: Parent) -> Attempt:
        request = self.retry_request(question, parent)
        return await self._attempt(engine, question, variant, request, request.key, index=parent.index, parent=parent)

    async def _attempt(
        self,
        engine: Engine,
        question: Question,
        variant: Variant,
        request: Request,
        drawn: str,
        *,
        index: int,
        parent: Parent | None = None,
    ) -> Attempt:
        """Return what the request gives, graded and reflected on; `drawn` seeds which reflection prompts it gets."""
        completion = await ask(engine, request)
        # Off the event loop, which the engine's front end shares.
        said = completion.text, question, completion.finish_reason, completion.thought
        judged = await asyncio.to_thread(grade, *said)
        inner = await asyncio.to_thread(grade_inner, completion.thought, question, judged)
        shown = shown_of(completion, inner)
        known = judged.outcome != "unknown" and not question.held_out
        asked = self._looks(question, drawn, request.key, shown) if known else []
        return Attempt(
            question=question,
            variant=RETRY if parent else variant.name,
            index=index,
            messages=request.messages,
            completion=completion,
            seed=request.seed,
            grade=judged,
            mentions_hint=variants.mentions_hint(variant, f"{completion.thought if inner else ''}\n{completion.text}"),
            reflections=tuple(await reflect(engine, asked, judged.is_correct)),
            inner=inner,
            parent=parent,
        )

    def _looks(
        self, question: Question, drawn: str, key: str, shown: str, *, there: int = 0
    ) -> list[tuple[str, Request]]:
        """Return prompt names and requests of the reflections on what `key` asked for, without the first `there`."""
        names = prompts.draw(self.reflections, random.Random(f"{self.seed}/{drawn}"), among=self.prompts)
        return [
            (name, self._look(self.look(name, question.text, shown), key, number))
            for number, name in enumerate(names)
            if number >= there
        ]

    def sample_request(self, question: Question, variant: Variant, index: int) -> Request:
        return self._request(self.examples.ask(variant, question), question.key, variant.name, index, "sample")

    def retry_request(self, question: Question, parent: Parent) -> Request:
        asked = prompts.retry_messages(
            question.text, parent.sample, parent.reflection, question.answer_type, self.retry_prompt
        )
        place = question.key, parent.variant, parent.index, "retry", parent.number
        return replace(self._request(asked, *place), follows=True)

    def look(self, name: str, question: str, sample: str) -> tuple[Message, ...]:
        """Return the chat that asks for a reflection on a sample with this prompt."""
        return self.examples.look(name, question, sample, self.prompts)

    def _request(self, messages: tuple[Message, ...], *parts: object) -> Request:
        messages = without_system(messages) if self.fold_system else messages
        return Request("/".join(map(str, parts)), messages, self.sampling, request_seed(self.seed, *parts))

    def _look(self, messages: tuple[Message, ...], *parts: object) -> Request:
        return replace(self._request(messages, *parts), sampling=self.of_reflections, follows=True)


@dataclass(frozen=True)
class Work:
    """The work done for each question; sent to each engine once."""

    rollout: Rollout
    task_config: str

    async def __call__(self, engine: Engine, question: Question) -> Rolled:
        """Return all rows of the question: those that are there, and those that it lacked."""
        rollout, grown = self.rollout, await self.rollout.reflected(engine, question)
        question = replace(question, there=tuple(with_reflections(*one) for one in grown))
        attempts = await rollout(engine, question)
        table = await asyncio.to_thread(to_table, attempts, engine.info, rollout.recorded, self.task_config)
        if question.there:
            # No empty table among those that have rows: its chunk would be a batch of none.
            added = [table] if attempts else []
            table = pa.concat_tables([pa.Table.from_pylist(list(question.there), SCHEMA), *added])
        reflections = [one.reflections for one in attempts] + [one.reflections for one in grown]
        asked = [one.completion for one in attempts] + [look.completion for looks in reflections for look in looks]
        return Rolled(table, sum(completion.output_tokens for completion in asked))


def next_batch(least: int, asked: int) -> int:
    """Return how many samples to ask for where at least so many are lacking after those `asked`; 0 if none is."""
    # A question that is short of one only would else wait for each in turn, 60 times for one that is never solved.
    return least and max(least, asked // 4)


def grade_inner(thought: str | None, question: Question, judged: Grade) -> tuple[InnerAttempt, ...]:
    """Grade each attempt inside a sample that is a trace itself, given the sample's own grade; () for other samples."""
    texts = attempts_in(thought or "")
    grades = [grade(one.text, question, "stop") for one in texts]
    final = max((place for place, one in enumerate(grades) if _is_same_answer(one, judged)), default=None)
    return tuple(
        InnerAttempt(
            text,
            grades[place],
            tuple(InnerReflection(said, parse_verdict(said)) for said in reflections),
            is_final=place == final,
        )
        for place, (text, reflections) in enumerate(texts)
    )


def _is_same_answer(one: Grade, other: Grade) -> bool:
    if one.extracted is None or other.extracted is None or one.outcome != other.outcome:
        return False
    return collapse_spaces(one.extracted) == collapse_spaces(other.extracted)
