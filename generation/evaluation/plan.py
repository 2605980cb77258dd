"""The plan of an evaluation, complete before any engine starts, and its description."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cluster.inference.chat import Prompt
from cluster.inference.thoughts import THINK
from cluster.inference.tokenizer import ChatTokenizer
from cluster.jobs.plan import JobPlan
from cluster.jobs.run_directory import JSON
from cluster.texts import excerpt
from generation.evaluation.forcing import ANSWER_TOKENS, Forcing
from generation.evaluation.questions import supply_evaluation
from generation.evaluation.schema import ARM, EVAL_SCHEMA
from generation.evaluation.settings import PAPER, EvaluateSettings
from generation.evaluation.work import EvaluationWork
from generation.model_plan import ModelChoice, choose_model, fit_chat, is_builtin, notes_on_prompts, write_out
from generation.records import Question, stable_hash
from generation.served_plan import chat_of
from generation.supplied import (
    check_answer_stops,
    examples_beside,
    first_of_each_grader,
    graded_by,
    graders_in,
    hint_words,
    places_in,
    with_places,
)
from generation.tasks.registry import run_name
from generation.variants import BARE, Variant, texts_of

_LEAST = "<answer>7</answer>"
_MARK = "<think>"
_AROUND_ANSWER = 32  # tokens of a trigger of ours, and of what closes a thought and begins an answer


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan(JobPlan):
    """A plan whose items are questions to evaluate on."""

    schema = EVAL_SCHEMA
    sort_by = (ARM, "prompt_variant")

    task: str
    questions: tuple[Question, ...]
    work: EvaluationWork

    @property
    def keys(self) -> list[str]:
        return [question.key for question in self.questions]

    def items(self, keys: Collection[str]) -> Iterator[Question]:
        return (replace(one, place=place) for place, one in enumerate(self.questions) if one.key in keys)

    @property
    def replies(self) -> int:
        """Return how many replies are asked for in all, those of one arm."""
        return len(self.work.variants) * sum(self.work.samples[question.task] for question in self.questions)

    def introduction(self) -> list[tuple[str, str]]:
        each = sorted(set(self.work.samples.values()))
        count = str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}"
        return [
            ("model", f"{self.model.full_name}, revision {self.model.full_revision or 'unknown'}"),
            ("questions", f"{len(self.questions):,} of {self.task}"),
            *(("note", note) for note in self.notes),
            ("plan", f"{self.replies:,} replies, {count} to a question{_forced(self.work.forcing)}"),
        ]


def _forced(forcing: Forcing | None) -> str:
    if forcing is None:
        return ""
    return f"; stopped at {forcing.stop_at:,} tokens, forced to {forcing.end_at:,}, and a control of that length"


def plan_evaluation(settings: EvaluateSettings) -> EvaluationPlan:
    """Make the plan. Raises ValueError for a model or questions that are missing or unsuitable."""
    variants = settings.asked_under()
    supplied, tasks = supply_evaluation(settings, small=is_builtin(settings))
    names = [task.name for task in tasks]
    task = PAPER if settings.task == PAPER else run_name(names)
    samples = settings.samples_of(names)
    model, sampling, chat, chosen, out, notes = _model(settings, task, max(samples.values()))
    supplied = with_places(supplied, settings.answer_in)
    check_answer_stops(supplied, sampling, sampling, 0)
    examples, shown = examples_beside(settings, variants, supplied, 0)
    if count := len(examples.reflecting):
        shown.append(f"--examples: {count:,} examples of reflecting are not used: no reflection is asked for")
    if is_builtin(settings) and BARE in variants:
        shown.append("the built-in model was trained on prompt variants, not on questions alone: --variants original")
    asked = supplied.sft
    work = EvaluationWork(
        variants,
        samples,
        sampling,
        settings.seed,
        json.dumps(supplied.config, sort_keys=True),
        examples=examples,
        forcing=_forcing(settings),
    )
    context = min(model.context, sampling.max_tokens + ANSWER_TOKENS + 4096 + examples.size(variants, {}))
    return EvaluationPlan(
        name=f"{task}-{model.label}",
        configuration={**chosen, "task": task, "context": context, **_configuration(asked, work)},
        model=model,
        sampling=sampling,
        engine_args=settings.engine_args or {},
        chat=chat,
        context=context,
        per_item=max(1, round(sum(samples[one.task] for one in asked) / len(asked))) * len(variants),
        out=out,
        license=settings.license,
        texts={
            "variants": texts_of(variants),
            "examples": examples.texts,
            "chat_template": chat.template,
            **graders_in(asked),
        },
        notes=(*supplied.notes, *notes, *shown),
        task=task,
        questions=asked,
        work=work,
    )


def _model(settings: EvaluateSettings, task: str, several: int) -> ModelChoice:
    try:
        return choose_model(settings, f"evals/{task}", several, "replies to a question")
    except ValueError as error:
        if settings.force_to is None:
            raise
        raise ValueError(str(error).replace("--max_tokens", "--force_to")) from error


def _configuration(asked: Sequence[Question], work: EvaluationWork) -> dict[str, JSON]:
    """Return what the configuration of an evaluation says of its questions, and of how they are asked."""
    return {
        "task_config": json.loads(work.task_config),
        "questions": len(asked),
        "questions_hash": stable_hash(*((one.key, one.answer) for one in asked))[:16],
        "variants": [variant.name for variant in work.variants],
        "prompts_hash": stable_hash(*work.variants, *hint_words(work.variants))[:16],
        "samples": dict(work.samples),
        "sampling": work.sampling.parameters(),
        **({"forcing": _configured(work.forcing)} if work.forcing else {}),
        "seed": work.seed,
        **places_in(asked),
        **work.examples.configuration,
    }


def _forcing(settings: EvaluateSettings) -> Forcing | None:
    return None if settings.force_to is None else Forcing(settings.stop_at, settings.force_to, settings.trigger)


def _configured(forcing: Forcing) -> dict[str, JSON]:
    trigger = {"trigger": forcing.trigger} if forcing.trigger is not None else {}
    return {"force_at": forcing.stop_at, "force_to": forcing.end_at, **trigger}


def look_at_questions(plan: EvaluationPlan) -> EvaluationPlan:
    """Return the plan with chats as the template takes them, and the notes on them. Raises as notes_on_prompts does."""
    if plan.model.served:
        return replace(plan, work=replace(plan.work, fold_system=plan.model.served.fold_system))
    kinds = _firsts(plan)
    fitted = fit_chat(plan, kinds)
    work = replace(plan.work, fold_system=fitted.fold_system)
    if work.forcing is not None and THINK in fitted.chat.thinking.own:
        work = replace(work, forcing=work.forcing._replace(mark=_MARK))
    plan = replace(plan, chat=fitted.chat.format, work=work)

    def longer(room: int, _: int) -> Iterable[Prompt]:
        for question in plan.questions:
            # Rationalized prompts contain the answer too, fewer than four times.
            size = len(question.text.encode(errors="replace")) + 4 * len(question.answer.encode(errors="replace"))
            if size > room:
                for variant in plan.work.variants:
                    yield Prompt(f"{variant.name} of {excerpt(question.text)}", plan.work.messages(question, variant))

    if plan.work.forcing is not None:
        _check_room(plan, fitted.chat, plan.work.forcing)
    nothing = replace(plan.questions[0], text="", answer="")
    stop_at = plan.work.forcing.stop_at if plan.work.forcing else plan.sampling.max_tokens
    notes = notes_on_prompts(
        plan,
        fitted.chat,
        kinds=kinds,
        frames=[plan.work.messages(nothing, variant) for variant in plan.work.variants],
        longer=longer,
        total=len(plan.questions) * len(plan.work.variants),
        what="prompts",
        least={_LEAST: stop_at},
    )
    return plan.with_notes(*fitted.notes, *notes)


def _check_room(plan: EvaluationPlan, chat: ChatTokenizer, forcing: Forcing) -> None:
    """Raise ValueError if a reply of full length, its trigger and an answer do not fit behind the longest prompt."""
    work = plan.work
    longest = max(chat.lengths([work.messages(one, variant) for one in plan.questions for variant in work.variants]))
    trigger = len(chat.tokenize([forcing.trigger or ""])[0]) + _AROUND_ANSWER
    if (most := plan.context - longest - trigger - ANSWER_TOKENS) < forcing.end_at:
        told = f"the longest prompt has {longest:,} tokens, {ANSWER_TOKENS} are for an answer"
        remedy = f"give {most:,} at most" if most > 1 else "take another model"
        raise ValueError(f"--force_to {forcing.end_at:,}: {told}, and the context is {plan.context:,}: {remedy}")


def _firsts(plan: EvaluationPlan) -> list[Prompt]:
    """Return the prompts for the first question of each task."""
    firsts = {question.task: question for question in reversed(plan.questions)}
    several = len(firsts) > 1

    def named(task: str, variant: Variant) -> str:
        return f"{task}, {variant.name}" if several else variant.name

    return [
        Prompt(named(task, variant), plan.work.messages(firsts[task], variant))
        for task in sorted(firsts, key=lambda name: plan.keys.index(firsts[name].key))
        for variant in plan.work.variants
    ]


def describe_evaluation(plan: EvaluationPlan) -> str:
    """Describe the plan: questions by task, an upper bound on tokens, and prompts as the model will see them."""
    chat, work = chat_of(plan), plan.work
    counts = Counter(question.task for question in plan.questions)
    lengths = chat.lengths([work.messages(one, variant) for one in plan.questions for variant in work.variants])
    each = [work.samples[one.task] for one in plan.questions for _ in work.variants]
    read = sum(length * count for length, count in zip(lengths, each, strict=True))
    written, requests = plan.replies * plan.max_tokens, plan.replies
    if forcing := work.forcing:
        # The stopped reply, what follows it, the control, and the answers that either may have to be asked for.
        written = plan.replies * (2 * forcing.end_at + 2 * ANSWER_TOKENS)
        requests, read = 5 * plan.replies, 5 * read + 3 * written
    return write_out(
        plan,
        chat,
        asked=[
            f"task        {plan.task}: {len(plan.questions):,} questions",
            *(f"            {name}: {count:,}, {work.samples[name]} replies each" for name, count in counts.items()),
            *map(graded_by, first_of_each_grader(plan.questions)),
            f"asked under {', '.join(variant.name for variant in work.variants)}",
            *([f"forcing    {_forced(forcing)[1:]}"] if forcing else []),
            *work.examples.described,
        ],
        bounds=[
            f"requests    {'up to ' if forcing else ''}{requests:,}",
            f"tokens      at most {written:,} written and {read:,} read",
        ],
        shown=[Prompt(f" of {name}", messages) for name, messages in _firsts(plan)],
    )
