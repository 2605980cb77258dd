"""A grader of the user's own: whatever it does, each answer has a grade, and whoever waits for it gets it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from generation.grading import grade, own, workers
from generation.grading.errors import CannotStartError
from generation.grading.own import judge_own, load
from generation.grading.workers import close_pools
from generation.records import GRADER_DIED, GRADER_TIMED_OUT, NO_ANSWER, OUT_OF_BOUNDS, Grade, Outcome
from tests.own_graders import EXAMPLE, ODD, ROOT, SAYING, question


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    path = tmp_path / "odd.py"
    path.write_text(ODD, encoding="utf-8")
    return path


@pytest.fixture
def short_of_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    close_pools()
    monkeypatch.setattr(workers, "CPU_S", 0.5)
    monkeypatch.setattr(workers, "SETUP_CPU_S", 2.0)
    yield
    close_pools()


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        ("42", "right", ""),
        ("43", "wrong", "another one"),
        ("exit", "unknown", "the grader raised SystemExit in line 22 of odd.py"),
        ("raise", "unknown", "the grader raised LookupError in line 28 of odd.py"),
        ("memory", "unknown", "the grader raised MemoryError in line 30 of odd.py"),
        ("deep", "unknown", "the grader raised RecursionError in line "),
        ("read", "unknown", "the grader raised EOFError in line 34 of odd.py"),
        ("die", "unknown", GRADER_DIED),
        ("abort", "unknown", GRADER_DIED),
        ("loop", "unknown", GRADER_TIMED_OUT),
        ("numpy", "right", ""),
        ("set", "unknown", "the grader returned a set"),
        ("none", "unknown", "the grader returned a NoneType"),
        ("call me", "unknown", "the grader returned a str 'right' with a reason that is a builtin_function_or_method"),
        ("4 2", "wrong", "another one"),
    ],
)
def test_whatever_it_does_is_a_grade(
    answer: str, outcome: Outcome, reason: str, odd: Path, short_of_time: None, capfd: pytest.CaptureFixture[str]
) -> None:
    found = grade(f"I say <answer>{answer}</answer>", question(odd), "stop")
    assert (found.outcome, found.extracted, found.found) == (outcome, answer, "the only answer tag")
    assert found.reason.startswith(reason) if answer == "deep" else found.reason == reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("given", "outcome", "reason"),
    [
        (True, "right", ""),
        ("right", "right", ""),
        (["right", "as it is"], "unknown", "the grader returned a list"),  # JSON makes lists of pairs
        (False, "wrong", "wrong, says odd.py"),
        ("unknown", "unknown", "unknown, says odd.py"),
        ("Correct", "unknown", "the grader returned a str 'Correct'"),
        (1.0, "unknown", "the grader returned a float"),
        (1, "unknown", "the grader returned a int"),
        ({}, "unknown", "the grader returned a dict"),
    ],
)
def test_what_it_may_return(given: object, outcome: Outcome, reason: str, odd: Path) -> None:
    assert judge_own("it", question(odd, it=given)) == Grade(outcome, reason, "it")


def test_the_example_sees_gold_answer_and_columns() -> None:
    for answer, ordered, expected in (
        ("3, 2 and 1", False, Grade("right", "", "3, 2 and 1")),
        ("3, 2 and 1", True, Grade("wrong", "another order", "3, 2 and 1")),
        ("1, 2", False, Grade("wrong", "other numbers", "1, 2")),
        ("none", False, Grade("unknown", "no number in it", "none")),
        ("٣" * 200_000, False, Grade("unknown", OUT_OF_BOUNDS, "٣" * 200_000)),
        ("\ud800 1 2 3", False, Grade("right", "", "\ud800 1 2 3")),
    ):
        assert judge_own(answer, question(EXAMPLE, "1, 2, 3", ordered=ordered)) == expected
    assert grade("1, 2, 3", question(EXAMPLE, "1", ordered=False), "stop") == Grade("unknown", NO_ANSWER)


def test_a_question_carries_it_to_where_the_file_is_not(odd: Path, tmp_path: Path) -> None:
    """As to the nodes of a cluster."""
    (tmp_path / "question").write_bytes(pickle.dumps(question(odd)))
    odd.unlink()
    code = (
        "import pickle, sys; from generation.grading import grade\n"
        "asked = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print([grade(f'<answer>{n}</answer>', asked, 'stop').outcome for n in (41, 42)])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "question")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("['wrong', 'right']\n", "")


def test_where_it_cannot_be_loaded_the_work_ends(odd: Path) -> None:
    """As on a node that lacks a package: a whole run of unknown grades would be for nothing."""
    asked = question(odd)
    object.__setattr__(asked, "program", "import nowhere_to_be_found\n")
    with pytest.raises(
        CannotStartError, match=r"^the grader odd.py cannot be loaded here: ModuleNotFoundError in line 1"
    ):
        judge_own("42", asked)


def test_what_it_has_started_ends_with_it(odd: Path, tmp_path: Path) -> None:
    asked = question(odd, file=str(tmp_path / "pid"))
    assert judge_own("leave a process", asked).reason == GRADER_DIED
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while (alive := _is_there(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_same_numbers_are_drawn_for_each_answer(tmp_path: Path) -> None:
    path = tmp_path / "drawing.py"
    path.write_text("import random\n" + SAYING.format("'wrong', str(random.random())"), encoding="utf-8")
    asked = question(path)
    first = judge_own("1", asked).reason
    assert judge_own("2", asked).reason == first
    close_pools()
    assert judge_own("3", asked).reason == first


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("while True:\n    pass\n", "cannot be loaded: its CPU time was used up"),
        ("import os\nos._exit(4)\n", "cannot be loaded: it ended with 4"),
        ("import sys\nsys.exit('no')\n", ": SystemExit in line 2 of g.py: no"),
        ("x = 1\nx +\n", ": SyntaxError in line 2 of g.py: invalid syntax"),
        ("\0", ": SyntaxError"),
        ("grade = 5\n", ": has no function grade(answer, facts)"),
        ("def grade(answer):\n    'x'\n", ": grade takes (answer), and must take (answer, facts)"),
        ("def grade(a, b, c):\n    'x'\n", ": grade takes (a, b, c), and must take (answer, facts)"),
        ("def grade(a, b):\n    pass\n", ": grade has no docstring"),
        ("async def grade(a, b):\n    'x'\n", ": grade is async"),
        (f"COLUMNS = 'tests'\n{SAYING}", ": COLUMNS is 'tests', and must be a list of names"),
        (f"COLUMNS = ['answer']\n{SAYING}", ": COLUMNS names 'answer'"),
        (f"ANSWER_TYPE = 3\n{SAYING}", ": ANSWER_TYPE is 3, and must be a text"),
        ("#" * 300_000, "is larger than 256 KiB"),
    ],
)
def test_what_cannot_be_loaded_is_told(text: str, told: str, tmp_path: Path, short_of_time: None) -> None:
    (tmp_path / "g.py").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"^--grader file .*g\.py") as error:
        load(str(tmp_path / "g.py"))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is no UTF-8"):
        load(str(tmp_path / "g.py"))
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        load(str(tmp_path / "h.py"), "--task")


def test_classes_and_parameters_with_defaults_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "g.py"
    path.write_text(
        "from __future__ import annotations\nimport dataclasses\n\n@dataclasses.dataclass\nclass Said:\n    text: str\n"
        'def grade(answer, facts, *, exact=True, more: int = 3):\n    """\n    The text.\n\n    Exactly.\n    """\n'
        "    return Said(answer).text == facts['answer'], __file__\n",
        encoding="utf-8",
    )
    assert load(str(path)).line == "The text."
    assert judge_own("42", question(path)).outcome == "right"
    assert judge_own("41", question(path)).reason == "g.py"
    assert own.WORKER.endswith("own_worker")
