"""What every command decides about its model: which one, its sampling, whether prompts fit; also describes plans."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from cluster.inference import chat as chats
from cluster.inference.adapters import find_adapter
from cluster.inference.chat import Fitted, Prompt
from cluster.inference.chat_templates import choose_chat, stops_of
from cluster.inference.engine import SAMPLING_BOUNDS, Message, Sampling
from cluster.inference.engine_arguments import argument_types, frozen
from cluster.inference.model_files import GENERATION
from cluster.inference.models import Model, find
from cluster.inference.sampling import (
    changed,
    check_sampling,
    check_token_ids,
    not_passed_on,
    read_sampling,
    recommended,
)
from cluster.inference.server_probe import ServedChat
from cluster.inference.tokenizer import ChatFormat, ChatTokenizer
from cluster.inference.values import is_number
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.jobs.run_directory import JSON, config_of, now
from generation import builtin
from generation.served_plan import choose_served, name_served
from generation.settings import Settings

LONGEST, BUILTIN_LONGEST = 4096, 256  # default --max_tokens


class ModelChoice(NamedTuple):
    """The model of a run and how it is sampled."""

    model: Model
    sampling: Sampling
    chat: ChatFormat
    configuration: dict[str, JSON]  # what the run's configuration says of these
    out: Path  # the run directory
    notes: list[str]
    """Warnings: another template, ignored settings in the model's own files, samples that will be identical."""


def is_builtin(settings: JobSettings) -> bool:
    """Return True for the built-in model: no name, or its own unless a folder has that name; never a server's."""
    name = settings.model
    return not settings.server and (name is None or (name == builtin.NAME and not Path(name).is_dir()))


def choose_model(settings: JobSettings, before: str, several: int, what: str) -> ModelChoice:
    """Find the model, at the commit the run began with, and choose its sampling and run directory.

    `before` is the prefix of the default --out; `several` is how many of `what` are drawn for the same prompt.
    Flags override the model's files. Raises ValueError for a model or template that is missing or unsuitable, for
    sampling parameters that no engine accepts, and if --max_tokens leaves no room for a prompt.
    """
    name = name_served(settings) if settings.server else _named_model(settings)

    def directory(model: str) -> Path:
        return Path(settings.out or f"{before}-{model}")

    begun, notes = config_of(directory(_label(name, settings))), list[str]()
    if settings.server:
        model, notes = choose_served(settings, str(name), begun)
    elif name is None or is_builtin(settings):
        model = replace(find(str(builtin.MODEL)), name=builtin.NAME)
    elif name.startswith(f"{builtin.NAME}@"):
        raise ValueError(f"model {name}: the built-in model has no commits; give --model {builtin.NAME}")
    else:
        model = find(name, begun, (builtin.NAME,), run_code=settings.run_model_code)
    if settings.adapter is not None:
        model = replace(model, adapter=find_adapter(settings.adapter, begun, model.path))
    if most := (settings.engine_args or {}).get("max_model_len"):
        model = _limited(model, most, settings)
    out = directory(model.label)
    chat = choose_chat(model, settings.chat_template, settings.chat_kwargs or {}, begun, now()[:10])
    sampling = _choose_sampling(settings, model).stopping(stops_of(chat.format))
    notes += [*notes_on_adapter(model), *chat.notes]
    if unused := not_passed_on(model.more):
        are = "is" if len(unused) == 1 else "are"
        notes.append(f"generation_config.json also sets {', '.join(unused)}, which {are} not used")
    if settings.engine_args and not argument_types():
        notes.append("no vLLM is installed here: --engine_args is checked only when an engine starts")
    if not sampling.temperature and several > 1:
        nothing = " (top_p 0 keeps the likeliest token alone)" if model.sampling.get("top_p") == 0 else ""
        source = (
            "" if "temperature" in settings.given_sampling() else f" by the model's generation_config.json{nothing}"
        )
        told = f"nothing is drawn, so all {several:,} {what} will be the same; give a --temperature"
        notes.append(f"temperature 0{source}: {told}")
    configuration = _configuration(settings, model) | chat.configuration
    return ModelChoice(model, sampling, chat.format, configuration, out, notes)


def _named_model(settings: JobSettings) -> str | None:
    """Return --model with --revision. Raises ValueError if there is nothing that it could be of."""
    name, revision = settings.model, settings.revision
    if revision is None or name is None:
        if revision is not None:
            raise ValueError(f"--revision {revision} is of a model of the hub: give that as --model")
        return name
    if os.path.isdir(name) or is_builtin(settings):
        raise ValueError(f"--revision {revision} is of a model of the hub, and {name} is none: leave it out")
    if "@" in name:
        raise ValueError(f"--model {name} and --revision {revision} both name a commit: give one of them")
    return f"{name}@{revision}"


def _label(model: str | None, settings: JobSettings) -> str:
    """Return what Model.label will be, of names as they were given."""
    names = [name for name in (model or builtin.NAME, settings.adapter) if name]
    if settings.server:
        return Path(names[0]).name
    return "-".join(Path(name if os.path.isdir(name) else name.partition("@")[0]).name for name in names)


def notes_on_adapter(model: Model) -> list[str]:
    """Return what the user should know about the adapter, in sentences."""
    adapter, notes = model.adapter, list[str]()
    if adapter is None:
        return notes
    if adapter.base and Path(adapter.base).name.lower() != Path(model.name).name.lower():
        notes.append(
            f"the adapter {adapter.name} was made for {adapter.base} by its own word, and runs on {model.name}"
        )
    if adapter.template:
        notes.append(f"the chat template beside the adapter {adapter.name} is not used, but that of {model.name}")
    return notes


