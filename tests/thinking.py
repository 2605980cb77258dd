"""Scripted models that think before they answer or judge; what they say is a function of the request alone."""

from __future__ import annotations

from cluster.inference.engine import Request
from tests.scripted import reply

THOUGHT = "The numbers could be put together in some way."


def thinking(request: Request) -> str:
    """A model that thinks in tags."""
    return f"<think>\n{THOUGHT}\n</think>\n\n{reply(request)}"


def closing_only(request: Request) -> str:
    """As with templates that open the thought themselves."""
    return f"{THOUGHT}\n</think>\n\n{reply(request)}"


def endless(request: Request) -> str:
    """Of a model that never comes to an end within its tokens."""
    return f"<think>\n{reply(request)} {'Wait. ' * request.sampling.max_tokens}"


def only_a_thought(request: Request) -> str:
    return f"<think>\n{reply(request)}"


def thinking_of_reflections(request: Request) -> str:
    """A model that answers at once, and only thinks when it is to judge."""
    return only_a_thought(request) if "# Your attempt" in request.messages[-1]["content"] else reply(request)
