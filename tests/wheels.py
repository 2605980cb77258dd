"""The Python files of vLLM's CUDA wheels, which are downloaded, unpacked and read, and never installed or imported."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".wheels"
# Of any machine, as nothing of it runs here.
_PLATFORM = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.12", "--only-binary", ":all:")
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign


def setup_cfg() -> configparser.ConfigParser:
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg", encoding="utf-8")
    return read


def ends_of_range() -> dict[str, str]:
    """Return what pip is asked for, by name: the oldest release that setup.cfg takes, and the newest of the last."""
    wanted = setup_cfg()["options.extras_require"]["gpu"]
    found = re.fullmatch(r"\s*vllm>=0\.(\d+),<0\.(\d+)\s*", wanted)
    assert found, f"setup.cfg asks for {wanted!r}, of which this test does not know the ends"
    return {"oldest": f"0.{found[1]}.0", "newest": f"0.{int(found[2]) - 1}.*"}


def unpacked(version: str) -> Path:
    """Return the folder with the Python files of a wheel, 29 to 48 MiB of 239 to 321; downloaded once."""
    folder = CACHE / f"vllm-{version.replace('*', 'x')}"
    if not folder.is_dir():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            asked = ["--quiet", "--no-deps", *_PLATFORM, "--dest", work, f"vllm=={version}"]
            subprocess.run([sys.executable, "-m", "pip", "download", *asked], check=True)
            (wheel,) = Path(work).glob("*.whl")
            with zipfile.ZipFile(wheel) as opened:
                opened.extractall(f"{work}/vllm", [name for name in opened.namelist() if name.endswith(".py")])
            shutil.move(f"{work}/vllm", folder)
    return folder


class Signature(NamedTuple):
    """What a callable takes."""

    positional: tuple[str, ...]
    keywords: frozenset[str]
    anything: bool  # takes any keyword, or what it takes is not known


@dataclass(frozen=True)
class Source:
    """The source of a package, read by names as an import would find them."""

    folder: Path

    def path(self, module: str) -> Path | None:
        base = self.folder.joinpath(*module.split("."))
        return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)

    def find(self, module: str, name: str) -> tuple[str, Definition] | None:
        """Return the module that defines a name, and the definition; imports are followed, vLLM's lazy ones too."""
        if (path := self.path(module)) is None:
            return None
        for one in _statements(path):
            match one:
                case ast.ClassDef(name=found) | ast.FunctionDef(name=found) if found == name:
                    return module, one
                case ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)) if (
                    found == name
                ):
                    return module, one
                case ast.ImportFrom(module=there, names=names, level=level):
                    for known in (known for known in names if (known.asname or known.name) == name):
                        base = "" if not level else _package(module, path, level)
                        return self.find(".".join(filter(None, (base, there))), known.name)
                case ast.Assign(targets=[ast.Name(id="MODULE_ATTRS")], value=ast.Dict() as lazy):
                    if where := ast.literal_eval(lazy).get(name):
                        there, _, known_as = where.partition(":")
                        return self.find(f"{module}{there}", known_as)
        return None

    def members(self, module: str, name: str) -> set[str]:
        """Return the methods and attributes of a class, those of its bases among them."""
        where, body = self.find(module, name) or (module, None)
        if not isinstance(body, ast.ClassDef):
            return set()
        members = {one.name for one in body.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
        for one in ast.walk(body):
            match one:
                case ast.AnnAssign(target=ast.Name(id=field)) | ast.Assign(targets=[ast.Name(id=field)]):
                    members.add(field)
                case ast.Attribute(value=ast.Name(id="self"), attr=field, ctx=ast.Store()):
                    members.add(field)
        for base in body.bases:
            if isinstance(base, ast.Name):
                members |= self.members(where, base.id)
        return members

    def signature(self, module: str, name: str, method: str = "") -> Signature | None:
        """Return what a function, a class or its method takes; None if there is none."""
        if (found := self.find(module, name)) is None:
            return None
        where, one = found
        if method or isinstance(one, ast.ClassDef):
            return self._of_class(where, one, method or "__init__") if isinstance(one, ast.ClassDef) else None
        return _of_function(one, 0) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) else _ANY

    def _of_class(self, where: str, one: ast.ClassDef, method: str) -> Signature | None:
        for part in one.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and part.name == method:
                static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in part.decorator_list)
                return _of_function(part, 0 if static else 1)
        above = [base.id for base in one.bases if isinstance(base, ast.Name)]
        inherited = [found for base in above if (found := self.signature(where, base, method))]
        if method != "__init__":
            return inherited[0] if inherited else None
        # The fields of a dataclass, a TypedDict or a Struct, in order.
        fields = [part.target.id for part in one.body if _is_field(part)]  # type: ignore[attr-defined]
        names = tuple(name for above in inherited for name in above.positional) + tuple(fields)
        return Signature(names, frozenset(names), anything=not names)


