"""From settings to everything that is decided before an engine starts; and the plan in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster.engine import Message, Sampling
from cluster.models import Model, find
from cluster.vllm_engine import ChatTokenizer
from generation import builtin, variants
from generation.raw_data import RAW_DATA
from generation.records import Question, stable_hash
from generation.rollout import Rollout
from generation.settings import DEFAULT_TASK, Settings
from generation.tasks import countdown, own
from reflection import prompts

LONGEST = 4096
BUILTIN_LONGEST = 256
"""Tokens of a sample or reflection, unless another number is asked for."""
_STAND_IN = "(the sample, as the model wrote it)"


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


def make_plan(settings: Settings) -> Plan:
    """Decide everything. Raises ValueError for a model or questions that are not there or not fit."""
    small = settings.model is None
    model = builtin_model() if settings.model is None else find(settings.model)
    sampling = sampling_of(settings, model, BUILTIN_LONGEST if small else LONGEST)
    questions, rl_questions, task, task_config = _questions(settings, small=small)
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
    return Plan(model, task, questions, rl_questions, task_config, rollout, context, out)


def builtin_model() -> Model:
    found = find(str(builtin.MODEL))
    return Model(builtin.NAME, found.path, found.revision, found.local, found.context, found.sampling)


def sampling_of(settings: Settings, model: Model, longest: int) -> Sampling:
    """As asked for, else as the model says of itself; `longest` bounds the default of max_tokens. Raises ValueError."""
    told = model.sampling

    def choose(value: float | None, name: str, neutral: float) -> float:
        return value if value is not None else told.get(name, neutral)

    max_tokens = settings.max_tokens or min(longest, model.context // 2)
    if max_tokens >= model.context:
        raise ValueError(f"--max_tokens {max_tokens} leaves no room for a prompt: the context is {model.context}")
    return Sampling(
        temperature=choose(settings.temperature, "temperature", 1.0),
        top_p=choose(settings.top_p, "top_p", 1.0),
        top_k=int(choose(settings.top_k, "top_k", 0)),
        repetition_penalty=choose(settings.repetition_penalty, "repetition_penalty", 1.0),
        max_tokens=max_tokens,
    )


def _questions(settings: Settings, *, small: bool) -> tuple[tuple[Question, ...], tuple[Question, ...], str, str]:
    if isinstance(settings.questions, str):
        return _own_questions(settings, settings.questions)
    task = settings.task or DEFAULT_TASK
    ranges = settings.ranges(builtin.RANGES if small else countdown.Ranges())
    count = settings.questions or (32 if small else 4000)
    held_out = settings.rl_questions if settings.rl_questions is not None else count // 4
    sft = countdown.make(task, count, rl=False, seed=settings.seed, ranges=ranges)
    rl = countdown.make(task, held_out, rl=True, seed=settings.seed, ranges=ranges)
    return sft, rl, task, countdown.config(settings.seed, ranges)


def _own_questions(settings: Settings, given: str) -> tuple[tuple[Question, ...], tuple[Question, ...], str, str]:
    """The user's questions; those held out for RL are picked by hash, so that the order does not matter."""
    loaded = own.load(given)
    held_out = settings.rl_questions if settings.rl_questions is not None else len(loaded) // 5
    if held_out >= len(loaded):
        raise ValueError(f"--rl_questions {held_out} leaves none of the {len(loaded)} questions of {given} for SFT")
    ranked = sorted(loaded, key=lambda question: stable_hash("rl", question.key))
    kept = {question.key for question in ranked[:held_out]}
    sft = tuple(question for question in loaded if question.key not in kept)
    rl = tuple(question for question in loaded if question.key in kept)
    return sft, rl, loaded[0].task.replace("/", "_"), json.dumps({"questions": given})


def describe(plan: Plan) -> str:
    """The plan in words: counts, an upper bound of tokens, and prompts as the model will see them.

    Raises ValueError when the model's tokenizer or chat template does not work.
    """
    chat = ChatTokenizer(plan.model.path, None if plan.model.local else plan.model.revision)
    try:
        shown = _chats(plan, plan.questions[0])
        prompts_shown = [chat.render(messages) for _, messages in shown]
        bound = _bound(plan, lambda messages: len(chat.encode(messages)))
    except Exception as error:
        # A template is the model's own program, a tokenizer anyone's file: they fail in their own ways.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise ValueError(f"model {plan.model.name} cannot write a system and a user turn: {reason}") from error
    rollout = plan.rollout
    lines = [
        f"model       {plan.model.name} (revision {plan.model.revision or 'none'}, context {plan.context})",
        f"task        {plan.task}: {len(plan.questions)} questions, {len(plan.rl_questions)} more held out for RL",
        f"variants    {', '.join(variant.name for variant in rollout.variants)}",
        f"sampling    {', '.join(f'{name} {value:g}' for name, value in asdict(rollout.sampling).items())}",
        f"run         {plan.out}",
        *bound,
    ]
    for (name, _), prompt in zip(shown, prompts_shown, strict=True):
        lines += ["", f"--- first prompt of {name} " + "-" * 20, prompt]
    return "\n".join(lines)


_Chats = list[tuple[str, tuple[Message, ...]]]


def _chats(plan: Plan, question: Question) -> _Chats:
    """What is asked about one question: each variant, then each reflection prompt on a stand-in."""
    rollout = plan.rollout
    chats: _Chats = [(f"variant {v.name}", rollout.sample_request(question, v, 0).messages) for v in rollout.variants]
    if rollout.reflections:
        chats += [(f"reflection {name}", prompts.messages(name, question.text, _STAND_IN)) for name in prompts.PROMPTS]
    return chats


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
