"""The questions of an evaluation: supplied by tasks, apart from those that a model may have been trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from generation.evaluation.settings import EvaluateSettings
from generation.raw.files import reading
from generation.records import Question, collapse_spaces, stable_hash
from generation.tasks.task import Drawn, Supplied, Task

_KEY = "question_key"
_KEYS = (_KEY, "extra_info")  # where RAW_DATA, SFT_DATA, EVAL_DATA and each RL_DATA name a question
_TEXTS = ("question", "conversations", "messages", "prompt")  # and where its text stands


def supply_evaluation(settings: EvaluateSettings, *, small: bool) -> tuple[Supplied, list[Task]]:
    """Return the questions, as those for SFT, and their tasks. Raises ValueError if there are too few."""
    parts = settings.parts(small=small)
    apart = {name for folder in settings.apart_from for name in asked_in(Path(folder))}
    taken, config, notes, names = list[Question](), dict[str, Any](), list[str](), list[str]()
    for task, count in parts:
        supplied, left = _apart(task, count, settings.seed, apart)
        chosen = left[:count]
        if not chosen or (count is not None and len(chosen) < count):
            asked = f" of the {count:,} wanted" if count is not None else ""
            out = f", with {len(supplied.sft) - len(left):,} left out" if apart else ""
            wider = " or widen --inputs or --targets" if isinstance(task, Drawn) and task.ranges else ""
            told = f"{task.name} has {len(chosen):,} questions to evaluate on{asked}{out}"
            raise ValueError(f"{told}: ask for fewer{wider}")
        if apart:
            notes.append(f"{len(supplied.sft) - len(left):,} questions of {task.name} are left out by --apart_from")
        taken += chosen
        notes += supplied.notes
        names.append(task.name)
        config[task.name] = {**supplied.config, "questions": len(chosen)}
    if len(set(names)) < len(names):
        raise ValueError(f"two tasks are called {max(names, key=names.count)}: rename one")
    _check_once(taken)
    whole = {"tasks": config} if len(config) > 1 else next(iter(config.values()))
    return Supplied(tuple(taken), (), whole, tuple(notes)), [task for task, _ in parts]


def _apart(task: Task, count: int | None, seed: int, apart: set[str]) -> tuple[Supplied, list[Question]]:
    """Return what the task supplies, and of it the questions to be asked. Raises ValueError if it supplies nothing."""
    supplied, wanted = task.evaluation(count, seed), count
    while True:
        left = [question for question in supplied.sft if not {question.key, text_hash(question.text)} & apart]
        if wanted is None or count is None or len(left) >= count or len(supplied.sft) < wanted:
            return supplied, left
        wanted *= 2
        try:
            supplied = task.evaluation(wanted, seed)
        except ValueError:
            return supplied, left  # some tasks give all that are asked for, or nothing


def _check_once(questions: Sequence[Question]) -> None:
    """Raise ValueError if two tasks ask the same."""
    owners: dict[str, str] = {}
    for question in questions:
        if (first := owners.setdefault(collapse_spaces(question.text), question.task)) != question.task:
            raise ValueError(f"{question.task} and {first} ask the same question: evaluate them apart")


def asked_in(path: Path) -> set[str]:
    """Return the keys and the hashed texts of all questions in the parquet files of a run or dataset, or in one file.

    Raises ValueError if there are none.
    """
    told, found = f"--apart_from {path}", set[str]()
    try:
        if not path.exists():
            raise ValueError(f"{told}: no such file or folder")
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    except OSError as error:
        raise ValueError(f"{told}: cannot be looked at: {error.strerror}") from error
    # Of a run that has made its datasets these suffice.
    made = [file for file in files if "shards" not in file.relative_to(path.parent).parts]
    for file in made or files:
        try:
            found |= _asked_in_file(file)
        except ValueError as error:
            raise ValueError(f"--apart_from {error}") from error
    if not found:
        raise ValueError(f"{told}: holds no questions: give a run, or a folder of RAW_DATA, SFT_DATA or RL_DATA")
    return found


def _asked_in_file(path: Path) -> set[str]:
    found = set[str | None]()
    with reading(path), pq.ParquetFile(path) as file:
        there = file.schema_arrow.names
        texts = [name for name in _TEXTS if name in there][:1]
        names = [*(name for name in _KEYS if name in there), *texts]
        for batch in file.iter_batches(1024, columns=names) if names else ():
            for name in names:
                column = batch[name]
                if pa.types.is_struct(column.type):
                    known = column.type.get_field_index(_KEY) >= 0
                    found.update(column.field(_KEY).unique().to_pylist() if known else ())
                elif name in _KEYS:
                    found.update(map(str, column.unique().to_pylist()))
                else:
                    of_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
                    values = column.unique().to_pylist() if of_text else column.to_pylist()
                    found.update(text_hash(text) for value in values if (text := _first_text(value)))
    return {str(name) for name in found - {None, "None"}}


def _first_text(value: Any) -> str:
    """Return a question that stands by itself, or in the first turn of a user."""
    if isinstance(value, str):
        return value
    turns = [turn for turn in value or () if isinstance(turn, dict)]
    return next((str(turn.get("content") or "") for turn in turns if turn.get("role") == "user"), "")


def text_hash(text: str) -> str:
    """Return the name of a question by its text alone, whatever task asks it."""
    return stable_hash(collapse_spaces(text))[:16]
