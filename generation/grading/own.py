"""A grader of the user's own: a file with grade(answer, facts), executed only in processes that can be killed.

Questions carry its text, so that it grades wherever they go. It runs with the user's rights; an answer reaches it as a
str, and ours evaluate none.
"""

from pathlib import Path
from typing import NamedTuple, cast

from generation.grading.errors import CannotStartError, OutOfBoundsError, RefusedError
from generation.grading.workers import WorkerPool, pool_of
from generation.records import Grade, Outcome, Question, hash_of_program

WORKER = "generation.grading.own_worker"
SUFFIX = ".py"
LONGEST = 100_000  # characters of an answer
_LARGEST = 1 << 18  # bytes of a file: every question carries it


class OwnGrader(NamedTuple):
    """A grader that can be called, as its file tells of it."""

    name: str  # of the file, without its folder
    source: str
    line: str  # which answers are right
    columns: tuple[str, ...]  # of the user's questions, that it finds in its facts
    answer_type: str  # as Question.answer_type

    @property
    def sha256(self) -> str:
        return hash_of_program(self.source)


def load(given: str, flag: str = "--grader") -> OwnGrader:
    """Read the file and try to load it. Raises ValueError, in one line that begins with the flag and the file."""
    told = f"{flag} file {given}"
    try:
        source = Path(given).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{told} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{told} is no UTF-8: {error.reason}; save it as UTF-8") from error
    if len(source.encode()) > _LARGEST:
        raise ValueError(f"{told} is larger than {_LARGEST >> 10} KiB: keep data out of it")
    try:
        about = _pool(Path(given).name, source).ask({})
    except (CannotStartError, RefusedError) as error:
        why = str(error).rpartition(": ")[2]
        raise ValueError(f"{told} cannot be loaded: {why}") from error
    if "failed" in about:
        raise ValueError(f"{told}: {about['failed']}")
    return OwnGrader(Path(given).name, source, about["line"], tuple(about["columns"]), about["answer_type"])


def judge_own(answer: str, question: Question) -> Grade:
    """Grade an answer by the program that the question carries. Raises CannotStartError if it cannot be loaded here.

    Its facts are the question's, and the gold answer as "answer". What it raises, and what it returns that is no grade,
    leaves the answer unknown; so does what kills its process, or takes too long.
    """
    name = question.grader
    try:
        if len(answer) > LONGEST:
            raise OutOfBoundsError(f"more than {LONGEST} characters")
        facts = {**question.facts, "answer": question.answer}
        reply = _pool(name, question.program).ask({"name": name, "answer": answer, "facts": facts})
    except RefusedError as error:
        return Grade("unknown", error.reason, answer)
    if "failed" in reply:
        raise CannotStartError(f"the grader {name} cannot be loaded here: {reply['failed']}")
    outcome = cast(Outcome, reply["outcome"])
    reason = "" if outcome == "right" else reply["reason"] or f"{outcome}, says {name}"
    return Grade(outcome, reason, answer)


def _pool(name: str, source: str) -> WorkerPool:
    return pool_of(WORKER, name=name, source=source)
