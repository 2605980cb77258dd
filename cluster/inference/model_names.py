"""What people call a model: a hub id, a bare well-known name, either with a commit; and the name that was meant."""

from __future__ import annotations

from typing import NamedTuple

from cluster.messages import nearest

OWNERS = {
    "DeepSeek-": "deepseek-ai",
    "Llama-": "meta-llama",
    "Mistral-": "mistralai",
    "Olmo-": "allenai",
    "OLMo-": "allenai",
    "Phi-": "microsoft",
    "Qwen": "Qwen",
    "SmolLM": "HuggingFaceTB",
    "gemma-": "google",
}
"""Who publishes a model, by the beginning of its bare name."""

WELL_KNOWN = (
    "HuggingFaceTB/SmolLM2-1.7B-Instruct",
    "HuggingFaceTB/SmolLM2-360M-Instruct",
    "HuggingFaceTB/SmolLM3-3B",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "Qwen/Qwen2.5-1.5B-Instruct",
    "Qwen/Qwen2.5-3B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen2.5-14B-Instruct",
    "Qwen/Qwen2.5-32B-Instruct",
    "Qwen/Qwen2.5-72B-Instruct",
    "Qwen/Qwen2.5-Math-1.5B-Instruct",
    "Qwen/Qwen2.5-Math-7B-Instruct",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-1.7B",
    "Qwen/Qwen3-4B",
    "Qwen/Qwen3-4B-Instruct-2507",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-14B",
    "Qwen/Qwen3-32B",
    "allenai/OLMo-2-1124-7B-Instruct",
    "allenai/Olmo-3-7B-Instruct",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    "google/gemma-2-2b-it",
    "google/gemma-2-9b-it",
    "google/gemma-3-1b-it",
    "google/gemma-3-4b-it",
    "google/gemma-3-12b-it",
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.2-1B-Instruct",
    "meta-llama/Llama-3.2-3B-Instruct",
    "meta-llama/Llama-3.3-70B-Instruct",
    "microsoft/Phi-3.5-mini-instruct",
    "microsoft/Phi-4-mini-instruct",
    "mistralai/Mistral-7B-Instruct-v0.3",
)
"""What is offered for a name that is nearly one of these; any other model is taken all the same."""

_CLOSE = 0.75


class HubName(NamedTuple):
    """A model of the hub."""

    repo: str
    """owner/name."""
    revision: str | None = None
    """The commit, branch or tag that was asked for; None for the newest commit."""


def hub_name(name: str, own: tuple[str, ...] = ()) -> HubName:
    """Read what to ask the hub for; `own` are names of other models, offered if one of them is near.

    Raises ValueError if it can be no model of the hub.
    """
    repo, at, revision = name.partition("@")
    if at and (not revision or not repo):
        raise ValueError(
            f"model {name!r} names no {'commit behind' if repo else 'model before'} @: give owner/name@COMMIT"
        )
    if any(letter.isspace() for letter in name):
        raise ValueError(
            f"model {name!r} is no folder, and a hub id has no spaces: give owner/name as the hub writes it,"
            " such as Qwen/Qwen2.5-1.5B-Instruct"
        )
    if "/" in repo:
        return HubName(repo, revision or None)
    for beginning, owner in OWNERS.items():
        if repo.startswith(beginning):
            return HubName(f"{owner}/{repo}", revision or None)
    raise ValueError(
        f"model {name!r} is no folder and no well-known name{meant(repo, own)}: give a folder or a hub id"
        " such as Qwen/Qwen2.5-1.5B-Instruct"
    )


def meant(name: str, own: tuple[str, ...] = ()) -> str:
    """Ask whether the known model with the nearest name was meant; "" if none is near, or it is the very one."""
    known = {shown.lower(): full for full in (*WELL_KNOWN, *own) for shown in (full, full.rpartition("/")[2])}
    if name in known.values():
        return ""
    near = nearest(name, known, cutoff=_CLOSE)
    return f" (did you mean {known[near[0]]}?)" if near else ""
