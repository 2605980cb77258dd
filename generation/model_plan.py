"""What every command decides of the model it asks: which one, how it is sampled, whether prompts fit; and in words."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from cluster.inference.chat import (
    MARGIN,
    Prompt,
    check_fit,
    look_at_template,
    look_for_too_short,
    notes_on,
    open_chat,
)
from cluster.inference.engine import Message, Sampling
from cluster.inference.models import Model, find
from cluster.inference.vllm_engine import ChatTokenizer
from cluster.jobs.plan import DRAWING, JobPlan, JobSettings, check_drawing
from cluster.jobs.run_directory import begun_with
from generation import builtin

LONGEST = 4096
BUILTIN_LONGEST = 256
"""Tokens of a sample or reflection, unless another number is asked for."""


class Prompts(NamedTuple):
    """The prompts of a plan, as far as they are looked at before any is asked."""

    kinds: Sequence[Prompt]
    """One of each kind, for the chat template."""
    frames: Sequence[tuple[Message, ...]]
    """Each kind around empty texts."""
    longer: Callable[[int, int], Iterable[Prompt]]
    """From a number of bytes and the place of the longest frame to the prompts whose texts have more."""
    total: int
    what: str
    """What is counted, in the plural."""
    least: Sequence[str]
    """Texts for which a completion must have room."""
    remedy: str = ""


def is_builtin(name: str | None) -> bool:
    """Return True for the built-in model: unnamed, or by its own name unless a folder has that name."""
    return name is None or (name == builtin.NAME and not Path(name).is_dir())


def find_model(settings: JobSettings, before: str) -> Model:
    """Find the model asked for, at the commit with which the run began; `before` is how a default --out begins.

    Raises ValueError if it is not there or not fit.
    """
    if settings.model is None or is_builtin(settings.model):
        return replace(find(str(builtin.MODEL)), name=builtin.NAME)
    if settings.model.startswith(f"{builtin.NAME}@"):
        raise ValueError(f"model {settings.model}: the built-in model has no commits; give --model {builtin.NAME}")
    out = run_directory(settings, before, settings.model.partition("@")[0])
    return find(settings.model, begun_with(out), (builtin.NAME,))


def run_directory(settings: JobSettings, before: str, model: str) -> Path:
    """Return --out, or `before` and the model's name without its owner."""
    return Path(settings.out or f"{before}-{Path(model).name}")


def choose_sampling(settings: JobSettings, model: Model) -> Sampling:
    """Return the sampling: flags go before generation_config.json, and the built-in model writes less.

    Raises ValueError for a value that no engine draws by, and where a sample leaves no room for a prompt.
    """

    def choose(name: str, neutral: float) -> float:
        asked: float | None = getattr(settings, name)
        if asked is not None:
            return asked
        try:
            check_drawing(name, model.sampling.get(name), f"model {model.name}: {name} in generation_config.json")
        except ValueError as error:
            raise ValueError(f"{error}; give --{name}, which goes before it") from error
        return model.sampling.get(name, neutral)

    drawing = [choose(name, neutral) for name, neutral in zip(DRAWING, (1.0, 1.0, 0, 1.0), strict=True)]
    longest = BUILTIN_LONGEST if is_builtin(settings.model) else LONGEST
    max_tokens = settings.max_tokens or min(longest, model.context // 2)
    if max_tokens >= model.context:
        raise ValueError(f"--max_tokens {max_tokens} leaves no room for a prompt: the context is {model.context}")
    temperature, top_p, top_k, repetition_penalty = drawing
    return Sampling(
        temperature=temperature,
        top_p=top_p,
        top_k=int(top_k),
        repetition_penalty=repetition_penalty,
        max_tokens=max_tokens,
    )


def notes_on_sampling(settings: JobSettings, model: Model, several: int, what: str) -> list[str]:
    """Return notes on what will not be drawn as the model says of itself, or would be the same each time.

    `several` is how many of `what` are drawn for the same prompt.
    """
    notes = []
    if model.unused:
        are = "is" if len(model.unused) == 1 else "are"
        notes.append(f"generation_config.json also sets {', '.join(model.unused)}, which {are} not used")
    asked = settings.temperature
    temperature = asked if asked is not None else model.sampling.get("temperature", 1.0)
    if not temperature and several > 1:
        source = "" if asked is not None else " by the model's generation_config.json"
        notes.append(
            f"temperature 0{source}: nothing is drawn, so all {several:,} {what} will be the same; give a --temperature"
        )
    return notes


def notes_on_prompts(plan: JobPlan, prompts: Prompts) -> list[str]:
    """Return notes on the model's template, and on prompts and completions that do not fit; takes seconds.

    Raises ValueError if the template does not write a prompt as it stands, or if no prompt fits.
    """
    model, context = plan.model, plan.context
    chat = open_chat(model)
    of_template = look_at_template(model, chat, prompts.kinds)
    frames = chat.lengths(prompts.frames)
    # No more tokens than bytes: only what may not fit is counted.
    room = context - max(frames) - MARGIN
    longer = prompts.longer(room, frames.index(max(frames)))
    short = look_for_too_short(chat, plan.sampling.max_tokens, prompts.least)
    fit = check_fit(chat, longer, prompts.total, context, what=prompts.what, remedy=prompts.remedy)
    return [*notes_on(model, chat), *of_template, *short, *fit]


def write_out(
    plan: JobPlan,
    chat: ChatTokenizer,
    *,
    asked: Sequence[str],
    how: Sequence[str] = (),
    bounds: Sequence[str],
    shown: Sequence[Prompt],
) -> str:
    """Write a plan for a person: what is asked and how, bounds of the work, and prompts as the model will see them."""
    lines = [
        f"model       {plan.model.name} (revision {plan.model.revision or 'none'}, context {plan.context})",
        *asked,
        *(f"note        {note}" for note in plan.notes),
        *how,
        f"sampling    {', '.join(f'{name} {value:g}' for name, value in asdict(plan.sampling).items())}",
        f"run         {plan.out}",
        *bounds,
    ]
    for prompt in shown:
        lines += ["", f"--- first prompt{prompt.name} " + "-" * 20, chat.render(prompt.messages)]
    return "\n".join(lines)
