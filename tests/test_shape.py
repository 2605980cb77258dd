"""The shape of the house: who imports whom, where heavy packages live, how big things get, what is shipped."""

from __future__ import annotations

import ast
import builtins
import configparser
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.peers.contenders import CONTENDERS

ROOT = Path(__file__).parent.parent
MATH = {"generation.grading.math_worker"}
PACKAGES = ("cluster", "reflection", "generation", "assembly")
COMMANDS = 6
RANKS = {
    "cluster": 0,
    "reflection": 1,
    "generation.records": 2,
    "generation.tasks": 3,
    "generation.grading": 3,
    "generation.raw": 3,
    "generation.builtin": 4,
    "generation": 4,
    "generation.evaluation": 5,
    "generation.expectation": 5,
    "generation.regrading": 5,
    "reflection.added": 5,
    "assembly": 5,
    "cluster.slurm": COMMANDS,
    "cluster.status": COMMANDS,
    "assembly.check": COMMANDS,
    "assembly.report": COMMANDS,
    "generation.evaluate": COMMANDS,
    "generation.regrade": COMMANDS,
    **{f"{package}.run": COMMANDS for package in PACKAGES},
}
"""Of each room and of what lies alone; the longest prefix wins. A module imports from its own rank or lower."""
HOMES = {
    "vllm": {"cluster.inference.vllm_engine"},
    "transformers": {"cluster.inference.tokenizer"},
    "ray": {"cluster.inference.ray_replicas", "cluster.session", "cluster.nodes"},
    "fire": {"cluster.flag_help"},
    "datasets": {"generation.tasks.hub_rows"},
    "matplotlib": {"cluster.jobs.plots"},
    **{name: {"generation.grading.word"} for name in ("spellchecker", "spylls")},
    "reasoning_gym": {"generation.tasks.gym"},
    **{name: {"cluster.jobs.trackers"} for name in ("wandb", "mlflow")},
    **dict.fromkeys(("math_verify", "latex2sympy2_extended", "antlr4", "sympy"), MATH),
}
ABOVE_HOMES = {
    *("generation.placement", "generation.downloads"),
    *("generation.probe", "generation.sources", "assembly.expected"),
}
"""They place engines on Ray, and weights on its nodes, or probe these, and so cannot be imported without.

Besides any run.py. A new name here needs a reason.
"""


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
ELSEWHERE = {name for name in SOURCES if name.startswith("assembly.probe.")} | {"assembly.verl_tokens"}
"""Run in environments of trainers, whose packages it imports, and none of ours."""
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}
WRITTEN = [*SOURCES.values(), *sorted((ROOT / "tests").rglob("*.py"))]
RUNS = {name for name in SOURCES if RANKS.get(name) == COMMANDS}


class Import(NamedTuple):
    importer: str
    imported: str
    """A module of ours, or the package of others by its first name."""
    line: int
    at_top: bool


def _imports(name: str) -> Iterator[Import]:
    top = {id(node) for node in TREES[name].body}
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            targets = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno} imports relatively"
            assert node.module is not None
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            targets = {one if one in SOURCES else node.module for one in below}
        else:
            continue
        for target in targets:
            ours = target.split(".")[0] in PACKAGES
            yield Import(name, target if ours else target.split(".")[0], node.lineno, id(node) in top)


IMPORTS = [found for name in SOURCES if name not in ELSEWHERE for found in _imports(name)]
OURS = [found for found in IMPORTS if found.imported.split(".")[0] in PACKAGES]


def _needing(homes: set[str]) -> set[str]:
    """Our modules that cannot be imported without these."""
    needing = set(homes)
    while more := {found.importer for found in OURS if found.imported in needing and found.at_top} - needing:
        needing |= more
    return needing


def _rank(name: str) -> int:
    return RANKS[max((room for room in RANKS if f"{name}.".startswith(f"{room}.")), key=len)]


def test_every_import_of_ours_leads_to_a_module() -> None:
    assert len(SOURCES) > 30
    assert [found for found in OURS if found.imported not in SOURCES] == []


def test_imports_point_one_way() -> None:
    assert [found for found in OURS if _rank(found.imported) > _rank(found.importer)] == []


def test_nobody_imports_a_run() -> None:
    assert {"generation.run", "reflection.run", "assembly.run"} <= RUNS
    assert [found for found in OURS if found.imported in RUNS] == []


def test_imports_make_no_circle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in SOURCES}
    for found in OURS:
        graph[found.importer].add(found.imported)
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(SOURCES)


def test_what_runs_elsewhere_imports_nothing_of_ours_and_is_imported_by_none() -> None:
    found = [one.imported.split(".")[0] for name in ELSEWHERE for one in _imports(name)]
    assert not {*found} & {*PACKAGES}
    assert [one for one in OURS if one.imported in ELSEWHERE] == []


