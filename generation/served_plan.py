"""What a plan decides about a model that a server runs: its name, how the server treats it, how it is reached."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from cluster.inference.chat import tokenizer_of
from cluster.inference.engine import SAMPLING_BOUNDS, Sampling
from cluster.inference.models import Model, Served, served_model
from cluster.inference.sampling import changed, read_sampling
from cluster.inference.server_engine import ServerSettings
from cluster.inference.server_flags import server_urls
from cluster.inference.server_probe import ServedChat, look_at_server, notes_on_served
from cluster.inference.vllm_engine import ChatTokenizer
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.jobs.progress import say


def choose_served(settings: JobSettings, begun: Mapping[str, Any]) -> tuple[Model, list[str]]:
    """Return the server's model, with notes. A run that was begun knows it, and asks no server before it is owed."""
    if "server" in begun and settings.model in (None, begun["model"]):
        model, notes = served_model(begun["model"], Served(**begun["server"])), list[str]()
    else:
        given = {name: value for name in SAMPLING_BOUNDS if (value := getattr(settings, name)) is not None}
        sampling = changed(Sampling(), read_sampling(settings.sampling or {}, "--sampling") | given)
        asked = server_settings(settings, settings.model, sampling=sampling, template_kwargs=settings.chat_kwargs or {})
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


def chat_of(plan: JobPlan) -> ChatTokenizer | ServedChat:
    """Return what shows and measures the plan's prompts."""
    return ServedChat() if plan.model.served else tokenizer_of(plan.model, plan.chat)
