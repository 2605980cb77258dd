"""What the vLLM of this machine knows of models, from its tables as text: its import takes ten seconds."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from cluster.inference.model_files import CONFIG
from cluster.inference.models import Model
from cluster.inference.vllm_engine import has_encoder, in_transformers

_REGISTRY = "model_executor/models/registry.py"
_PLUGINS = "vllm.general_plugins"
WRITE_NOTHING = ("ForSequenceClassification", "ForTokenClassification", "ForRewardModel", "RewardModel", "ForMaskedLM")
"""What models for grades, labels and search are called."""
_WRITING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ChatModel")
"""What models that write are called, by vLLM's own rule."""
_SILENT = re.compile(r"EMBEDDING|INTERACTION|RETRIEVAL|CROSS_ENCODER|REWARD|CLASSIFICATION|SPECULATIVE")
"""Of the names of vLLM's tables, those of models that write nothing by themselves."""


def vllm_reads(model_type: str) -> bool:
    """Return True if vLLM has a configuration class of its own for this model type."""
    pattern = rf"[\s\"]{re.escape(model_type)}\"?[=:] ?\"\w+Config\""
    return re.search(pattern, _source("transformers_utils/config.py")) is not None


def runs(architecture: str) -> bool:
    """Return True if vLLM or transformers has code for the architecture, or if vLLM is not installed here."""
    registry = _source(_REGISTRY)
    return not registry or f'"{architecture}"' in registry or in_transformers(architecture)


def why_silent(model: Model) -> str:
    """Return why the vLLM installed here gets no text out of the model; empty if it does, or none is installed."""
    writing, silent = _tables(_source(_REGISTRY))
    classes = model.architectures
    if not writing or not classes or not writing.isdisjoint(alias for name in classes for alias in _aliases(name)):
        return ""
    shown = ", ".join(classes)
    if not silent.isdisjoint(classes) or any(name.endswith(WRITE_NOTHING) for name in classes):
        return f"writes no text, it is a {shown} by config.json"
    if any(point.dist and not point.dist.name.startswith("vllm") for point in entry_points(group=_PLUGINS)):
        return ""  # another package adds models to vLLM, which its tables do not hold
    unknown = f"is a {shown} by config.json, a class that the vLLM installed here does not"
    if not any(name.endswith(_WRITING) and in_transformers(name) for name in classes):
        return f"{unknown} know as one that writes text"
    return f"{unknown} run" if any(map(has_encoder, classes)) else ""


def check_writes(model: Model) -> None:
    """Raise ValueError where the vLLM of this machine gets no text out of the model.

    What needs code of its own is left to those who look at that.
    """
    why = "" if CONFIG in model.own_code else why_silent(model)
    if why:
        raise ValueError(f"model {model.name} {why}: give one that chats, of a class that vLLM runs")


def _aliases(name: str) -> list[str]:
    """The names under which vLLM looks for a class."""
    stem = next((name.removesuffix(ending) for ending in _WRITING if name.endswith(ending)), None)
    return [name] if stem is None else [stem + ending for ending in _WRITING]


@cache
def _tables(registry: str) -> tuple[frozenset[str], frozenset[str]]:
    """The classes in the tables of models that write, and in those of models that do not."""
    writing, silent = set[str](), set[str]()
    for statement in ast.parse(registry).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            table, names = statement.value, " ".join(map(ast.unparse, statement.targets))
            keys = {
                key.value
                for key, value in zip(table.keys, table.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(value, ast.Tuple)
            }
            (silent if _SILENT.search(names) else writing).update(keys)
    return frozenset(writing), frozenset(silent)


@cache
def _source(path: str) -> str:
    """A file of vLLM's; empty where there is none."""
    found = importlib.util.find_spec("vllm")
    files = [Path(folder, path) for folder in found.submodule_search_locations or ()] if found else []
    return next((file.read_text(encoding="utf-8") for file in files if file.is_file()), "")
