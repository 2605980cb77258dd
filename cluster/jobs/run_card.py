"""The part of a card that says how a dataset came to be: code, commands, starts, and every text that was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.jobs.card import code, fenced, table

_STARTS = (
    "Each start of the run. Seconds are those in which engines answered; what was in flight when a start ended is not\n"
    "counted, and a start that was killed is known until its last shard.\n"
)
_ALONE = "No engine was asked.\n"


def run_section(starts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write the card's section on the starts of a run: when, how far, with what engines, by what command."""
    if not starts:
        return []
    what = next((one for one in ("questions", "blocks") if any(one in start for start in starts)), "questions")
    rows = [
        (
            _utc(start.get("begun")),
            _utc(start.get("ended")),
            str(start.get("state", "")),
            int(start.get(what, 0)),
            int(start.get("output_tokens", 0)),
            f"{start.get('seconds', 0):,.0f}",
            _engines(start.get("engines")),
            _code(start),
        )
        for start in starts
    ]
    head = ("begun (UTC)", "ended", "then", what, "tokens written", "seconds", "engines", "code")
    commands = dict.fromkeys(_at_home(str(start["command"])) for start in starts if start.get("command"))
    return [
        "## The run\n",
        _STARTS if any(start.get("engines") for start in starts) else _ALONE,
        table(head, rows),
        fenced("\n".join(commands), "bash"),
    ]


def _engines(engines: Mapping[str, Any] | None) -> str:
    """Such as "8 of 1 GPU, vllm 0.33.0"."""
    if not engines:
        return ""
    each = f"{engines['gpus_each']} GPU" if engines.get("gpus_each") else "the CPU"
    words = [f"{engines['wanted']} on {each}", *engines.get("started", {})]
    return ", ".join(words + ([f"{engines['lost']} lost"] if engines.get("lost") else []))


def _code(start: Mapping[str, Any]) -> str:
    commit = str(start.get("commit") or "")
    short = commit.replace(commit.split("-")[0], commit[:12], 1)
    return " ".join(filter(None, (str(start.get("version") or ""), short)))


def _at_home(command: str) -> str:
    """A card is for everyone to read: the user's own folder is theirs."""
    home = str(Path.home())
    return command.replace(f"{home}/", "~/") if len(home) > 1 else command


def texts_section(title: str, texts: Mapping[str, Mapping[str, Any]], why: str) -> list[str]:
    """Write a section of texts, word for word: by kind and name a text, a list of texts, or texts by role."""
    if not any(texts.values()):
        return []
    parts = [f"## {title}\n", f"{why}\n"]
    for kind, named in texts.items():
        for name, text in named.items():
            parts += [f"### {kind}: {code(name)}\n", fenced(_words(text), "text")]
    return parts


def _words(text: Any) -> str:
    if isinstance(text, Mapping):
        return "\n\n".join(f"[{role}]\n{words}" for role, words in text.items())
    return str(text) if isinstance(text, str) else "\n".join(map(str, text))


def _utc(time: object) -> str:
    """A time as `cluster.jobs.provenance.now` writes it, without what the table's head says."""
    return str(time or "").removesuffix("+00:00").replace("T", " ")
