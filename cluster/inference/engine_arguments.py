"""The arguments of vLLM's engine that a user gave: whether they exist, are of their type, and what becomes of them.

Names and types are read from the source of the installed vLLM, which itself checks the rest when an engine starts.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from cluster.inference.values import is_count, is_number, read_value
from cluster.inference.vllm_source import vllm_source
from cluster.machine import build_of, installed
from cluster.texts import load_table, nearest

_TABLE: dict[str, dict[str, Any]] = load_table("cluster.inference", "engine_arguments.toml")
LIMITS: Mapping[str, Mapping[str, Any]] = _TABLE["limits"]
_FREE = frozenset(_TABLE["free"]["names"])
_SOURCE = "engine/arg_utils.py"
_CLASSES = ("EngineArgs", "AsyncEngineArgs")
_LIST = ("a list", lambda value: isinstance(value, list))
_OBJECT = ("an object", lambda value: isinstance(value, dict))
_KINDS: dict[
    str, tuple[str, Callable[[Any], bool]]
] = {  # by name in an annotation: what its JSON is called, and a test
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", is_count),
    "float": ("a number", is_number),
    "str": ("a text", lambda value: isinstance(value, str)),
    "None": ("null", lambda value: value is None),
    **dict.fromkeys(("list", "set"), _LIST),
    **dict.fromkeys(("dict", "Mapping"), _OBJECT),
}
_ANY = "anything"


class Type(NamedTuple):
    """As much of a type as its annotation says: the kinds of values that it takes, and single ones."""

    kinds: frozenset[str]  # names of _KINDS; _ANY for what is written as a class, which vLLM checks
    choices: tuple[Any, ...]

    def takes(self, value: Any) -> bool:
        if any(kind == _ANY or _KINDS[kind][1](value) for kind in self.kinds):
            return True
        return any(value == one and type(value) is type(one) for one in self.choices)

    @property
    def words(self) -> str:
        choices = [f"one of {', '.join(map(str, self.choices))}"] if self.choices else []
        return " or ".join([*sorted({_KINDS[kind][0] for kind in self.kinds}), *choices])


def check_engine_args(given: Mapping[str, Any]) -> None:
    """Raise ValueError for a name that the installed vLLM does not have, a value not of its type, or one we decide."""
    known = argument_types()
    for name, value in given.items():
        shown = f"--engine_args: {name}"
        if why := _TABLE["refused"].get(name):
            raise ValueError(f"{shown} is not taken: {why}")
        if name in LIMITS:
            read_value(shown, value, LIMITS[name])
        elif known and name not in known:
            near = nearest(name, known, most=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "see AsyncEngineArgs in vllm/engine/arg_utils.py"
            raise ValueError(
                f"{shown} is no argument of the engine of {build_of(installed()) or 'vLLM'}, installed here; {hint}"
            )
        elif known and not known[name].takes(value):
            raise ValueError(f"{shown} must be {known[name].words}, not {value!r}")


def check_on_cpu(given: Mapping[str, Any]) -> None:
    """Raise ValueError for an argument that engines on the CPU cannot take."""
    for name in given:
        if why := _TABLE["cpu"].get(name):
            raise ValueError(f"--engine_args: {name} is not taken on the CPU: {why}")


def frozen(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that may change rows, for the configuration of the run."""
    return {name: value for name, value in given.items() if name not in LIMITS and name not in _FREE}


def passed_on(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that go to vLLM as they are."""
    return {name: value for name, value in given.items() if name not in LIMITS}


@cache
def argument_types() -> dict[str, Type]:
    """Return the engine's arguments, by name; empty if no vLLM is installed."""
    module = ast.parse(vllm_source(_SOURCE))
    classes = [one for one in module.body if isinstance(one, ast.ClassDef) and one.name in _CLASSES]
    fields = [one for body in classes for one in body.body if isinstance(one, ast.AnnAssign)]
    named = {field.target.id: field.annotation for field in fields if isinstance(field.target, ast.Name)}
    return {name: _type(kind, _SOURCE) for name, kind in named.items() if not name.startswith("_")}


def _type(annotation: ast.expr, path: str) -> Type:
    parts = list(_parts(annotation, path))
    choices = tuple(value for part in parts if isinstance(part, tuple) for value in part)
    return Type(frozenset(part for part in parts if isinstance(part, str)), choices)


def _parts(annotation: ast.expr, path: str) -> Iterator[str | tuple[Any, ...]]:
    """Yield the members of a union: the name of a kind, or the values of a Literal; aliases are looked up."""
    match annotation:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from _parts(left, path)
            yield from _parts(right, path)
        case ast.Constant(value=None):
            yield "None"
        case ast.Constant(value=str(text)):
            yield from _parts(ast.parse(text, mode="eval").body, path)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            for one in values.elts if isinstance(values, ast.Tuple) else [values]:
                # A Literal may hold another one, by its name.
                yield from [(one.value,)] if isinstance(one, ast.Constant) else _parts(one, path)
        case ast.Subscript(value=ast.Name(id=name)) | ast.Name(id=name) if name in _KINDS:
            yield name
        case ast.Subscript(value=ast.Name(id="Callable" | "type")):
            return  # no JSON value is one
        case ast.Name(id=name) if found := _alias(name, path):
            yield from _parts(*found)
        case _:
            yield _ANY


def _alias(name: str, path: str) -> tuple[ast.expr, str] | None:
    """Return what the name stands for in a file of vLLM, and the file that says so; None for a class or the unknown."""
    for statement in _statements(path):
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return (value, path) if isinstance(value, ast.Subscript | ast.BinOp | ast.Name) else None
            case ast.ImportFrom(module=str(module), names=names, level=0) if module.startswith("vllm."):
                for one in (one for one in names if (one.asname or one.name) == name):
                    there = module.removeprefix("vllm.").replace(".", "/")
                    files = (f"{there}.py", f"{there}/__init__.py")
                    found_in = next((file for file in files if vllm_source(file)), None)
                    return _alias(one.name, found_in) if found_in else None
    return None


@cache
def _statements(path: str) -> list[ast.stmt]:
    """Return the statements of a file of vLLM, with those that are for type checkers alone."""
    body = ast.parse(vllm_source(path)).body
    inner = [one for branch in body if isinstance(branch, ast.If) for one in branch.body]
    return [*inner, *body]
