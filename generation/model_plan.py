"""What every command decides about its model: which one, its sampling, whether prompts fit; also describes plans."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cluster.inference import chat as chats
from cluster.inference.chat import Prompt
from cluster.inference.engine import Message, Sampling
from cluster.inference.models import Model, find
from cluster.inference.vllm_engine import OWN_FORMAT, ChatFormat, ChatTokenizer
from cluster.jobs.plan import JobPlan, JobSettings, check_sampling
from cluster.jobs.run_directory import config_of
from generation import builtin

LONGEST, BUILTIN_LONGEST = 4096, 256  # default --max_tokens


class ModelChoice(NamedTuple):
    """The model of a run and how it is sampled."""

    model: Model
    sampling: Sampling
    chat: ChatFormat
    out: Path  # the run directory
    notes: list[str]
    """Warnings: settings in the model's own files that are ignored, and samples that will all be identical."""


def is_builtin(name: str | None) -> bool:
    """Return True for the built-in model: no name, or its own unless a folder has that name."""
    return name is None or (name == builtin.NAME and not Path(name).is_dir())


def choose_model(settings: JobSettings, before: str, several: int, what: str) -> ModelChoice:
    """Find the model, at the commit the run began with, and choose its sampling and run directory.

    `before` is the prefix of the default --out; `several` is how many of `what` are drawn for the same prompt.
    Flags override generation_config.json. Raises ValueError for a model that is missing or unsuitable, for sampling
    parameters that no engine accepts, and if --max_tokens leaves no room for a prompt.
    """
    name = settings.model

    def directory(model: str) -> Path:
        return Path(settings.out or f"{before}-{Path(model).name}")

    if name is None or is_builtin(name):
        model = replace(find(str(builtin.MODEL)), name=builtin.NAME)
    elif name.startswith(f"{builtin.NAME}@"):
        raise ValueError(f"model {name}: the built-in model has no commits; give --model {builtin.NAME}")
    else:
        model = find(name, config_of(directory(name.partition("@")[0])), (builtin.NAME,))
    sampling = _choose_sampling(settings, model)
    notes = []
    if model.unused:
        are = "is" if len(model.unused) == 1 else "are"
        notes.append(f"generation_config.json also sets {', '.join(model.unused)}, which {are} not used")
    if not sampling.temperature and several > 1:
        source = "" if settings.temperature is not None else " by the model's generation_config.json"
        told = f"nothing is drawn, so all {several:,} {what} will be the same; give a --temperature"
        notes.append(f"temperature 0{source}: {told}")
    return ModelChoice(model, sampling, OWN_FORMAT, directory(model.name), notes)


def _choose_sampling(settings: JobSettings, model: Model) -> Sampling:
    def choose(name: str, neutral: float) -> float:
        asked: float | None = getattr(settings, name)
        if asked is not None:
            return asked
        try:
            check_sampling(name, model.sampling.get(name), f"model {model.name}: {name} in generation_config.json")
        except ValueError as error:
            raise ValueError(f"{error}; give --{name}, which overrides it") from error
        return model.sampling.get(name, neutral)

    longest = BUILTIN_LONGEST if is_builtin(settings.model) else LONGEST
    sampling = Sampling(
        temperature=choose("temperature", 1.0),
        top_p=choose("top_p", 1.0),
        top_k=int(choose("top_k", 0)),
        repetition_penalty=choose("repetition_penalty", 1.0),
        max_tokens=settings.max_tokens or min(longest, model.context // 2),
    )
    if (most := sampling.max_tokens) >= model.context:
        raise ValueError(f"--max_tokens {most} leaves no room for a prompt: the context is {model.context}")
    return sampling


def notes_on_prompts(
    plan: JobPlan,
    kinds: Sequence[Prompt],
    frames: Sequence[tuple[Message, ...]],
    longer: Callable[[int, int], Iterable[Prompt]],
    *,
    total: int,
    what: str,
    least: Sequence[str],
    remedy: str = "",
) -> list[str]:
    """Return notes on the chat template, and on prompts and completions that do not fit; takes seconds.

    `kinds` has one prompt of each kind, to check the template, and `frames` each kind around empty texts. `longer`
    takes a number of bytes and the index of a frame, and returns the prompts whose text is longer, out of `total`
    prompts, called `what` in the plural. A completion must have room for each of the `least` texts. Raises ValueError,
    with `remedy` as advice, if no prompt fits, and if the template does not render a prompt faithfully.
    """
    chat = chats.load_chat(plan.model, plan.chat)
    of_template = chats.check_template(plan.model, chat, kinds)
    sizes = chat.lengths(frames)
    if plan.texts.get("examples") and max(sizes) >= plan.context:
        told = f"a prompt has {max(sizes):,} tokens before any question, and the context is {plan.context:,}"
        raise ValueError(f"--examples: {told}: give fewer, or shorter ones")
    # A text never has more tokens than bytes, so only prompts with more bytes than there is room for are tokenized.
    asked = longer(plan.context - max(sizes) - chats.MARGIN, sizes.index(max(sizes)))
    short = chats.notes_on_max_tokens(chat, plan.sampling.max_tokens, least)
    fit = chats.check_fit(chat, asked, total, plan.context, what=what, remedy=remedy)
    return [*chats.notes_on_model(plan.model, chat), *of_template, *short, *fit]


def write_out(
    plan: JobPlan, chat: ChatTokenizer, asked: Sequence[str], bounds: Sequence[str], shown: Sequence[Prompt]
) -> str:
    """Describe a plan: what is asked, bounds on the work, and prompts as the model will see them."""
    lines = [
        f"model       {plan.model.name} (revision {plan.model.revision or 'none'}, context {plan.context})",
        *asked,
        *(f"note        {note}" for note in plan.notes),
        f"sampling    {', '.join(f'{name} {value:g}' for name, value in plan.sampling.parameters().items())}",
        f"run         {plan.out}",
        *bounds,
    ]
    for prompt in shown:
        lines += ["", f"--- first prompt{prompt.name} " + "-" * 20, chat.render(prompt.messages)]
    return "\n".join(lines)
