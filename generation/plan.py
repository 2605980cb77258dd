"""From settings to everything that is decided before an engine starts; and the plan in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
from cluster.jobs.card import UNKNOWN
from cluster.messages import excerpt
from generation import variants
from generation.asked_model import asked_model, is_builtin, notes_on_sampling, sampling_of
from generation.raw.schema import RAW_DATA
from generation.records import Question, stable_hash
from generation.rollout import Rollout
from generation.settings import Settings
from generation.tasks.registry import run_name, supply
from reflection import prompts

_STAND_IN = "(the sample, as the model wrote it)"
_LEAST = "<answer>7</answer>"


@dataclass(frozen=True)
class Plan:
    """What a run will do."""

    model: Model
    task: str
    questions: tuple[Question, ...]
    rl_questions: tuple[Question, ...]
    task_config: str
    """JSON: the settings that made the questions."""
    rollout: Rollout
    context: int
    """Of the engines, in tokens."""
    out: Path
    notes: tuple[str, ...] = ()
    """What a person should know before it starts."""
    license: str = UNKNOWN
    """That the cards name."""

    @property
    def name(self) -> str:
        """As dataset repositories are called after it: task and model."""
        return f"{self.task}-{Path(self.model.name).name}"

    @property
    def raw_data(self) -> Path:
        return self.out / RAW_DATA

    @property
    def configuration(self) -> dict[str, Any]:
        """What makes a run this run: whatever the rows depend on. Engines and traces are not in it."""
        return {
            "model": self.model.name,
            "model_revision": self.model.revision,
            "task": self.task,
            "task_config": json.loads(self.task_config),
            "questions": len(self.questions),
            "rl_questions": len(self.rl_questions),
            "questions_hash": stable_hash(*((q.key, q.answer) for q in (*self.questions, *self.rl_questions)))[:16],
            "prompts_hash": stable_hash(*self.rollout.variants, *prompts.PROMPTS.items())[:16],
            "variants": [variant.name for variant in self.rollout.variants],
            "samples": self.rollout.samples,
            "reflections": self.rollout.reflections,
            "sampling": asdict(self.rollout.sampling),
            "context": self.context,
            "seed": self.rollout.seed,
        }

    @property
    def texts(self) -> dict[str, dict[str, Any]]:
        """Every prompt of the run, word for word, as templates with {names}; JSON values."""
        chats = {v.name: {"system": v.system, "user": f"{{question}}\n\n{v.user}"} for v in self.rollout.variants}
        return {"variants": chats, "reflections": prompts.PROMPTS if self.rollout.reflections else {}}


def make_plan(settings: Settings) -> Plan:
    """Decide everything. Raises ValueError for a model or questions that are not there or not fit."""
    small = is_builtin(settings.model)
    parts = settings.parts(small=small)
    task = run_name([part.task.name for part in parts])
    model = asked_model(settings, f"runs/{task}")
    sampling = sampling_of(settings, model, small=small)
    asked = supply(parts)
    rollout = Rollout(
        variants.parse_names(settings.variants),
        settings.samples or (2 if small else 16),
        settings.reflections if settings.reflections is not None else (2 if small else 4),
        sampling,
        settings.seed,
    )
    # Question, sample and reflection prompt, then a reflection as long: no more context than that.
    context = min(model.context, 2 * sampling.max_tokens + 4096)
    out = Path(settings.out or f"runs/{task}-{Path(model.name).name}")
    made = (task, asked.sft, asked.rl, json.dumps(asked.config, sort_keys=True))
    notes = (*asked.notes, *notes_on_sampling(settings, model, rollout.samples))
    return Plan(model, *made, rollout, context, out, notes, settings.license)


def look_at_prompts(plan: Plan) -> Plan:
    """Add notes on the model's template and on prompts that do not fit to the plan; takes seconds.

    Raises ValueError if the template does not write a prompt as it stands, or if no prompt fits.
    """
    model, rollout = plan.model, plan.rollout
    chat = open_chat(model)
    of_template = look_at_template(
        model, chat, [Prompt(name.replace("variant ", ""), messages) for name, messages in _first_chats(plan)]
    )
    empty = replace(plan.questions[0], text="", answer="")
    frames = chat.lengths([messages for _, messages in _variant_chats(plan, empty)])
    # No more tokens than bytes, and the answer may stand in a prompt too: only what may not fit is counted.
    room = plan.context - max(frames) - MARGIN
    long = [
        q
        for q in plan.questions
        if len(q.text.encode(errors="replace")) + 4 * len(q.answer.encode(errors="replace")) > room
    ]
    chats = (
        Prompt(f"{name} of {excerpt(question.text)}", messages)
        for question in long
        for name, messages in _variant_chats(plan, question)
    )
    total = len(plan.questions) * len(rollout.variants)
    larger = f"a larger --max_tokens makes a larger context, up to {model.context:,}"
    remedy = larger if plan.context < model.context else ""
    least = [_LEAST, *([prompts.VERDICT] if rollout.reflections else [])]
    short = look_for_too_short(chat, rollout.sampling.max_tokens, least)
    long_ones = check_fit(chat, chats, total, plan.context, what="prompts", remedy=remedy)
    notes = [*notes_on(model, chat), *of_template, *short, *long_ones]
    return replace(plan, notes=(*plan.notes, *notes))


def describe(plan: Plan) -> str:
    """Write the plan in words: counts, an upper bound of tokens, and prompts as the model will see them."""
    chat = ChatTokenizer(plan.model.path, plan.model.hub_revision)
    shown = _first_chats(plan)
    prompts_shown = [chat.render(messages) for _, messages in shown]
    bound = _bound(plan, lambda messages: len(chat.encode(messages)))
    rollout = plan.rollout
    lines = [
        f"model       {plan.model.name} (revision {plan.model.revision or 'none'}, context {plan.context})",
        f"task        {plan.task}: {len(plan.questions)} questions, {len(plan.rl_questions)} more held out for RL",
        *_by_task(plan),
        *_golds(plan),
        *(f"note        {note}" for note in plan.notes),
        f"variants    {', '.join(variant.name for variant in rollout.variants)}",
        f"sampling    {', '.join(f'{name} {value:g}' for name, value in asdict(rollout.sampling).items())}",
        f"run         {plan.out}",
        *bound,
    ]
    for (name, _), prompt in zip(shown, prompts_shown, strict=True):
        lines += ["", f"--- first prompt of {name} " + "-" * 20, prompt]
    return "\n".join(lines)


def _by_task(plan: Plan) -> list[str]:
    """A line for each task of a mixture."""
    sft, rl = (Counter(question.task for question in asked) for asked in (plan.questions, plan.rl_questions))
    return [f"            {name}: {count:,} and {rl[name]:,}" for name, count in sft.items()] if len(sft) > 1 else []


def _golds(plan: Plan) -> list[str]:
    """How answers are judged, each grader with the first gold answer that it compares them with."""
    first: dict[str, str] = {}
    for question in plan.questions:
        first.setdefault(question.grader, question.answer)
    shown = (f"{grader}, the first gold answer {' '.join(answer.split())[:60]!r}" for grader, answer in first.items())
    return [f"graded by   {line}" for line in shown]


_Chats = list[tuple[str, tuple[Message, ...]]]


def _first_chats(plan: Plan) -> _Chats:
    """What is asked about the first question; of a mixture, the variants for the first of each other task too."""
    first = plan.questions[0]
    others = {question.task: question for question in reversed(plan.questions) if question.task != first.task}
    chats = _chats(plan, first)
    for task in sorted(others):
        chats += [(f"{task}, {name}", messages) for name, messages in _variant_chats(plan, others[task])]
    return chats


def _chats(plan: Plan, question: Question) -> _Chats:
    """What is asked about one question: each variant, then each reflection prompt on a stand-in."""
    chats = _variant_chats(plan, question)
    if plan.rollout.reflections:
        chats += [(f"reflection {name}", prompts.messages(name, question.text, _STAND_IN)) for name in prompts.PROMPTS]
    return chats


def _variant_chats(plan: Plan, question: Question) -> _Chats:
    rollout = plan.rollout
    return [(f"variant {v.name}", rollout.sample_request(question, v, 0).messages) for v in rollout.variants]


def _bound(plan: Plan, count: Callable[[tuple[Message, ...]], int]) -> list[str]:
    """Requests and tokens as if each question were as long as the longest, and each sample and reflection too."""
    rollout, longest = plan.rollout, plan.rollout.sampling.max_tokens
    samples = len(plan.questions) * len(rollout.variants) * rollout.samples
    reflections = samples * rollout.reflections
    sizes = [count((Message(role="user", content=f"{q.text}\n\n{q.answer}"),)) for q in plan.questions]
    worst = plan.questions[sizes.index(max(sizes))]
    lengths = [count(messages) for _, messages in _chats(plan, worst)]
    asked, looks = lengths[: len(rollout.variants)], lengths[len(rollout.variants) :]
    read = samples * min(max(asked), plan.context)
    read += reflections * min(max(looks, default=0) + longest, plan.context)
    return [
        f"requests    {samples:,} samples and up to {reflections:,} reflections",
        f"tokens      at most {len(plan.questions) * rollout.requests * longest:,} written and {read:,} read",
    ]