def test_heavy_packages_stay_at_home() -> None:
    assert [found for found in IMPORTS if found.importer not in HOMES.get(found.imported, {found.importer})] == []


@pytest.mark.parametrize("package", HOMES)
def test_each_heavy_package_is_used(package: str) -> None:
    """Or its row in HOMES is stale."""
    assert [found for found in IMPORTS if found.imported == package]


def test_imports_stand_at_the_top() -> None:
    """Save those of a heavy package in its home; elsewhere they would hide a circle or a dependency."""
    assert [found for found in IMPORTS if not found.at_top and found.imported not in HOMES] == []


def test_no_import_is_for_types_only_or_by_name() -> None:
    for name, tree in TREES.items():
        words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        words |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not words & {"TYPE_CHECKING", "import_module", "__import__"}, name


_BLOCKED = """
import importlib, sys, traceback
heavy, names = sys.argv[1].split(","), sys.argv[2].split(",")
class Blocked(ImportError):
    pass
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in heavy:
            raise Blocked(name)
sys.meta_path.insert(0, Wall())
for name in names:
    try:
        importlib.import_module(name)
    except Blocked as error:
        print(name)
"""


def test_every_module_imports_without_the_heavy_packages_save_their_homes() -> None:
    at_import = {found.importer for found in IMPORTS if found.imported in HOMES and found.at_top}
    needing = _needing(at_import) - RUNS
    assert needing - at_import == ABOVE_HOMES
    command = [sys.executable, "-c", _BLOCKED, ",".join(HOMES), ",".join(sorted(set(SOURCES) - RUNS - ELSEWHERE))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert set(ended.stdout.split()) == needing


@pytest.mark.parametrize("path", WRITTEN, ids=_name)
def test_size_and_docstring(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    tree = ast.parse(text)
    idea = ast.get_docstring(tree)
    assert idea, "a module opens with what it is for"
    assert len([line for line in idea.splitlines() if line.strip()]) <= 6
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"
            taken = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            if path.is_relative_to(ROOT / "tests"):
                continue  # a table's columns are parameters there
            assert len(taken) - (taken[:1] in (["self"], ["cls"])) <= 5, f"{node.name} takes too many"


@pytest.mark.parametrize("name", ["generation.run", "reflection.run"])
def test_a_run_reads_as_a_table_of_contents(name: str) -> None:
    assert len(SOURCES[name].read_text(encoding="utf-8").splitlines()) <= 60


def test_no_function_is_there_once_for_each_command() -> None:
    """What two commands need lies in cluster/jobs or in one of their rooms, and is called by both."""
    names: dict[str, set[str]] = {"generation": set(), "reflection": set()}
    for module, tree in TREES.items():
        package, *inner = module.split(".")
        if package in names and (package == "reflection" or len(inner) < 2):
            names[package] |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for name in names["generation"] & names["reflection"] if name[0] != "_"} == {"main", "messages"}


def test_every_error_of_ours_stands_in_the_one_tree() -> None:
    classes = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = {node.name: {base.id for base in node.bases if isinstance(base, ast.Name)} for node in classes}
    known = {name for name, one in vars(builtins).items() if isinstance(one, type) and issubclass(one, BaseException)}
    errors = set(known)
    while more := {name for name, above in bases.items() if above & errors} - errors:
        errors |= more
    tree = (ast.get_docstring(TREES["cluster.errors"]) or "").partition("\n\n")[2]
    assert set(re.findall(r"\w+", tree)) - known == errors - known


def test_what_is_shipped_is_declared() -> None:
    declared = configparser.ConfigParser()
    declared.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = set(declared["options"]["packages"].split())
    assert packages == {_name(path) for path in SOURCES.values() if path.name == "__init__.py"}
    shipped = set()
    for package, patterns in declared["options.package_data"].items():
        folder = ROOT / package.replace(".", "/")
        for pattern in patterns.replace(",", " ").split():
            matched = {path for path in folder.glob(pattern) if path.is_file()}
            assert matched, f"{package}: {pattern} matches nothing"
            shipped |= matched
    lying = {path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    assert {path for path in lying if path.suffix not in {".py", ".pyc"}} == shipped


def test_every_benchmark_and_example_can_be_imported() -> None:
    """They take hours or a GPU to run, so nothing else sees a name that they use and that is gone."""
    paths = [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    elsewhere = {f"benchmarks.peers.{one.module}" for one in CONTENDERS.values() if one.environment}
    elsewhere.add("examples.trl_sft")  # in TRL's environment, where tests/consumers/check_trl.py runs it
    names = sorted({_name(path) for path in paths} - elsewhere)
    program = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    command = [sys.executable, "-W", "ignore", "-c", program, *names]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr


def test_the_tree_of_files_is_whole() -> None:
    """Where a newcomer looks for a file."""
    tree = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The files")[2].partition("## ")[0]
    assert [name for name, path in SOURCES.items() if path.name != "__init__.py" and path.name not in tree] == []
