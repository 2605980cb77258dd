"""A task of the user's own in one Python file: what is taken, and one line for whatever is wrong with it."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path

import pytest

from generation.settings import Settings
from generation.tasks import registry
from generation.tasks.countdown import Ranges
from generation.tasks.registry import TASKS
from generation.tasks.task import Dropped
from tests.ask_task import Asked, decide_questions
from tests.rows import check_rows

EXAMPLE = Path(__file__).parent.parent / "examples" / "my_task.py"
HEAD = "from generation.tasks.task import Drawn, Problem\n"
DRAW = "def draw(rng):\n    return Problem(f'{rng.randrange(10**6)}?', '1')\n"


def made(draw: str, *, name: str = "t", grader: str = "number") -> str:
    """A file whose TASK has this draw."""
    return HEAD + f"TASK = Drawn({name!r}, 'a line', {grader!r}, 'value', {draw})\n"


def ask(path: Path | str, **given: object) -> Asked:
    return decide_questions(Settings(task=str(path), **{"questions": 20, **given}), small=False)  # type: ignore[arg-type]


def test_the_example() -> None:
    asked = ask(EXAMPLE, seed=4)
    assert (len(asked.sft), len(asked.rl), asked.name) == (20, 5, "days_between")
    assert ask(EXAMPLE, seed=4) == asked
    for question in (*asked.sft, *asked.rl):
        first, last = (
            datetime.strptime(text, "%d %B %Y")
            for text in question.text.split("How many days after ")[1].rstrip("?").split(" is ")
        )
        assert question.answer == str((last - first).days)
        assert (question.task, question.grader) == ("days_between", "number")
    sha = hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    assert json.loads(asked.config) == {"file": "my_task.py", "file_sha256": sha, "seed": 4}


def test_another_file_is_another_configuration(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "t.py", tmp_path / "b" / "t.py"
    for path, more in ((one, ""), (other, "# changed\n")):
        path.parent.mkdir()
        path.write_text(HEAD + DRAW + "TASK = Drawn('t', 'x', 'number', 'value', draw)\n" + more)
    assert ask(one).sft == ask(other).sft
    assert ask(one).config != ask(other).config


def test_classes_of_the_file_and_other_forms(tmp_path: Path) -> None:
    path = tmp_path / "t.py"
    path.write_text(
        "from __future__ import annotations\nimport dataclasses\n"
        + HEAD
        + "@dataclasses.dataclass\nclass Sum:\n    left: int\n    right: int\n\n"
        "def draw(rng):\n    s = Sum(rng.randrange(99), rng.randrange(99))\n"
        "    return Problem(f'{s.left} + {s.right}', str(s.left + s.right)) if s.left else None\n"
        "TASK = Drawn('sums', 'x', 'number', 'sum', draw)\n"
    )
    assert len(ask(path).sft) == 20
    mixed = decide_questions(Settings(task=f"{path}:7,longmult_2dig:3"), small=False)
    assert [question.task for question in mixed.sft] == ["sums"] * 7 + ["longmult_2dig"] * 3
    assert mixed.name == "mix-sums-longmult_2dig"


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    def check(text: str, told: str) -> None:
        path = tmp_path / "t.py"
        path.write_text(text)
        with pytest.raises(ValueError, match=r"^(--task file|t gave)") as error:
            ask(path)
        assert told in str(error.value)
        assert "\n" not in str(error.value)

    check_rows(
        check,
        [
            ("x = 1\n", "has no TASK: give it one, as examples/my_task.py has"),
            ("TASK = 3\n", "TASK is a int, and must be a Drawn or a Loaded"),
            ("x = 1\nx +\n", "line 2: SyntaxError: invalid syntax"),
            ("\n\nimport nowhere_to_be_found\n", "line 3: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
            ("import sys\nsys.exit('no')\n", "line 2: SystemExit: no"),
            (made("None", name="a b"), "'a b' is no name, or one of ours"),
            (made("None", name="gsm8k"), "'gsm8k' is no name, or one of ours"),
            (made("None", grader="mine"), "no grader is called 'mine'; take one of answer, countdown"),
            ("def draw(rng):\n    return 1 / 0\n" + made("draw"), "line 2: ZeroDivisionError: division by zero"),
            ("def draw(rng):\n    return 'why?'\n" + made("draw"), "draw gave a str, and must give a Problem or None"),
            (made("lambda rng: Problem('?', 4)"), "whose answer is 4, and not text"),
            (made("lambda rng: Problem('?', '4', {'a': {1}})"), "facts that are no JSON"),
            (made("lambda rng: Problem('?', '4')"), "t gave only "),
            ("\0", "SyntaxError"),
        ],
    )


LOADED = """from generation.tasks.hub_rows import Place
from generation.tasks.loaded import Dropped, Loaded
from generation.tasks.task import Problem

def read(row):
    if row["q"] is None:
        raise Dropped("no q")
    return Problem(row["q"], row["a"])

TASK = Loaded("mine", "a line", "exact", "answer", Place("me/mine"), ("q", "a"), read, {sample})
"""


def test_a_task_that_loads_its_questions(tmp_path: Path) -> None:
    path = tmp_path / "t.py"
    path.write_text(LOADED.replace("{sample}", "{'q': 'Where?', 'a': 'here'}"))
    question = registry.find(str(path), Ranges()).example()
    assert (question.text, question.answer, question.source, question.grader) == ("Where?", "here", "me/mine", "exact")
    for sample, told in (
        ("{}", "line 6: KeyError: 'q'"),
        ("{'q': 'x', 'a': 1}", "read gave a Problem whose answer is 1"),
    ):
        path.write_text(LOADED.replace("{sample}", sample))
        with pytest.raises(ValueError, match=r"t\.py") as error:
            registry.find(str(path), Ranges()).example()
        assert told in str(error.value)
    path.write_text(LOADED.replace("{sample}", "{'q': None}"))
    with pytest.raises(Dropped, match="no q"):
        registry.find(str(path), Ranges()).example()


def test_a_file_is_only_loaded_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("raise RuntimeError('it ran')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="--task 'mine' is unknown"):
        Settings(task="mine")
    with pytest.raises(ValueError, match=r"--task file nowhere\.py cannot be read: No such file"):
        ask("nowhere.py")
    assert not any(name.endswith(".py") for name in TASKS)
