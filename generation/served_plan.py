"""What a plan decides about a model that a server runs: its name, how the server treats it, how it is reached."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cluster.inference.chat import tokenizer_of
from cluster.inference.engine import Sampling
from cluster.inference.models import Model, Served, served_model
from cluster.inference.sampling import changed
from cluster.inference.server_engine import ServerSettings
from cluster.inference.server_flags import server_urls
from cluster.inference.server_probe import ServedChat, look_at_server, notes_on_served, only_model
from cluster.inference.tokenizer import ChatTokenizer
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.jobs.progress import say
from cluster.jobs.run_directory import config_of


def name_served(settings: JobSettings) -> str:
    """Return --model; without it, the model of the run in --out, or the only one that the server serves."""
    if settings.model is not None:
        return settings.model
    begun = config_of(Path(settings.out)) if settings.out else {}
    return (
        str(begun["model"])
        if "server" in begun
        else only_model(server_settings(settings, None), wait=not settings.dry_run)
    )


def choose_served(settings: JobSettings, name: str, begun: Mapping[str, Any]) -> tuple[Model, list[str]]:
    """Return the server's model, with notes; a run that was begun knows both, and asks nothing here."""
    given = settings.given_sampling()
    if "server" in begun and name == begun["model"]:
        model, notes = served_model(name, Served(**begun["server"])), list[str]()
    else:
        sampling, kwargs = changed(Sampling(), given), settings.chat_kwargs or {}
        asked = server_settings(settings, name, sampling=sampling, template_kwargs=kwargs)
        found = look_at_server(asked, ask=not settings.dry_run)
        model, notes = found.model, [*found.notes]
    if "temperature" not in given:
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
