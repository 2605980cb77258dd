"""Reads a training set back, in any of the layouts, as questions that are asked and traces that are to be written."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from assembly.asked import asked_by, asked_in_turns, ends_of, written_by
from assembly.layouts import IGNORED, LAYOUTS, layout_of, thought_in
from assembly.selection import TRAIN
from assembly.sft import DATASET_INFO, FOLDERS, SFT_DATA, VERL_TOKENS
from assembly.trained import Asked, Example
from cluster.inference.tokenizer import ChatTokenizer

_QUESTION, _SYSTEM = "zq2qz", "zq3qz"
_ROLES = ["system", "user", "assistant"]
_LONGEST = 10  # rows that are always looked at, for the limits of trainers
_MARKS = re.compile(r"<[^<>]*>|\b(?:analysis|assistant|final)\b|\s")
"""What a template may write around a thought: tags and tokens, and the words of gpt-oss's channels."""


def find_set(path: Path) -> Path:
    """Return the folder of the set, of its own or a run's. Raises ValueError if there is none, or not all of it."""
    folder = path / SFT_DATA if (path / SFT_DATA).is_dir() else path
    if not _files(folder, TRAIN):
        raise ValueError(f"--sft {path} holds no {SFT_DATA}: give the folder that assembly.run or a run has made")
    for files in filter(None, (_files(folder, split) for split in FOLDERS)):
        count = max(int(of[1]) if (of := re.search(r"-of-(\d+)\.", one.name)) else 0 for one in files)
        if count > len(files):
            raise ValueError(f"--sft {path} holds {len(files)} of its {count} files: give a whole set")
    return folder


def _files(folder: Path, split: str) -> list[Path]:
    return sorted((folder / FOLDERS[split]).glob("*.parquet"))


def copy_rows(folder: Path, most: int, to: Path) -> tuple[pa.Table, int]:
    """Write a set of at most so many rows of the set to a new folder; return them, and how many there are in all.

    They are drawn at random from all splits, always the same, and the longest are among them. Raises ValueError if the
    files cannot be read, or hold no rows.
    """
    try:
        rows = pads.dataset([one for split in FOLDERS for one in _files(folder, split)], format="parquet")
        count = rows.count_rows()
        kept = rows.to_table() if count <= most else rows.take(_drawn(rows, count, most))
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{folder} cannot be read: {error}") from error
    if not count:
        raise ValueError(f"{folder} holds no rows")
    (to / "data").mkdir(parents=True)
    pq.write_table(kept, to / "data" / "train-00000-of-00001.parquet")
    for name in (DATASET_INFO, VERL_TOKENS):
        if (folder / name).exists():
            (to / name).write_bytes((folder / name).read_bytes())
    return kept, count


def _drawn(rows: pads.Dataset, count: int, most: int) -> list[int]:
    """Return the indices of so many rows, in order: the longest, and others at random."""
    name = LAYOUTS[layout_of(rows.schema)].columns[-1].name
    sizes = np.concatenate([_sizes(batch.column(0)) for batch in rows.to_batches(columns=[name])])
    longest = np.argsort(-sizes, kind="stable")[: min(_LONGEST, most)].tolist()
    others = random.Random(0).sample([*{*range(count)}.difference(longest)], most - len(longest))
    return sorted([*longest, *others])


def _sizes(column: pa.Array) -> np.ndarray:
    """Return the size of each reply, int64: of texts and turns in characters, of labels in tokens."""
    if not pa.types.is_list(column.type):
        sizes: np.ndarray = np.asarray(pc.fill_null(pc.utf8_length(column), 0), np.int64)
        return sizes
    weights = np.ones(len(column.flatten()))
    if pa.types.is_struct(column.type.value_type):
        turns = column.flatten()
        texts = [turns.field(place) for place in range(turns.type.num_fields)]
        weights = np.sum([np.asarray(pc.fill_null(pc.utf8_length(text), 0)) for text in texts], axis=0)
    places = np.asarray(pc.list_parent_indices(column))
    return np.bincount(places, weights, minlength=len(column)).astype(np.int64)


