"""The coroutine for one question: sample, grade, reflect, retry. The only place where these stages meet.

All samples of all variants are requested at once, or with `lacking` as many as are still needed. Each is graded on
arrival, and its reflections are requested immediately from the same engine, which still has their prefix cached.
A retry follows a reflection that says Incorrect, and is graded and reflected on as a sample; none follows a retry.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pyarrow as pa

from cluster.errors import ItemFailedError
from cluster.inference.engine import Completion, Engine, Message, Request, Sampling, without_system
from generation import variants
from generation.examples import NO_EXAMPLES, Examples
from generation.grading import grade
from generation.raw.schema import SCHEMA, Rolled, to_table
from generation.records import (
    RETRY,
    Attempt,
    Grade,
    InnerAttempt,
    InnerReflection,
    Parent,
    Question,
    Reflection,
    collapse_spaces,
    request_seed,
)
from generation.variants import BARE, Variant
from reflection import prompts
from reflection.inner import attempts_in
from reflection.prompts import OURS
from reflection.verdict import parse_verdict

TRIES = 3  # attempts at a request that the engine refuses
T = TypeVar("T")
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
        """Return all attempts, by variant and index. Raises ItemFailedError if every sample failed, EngineDiedError."""
        owed, attempts, retries = self.order(question), dict[tuple[str, int], Attempt](), list[Attempt]()
        while owed and (count := await self._count(engine, question, attempts.values(), len(owed))):
            batch, owed = owed[:count], owed[count:]
            for one, *after in await together(self._with_retries(engine, question, *asked) for asked in batch):
                attempts[one.variant, one.index] = one
                retries += after
        names = [variant.name for variant in (*self.variants, BARE)]
        sorted_ = sorted(attempts.values(), key=lambda one: (names.index(one.variant), one.index))
        if all(attempt.completion.finish_reason == "error" for attempt in sorted_):
            raise ItemFailedError(sorted_[0].completion.error)
        return (*sorted_, *sorted(retries, key=lambda one: (one.index, one.parent and one.parent.name)))

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

    async def _count(self, engine: Engine, question: Question, attempts: Collection[Attempt], left: int) -> int:
        """Return how many samples to ask for next."""
        if self.lacking is None or question.held_out:
            return left
        if not attempts:
            return self.lacking(SCHEMA.empty_table())
        table = await asyncio.to_thread(to_table, tuple(attempts), engine.info, self.recorded, "")
        return next_batch(await asyncio.to_thread(self.lacking, table), len(attempts))

    async def _with_retries(self, engine: Engine, question: Question, variant: Variant, index: int) -> list[Attempt]:
        """Return a sample, and the retries after it."""
        request, drawn = self.sample_request(question, variant, index), f"{question.key}/{variant.name}/{index}"
        sample = await self._attempt(engine, question, variant, request, drawn, index=index)
        made = [sample]
        if self.retries:
            after = parents_of(sample, self.retries)
            requests = [self.retry_request(question, parent) for parent in after]
            made += await together(
                self._attempt(engine, question, variant, request, request.key, index=index, parent=parent)
                for request, parent in zip(requests, after, strict=True)
            )
        return made

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
        wanted = self.reflections if judged.outcome != "unknown" and not question.held_out else 0
        inner = await asyncio.to_thread(grade_inner, completion.thought, question, judged)
        shown = shown_of(completion, inner)
        names = prompts.draw(wanted, random.Random(f"{self.seed}/{drawn}"), among=self.prompts)
        asked = [
            (name, self._look(self.look(name, question.text, shown), request.key, number))
            for number, name in enumerate(names)
        ]
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
        attempts = await self.rollout(engine, question)
        table = await asyncio.to_thread(to_table, attempts, engine.info, self.rollout.recorded, self.task_config)
        tokens = sum(attempt.completion.output_tokens for attempt in attempts)
        tokens += sum(look.completion.output_tokens for attempt in attempts for look in attempt.reflections)
        return Rolled(table, tokens)


def shown_of(completion: Completion, inner: Iterable[InnerAttempt]) -> str:
    """Return what of a sample is reflected on: of one that is a trace itself, the attempt that gives its answer."""
    return next((one.text for one in inner if one.is_final), completion.text)


def parents_of(sample: Attempt, most: int) -> list[Parent]:
    """Return what retries of a sample see: each of its first reflections that say Incorrect, whether it is or not."""
    rejecting = [place for place, look in enumerate(sample.reflections) if look.verdict is False]
    shown = shown_of(sample.completion, sample.inner)
    return [
        Parent(
            sample.variant,
            sample.index,
            number,
            shown,
            sample.grade.extracted,
            sample.reflections[number].completion.text,
            sample.grade.outcome,
            cut=sample.completion.finish_reason == "length",
            mentions_hint=sample.mentions_hint,
        )
        for number in rejecting[:most]
    ]


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


async def reflect(engine: Engine, asked: Iterable[tuple[str, Request]], is_correct: bool | None) -> list[Reflection]:
    """Request reflections on a sample of this correctness; each request comes with the name of its prompt."""

    async def one(name: str, request: Request) -> Reflection:
        completion = await ask(engine, request)
        verdict = parse_verdict(completion.text)
        return Reflection(name, completion, request.seed, verdict, verdict is not None and verdict == is_correct)

    return await together(one(name, request) for name, request in asked)


async def ask(engine: Engine, request: Request) -> Completion:
    """Return the completion, or the last of TRIES refusals if the engine refuses every time, or the first final one."""
    for _ in range(TRIES):
        completion = await engine.generate(request)
        if completion.finish_reason != "error" or completion.final:
            break
    return completion


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Gather all results in order; if one fails, cancel the others so that no request is left running."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