def _limited(model: Model, most: int, settings: JobSettings) -> Model:
    """Return the model with a context of `most` tokens. Raises ValueError if its own is shorter."""
    if most > model.context and "hf_overrides" not in (settings.engine_args or {}):
        told = f"model {model.name} has a context of {model.context:,}"
        raise ValueError(f"--engine_args: max_model_len {most:,} is too long: {told}, unless hf_overrides changes it")
    return replace(model, context=most)


def _choose_sampling(settings: JobSettings, model: Model) -> Sampling:
    given, own = settings.given_sampling(), dict(model.sampling)
    if own.get("top_p") == 0 and "top_p" not in given:
        # In transformers it leaves the likeliest token alone; vLLM does not take it.
        own |= {"top_p": 1.0, "temperature": 0.0}
    for name in SAMPLING_BOUNDS:
        try:
            check_sampling(
                name, None if name in given else own.get(name), f"model {model.name}: {name} in {GENERATION}"
            )
        except ValueError as error:
            raise ValueError(f"{error}; give --{name}, which overrides it") from error
    longest = BUILTIN_LONGEST if is_builtin(settings) else LONGEST
    named = {"max_tokens": min(longest, model.context // 2), **own, **given}
    named["top_k"] = int(named.get("top_k", 0))
    sampling = changed(Sampling(), recommended(model.more, given, model.name) | named)
    if (most := sampling.max_tokens) >= model.context:
        raise ValueError(f"--max_tokens {most} leaves no room for a prompt: the context is {model.context}")
    return sampling


def fit_chat(plan: JobPlan, kinds: Sequence[Prompt]) -> Fitted:
    """Load the model's tokenizer, and find out how its template takes these chats. Raises as load_chat does."""
    return chats.fit(chats.load_chat(plan.model, plan.chat), kinds)


def sampling_of_reflections(settings: Settings, sampling: Sampling, model: Model, chat: ChatFormat) -> Sampling | None:
    """Return how reflections are sampled, None if as samples are. Raises ValueError for values that conflict."""
    given = read_sampling(settings.reflection_sampling or {}, "--reflection_sampling")
    result = changed(sampling, given).stopping(stops_of(chat))
    if result.max_tokens >= model.context:
        told = f"leaves no room for a prompt: the context is {model.context}"
        raise ValueError(f"--reflection_sampling: max_tokens {result.max_tokens} {told}")
    return None if result == sampling else result


def _configuration(settings: JobSettings, model: Model) -> dict[str, JSON]:
    """Return what the configuration of a run says of its model. What is not used adds nothing, as before it existed."""
    arguments = frozen(settings.engine_args or {})
    return {
        "model": model.name,
        "model_revision": model.revision,
        **({"adapter": adapter.name, "adapter_revision": adapter.revision} if (adapter := model.adapter) else {}),
        **({"run_model_code": True} if model.run_code else {}),
        **({"engine_args": arguments} if arguments else {}),
        **({"server": asdict(model.served)} if model.served else {}),
    }


def notes_on_prompts(
    plan: JobPlan,
    chat: ChatTokenizer,
    kinds: Sequence[Prompt],
    frames: Sequence[tuple[Message, ...]],
    longer: Callable[[int, int], Iterable[Prompt]],
    *,
    total: int,
    what: str,
    least: Mapping[str, int],
    remedy: str = "",
) -> list[str]:
    """Return notes on the chat template, and on prompts and completions that do not fit; takes seconds.

    `kinds` has one prompt of each kind, to check the template, and `frames` each kind around empty texts. `longer`
    takes a number of bytes and the index of a frame, and returns the prompts whose text is longer, out of `total`
    prompts, called `what` in the plural. `least` has texts for which a completion must have room, and its max_tokens.
    Raises ValueError, with `remedy` as advice, if no prompt fits, and if the template does not render one faithfully.
    """
    check_token_ids(plan.sampling, chat.size)
    of_template = chats.check_template(plan.model, chat, kinds)
    sizes = chat.lengths(frames)
    if plan.texts.get("examples") and max(sizes) >= plan.context:
        told = f"a prompt has {max(sizes):,} tokens before any question, and the context is {plan.context:,}"
        raise ValueError(f"--examples: {told}: give fewer, or shorter ones")
    # A text never has more tokens than bytes, so only prompts with more bytes than there is room for are tokenized.
    asked = longer(plan.context - max(sizes) - chats.MARGIN, sizes.index(max(sizes)))
    short = chats.notes_on_max_tokens(chat, least)
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
        f"model       {plan.model.full_name} (revision {plan.model.full_revision or 'none'}, context {plan.context})",
        *asked,
        *(f"note        {note}" for note in plan.notes),
        f"sampling    {named(plan.sampling.parameters())}",
        *([f"engine args {named(plan.engine_args)}"] if plan.engine_args else []),
        f"run         {plan.out}",
        *bounds,
    ]
    for prompt in shown:
        lines += ["", f"--- first prompt{prompt.name} " + "-" * 20, chat.render(prompt.messages)]
    return "\n".join(lines)


def named(values: Mapping[str, Any]) -> str:
    """Return values with their names, for a person."""
    numbers = {name: f"{value:g}" for name, value in values.items() if is_number(value)}
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()} | numbers
    return ", ".join(f"{name} {text}" for name, text in texts.items())
