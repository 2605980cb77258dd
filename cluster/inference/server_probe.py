"""Finds out, for the plan of a run, how a server treats the requests for its model, at the cost of a few tokens.

A server shows neither its chat template nor its tokenizer, so both are judged by what comes back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from cluster.errors import EngineDiedError
from cluster.inference.engine import Completion, Message, Request, Sampling
from cluster.inference.models import Model, Served, served_model
from cluster.inference.server_engine import ServerEngine, ServerInfo, ServerSettings, server_info

ASSUMED_CONTEXT = 32_768
_AWAIT_S = 600.0  # how long a plan waits for a server that may just be loading its model
_ANSWER_S = 30.0  # how long a server may take to say what it serves
_SYSTEM = (
    "You are a careful assistant. Count the letters of each word, and write the numbers 3, 14, 159 and 2653 first."
)
_USER = "Write a list of twenty words that have nothing to do with each other, one a line, in no order."
_TOKENS = 24  # of an answer by which seeds are judged


class Finding(NamedTuple):
    """What was found out about a server."""

    model: Model
    notes: tuple[str, ...]  # for the user


def look_at_server(settings: ServerSettings, *, ask: bool) -> Finding:
    """Return the model that servers share, and how they treat requests; without `ask` what the first says of itself.

    Waits up to ten minutes for a server that is asked. Of several the shortest context counts, and a system text is
    kept, or a seed, only if all keep it: rows must not depend on which one answers.
    Raises ValueError if a server refuses what it is asked, as for another model, or is not there and has to be.
    """
    if not ask:
        return asyncio.run(_unasked(settings))
    found = [asyncio.run(_asked(replace(settings, urls=(url,)))) for url in settings.urls]
    served = [one.model.served for one in found if one.model.served]
    worst = Served(
        min(one.context for one in served),
        next((one.system for one in served if one.fold_system), served[0].system),
        next((one.seeds for one in served if one.seeds != "kept"), "kept"),
    )
    notes = dict.fromkeys(note for one in found for note in one.notes)
    return Finding(served_model(found[0].model.name, worst), tuple(notes))


def only_model(settings: ServerSettings, *, wait: bool) -> str:
    """Return the name of the only model that a server serves. Raises ValueError if it serves several, or is away."""
    try:
        return asyncio.run(_info(settings, _AWAIT_S if wait else 0)).model
    except EngineDiedError as error:
        raise ValueError(f"{error}: start the server, or give the model it will serve as --model") from error


async def _info(settings: ServerSettings, patience_s: float) -> ServerInfo:
    """Ask a server what it serves. Raises as server_info does."""
    client = settings.client()
    try:
        asked = server_info(client, settings.model, patience_s=patience_s)
        return await asyncio.wait_for(asked, patience_s + _ANSWER_S)
    except TimeoutError as error:
        raise EngineDiedError(f"{client.url}: no answer within {patience_s + _ANSWER_S:.0f} s") from error
    finally:
        await client.close()


async def _unasked(settings: ServerSettings) -> Finding:
    assert settings.model is not None
    context = 0
    try:
        context = (await _info(settings, 0)).context
        notes = [*_unknown(context)]
    except EngineDiedError as error:
        assumed = f"the run waits for it; a context of {ASSUMED_CONTEXT:,} tokens is assumed here"
        notes = [f"the server is not there yet ({error}): {assumed}"]
    notes.append("how the server treats system texts and seeds is found out when the run begins")
    return Finding(served_model(settings.model, Served(context or ASSUMED_CONTEXT)), tuple(notes))


async def _asked(settings: ServerSettings) -> Finding:
    engine = ServerEngine(settings)
    try:
        try:
            await asyncio.wait_for(engine.connect(), _AWAIT_S)
        except TimeoutError as error:
            raise ValueError(f"{settings.urls[0]} did not answer for {_AWAIT_S:.0f} s") from error
        try:
            system, seeds = await _system(engine, settings.sampling), await _seeds(engine, settings.sampling)
        except EngineDiedError as error:
            raise ValueError(str(error)) from error
    finally:
        await engine.close()
    context = engine.info.context
    served = Served(context or ASSUMED_CONTEXT, system, seeds)
    return Finding(served_model(engine.info.model, served), tuple(_unknown(context)))


def notes_on_served(served: Served) -> list[str]:
    """Return what the user should know about a server's ways, in sentences."""
    unlike, place = "rows cannot be made again", "so it stands before the user's text"
    said = {
        "dropped": f"the server drops the system text in silence, {place}",
        "refused": f"the server refuses a system text, {place}",
        "ignored": f"the server does not keep to seeds: {unlike}",
    }
    return [
        "prompts are neither shown as the model reads them nor counted: the server has the template and the tokenizer",
        *(said[one] for one in (served.system, served.seeds) if one in said),
    ]


def _unknown(context: int) -> Sequence[str]:
    assumed = f"{ASSUMED_CONTEXT:,} tokens are assumed, and what does not fit fails alone"
    return () if context else (f"the server does not tell its context: {assumed}",)


async def _system(engine: ServerEngine, sampling: Sampling) -> Literal["kept", "dropped", "refused", "not known"]:
    """Judge by the number of prompt tokens, which a system text must raise, what becomes of one."""
    system, user = Message(role="system", content=_SYSTEM), Message(role="user", content=_USER)
    short = sampling.within(1)
    without = await engine.generate(Request("without system", (user,), short, 1))
    with_it = await engine.generate(Request("with system", (system, user), short, 1))
    if without.finish_reason == "error":
        return "not known"
    if with_it.finish_reason == "error":
        return "refused"
    if not without.prompt_tokens:
        return "not known"
    return "kept" if with_it.prompt_tokens > without.prompt_tokens else "dropped"


async def _seeds(engine: ServerEngine, sampling: Sampling) -> Literal["kept", "ignored", "not known"]:
    """Ask twice with one seed and once with another. Answers that are all alike tell nothing."""
    user, drawn = Message(role="user", content=_USER), replace(sampling.within(_TOKENS), temperature=1.0)
    seeds = (11, 11, 12)
    answers = [await engine.generate(Request(f"seed {seed}", (user,), drawn, seed)) for seed in seeds]
    if any(answer.finish_reason == "error" for answer in answers):
        return "not known"
    first, again, other = map(_all_of, answers)
    return "ignored" if first != again else "kept" if first != other else "not known"


def _all_of(completion: Completion) -> tuple[str | None, str]:
    return completion.thought, completion.text


class ServedChat:
    """Chats as they are sent to a server, in place of a tokenizer that nobody has."""

    def render(self, messages: Sequence[Message]) -> str:
        """Return the turns as text, each below its role."""
        return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)

    def lengths(self, chats: Sequence[Sequence[Message]]) -> list[int]:
        """Return bounds on the lengths in tokens, of which a text has no more than bytes; a turn has a few more."""
        return [sum(len(one["content"].encode(errors="replace")) + 16 for one in messages) for messages in chats]
