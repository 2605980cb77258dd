"""Reads EVAL_DATA, ours or a published one, into a row per reply, from which figures are made."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.inference.thoughts import part_unknown
from generation.evaluation.equivalence import same_answers
from generation.evaluation.figures import Evaluation
from generation.evaluation.questions import text_hash
from generation.evaluation.schema import ARM, EVAL_DATA, PREFIX, REPLIES, SKILLS, VERDICTS
from generation.evaluation.skills import skills_in
from generation.raw.files import find_files, reading
from generation.raw.questions import question_of
from generation.raw.reader import UNDECIDED, check_once
from generation.raw.schema import is_of
from generation.records import CUT, NO_ANSWER, Grade, collapse_spaces
from generation.tasks.countdown import facts_of
from generation.variants import BARE
from reflection.inner import attempts_in
from reflection.verdict import parse_verdict

BATCH_ROWS = 64  # with all their replies
_RIGHT, _EXTRACTED = f"{PREFIX}__eval_is_correct", f"{PREFIX}__eval_extracted_answers"
_CUT = f"{PREFIX}__finish_reason_length_flags"
_INNER = f"{PREFIX}__internal_answers__eval_is_correct"
_NEEDED = ("question", PREFIX, _RIGHT)
_TYPES = (  # columns of published sets: how deep their lists are, and of what
    ("question", 0, "text"),
    (PREFIX, 1, "text"),
    (_RIGHT, 1, "bool"),
    (_EXTRACTED, 1, "text"),
    (_CUT, 1, "bool"),
    (_INNER, 2, "bool"),
)
_OURS = ("outcome", "reason", "thought", "same_answer", "attempts", "provenance", "forced")  # after "responses__"
_FACTS = ("task", "task_config", "task_source", "answer", "metadata", "question_key", ARM, "prompt_variant", "model")
_MANY = ("countdown", "word", "gym")  # graders of questions with many right answers
_SHORT = 60  # characters; a longer text is no name of a task
_WORDS = {True: "correct", False: "incorrect", None: "none", "Correct": "correct", "Incorrect": "incorrect"}
Row = Mapping[str, Any]
Inner = Sequence[tuple[str, Sequence[str]]]
"""The attempts inside a reply: the outcome of each, and the verdicts said of it, in the words of VERDICTS."""


def read_evaluation(what: str | Path) -> Evaluation:
    """Read an EVAL_DATA: a run, folder, file or hub dataset. Raises ValueError if it is none or cannot be read."""
    files = find_files(what, EVAL_DATA)
    tables, model, cells = list[pa.Table](), "", dict[tuple[str, ...], _Known]()
    for path in files:
        with reading(path), pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check(path, file.schema_arrow)
            first_row = 0
            wanted = {*_NEEDED, *_FACTS, _EXTRACTED, _CUT, _INNER, *(f"responses__{name}" for name in _OURS)}
            for batch in file.iter_batches(BATCH_ROWS, columns=[name for name in names if name in wanted]):
                rows = batch.to_pylist()
                model = model or next((str(row["model"]) for row in rows if row.get("model")), "")
                made = [
                    reply
                    for number, row in enumerate(rows, first_row)
                    for reply in merged(_replies(row, f"{path}: row {number}"), cells)
                ]
                tables.append(pa.Table.from_pylist(made, schema=REPLIES))
                first_row += len(rows)
    replies = pa.concat_tables(tables) if tables else REPLIES.empty_table()
    if not replies.num_rows:
        raise ValueError(f"{what}: holds no replies")
    order = tuple(dict.fromkeys(replies["task"].to_pylist()))
    path = Path(what)
    name = path.resolve().parent.name if path.name == EVAL_DATA else path.name
    return Evaluation(name, model, replies.combine_chunks(), order)


class _Known(NamedTuple):
    """What earlier rows have of the same question, arm and variant."""

    replies: int
    right: int | None  # place of the first right answer
    texts: dict[str, int]  # place of the first answer of each other text


def merged(replies: Iterable[dict[str, Any]], cells: dict[tuple[str, ...], _Known]) -> Iterator[dict[str, Any]]:
    """Yield the replies of a row, behind those that earlier rows have of the same question.

    Answers of several rows are the same if both are right, or their texts are the same.
    """
    for reply in replies:
        cell = tuple(reply[name] for name in ("task", "arm", "variant", "question_key"))
        known = cells.get(cell)
        if reply["sample"] == 0 or known is None:
            base = known.replies if known else 0
        place, text = reply["same_answer"], collapse_spaces(reply["answer"] or "")
        known = known or _Known(0, None, {})
        right, texts = known.right, known.texts
        if place is not None:
            place += base
            if reply["outcome"] == "right":
                place = right = place if right is None else right
            else:
                place = texts.setdefault(text, place)
        cells[cell] = _Known(max(known.replies, base + reply["sample"] + 1), right, texts)
        yield reply | {"sample": base + reply["sample"], "same_answer": place}


def _check(path: Path, schema: pa.Schema) -> None:
    """Raise ValueError unless the columns are those of an evaluation."""
    for name in _NEEDED:
        if name not in schema.names:
            there = ", ".join(map(repr, schema.names[:8])) or "none"
            raise ValueError(f"{path}: no column {name!r}, so it is no evaluation; it has {there}")
        check_once(name, schema, path)
    for name, deep, wanted in _TYPES:
        if name in schema.names and not is_of(found := schema.field(name).type, deep, wanted):
            lists = "lists of lists of " if deep > 1 else "lists of " if deep else ""
            raise ValueError(f"{path}: column {name!r} is of type {found}; expected {lists}{wanted}")


def _replies(row: Row, place: str) -> Iterator[dict[str, Any]]:
    """Yield the replies of a row. Raises ValueError, naming its place, for a row that is no question with replies."""
    texts, right = row[PREFIX] or [], row[_RIGHT] or []
    if not collapse_spaces(row["question"] or ""):
        raise ValueError(f"{place}: has no question")
    if not texts:
        raise ValueError(f"{place}: has no replies")
    if len(texts) != len(right):
        raise ValueError(f"{place}: has {len(texts)} replies and {len(right)} grades")
    of_row = {
        # By the text alone, as published sets have no key of ours.
        "question_key": text_hash(row["question"]),
        "gold": _gold(row),
        "task": _task(row),
        "arm": row.get(ARM) or "",
        # Others ask the question alone.
        "variant": row.get("prompt_variant") or BARE.name,
    }
    told = list(_of_ours(row) if "responses__thought" in row else _of_others(row))
    for number, (text, one) in enumerate(zip(texts, told, strict=True)):
        thought, inner = one.pop("thought"), one.pop("inner")
        # The words of a reply that was forced to go on are partly ours.
        words = None if one.get("trigger") else f"{thought or ''}\n{text or ''}"
        yield {**of_row, "sample": number, **one, **_inside(inner, words)}


def _gold(row: Row) -> str | None:
    """Return the gold answer, None for a question that has many right ones."""
    metadata = _text(row, "metadata")
    many = any(f'"grader": "{name}"' in metadata for name in _MANY)
    if many or facts_of(row["question"]) is not None or row.get("answer") is None:
        return None
    return collapse_spaces(str(row["answer"]))


def _text(row: Row, name: str) -> str:
    """Return what a column holds, "" for what is no text."""
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _task(row: Row) -> str:
    """Return the task's name; of published rows the configuration's, if that is a name, else the source's."""
    config = _text(row, "task_config")
    named = config if len(config) <= _SHORT and not config.startswith(("{", "[")) else ""
    return _text(row, "task") or named or _text(row, "task_source")


