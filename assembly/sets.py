"""Reads a training set back, in any of the layouts, as questions that are asked and traces that are to be written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from assembly.asked import asked_by, ends_of, written_by
from assembly.layouts import IGNORED, thought_in
from assembly.sft import DATASET_INFO, SFT_DATA, VERL_TOKENS
from assembly.trained import Asked, Example
from cluster.inference.tokenizer import ChatTokenizer

_QUESTION = "zq2qz"


def find_set(path: Path) -> Path:
    """Return the folder of the set, of its own or a run's. Raises ValueError if there is none."""
    folder = path / SFT_DATA if (path / SFT_DATA).is_dir() else path
    if not any((folder / "data").glob("*.parquet")):
        raise ValueError(f"--sft {path} holds no {SFT_DATA}: give the folder that assembly.run or a run has made")
    return folder


def copy_rows(folder: Path, most: int, to: Path) -> pa.Table:
    """Write a set of at most so many rows of the set, evenly spread, to a new folder, and return them.

    Raises ValueError if its files cannot be read, or hold no rows.
    """
    try:
        rows = pads.dataset(folder / "data", format="parquet")
        count = rows.count_rows()
        kept = rows.to_table() if count <= most else rows.take([count * place // most for place in range(most)])
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{folder} cannot be read: {error}") from error
    if not count:
        raise ValueError(f"{folder} holds no rows")
    (to / "data").mkdir(parents=True)
    pq.write_table(kept, to / "data" / "train-00000-of-00001.parquet")
    for name in (DATASET_INFO, VERL_TOKENS):
        if (folder / name).exists():
            (to / name).write_bytes((folder / name).read_bytes())
    return kept


def asked_in(chat: ChatTokenizer, rows: Sequence[Mapping[str, Any]]) -> list[Asked]:
    """Return the rows as vLLM asks them. Raises ValueError for other columns, and whatever the template raises."""
    ends, first = ends_of(chat), rows[0]
    if _turns_in(first):
        turns = [_turns_in(row) for row in rows]
        if any(thought_in(reply) is not None for _, reply in turns):
            return [_of_template(chat, one, ends) for one in turns]
        return asked_by(chat, [(question["content"], reply["content"]) for question, reply in turns])
    if {"prompt", "completion"} <= first.keys() or {"input_ids", "labels"} <= first.keys():
        return [_apart(chat, prompt, reply, ends) for prompt, reply in _texts_in(chat, rows)]
    raise ValueError(f"a row is not one question and one trace: it has the columns {', '.join(first)}")


def written_in_full(chat: ChatTokenizer, rows: Sequence[Mapping[str, Any]]) -> list[Example]:
    """Return what the chat template alone makes of the rows; those that are templated already are as they are."""
    if _turns_in(rows[0]):
        return list(written_by(chat, map(_turns_in, rows)))
    return [Example(((prompt, False), (reply, True))) for prompt, reply in _texts_in(chat, rows)]


def _turns_in(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the turns of a row, [] if it holds none."""
    turns = row.get("conversations") or row.get("messages") or []
    match turns:
        case [{"role": "user"}, {"role": "assistant"}]:
            # A template may look for a thought by whether there is one at all.
            return [{name: text for name, text in turn.items() if text is not None} for turn in turns]
    return []


def _of_template(chat: ChatTokenizer, turns: list[dict[str, Any]], ends: tuple[str, ...]) -> Asked:
    """Return a row whose thought stands apart: as the template writes it, and as most do if it leaves it out."""
    prompt, text = chat.render(turns[:1]), chat.render(turns, opened=False)
    (asked,) = asked_by(chat, [(turns[0]["content"], "")])
    thought, said = thought_in(turns[1]) or "", turns[1]["content"]
    start = len(prompt) if text.startswith(prompt) else text.index(asked.question) + len(asked.question)
    if thought.strip() not in text[start:]:
        return asked._replace(trace=f"<think>\n{thought}\n</think>\n\n{said}")
    reply = text[start:].rstrip()
    return asked._replace(trace=next((reply.removesuffix(end) for end in ends if reply.endswith(end)), reply))


def _texts_in(chat: ChatTokenizer, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return prompts and replies of templated rows, as texts with all their tokens."""
    if "input_ids" not in rows[0]:
        return [(chat.bos_text + row["prompt"], row["completion"]) for row in rows]
    firsts = (
        next((n for n, label in enumerate(row["labels"]) if label != IGNORED), len(row["labels"])) for row in rows
    )
    ids = [(row["input_ids"][:first], row["input_ids"][first:]) for row, first in zip(rows, firsts, strict=True)]
    return [(chat.decode(prompt), chat.decode(reply)) for prompt, reply in ids]


def _apart(chat: ChatTokenizer, prompt: str, reply: str, ends: tuple[str, ...]) -> Asked:
    """Return a templated row as this model is asked: by its own template, whatever the row has around its question."""
    (asked,) = asked_by(chat, [(_QUESTION, "")])
    question = prompt.removeprefix(asked.head).removesuffix(asked.tail)
    trace = next((reply.removesuffix(end) for end in ends if reply.endswith(end)), reply)
    return asked._replace(question=question, trace=trace)
