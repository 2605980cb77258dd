"""The coroutine for one question of an evaluation: its replies, graded, and with budget forcing those of each arm."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cluster.errors import ItemFailedError
from cluster.inference.engine import Completion, Engine, Message, Request, Sampling, without_system
from generation.asking import ask, together
from generation.evaluation.equivalence import same_answers
from generation.evaluation.forcing import Cut, Forcing, ask_for_answer, cut
from generation.evaluation.rows import Reply, Row, to_table
from generation.evaluation.schema import CONTROL, FORCED, STOPPED
from generation.examples import NO_EXAMPLES, Examples
from generation.grading import grade
from generation.raw.schema import Rolled
from generation.records import WITHOUT_ANSWER, Grade, InnerAttempt, Question, request_seed
from generation.rollout import grade_inner
from generation.variants import Variant

_SPENT = ("output_tokens", "thought_tokens")
_READ = ("prompt_tokens", "cached_tokens")


class Judged(NamedTuple):
    """A reply with its grade."""

    completion: Completion
    grade: Grade
    inner: tuple[InnerAttempt, ...]


class Continuation(NamedTuple):
    """How a reply came about until its answer is looked for."""

    before: list[Completion]  # that it goes on from, of another reply
    judged: Judged
    where: Cut | None = None  # it was gone on with


@dataclass(frozen=True)
class EvaluationWork:
    """The work done for each question; sent to each engine once."""

    variants: tuple[Variant, ...]
    samples: Mapping[str, int]  # by task
    sampling: Sampling
    seed: int
    task_config: str  # JSON
    fold_system: bool = False  # True if the system text goes into the user's turn
    examples: Examples = NO_EXAMPLES
    forcing: Forcing | None = None

    async def __call__(self, engine: Engine, question: Question) -> Rolled:
        """Return rows of EVAL_SCHEMA. Raises ItemFailedError if every request failed, EngineDiedError."""
        owed = [(variant, index) for variant in self.variants for index in range(self.samples[question.task])]
        replies = await together(self._replies(engine, question, *one) for one in owed)
        firsts = [next(iter(arms.values())).completion for arms in replies]
        if all(first.finish_reason == "error" for first in firsts):
            raise ItemFailedError(firsts[0].error)
        rows = await asyncio.to_thread(self._rows, question, replies)
        table = await asyncio.to_thread(to_table, question, rows, engine.info, self.sampling, self.task_config)
        tokens = sum(reply.written_here for arms in replies for reply in arms.values())
        return Rolled(table, tokens)

    def _rows(self, question: Question, replies: Sequence[Mapping[str, Reply]]) -> list[Row]:
        rows, count = list[Row](), self.samples[question.task]
        for number, variant in enumerate(self.variants):
            some = replies[number * count : (number + 1) * count]
            for arm in some[0]:
                of_arm = [arms[arm] for arms in some]
                same = same_answers(question, [reply.grade for reply in of_arm])
                rows.append(Row(arm, variant.name, self.messages(question, variant), of_arm, same))
        return rows

    def messages(self, question: Question, variant: Variant) -> tuple[Message, ...]:
        """Return the chat that asks the question."""
        messages = self.examples.ask(variant, question)
        return without_system(messages) if self.fold_system else messages

    def request(self, question: Question, variant: Variant, index: int) -> Request:
        parts = (question.key, variant.name, index)
        seed = request_seed(self.seed, "evaluation", *parts)
        return Request("/".join(map(str, parts)), self.messages(question, variant), self.sampling, seed)

    async def _replies(self, engine: Engine, question: Question, variant: Variant, index: int) -> dict[str, Reply]:
        """Return the reply of each arm; without budget forcing there is one, without a name."""
        request = self.request(question, variant, index)
        if self.forcing is None:
            judged = await _judge(await ask(engine, request), question)
            return {"": Reply(*judged, request.seed, judged.completion.output_tokens)}
        stopped = replace(request, sampling=self.sampling.within(self.forcing.stop_at))
        base = await _judge(await ask(engine, stopped), question)
        arms = self._force(engine, question, request, base), self._control(engine, question, request, base)
        forced, control = await together(arms)
        return {STOPPED: Reply(*base, request.seed, base.completion.output_tokens), FORCED: forced, CONTROL: control}

    async def _force(self, engine: Engine, question: Question, request: Request, base: Judged) -> Reply:
        """Go on with a reply; one whose request failed stays as it is."""
        assert self.forcing is not None
        first = base.completion
        left = self.forcing.end_at - first.output_tokens
        if first.finish_reason == "error" or left < 1:
            return Reply(*base, request.seed, 0)
        where = cut(first, self.forcing)
        went_on = await ask(engine, _onward(request, "forced", where.begun, self.sampling.within(left)))
        return await self._answered(
            engine, question, request, Continuation([first], await _judge(went_on, question), where)
        )

    async def _control(self, engine: Engine, question: Question, request: Request, base: Judged) -> Reply:
        """Return the reply that the same seed gives without a stop: the same, unless that was what ended it."""
        course = Continuation([base.completion], base)
        if base.completion.finish_reason == "length":
            longer = replace(request, key=f"{request.key}/control")
            course = Continuation([], await _judge(await ask(engine, longer), question))
        return await self._answered(engine, question, request, course)

    async def _answered(self, engine: Engine, question: Question, request: Request, course: Continuation) -> Reply:
        """Return the reply, with its answer asked for if it has none."""
        assert self.forcing is not None
        before, judged, where = course
        made, asked, answered = [] if judged.completion in before else [judged.completion], None, False
        if judged.grade.reason in WITHOUT_ANSWER and judged.completion.finish_reason != "error":
            asked = ask_for_answer(judged.completion, question.answer_in, self.sampling, self.forcing.mark)
        if asked is not None:
            begun, sampling = asked
            what = f"{'control' if where is None else 'forced'} answer"
            made.append(await ask(engine, _onward(request, what, begun, sampling)))
            # Where that request fails, the reply stays without an answer.
            answered = made[-1].finish_reason != "error"
            judged = await _judge(made[-1], question) if answered else judged
        forced = (where, answered) if where is not None or answered else None
        whole = _summed(judged.completion, [*before, *made], made or before)
        return Reply(whole, judged.grade, judged.inner, request.seed, sum(one.output_tokens for one in made), forced)


def _onward(request: Request, what: str, begun: str, sampling: Sampling) -> Request:
    """Return the request for what follows, whose seed is another: the same would draw the same numbers again."""
    seed = request_seed(request.seed, what)
    return replace(request, key=f"{request.key}/{what}", begun=begun, sampling=sampling, seed=seed, follows=True)


def _summed(last: Completion, written: Sequence[Completion], read: Sequence[Completion]) -> Completion:
    """Return the last completion with the tokens of all: those `written`, and those of prompts `read`."""
    counts: dict[str, Any] = {name: sum(getattr(one, name) for one in written) for name in _SPENT}
    return replace(last, **counts, **{name: sum(getattr(one, name) for one in read) for name in _READ})


async def _judge(completion: Completion, question: Question) -> Judged:
    """Grade a reply, off the event loop, which the engine's front end shares."""
    said = completion.text, question, completion.finish_reason, completion.thought
    judged = await asyncio.to_thread(grade, *said)
    return Judged(completion, judged, await asyncio.to_thread(grade_inner, completion.thought, question, judged))
