"""What every command decides about its model: which one, its sampling, whether prompts fit; also describes plans."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cluster.inference import chat as chats
from cluster.inference.chat import Prompt
from cluster.inference.engine import SAMPLING_BOUNDS, Message, Sampling
from cluster.inference.models import Model, Served, find, served_model
from cluster.inference.server_engine import ServerSettings
from cluster.inference.server_flags import server_urls
from cluster.inference.server_probe import ServedChat, look_at_server, notes_on_served
from cluster.inference.vllm_engine import OWN_FORMAT, ChatFormat, ChatTokenizer
from cluster.jobs.plan import JobPlan, JobSettings, check_sampling
from cluster.jobs.progress import say
from cluster.jobs.run_directory import JSON, config_of
from generation import builtin

LONGEST, BUILTIN_LONGEST = 4096, 256  # default --max_tokens
SILENCE_S = 300.0  # default --silence


class ModelChoice(NamedTuple):
    """The model of a run and how it is sampled."""

    model: Model
    sampling: Sampling
    chat: ChatFormat
    out: Path  # the run directory
    notes: list[str]
    """Warnings: settings in the model's own files that are ignored, and samples that will all be identical."""


def is_builtin(settings: JobSettings) -> bool:
    """Return True for the built-in model: no name, or its own unless a folder has that name; never a server's."""
    name = settings.model
    return not settings.server and (name is None or (name == builtin.NAME and not Path(name).is_dir()))


def choose_model(settings: JobSettings, before: str, several: int, what: str) -> ModelChoice:
    """Find the model, at the commit the run began with, and choose its sampling and run directory.

    `before` is the prefix of the default --out; `several` is how many of `what` are drawn for the same prompt.
    Flags override generation_config.json. Raises ValueError for a model that is missing or unsuitable, for sampling
    parameters that no engine accepts, and if --max_tokens leaves no room for a prompt.
    """
    name = settings.model

    def directory(model: str) -> Path:
        return Path(settings.out or f"{before}-{Path(model).name}")

    notes = list[str]()
    if settings.server:
        model, notes = _choose_served(settings, directory)
    elif name is None or is_builtin(settings):
        model = replace(find(str(builtin.MODEL)), name=builtin.NAME)
    elif name.startswith(f"{builtin.NAME}@"):
        raise ValueError(f"model {name}: the built-in model has no commits; give --model {builtin.NAME}")
    else:
        model = find(name, config_of(directory(name.partition("@")[0])), (builtin.NAME,))
    sampling = _choose_sampling(settings, model)
    if model.unused:
        are = "is" if len(model.unused) == 1 else "are"
        notes.append(f"generation_config.json also sets {', '.join(model.unused)}, which {are} not used")
    if not sampling.temperature and several > 1:
        source = "" if settings.temperature is not None else " by the model's generation_config.json"
        told = f"nothing is drawn, so all {several:,} {what} will be the same; give a --temperature"
        notes.append(f"temperature 0{source}: {told}")
    return ModelChoice(model, sampling, OWN_FORMAT, directory(model.name), notes)


def _choose_served(settings: JobSettings, directory: Callable[[str], Path]) -> tuple[Model, list[str]]:
    """Return the server's model, with notes. A run that was begun knows it, and asks no server before it is owed."""
    begun: Mapping[str, Any] = {}
    if settings.model or settings.out:
        begun = config_of(directory(settings.model or ""))
    if "server" in begun and settings.model in (None, begun["model"]):
        model, notes = served_model(begun["model"], Served(**begun["server"])), list[str]()
    else:
        given = {name: value for name in SAMPLING_BOUNDS if (value := getattr(settings, name)) is not None}
        asked = server_settings(settings, settings.model, sampling=Sampling(**given))
        found = look_at_server(asked, ask=not settings.dry_run)
        model, notes = found.model, [*found.notes]
    if settings.temperature is None:
        notes.append(
            "sampling is neutral (temperature 1) where no flag says otherwise: a server does not tell its model's"
        )
    assert model.served is not None
    return model, [*notes_on_served(model.served), *notes]


def server_settings(settings: JobSettings, model: str | None, **more: Any) -> ServerSettings:
    """Return how to reach the servers of --server; `more` are further fields."""
    return ServerSettings(
        server_urls(settings.server),
        model,
        key_env=settings.api_key_env,
        concurrency=settings.concurrency,
        tell=partial(say, "server"),
        **more,
    )


def configuration_of(settings: JobSettings, model: Model) -> dict[str, JSON]:
    """Return what the configuration of a run says of its model."""
    served = {"server": asdict(model.served)} if model.served else {}
    return {"model": model.name, "model_revision": model.revision, **served}


def folds_system(model: Model) -> bool:
    """Return True if the model takes a system text only in the user's turn."""
    return model.served is not None and model.served.fold_system


def chat_of(plan: JobPlan) -> ChatTokenizer | ServedChat:
    """Return what shows and measures the plan's prompts."""
    model = plan.model
    return ServedChat() if model.served else ChatTokenizer(model.path, model.hub_revision, plan.chat)


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

    longest = BUILTIN_LONGEST if is_builtin(settings) else LONGEST
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
    if plan.model.served:
        return []
    chat = chats.load_chat(plan.model, plan.chat)
    of_template = chats.check_template(plan.model, chat, kinds)
    sizes = chat.lengths(frames)
    # A text never has more tokens than bytes, so only prompts with more bytes than there is room for are tokenized.
    asked = longer(plan.context - max(sizes) - chats.MARGIN, sizes.index(max(sizes)))
    short = chats.notes_on_max_tokens(chat, plan.sampling.max_tokens, least)
    fit = chats.check_fit(chat, asked, total, plan.context, what=what, remedy=remedy)
    return [*chats.notes_on_model(plan.model, chat), *of_template, *short, *fit]


def write_out(
    plan: JobPlan,
    chat: ChatTokenizer | ServedChat,
    asked: Sequence[str],
    bounds: Sequence[str],
    shown: Sequence[Prompt],
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
