"""The questions of an evaluation: supplied by tasks, apart from those that a model may have been trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from generation.evaluation.settings import EvaluateSettings
from generation.raw.files import reading
from generation.records import Question, collapse_spaces
from generation.tasks.task import Drawn, Supplied, Task

_KEY = "question_key"
_HOLDERS = ((_KEY,), ("extra_info", _KEY))  # where SFT_DATA, RAW_DATA, EVAL_DATA and each RL_DATA name a question


def supply_evaluation(settings: EvaluateSettings, *, small: bool) -> tuple[Supplied, list[Task]]:
    """Return the questions, as those for SFT, and their tasks. Raises ValueError if there are too few."""
    parts = settings.parts(small=small)
    apart = {key for folder in settings.apart_from for key in keys_in(Path(folder))}
    taken, config, notes, names = list[Question](), dict[str, Any](), list[str](), list[str]()
    for task, count in parts:
        supplied = task.evaluation(None if count is None else count + len(apart), settings.seed)
        left = [question for question in supplied.sft if question.key not in apart]
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


def _check_once(questions: Sequence[Question]) -> None:
    """Raise ValueError if two tasks ask the same."""
    owners: dict[str, str] = {}
    for question in questions:
        if (first := owners.setdefault(collapse_spaces(question.text), question.task)) != question.task:
            raise ValueError(f"{question.task} and {first} ask the same question: evaluate them apart")


def keys_in(folder: Path) -> set[str]:
    """Return the keys of all questions in the parquet files of a run or dataset. Raises ValueError if it has none."""
    told, keys = f"--apart_from {folder}", set[str]()
    try:
        files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else [folder] if folder.is_file() else []
    except OSError as error:
        raise ValueError(f"{told}: cannot be looked at: {error.strerror}") from error
    for path in files:
        with reading(path), pq.ParquetFile(path) as file:
            for column, *inner in _HOLDERS:
                kind = file.schema_arrow.field(column).type if column in file.schema_arrow.names else None
                if kind is None or (inner and not (pa.types.is_struct(kind) and kind.get_field_index(inner[0]) >= 0)):
                    continue
                for batch in file.iter_batches(columns=[".".join((column, *inner))]):
                    values = batch.column(0).field(inner[0]) if inner else batch.column(0)
                    keys.update(filter(None, values.unique().to_pylist()))
    if not keys:
        raise ValueError(f"{told}: holds no questions: give a run, or a folder of RAW_DATA, SFT_DATA or RL_DATA")
    return keys
