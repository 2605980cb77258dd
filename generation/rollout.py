"""One question's coroutine: sample, grade, reflect. The only place where the stages meet.

All samples of all variants are asked for at once; each is graded as it comes, and its reflections
follow at once on the engine that still holds their prefix.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from cluster.errors import ItemFailedError
from cluster.inference.engine import Completion, Engine, Message, Request, Sampling
from generation import variants
from generation.grading import grade
from generation.records import Attempt, Grade, Question, Reflection, request_seed
from generation.variants import Variant
from reflection import prompts
from reflection.verdict import parse_verdict

TRIES = 3
"""How often a request is made that the engine refuses."""
T = TypeVar("T")


@dataclass(frozen=True)
class Rollout:
    """What is asked about every question."""

    variants: tuple[Variant, ...]
    samples: int
    """For each variant."""
    reflections: int
    """For each sample whose correctness is known."""
    sampling: Sampling
    seed: int

    @property
    def requests(self) -> int:
        """Most requests one question can make."""
        return len(self.variants) * self.samples * (1 + self.reflections)

    async def __call__(self, engine: Engine, question: Question) -> tuple[Attempt, ...]:
        """All attempts at the question, by variant and index.

        Raises ItemFailedError when not one sample could be had, EngineDiedError.
        """
        owed = [(variant, index) for variant in self.variants for index in range(self.samples)]
        attempts = await together(self._attempt(engine, question, *one) for one in owed)
        if all(attempt.completion.finish_reason == "error" for attempt in attempts):
            raise ItemFailedError(attempts[0].completion.error)
        return tuple(attempts)

    async def _attempt(self, engine: Engine, question: Question, variant: Variant, index: int) -> Attempt:
        request = self.sample_request(question, variant, index)
        completion = await ask(engine, request)
        # Off the event loop: the engine's own front end lives on it.
        judged = await asyncio.to_thread(grade, completion.text, question, completion.finish_reason)
        wanted = self.reflections if judged.outcome != "unknown" else 0
        names = prompts.draw(wanted, random.Random(f"{self.seed}/{question.key}/{variant.name}/{index}"))
        reflections = await together(
            self._reflect(engine, question, request, completion, judged, number=number, name=name)
            for number, name in enumerate(names)
        )
        hinted = variants.mentions_hint(variant, completion.text)
        return Attempt(
            question,
            variant.name,
            index,
            request.messages,
            completion,
            request.seed,
            judged,
            hinted,
            tuple(reflections),
        )

    def sample_request(self, question: Question, variant: Variant, index: int) -> Request:
        return self._request(variants.messages(variant, question), question.key, variant.name, index, "sample")

    async def _reflect(
        self,
        engine: Engine,
        question: Question,
        asked: Request,
        sample: Completion,
        judged: Grade,
        *,
        number: int,
        name: str,
    ) -> Reflection:
        messages = prompts.messages(name, question.text, sample.text)
        return await reflect(engine, self._request(messages, asked.key, number), name, judged.is_correct)

    def _request(self, messages: tuple[Message, ...], *parts: object) -> Request:
        key = "/".join(map(str, parts))
        return Request(key, messages, self.sampling, request_seed(self.seed, *parts))


async def reflect(engine: Engine, request: Request, prompt_name: str, is_correct: bool | None) -> Reflection:
    """One reflection on a sample of this correctness."""
    completion = await ask(engine, request)
    verdict = parse_verdict(completion.text)
    return Reflection(prompt_name, completion, request.seed, verdict, verdict is not None and verdict == is_correct)


async def ask(engine: Engine, request: Request) -> Completion:
    """The completion, or the refusal that came every time."""
    completion = await engine.generate(request)
    for _ in range(TRIES - 1):
        if completion.finish_reason != "error":
            break
        completion = await engine.generate(request)
    return completion


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; where one fails the others are ended, so that nothing of this question goes on."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