def _of_ours(row: Row) -> Iterator[dict[str, Any]]:
    count = len(row[PREFIX])
    columns = {name: row.get(f"responses__{name}") or [None] * count for name in _OURS}
    answers = row.get(_EXTRACTED) or [None] * count
    for number in range(count):
        one = {name: values[number] for name, values in columns.items()}
        asked, forced = one["provenance"] or {}, one["forced"]
        yield {
            "outcome": one["outcome"],
            "reason": one["reason"],
            "answer": answers[number],
            "same_answer": one["same_answer"],
            "tokens": asked.get("output_tokens"),
            "trigger": forced["trigger"] or None if forced else None,
            "answer_forced": bool(forced and forced["answer"]),
            "thought": one["thought"],
            "inner": _graded_inner(one["attempts"] or ()),
        }


def _of_others(row: Row) -> Iterator[dict[str, Any]]:
    """Yield what a published row tells of each reply, by its own grades, or by ours where it was graded again."""
    texts = row[PREFIX]
    again = ("outcome", "reason", "same_answer", "attempts")
    names = (_RIGHT, _EXTRACTED, _CUT, _INNER, *(f"responses__{name}" for name in again))
    columns = ([*(row.get(name) or ()), *[None] * len(texts)][: len(texts)] for name in names)
    made = list[dict[str, Any]]()
    for text, right, answer, was_cut, marks, outcome, reason, place, attempts in zip(texts, *columns, strict=True):
        parted = part_unknown(text or "")
        answered = bool((answer or "").strip())
        derived = "right" if right else "unknown" if right is None or not answered else "wrong"
        unknown = UNDECIDED if right is None else CUT if was_cut else NO_ANSWER
        one = {
            "outcome": outcome or derived,
            "reason": reason if outcome else unknown if derived == "unknown" else "",
            "answer": answer if answered else None,
            "same_answer": place,
            "answer_forced": False,
            "thought": parted.thought,
            "inner": _graded_inner(attempts) if attempts is not None else _found_inner(parted.thought, marks),
        }
        made.append(one)
    if "responses__same_answer" not in row:
        for one, place in zip(made, _same(row, made), strict=True):
            one["same_answer"] = place
    yield from made


