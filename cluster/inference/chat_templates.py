"""Which chat template writes a run's prompts: the model's, another of its own, a file's, or plain text turns."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cluster.inference.models import Model
from cluster.inference.tokenizer import ChatFormat
from cluster.jobs.run_directory import JSON
from cluster.texts import load_table, nearest

DEFAULT, PLAIN = "default", "plain"
_TABLE = load_table("cluster.inference", "chat_templates.toml")
_CLOCK = "strftime_now"  # the only way in which a template learns the time
_MOST_BYTES = 1 << 20
_CLOSE = 0.75


class ChatChoice(NamedTuple):
    """How chats become prompts, and what follows from it."""

    format: ChatFormat
    configuration: dict[str, JSON]  # what a run's configuration says of it: nothing if all is the model's default
    notes: list[str]


def check_kwargs(kwargs: Mapping[str, Any] | None) -> None:
    """Raise ValueError for a variable that is not the user's to set."""
    if taken := sorted(set(_TABLE["variables"]["reserved"]).intersection(kwargs or ())):
        raise ValueError(f"--chat_kwargs cannot set {taken[0]!r}, which prompts are made with: leave it out")


def own_template(model: Model) -> str | None:
    """Return the model's own template; None if its tokenizer needs none. Raises ValueError if none is its default."""
    own = model.templates
    if DEFAULT in own or len(own) == 1:
        return own.get(DEFAULT, next(iter(own.values())))
    if own:
        names = ", ".join(sorted(own))
        raise ValueError(f"model {model.name} has several chat templates and none called {DEFAULT}: {names}")
    if model.writes_chats:
        return None
    raise ValueError(f"model {model.name} has no chat template, so it is a base model")


def choose_chat(
    model: Model, asked: str | None, kwargs: Mapping[str, Any], begun: Mapping[str, Any], today: str
) -> ChatChoice:
    """Choose the template by --chat_template, and the date that it is told: that of the `begun` run, or `today`.

    Raises ValueError if there is no such template, and if the model has no default and none is asked for.
    """
    text, chat, notes = _template(model, asked)
    if kwargs:
        chat["kwargs"] = dict(kwargs)
        notes += _unused(kwargs, text) if text is not None else []
    date = ""
    if _CLOCK in (text or ""):
        # A run that began when dates were not recorded goes on with the day's.
        date = begun.get("chat", {}).get("date", "") if begun else today
        chat |= {"date": date} if date else {}
    return ChatChoice(ChatFormat(text, dict(kwargs), date), {"chat": chat} if chat else {}, notes)


def stops_of(format: ChatFormat) -> list[str]:
    """Return the texts that end an answer, as nothing else does in plain text."""
    return list(_TABLE[PLAIN]["stop"]) if format.template == _TABLE[PLAIN]["template"] else []


def _template(model: Model, asked: str | None) -> tuple[str | None, dict[str, JSON], list[str]]:
    """Return the template with what the configuration and the user are told of it."""
    try:
        own = own_template(model)
    except ValueError as error:
        if asked is None:
            names = " or ".join(f"--chat_template {name}" for name in sorted(model.templates))
            plain = f"--chat_template {PLAIN}, for turns in plain text, or --chat_template FILE, a Jinja template"
            raise ValueError(f"{error}; give {names or plain}") from error
        own = ""
    if asked is None:
        return own, {}, []
    name, text, note = asked, model.templates.get(asked), f"prompts are written by the model's chat template {asked!r}"
    if text is None and asked == PLAIN:
        text, note = _TABLE[PLAIN]["template"], _TABLE[PLAIN]["note"]
    elif text is None:
        # A file may be moved: its name makes no other configuration.
        name, text, note = "file", _read(asked, model), f"prompts are written by the chat template of {asked}"
    if text == own:
        return own, {}, []
    return text, {"template": f"{name} {hashlib.sha256(text.encode()).hexdigest()[:16]}"}, [note]


def _read(asked: str, model: Model) -> str:
    path, known = Path(asked), [*sorted(model.templates), PLAIN]
    try:
        if path.is_dir():
            raise ValueError("is a folder: give the file of a template in it")
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("is too large for a chat template: give a file of Jinja source")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = nearest(asked, known, cutoff=_CLOSE)
        hint = f"did you mean {near[0]}?" if near else f"give a file, or one of {', '.join(known)}"
        raise ValueError(f"--chat_template {asked} is no file and no template known by name; {hint}") from None
    except OSError as error:
        raise ValueError(f"--chat_template {asked} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"--chat_template {asked} is no UTF-8: give a file of Jinja source") from error
    except ValueError as error:
        raise ValueError(f"--chat_template {asked} {error}") from None
    if not text.strip():
        raise ValueError(f"--chat_template {asked} is empty: give a file of Jinja source")
    return text


def _unused(kwargs: Mapping[str, Any], template: str) -> list[str]:
    """Return a note for each variable that the template never mentions."""
    words, notes = set(re.findall(r"[^\W\d]\w*", template)), []
    for name in sorted(set(kwargs) - words):
        near = nearest(name, words - set(kwargs), cutoff=_CLOSE)
        hint = f"; did you mean {near[0]}?" if near else ""
        notes.append(f"the chat template never mentions {name!r} of --chat_kwargs, which changes nothing{hint}")
    return notes
