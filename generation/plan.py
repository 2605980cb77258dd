"""Turns settings into a plan, complete before any engine starts, and describes it for a person."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from cluster.inference.chat import Prompt
from cluster.inference.engine import Message, Sampling
from cluster.inference.sampling import check_stops, check_token_ids
from cluster.jobs.plan import JobPlan
from cluster.jobs.run_directory import JSON
from cluster.texts import excerpt
from generation import variants
from generation.examples import (
    Examples,
    check_apart,
    check_golds,
    load_examples,
    notes_on_answering,
    notes_on_reflecting,
)
from generation.grading.answers import places_of
from generation.model_plan import (
    choose_model,
    fit_chat,
    is_builtin,
    named,
    notes_on_prompts,
    sampling_of_reflections,
    write_out,
)
from generation.raw.schema import SCHEMA
from generation.records import ANSWER_IN, Question, stable_hash
from generation.rollout import Rollout
from generation.served_plan import chat_of
from generation.settings import Settings
from generation.tasks.registry import run_name, supply
from generation.tasks.task import Supplied
from generation.variants import Variant
from reflection import prompts

_PLACEHOLDER = "(the sample, as the model wrote it)"
_LEAST = "<answer>7</answer>"


@dataclass(frozen=True, kw_only=True)
class Plan(JobPlan):
    """A plan whose items are questions."""

    schema = SCHEMA
    sort_by = ("prompt_variant", "sample_index")

    task: str
    questions: tuple[Question, ...]
    rl_questions: tuple[Question, ...]
    task_config: str
    """JSON: everything that the questions depend on."""
    rollout: Rollout

    @property
    def keys(self) -> list[str]:
        return [question.key for question in self.questions]

    def items(self, keys: Collection[str]) -> Iterator[Question]:
        return (replace(one, place=place) for place, one in enumerate(self.questions) if one.key in keys)

    @property
    def samples(self) -> int:
        return len(self.questions) * self.per_item

    @property
    def max_tokens(self) -> int:
        return max(self.sampling.max_tokens, self.rollout.of_reflections.max_tokens)

    def introduction(self) -> list[tuple[str, str]]:
        rollout, revision = self.rollout, self.model.full_revision or "unknown"
        sft, rl, variants = len(self.questions), len(self.rl_questions), len(rollout.variants)
        return [
            ("model", f"{self.model.full_name}, revision {revision}"),
            ("questions", f"{sft:,} of {self.task} for SFT, {rl:,} others for RL"),
            *(("note", note) for note in self.notes),
            ("plan", f"{self.samples:,} samples under {variants} variants, {rollout.reflections} reflections each"),
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
    supplied = _with_places(supply(parts), settings.answer_in)
    asked = variants.parse_names(settings.variants)
    chats = {one.name: {"system": one.system, "user": f"{{question}}\n\n{one.user}"} for one in asked}
    task_config = json.dumps(supplied.config, sort_keys=True)
    examples, shown = _examples(settings.examples, asked, supplied, reflections)
    looking = sampling_of_reflections(settings, sampling, model, chat) if reflections else None
    _check_stops(supplied, sampling, looking or sampling, reflections)
    # Room for question, sample, reflection prompt and reflection; more is never used.
    longest = sampling.max_tokens + (looking or sampling).max_tokens
    context = min(model.context, longest + 4096 + examples.size(asked))
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
            "prompts_hash": stable_hash(*asked, *prompts.PROMPTS.items())[:16],
            "variants": [variant.name for variant in asked],
            "samples": samples,
            "reflections": reflections,
            "sampling": sampling.parameters(),
            **({"reflection_sampling": looking.parameters()} if looking else {}),
            "context": context,
            "seed": settings.seed,
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
            "variants": chats,
            "reflections": prompts.PROMPTS if reflections else {},
            "examples": examples.texts,
            "chat_template": chat.template,
        },
        notes=(*supplied.notes, *notes, *shown),
        task=task,
        questions=supplied.sft,
        rl_questions=supplied.rl,
        task_config=task_config,
        rollout=Rollout(
            asked, samples, reflections, sampling, settings.seed, examples=examples, reflection_sampling=looking
        ),
    )


def _examples(
    path: str | None, asked: tuple[Variant, ...], supplied: Supplied, reflections: int
) -> tuple[Examples, list[str]]:
    """Return the examples in a file and notes on them. Raises ValueError if they do not go with the questions."""
    examples = load_examples(path)
    check_golds(examples, asked)
    check_apart(examples, (question.text for question in (*supplied.sft, *supplied.rl)))
    notes = [*notes_on_answering(examples, asked, {question.answer_in for question in supplied.sft})]
    return examples, [*notes, *(notes_on_reflecting(examples) if reflections else ())]


def _check_stops(supplied: Supplied, sampling: Sampling, looking: Sampling, reflections: int) -> None:
    if any("tag" in q.answer_in for q in (*supplied.sft, *supplied.rl)):
        check_stops(sampling, "answer", "sample")
    if reflections:
        check_stops(looking, "verdict", "reflection")


def _with_places(supplied: Supplied, answer_in: str | None) -> Supplied:
    """Set where samples of each question give their answers."""
    sft, rl = ([replace(q, answer_in=places_of(q.grader, answer_in)) for q in of] for of in (supplied.sft, supplied.rl))
    return supplied._replace(sft=tuple(sft), rl=tuple(rl))


def places_in(questions: Iterable[Question]) -> dict[str, JSON]:
    """Return where answers stand, by grader, as the configuration has it: nothing where it is as it always was."""
    there = {question.grader: list(question.answer_in) for question in questions if question.answer_in != ANSWER_IN}
    return {"answer_in": there} if there else {}


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

    looks = {prompts.VERDICT: plan.rollout.of_reflections.max_tokens} if plan.rollout.reflections else {}
    larger = f"a larger --max_tokens makes a larger context, up to {plan.model.context:,}"
    notes = notes_on_prompts(
        plan,
        fitted.chat,
        kinds=_kinds(plan),
        frames=[chat.messages for chat in _chats(plan, replace(plan.questions[0], text="", answer=""), sample="")],
        longer=longer,
        total=len(plan.questions) * len(plan.rollout.variants),
        what="prompts",
        least={_LEAST: plan.sampling.max_tokens} | looks,
        remedy=larger if plan.context < plan.model.context else "",
    )
    return plan.with_notes(*fitted.notes, *notes)


def _kinds(plan: Plan) -> list[Prompt]:
    return [Prompt(name.replace("variant ", ""), messages) for name, messages in _first_chats(plan)]


def describe(plan: Plan) -> str:
    """Describe the plan: counts, an upper bound on tokens, and prompts as the model will see them."""
    chat = chat_of(plan)
    rollout, longest = plan.rollout, plan.sampling.max_tokens
    looking = rollout.of_reflections
    sft, rl = (Counter(question.task for question in asked) for asked in (plan.questions, plan.rl_questions))
    # The token bound assumes that every question and every completion is as long as the longest.
    sizes = chat.lengths([(Message(role="user", content=f"{q.text}\n\n{q.answer}"),) for q in plan.questions])
    worst = plan.questions[sizes.index(max(sizes))]
    lengths = chat.lengths([prompt.messages for prompt in _chats(plan, worst)])
    asked, looks = lengths[: len(rollout.variants)], lengths[len(rollout.variants) :]
    reflections = plan.samples * rollout.reflections
    written = plan.samples * longest + reflections * looking.max_tokens
    read = plan.samples * min(max(asked), plan.context)
    read += reflections * min(max(looks, default=0) + longest, plan.context)
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
            f"requests    {plan.samples:,} samples and up to {reflections:,} reflections",
            f"tokens      at most {written:,} written and {read:,} read",
        ],
        shown=[Prompt(f" of {name}", messages) for name, messages in _first_chats(plan)],
    )


def first_of_each_grader(questions: Iterable[Question]) -> list[Question]:
    """Return the first question of each grader."""
    firsts: dict[str, Question] = {}
    for question in questions:
        firsts.setdefault(question.grader, question)
    return [*firsts.values()]


def graded_by(first: Question) -> str:
    """Return the line of a description that says how questions such as this one are graded."""
    places = f"; answers in {', '.join(first.answer_in)}" if first.answer_in != ANSWER_IN else ""
    return f"graded by   {first.grader}, the first gold answer {' '.join(first.answer.split())[:60]!r}{places}"


def _first_chats(plan: Plan) -> list[Prompt]:
    """Return the prompts for the first question and, in a mixture, the variants for the first of each other task."""
    first = plan.questions[0]
    others = {question.task: question for question in reversed(plan.questions) if question.task != first.task}
    chats = _chats(plan, first)
    for task in sorted(others):
        chats += [Prompt(f"{task}, {name}", messages) for name, messages in _variant_chats(plan, others[task])]
    return chats


def _chats(plan: Plan, question: Question, sample: str = _PLACEHOLDER) -> list[Prompt]:
    """Return the prompts for one question: each variant, then each reflection prompt around the sample."""
    names = prompts.PROMPTS if plan.rollout.reflections else ()
    looks = [Prompt(f"reflection {name}", plan.rollout.examples.look(name, question.text, sample)) for name in names]
    return [*_variant_chats(plan, question), *looks]


def _variant_chats(plan: Plan, question: Question) -> list[Prompt]:
    rollout = plan.rollout
    return [Prompt(f"variant {v.name}", rollout.sample_request(question, v, 0).messages) for v in rollout.variants]
