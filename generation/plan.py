"""Turns settings into a plan, complete before any engine starts, and describes it for a person."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from cluster.inference.chat import Prompt
from cluster.inference.engine import Message
from cluster.inference.sampling import check_token_ids
from cluster.jobs.plan import JobPlan
from cluster.texts import excerpt
from generation import variants
from generation.model_plan import (
    choose_model,
    fit_chat,
    is_builtin,
    named,
    notes_on_prompts,
    sampling_of_reflections,
    write_out,
)
from generation.raw.schema import PARENT, SCHEMA
from generation.records import Question, stable_hash
from generation.rollout import Rollout
from generation.served_plan import chat_of
from generation.settings import Settings
from generation.supplied import (
    check_answer_stops,
    configured,
    examples_beside,
    first_of_each_grader,
    graded_by,
    graders_in,
    notes_on_retries,
    notes_on_variants,
    places_in,
    retry_chat,
    with_places,
)
from generation.tasks.registry import run_name, supply
from generation.variants import BARE
from reflection import prompts

_PLACEHOLDER = "(the sample, as the model wrote it)"
_LEAST = "<answer>7</answer>"


@dataclass(frozen=True, kw_only=True)
class Plan(JobPlan):
    """A plan whose items are questions."""

    schema = SCHEMA
    sort_by = ("prompt_variant", "sample_index", PARENT)

    task: str
    questions: tuple[Question, ...]
    rl_questions: tuple[Question, ...]
    task_config: str
    """JSON: everything that the questions depend on."""
    rollout: Rollout
    previewed: int = 0  # how many of the questions are to be shown; 0 for a run that is no preview

    @property
    def keys(self) -> list[str]:
        return [question.key for question in (*self.questions, *self.sampled_for_rl)]

    @cached_property
    def merged(self) -> list[str]:
        return [question.key for question in self.questions]

    def items(self, keys: Collection[str]) -> Iterator[Question]:
        kept, asked = len(self.questions), (*self.questions, *self.sampled_for_rl)
        places = ((place, one) for place, one in enumerate(asked) if one.key in keys)
        return (replace(one, place=place, held_out=place >= kept) for place, one in places)

    @property
    def sampled_for_rl(self) -> tuple[Question, ...]:
        """The questions of RL if they are sampled, else none."""
        return self.rl_questions if self.rollout.rl_samples else ()

    @property
    def rl_samples(self) -> int:
        return len(self.sampled_for_rl) * self.rollout.rl_samples

    @property
    def each(self) -> int:
        """The most samples of a question that is not of RL."""
        return len(self.rollout.variants) * self.rollout.samples

    @property
    def samples(self) -> int:
        return len(self.questions) * self.each

    @property
    def retries(self) -> int:
        """The most retries of all samples."""
        return self.samples * min(self.rollout.retries, self.rollout.reflections)

    @property
    def upto(self) -> str:
        return "up to " if self.rollout.lacking else ""

    @property
    def max_tokens(self) -> int:
        return max(self.sampling.max_tokens, self.rollout.of_reflections.max_tokens)

    def introduction(self) -> list[tuple[str, str]]:
        rollout, revision = self.rollout, self.model.full_revision or "unknown"
        samples = f"{self.upto}{self.samples:,} samples"
        sft, rl, variants = len(self.questions), len(self.rl_questions), len(rollout.variants)
        return [
            ("model", f"{self.model.full_name}, revision {revision}"),
            ("questions", f"{sft:,} of {self.task} for SFT, {rl:,} others for RL"),
            *(("note", note) for note in self.notes),
            ("plan", f"{samples} under {variants} variants, {rollout.reflections} reflections each"),
            *([("plan", f"up to {self.retries:,} retries, and as many reflections each")] if self.retries else []),
            *([("plan", f"{self.rl_samples:,} samples of the RL questions")] if self.rl_samples else []),
        ]


def amounts(settings: Settings) -> tuple[int, int]:
    """Return the number of samples per question and variant, and of reflections per sample."""
    samples, reflections = (2, 2) if is_builtin(settings) else (16, 4)
    return settings.samples or samples, reflections if settings.reflections is None else settings.reflections


def make_plan(settings: Settings) -> Plan:
    """Make the plan. Raises ValueError for a model or questions that are missing or unsuitable."""
    parts = settings.parts(small=is_builtin(settings))
    task = run_name([part.task.name for part in parts])
    samples, reflections = amounts(settings)
    model, sampling, chat, chosen, out, notes = choose_model(settings, f"runs/{task}", samples, "samples of a variant")
    supplied = with_places(supply(parts), settings.answer_in)
    if settings.rl_samples and not supplied.rl:
        raise ValueError(f"--rl_samples {settings.rl_samples}: no questions are held out for RL: give --rl_questions")
    asked, looks = settings.asked_under(), settings.asked_to_reflect()
    task_config = json.dumps(supplied.config, sort_keys=True)
    examples, shown = examples_beside(settings, asked, supplied, reflections)
    looking = sampling_of_reflections(settings, sampling, model, chat) if reflections else None
    check_answer_stops(supplied, sampling, looking or sampling, reflections)
    # Room for question, sample, reflection prompt and reflection, and a retry that sees all these; more is never used.
    longest = sampling.max_tokens * (2 if settings.retries else 1) + (looking or sampling).max_tokens
    context = min(model.context, longest + 4096 + examples.size(asked, looks))
    rollout = Rollout(asked, samples, reflections, sampling, settings.seed)
    rollout = replace(
        rollout, prompts=looks, examples=examples, reflection_sampling=looking, rl_samples=settings.rl_samples or 0
    )
    rollout = replace(rollout, retries=settings.retries, retry_prompt=settings.asked_to_retry())
    of_retries = notes_on_retries(rollout, model.context)
    return Plan(
        name=f"{task}-{model.label}",
        # Engines and traces are not part of it.
        configuration={
            **chosen,
            "task": task,
            "task_config": json.loads(task_config),
            "questions": len(supplied.sft),
            "rl_questions": len(supplied.rl),
            "questions_hash": stable_hash(*((q.key, q.answer) for q in (*supplied.sft, *supplied.rl)))[:16],
            **configured(settings, rollout),
            "context": context,
            **places_in((*supplied.sft, *supplied.rl)),
            **examples.configuration,
        },
        model=model,
        sampling=sampling,
        engine_args=settings.engine_args or {},
        chat=chat,
        context=context,
        per_item=len(asked) * samples,
        out=out,
        license=settings.license,
        texts={
            "variants": variants.texts_of(asked),
            "reflections": looks if reflections else {},
            **({"retries": {"retry": rollout.retry_prompt}} if rollout.retries else {}),
            "examples": examples.texts,
            "chat_template": chat.template,
            **graders_in((*supplied.sft, *supplied.rl)),
        },
        notes=(*supplied.notes, *notes, *notes_on_variants(settings), *shown, *of_retries),
        task=task,
        questions=supplied.sft,
        rl_questions=supplied.rl,
        task_config=task_config,
        rollout=rollout,
    )


def look_at_prompts(plan: Plan) -> Plan:
    """Return the plan with chats as the template takes them, and the notes on them. Raises as notes_on_prompts does."""
    if plan.model.served:
        return replace(plan, rollout=replace(plan.rollout, fold_system=plan.model.served.fold_system))
    fitted = fit_chat(plan, _kinds(plan))
    check_token_ids(plan.rollout.of_reflections, fitted.chat.size)
    plan = replace(plan, chat=fitted.chat.format, rollout=replace(plan.rollout, fold_system=fitted.fold_system))

    def longer(room: int, _: int) -> Iterable[Prompt]:
        for question in plan.questions:
            # Rationalized prompts contain the answer too, fewer than four times.
            size = len(question.text.encode(errors="replace")) + 4 * len(question.answer.encode(errors="replace"))
            if size > room:
                for name, messages in _variant_chats(plan, question):
                    yield Prompt(f"{name} of {excerpt(question.text)}", messages)
        for question in plan.sampled_for_rl:
            if len(question.text.encode(errors="replace")) > room:
                yield Prompt(f"RL question {excerpt(question.text)}", _bare_chat(plan, question).messages)

    looks = {prompts.VERDICT: plan.rollout.of_reflections.max_tokens} if plan.rollout.reflections else {}
    larger = f"a larger --max_tokens makes a larger context, up to {plan.model.context:,}"
    notes = notes_on_prompts(
        plan,
        fitted.chat,
        kinds=_kinds(plan),
        frames=[chat.messages for chat in _chats(plan, replace(plan.questions[0], text="", answer=""), sample="")],
        longer=longer,
        total=len(plan.questions) * len(plan.rollout.variants) + len(plan.sampled_for_rl),
        what="prompts",
        least={_LEAST: plan.sampling.max_tokens} | looks,
        remedy=larger if plan.context < plan.model.context else "",
    )
    return plan.with_notes(*fitted.notes, *notes)


def _kinds(plan: Plan) -> list[Prompt]:
    return [Prompt(name.replace("variant ", ""), messages) for name, messages in _first_chats(plan)]


def describe(plan: Plan, expected: Iterable[str] = ()) -> str:
    """Describe the plan: counts, a bound on tokens, what is `expected`, and prompts as the model will see them."""
    chat = chat_of(plan)
    rollout, longest = plan.rollout, plan.sampling.max_tokens
    looking = rollout.of_reflections
    sft, rl = (Counter(question.task for question in asked) for asked in (plan.questions, plan.rl_questions))
    # The token bound assumes that every question and every completion is as long as the longest.
    sizes = chat.lengths([(Message(role="user", content=f"{q.text}\n\n{q.answer}"),) for q in plan.questions])
    worst = plan.questions[sizes.index(max(sizes))]
    lengths = chat.lengths([prompt.messages for prompt in _chats(plan, worst)])
    asked, looks = lengths[: len(rollout.variants)], lengths[len(rollout.variants) :]
    reflections = (plan.samples + plan.retries) * rollout.reflections
    written = (plan.samples + plan.retries + plan.rl_samples) * longest + reflections * looking.max_tokens
    bare = [_bare_chat(plan, question).messages for question in plan.sampled_for_rl]
    read = plan.rl_samples * min(max(chat.lengths(bare)), plan.context) if bare else 0
    read += plan.samples * min(max(asked), plan.context)
    read += reflections * min(max(looks, default=0) + longest, plan.context)
    read += plan.retries * min(max(looks, default=0) + longest + looking.max_tokens, plan.context)
    return write_out(
        plan,
        chat,
        asked=[
            f"task        {plan.task}: {len(plan.questions)} questions, {len(plan.rl_questions)} more held out for RL",
            *(f"            {name}: {count:,} and {rl[name]:,}" for name, count in sft.items() if len(sft) > 1),
            *map(graded_by, first_of_each_grader(plan.questions)),
            f"variants    {', '.join(variant.name for variant in rollout.variants)}",
            *rollout.examples.described,
        ],
        bounds=[
            *([f"reflections {named(looking.parameters())}"] if rollout.reflection_sampling else []),
            f"requests    {plan.upto}{plan.samples:,} samples and up to {reflections:,} reflections",
            *([f"            up to {plan.retries:,} retries, their reflections counted above"] if plan.retries else []),
            *([f"            {plan.rl_samples:,} samples of the RL questions"] if plan.rl_samples else []),
            f"tokens      at most {written:,} written and {read:,} read",
            *expected,
        ],
        shown=[Prompt(f" of {name}", messages) for name, messages in _first_chats(plan)],
    )


def _first_chats(plan: Plan) -> list[Prompt]:
    """Return the prompts for the first question and, in a mixture, the variants for the first of each other task."""
    first = plan.questions[0]
    others = {question.task: question for question in reversed(plan.questions) if question.task != first.task}
    chats = _chats(plan, first)
    for task in sorted(others):
        chats += [Prompt(f"{task}, {name}", messages) for name, messages in _variant_chats(plan, others[task])]
    return [*chats, *(_bare_chat(plan, question) for question in plan.sampled_for_rl[:1])]


def _chats(plan: Plan, question: Question, sample: str = _PLACEHOLDER) -> list[Prompt]:
    """Return the prompts for one question: each variant, each reflection prompt around the sample, and the retry's."""
    rollout = plan.rollout
    names = rollout.prompts if rollout.reflections else ()
    looks = [Prompt(f"reflection {name}", rollout.look(name, question.text, sample)) for name in names]
    return [*_variant_chats(plan, question), *looks, *retry_chat(rollout, question, sample)]


def _variant_chats(plan: Plan, question: Question) -> list[Prompt]:
    rollout = plan.rollout
    return [Prompt(f"variant {v.name}", rollout.sample_request(question, v, 0).messages) for v in rollout.variants]


def _bare_chat(plan: Plan, question: Question) -> Prompt:
    return Prompt("RL question", plan.rollout.sample_request(question, BARE, 0).messages)