def _graded_inner(attempts: Sequence[Mapping[str, Any]]) -> Inner:
    return [(one["outcome"], [_WORDS[said["verdict"]] for said in one["reflections"]]) for one in attempts]


def _found_inner(thought: str | None, marks: Sequence[bool | None] | None) -> Inner:
    """Return the attempts in a thought, with their grades if there is one for each."""
    found = attempts_in(thought or "")
    known = marks if marks is not None and len(marks) == len(found) else [None] * len(found)
    return [
        ({True: "right", False: "wrong", None: ""}[right], [_WORDS[parse_verdict(said)] for said in one.reflections])
        for one, right in zip(found, known, strict=True)
    ]


def _same(row: Row, made: Sequence[Mapping[str, Any]]) -> list[int | None]:
    grades = [Grade(one["outcome"], one["reason"], one["answer"]) for one in made]
    try:
        question = question_of(
            row["question"], str(row.get("answer") or ""), _task(row), _text(row, "task_source"), _text(row, "metadata")
        )
    except ValueError:
        # Nothing of ours can tell more than that the texts are the same.
        first: dict[str, int] = {}
        texts = [None if one["answer"] is None else collapse_spaces(one["answer"]) for one in made]
        return [None if text is None else first.setdefault(text, place) for place, text in enumerate(texts)]
    return same_answers(question, grades)


def _inside(inner: Inner, words: str | None) -> dict[str, Any]:
    """Return what a reply shows of skills: by its tags if it is a trace, else by its words, if they are its own."""
    if not inner:
        return {} if words is None else dict(zip(SKILLS, skills_in(words), strict=True))
    found = dict.fromkeys(VERDICTS, 0)
    for outcome, verdicts in inner:
        for verdict in verdicts:
            if (name := f"{outcome}_{verdict}") in found:
                found[name] += 1
    return {"attempts": len(inner), "reflections": sum(len(verdicts) for _, verdicts in inner), **found}
