"""Turns settings into a plan, complete before any engine starts, and describes it for a person."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.inference.chat import Prompt
from cluster.inference.engine import Message
from cluster.inference.vllm_engine import ChatTokenizer
from cluster.jobs.plan import JobPlan
from cluster.texts import excerpt
from generation import variants
from generation.examples import check_apart, check_golds, load_examples, notes_on_answering, notes_on_reflecting
from generation.model_plan import choose_model, is_builtin, notes_on_prompts, write_out
from generation.raw.schema import SCHEMA
from generation.records import Question, stable_hash
from generation.rollout import Rollout
from generation.settings import Settings
from generation.tasks.registry import run_name, supply
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

    def introduction(self) -> list[tuple[str, str]]:
        rollout, revision = self.rollout, self.model.revision or "unknown"
        sft, rl, variants = len(self.questions), len(self.rl_questions), len(rollout.variants)
        return [
            ("model", f"{self.model.name}, revision {revision}"),
            ("questions", f"{sft:,} of {self.task} for SFT, {rl:,} others for RL"),
            *(("note", note) for note in self.notes),
            ("plan", f"{self.samples:,} samples under {variants} variants, {rollout.reflections} reflections each"),
        ]


def amounts(settings: Settings) -> tuple[int, int]:
    """Return the number of samples per question and variant, and of reflections per sample."""
    samples, reflections = (2, 2) if is_builtin(settings.model) else (16, 4)
    return settings.samples or samples, reflections if settings.reflections is None else settings.reflections


def make_plan(settings: Settings) -> Plan:
    """Make the plan. Raises ValueError for a model or questions that are missing or unsuitable."""
    parts = settings.parts(small=is_builtin(settings.model))
    task = run_name([part.task.name for part in parts])
    samples, reflections = amounts(settings)
    examples = load_examples(settings.examples)
    model, sampling, chat, out, notes = choose_model(settings, f"runs/{task}", samples, "samples of a variant")
    supplied = supply(parts)
    asked = variants.parse_names(settings.variants)
    chats = {one.name: {"system": one.system, "user": f"{{question}}\n\n{one.user}"} for one in asked}
    task_config = json.dumps(supplied.config, sort_keys=True)
    check_golds(examples, asked)
    check_apart(examples, (question.text for question in (*supplied.sft, *supplied.rl)))
    shown = [*notes_on_answering(examples, asked), *(notes_on_reflecting(examples) if reflections else ())]
    # Room for question, sample, reflection prompt, and a reflection as long as the sample; more is never used.
    context = min(model.context, 2 * sampling.max_tokens + 4096 + examples.size(asked))
    return Plan(
        name=f"{task}-{Path(model.name).name}",
        # Engines and traces are not part of it.
        configuration={
            "model": model.name,
            "model_revision": model.revision,
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
            "context": context,
            "seed": settings.seed,
            **examples.configuration,
        },
        model=model,
        sampling=sampling,
        chat=chat,
        context=context,
        per_item=len(asked) * samples,
        out=out,
        license=settings.license,
        texts={
            "variants": chats,
            "reflections": prompts.PROMPTS if reflections else {},
            "examples": examples.texts,
        },
        notes=(*supplied.notes, *notes, *shown),
        task=task,
        questions=supplied.sft,
        rl_questions=supplied.rl,
        task_config=task_config,
        rollout=Rollout(asked, samples, reflections, sampling, settings.seed, examples),
    )


def look_at_prompts(plan: Plan) -> Plan:
    """Return the plan with the notes of `notes_on_prompts` added. Raises as it does."""

    def longer(room: int, _: int) -> Iterable[Prompt]:
        for question in plan.questions:
            # Rationalized prompts contain the answer too, fewer than four times.
            size = len(question.text.encode(errors="replace")) + 4 * len(question.answer.encode(errors="replace"))
            if size > room:
                for name, messages in _variant_chats(plan, question):
                    yield Prompt(f"{name} of {excerpt(question.text)}", messages)

    larger = f"a larger --max_tokens makes a larger context, up to {plan.model.context:,}"
    notes = notes_on_prompts(
        plan,
        kinds=[Prompt(name.replace("variant ", ""), messages) for name, messages in _first_chats(plan)],
        frames=[chat.messages for chat in _chats(plan, replace(plan.questions[0], text="", answer=""), sample="")],
        longer=longer,
        total=len(plan.questions) * len(plan.rollout.variants),
        what="prompts",
        least=[_LEAST, *([prompts.VERDICT] if plan.rollout.reflections else [])],
        remedy=larger if plan.context < plan.model.context else "",
    )
    return plan.with_notes(*notes)


def describe(plan: Plan) -> str:
    """Describe the plan: counts, an upper bound on tokens, and prompts as the model will see them."""
    chat = ChatTokenizer(plan.model.path, plan.model.hub_revision, plan.chat)
    rollout, longest = plan.rollout, plan.sampling.max_tokens
    sft, rl = (Counter(question.task for question in asked) for asked in (plan.questions, plan.rl_questions))
    golds: dict[str, str] = {}
    for question in plan.questions:
        golds.setdefault(question.grader, " ".join(question.answer.split())[:60])
    # The token bound assumes that every question and every completion is as long as the longest.
    sizes = chat.lengths([(Message(role="user", content=f"{q.text}\n\n{q.answer}"),) for q in plan.questions])
    worst = plan.questions[sizes.index(max(sizes))]
    lengths = chat.lengths([prompt.messages for prompt in _chats(plan, worst)])
    asked, looks = lengths[: len(rollout.variants)], lengths[len(rollout.variants) :]
    reflections = plan.samples * rollout.reflections
    read = plan.samples * min(max(asked), plan.context)
    read += reflections * min(max(looks, default=0) + longest, plan.context)
    return write_out(
        plan,
        chat,
        asked=[
            f"task        {plan.task}: {len(plan.questions)} questions, {len(plan.rl_questions)} more held out for RL",
            *(f"            {name}: {count:,} and {rl[name]:,}" for name, count in sft.items() if len(sft) > 1),
            *(f"graded by   {grader}, the first gold answer {gold!r}" for grader, gold in golds.items()),
            f"variants    {', '.join(variant.name for variant in rollout.variants)}",
            *rollout.examples.described,
        ],
        bounds=[
            f"requests    {plan.samples:,} samples and up to {reflections:,} reflections",
            f"tokens      at most {(plan.samples + reflections) * longest:,} written and {read:,} read",
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
    return chats


def _chats(plan: Plan, question: Question, sample: str = _PLACEHOLDER) -> list[Prompt]:
    """Return the prompts for one question: each variant, then each reflection prompt around the sample."""
    names = prompts.PROMPTS if plan.rollout.reflections else ()
    looks = [Prompt(f"reflection {name}", plan.rollout.examples.look(name, question.text, sample)) for name in names]
    return [*_variant_chats(plan, question), *looks]


def _variant_chats(plan: Plan, question: Question) -> list[Prompt]:
    rollout = plan.rollout
    return [Prompt(f"variant {v.name}", rollout.sample_request(question, v, 0).messages) for v in rollout.variants]