def check_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError, naming the first such row, if one is not a question and a trace."""
    for number, row in enumerate(rows):
        if turns := row.get("conversations") or row.get("messages"):
            texts = [turn.get("content") for turn in turns]
            whole = [turn.get("role") for turn in turns] in (_ROLES, _ROLES[1:])
        elif "input_ids" in row:
            ids, labels = row["input_ids"] or [], row["labels"] or []
            texts, whole = ["-" if ids else "", "-" if {*labels} - {IGNORED} else ""], len(ids) == len(labels)
        else:
            texts, whole = [row.get("prompt"), row.get("completion")], True
        if not whole or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ValueError(f"row {number:,} of those looked at is not one question and one trace: {row!r:.120}")


def asked_in(chat: ChatTokenizer, rows: Sequence[Mapping[str, Any]]) -> list[Asked]:
    """Return the rows as vLLM asks them. Raises ValueError for other columns, and whatever the template raises."""
    ends, first = ends_of(chat), rows[0]
    if _turns_in(first):
        turns = [_turns_in(row) for row in rows]
        if any(thought_in(one[-1]) is not None for one in turns):
            return [_of_template(chat, one, ends) for one in turns]
        return asked_in_turns(chat, turns)
    if {"prompt", "completion"} <= first.keys() or {"input_ids", "labels"} <= first.keys():
        return [_apart(chat, prompt, reply, ends) for prompt, reply in _texts_in(chat, rows)]
    raise ValueError(f"a row is not one question and one trace: it has the columns {', '.join(first)}")


def written_in_full(chat: ChatTokenizer, rows: Sequence[Mapping[str, Any]]) -> list[Example]:
    """Return what the chat template alone makes of the rows; those that are templated already are as they are."""
    if _turns_in(rows[0]):
        return list(written_by(chat, map(_turns_in, rows)))
    if "input_ids" in rows[0]:
        return [Example(tuple(_pieces(chat, row))) for row in rows]
    return [Example(((prompt, False), (reply, True))) for prompt, reply in _texts_in(chat, rows)]


def _pieces(chat: ChatTokenizer, row: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield the text of a row of tokens in pieces, each with whether it is trained as what it is."""
    seen = row.get("attention_mask") or [1] * len(row["input_ids"])
    kept = [(one, label == one) for one, label, mask in zip(row["input_ids"], row["labels"], seen, strict=True) if mask]
    for carries, run in groupby(kept, itemgetter(1)):
        yield chat.decode([one for one, _ in run]), carries


def _turns_in(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the turns of a row, [] if it holds none."""
    turns = row.get("conversations") or row.get("messages") or []
    match turns:
        case [{"role": "user"}, {"role": "assistant"}] | [{"role": "system"}, {"role": "user"}, {"role": "assistant"}]:
            # A template may look for a thought by whether there is one at all.
            return [{name: text for name, text in turn.items() if text is not None} for turn in turns]
    return []


def _of_template(chat: ChatTokenizer, turns: list[dict[str, Any]], ends: tuple[str, ...]) -> Asked:
    """Return a row whose thought stands apart: as the template writes it, and as most do if it leaves it out."""
    prompt, text = chat.render(turns[:-1]), chat.render(turns, opened=False)
    (asked,) = asked_in_turns(chat, [[*turns[:-1], {"role": "assistant", "content": ""}]])
    thought, said = thought_in(turns[-1]) or "", turns[-1]["content"]
    start = len(prompt) if text.startswith(prompt) else text.index(asked.question) + len(asked.question)
    reply = text[start:].rstrip()
    before, found, rest = reply.partition(thought.strip())
    between, also, after = rest.partition(said.strip())
    if not found or not also or _MARKS.sub("", before + between + after):
        return asked._replace(trace=f"<think>\n{thought}\n</think>\n\n{said}")
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
    (asked,) = asked_by(chat, [(_QUESTION, "")], _system_of(chat, prompt))
    question = prompt.removeprefix(asked.head).removesuffix(asked.tail)
    trace = next((reply.removesuffix(end) for end in ends if reply.endswith(end)), reply)
    return asked._replace(question=question, trace=trace)


def _system_of(chat: ChatTokenizer, prompt: str) -> str | None:
    """Return the system turn of a templated prompt, None if it begins as the template begins one without."""
    (plain,) = asked_by(chat, [(_QUESTION, "")])
    if prompt.startswith(plain.head):
        return None
    try:
        (asked,) = asked_by(chat, [(_QUESTION, "")], _SYSTEM)
    except Exception:
        # A template that takes no system turn has written none.
        return None
    before, _, between = asked.head.partition(_SYSTEM)
    system, found, _ = prompt.removeprefix(before).partition(between)
    return system if prompt.startswith(before) and between and found else None