_ANY = Signature((), frozenset(), anything=True)


def _is_field(part: ast.stmt) -> bool:
    named = isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    return named and "ClassVar" not in ast.unparse(part.annotation)  # type: ignore[attr-defined]


def _of_function(one: ast.FunctionDef | ast.AsyncFunctionDef, skipped: int) -> Signature:
    given = one.args
    positional = tuple(argument.arg for argument in (*given.posonlyargs, *given.args))[skipped:]
    keywords = frozenset({*positional, *(argument.arg for argument in given.kwonlyargs)})
    return Signature(positional, keywords, given.kwarg is not None)


def _package(module: str, path: Path, level: int) -> str:
    """Return what a relative import of this level begins from."""
    parts = module.split(".")
    return ".".join(parts[: len(parts) - level + (path.name == "__init__.py")])


@cache
def _statements(path: Path) -> list[ast.stmt]:
    """Return the statements of a file, with those under an `if` or a `try` at its top."""

    def inner(body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for one in body:
            if isinstance(one, ast.If | ast.Try):
                yield from inner([*one.body, *one.orelse])
            else:
                yield one

    return list(inner(ast.parse(path.read_text(encoding="utf-8")).body))


def faults(code: str, source: Source, held: dict[str, tuple[str, str]]) -> list[str]:
    """Say which names and arguments of vLLM that a piece of our code uses are not in the source.

    `held` are expressions of that code with the module and class of what they hold.
    """
    tree, classes, found = ast.parse(code), dict(held), list[str]()
    for one in ast.walk(tree):
        if isinstance(one, ast.ImportFrom) and (one.module or "").split(".")[0] == "vllm":
            classes |= {name.asname or name.name: (str(one.module), name.name) for name in one.names}
        elif isinstance(one, ast.Import):
            found += [
                f"import {n.name}" for n in one.names if n.name.split(".")[0] == "vllm" and not source.path(n.name)
            ]
    found += [f"{module}.{name}" for module, name in classes.values() if source.find(module, name) is None]
    for one in ast.walk(tree):
        match one:
            case ast.Attribute(value=ast.Name(id="vllm"), attr=attr) if source.find("vllm", attr) is None:
                found.append(f"vllm.{attr}")
            case ast.Attribute(value=value, attr=attr) if of := classes.get(ast.unparse(value)):
                found += [f"{of[1]}.{attr}"] if attr not in source.members(*of) else []
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if of := classes.get(ast.unparse(value)):
                found += _misfits(one, source.signature(*of, attr), f"{of[1]}.{attr}")
            case ast.Call(func=ast.Name(id=name)) if of := classes.get(name):
                found += _misfits(one, source.signature(*of), of[1])
    return sorted(set(found))


def _misfits(call: ast.Call, takes: Signature | None, shown: str) -> Iterator[str]:
    if takes is None or takes.anything:
        return
    if len(call.args) > len(takes.positional):
        yield f"{shown} takes {len(takes.positional)} positional arguments"
    for word in call.keywords:
        if word.arg is not None and word.arg not in takes.keywords:
            yield f"{shown}({word.arg}=)"


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in what a TOML file holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts_in(one)
