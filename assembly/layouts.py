"""The columns in which a trainer takes a question and its trace.

Pure but for the tokenizer that two of them need. What each trainer makes of them, `assembly.check` says.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import pyarrow as pa

from assembly.asked import asked_in_turns
from cluster.inference.engine import Message
from cluster.inference.tokenizer import ChatTokenizer
from generation.raw.schema import Column

LayoutName = Literal["sharegpt", "messages", "reasoning", "prompt_completion", "tokens"]
IGNORED = -100
"""The label of a token that carries no loss, in PyTorch and so in all trainers."""
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_THOUGHTS = ("reasoning_content", "thinking")  # where chat templates look for a thought; the second is gpt-oss's
_IDS = pa.list_(pa.int32())
_TURNS = "the plain question (user) and the trace (assistant)"
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


class Layout(NamedTuple):
    """The first columns of a set."""

    columns: tuple[Column, ...]
    takes: Mapping[str, object] | None  # LLaMA-Factory's description of them, None if it cannot take them
    templated: bool = False  # True if the model's own chat template is in the texts


def _taken(name: str) -> Mapping[str, object]:
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    return {"formatting": "sharegpt", "columns": {"messages": name}, "tags": tags}


def _reasoning(thought: str) -> Layout:
    turns = pa.list_(pa.struct([*MESSAGES.value_type, (thought, pa.string())]))
    return Layout((Column("messages", turns, f"{_TURNS}, its thought apart from what follows it"),), None)


LAYOUTS: dict[str, Layout] = {
    "sharegpt": Layout((Column("conversations", MESSAGES, _TURNS),), _taken("conversations")),
    "messages": Layout((Column("messages", MESSAGES, _TURNS),), _taken("messages")),
    "reasoning": _reasoning(_THOUGHTS[0]),
    "prompt_completion": Layout(
        (
            Column("prompt", pa.string(), "the question as the model's chat template asks it"),
            Column("completion", pa.string(), "what the model is to write after it, the end of its turn included"),
        ),
        {"formatting": "alpaca", "columns": {"prompt": "prompt", "response": "completion"}},
        templated=True,
    ),
    "tokens": Layout(
        (
            Column("input_ids", _IDS, "the prompt as vLLM encodes it, the trace, and the end of the model's turn"),
            Column("attention_mask", _IDS, "1 for each of them"),
            Column("labels", _IDS, f"the same tokens, {IGNORED} for those of the prompt"),
        ),
        None,
        templated=True,
    ),
}


def layout_for(name: LayoutName, template: str = "") -> Layout:
    """Return a layout as the model's chat template, if that is known, looks for it."""
    if name == "reasoning" and _THOUGHTS[0] not in template and re.search(rf"[.'\"]{_THOUGHTS[1]}\b", template):
        return _reasoning(_THOUGHTS[1])
    return LAYOUTS[name]


def thought_in(turn: Mapping[str, Any]) -> str | None:
    """Return the thought of a turn that has it apart, None if it has none."""
    return next((turn[name] for name in _THOUGHTS if turn.get(name) is not None), None)


def layout_of(schema: pa.Schema) -> LayoutName:
    """Return the layout of a set with these columns. Raises ValueError if it is none."""
    if "messages" in schema.names and any(name in str(schema.field("messages").type) for name in _THOUGHTS):
        return "reasoning"
    names: tuple[LayoutName, ...] = get_args(LayoutName)
    for name in names:
        if {column.name for column in LAYOUTS[name].columns} <= {*schema.names}:
            return name
    raise ValueError(f"the set is in no known layout: it has the columns {', '.join(schema.names)}")


def text_of(layout: LayoutName, row: Mapping[str, Any]) -> tuple[str, str]:
    """Return a row's question and its trace, as far as no tokenizer is needed: of a row of tokens two empty texts."""
    if LAYOUTS[layout].templated:
        return row.get("prompt") or "", row.get("completion") or ""
    *_, asked, reply = row.get("conversations") or row["messages"]
    thought, text = thought_in(reply), reply["content"] or ""
    return asked["content"] or "", text if thought is None else f"<think>\n{thought}\n</think>\n{text}"


def written_in(name: LayoutName, chat: ChatTokenizer | None) -> Callable[[pa.Table], pa.Table]:
    """Return what puts the rows of a set, whose first column is `conversations`, in a layout.

    `chat` is the model's, without which no templated layout can be written. Raises whatever its template raises, and
    ValueError where its tokenizer does not give a text back.
    """
    columns = layout_for(name, chat.template if chat else "").columns

    def write(rows: pa.Table) -> pa.Table:
        if name in ("sharegpt", "messages"):
            return rows.rename_columns([columns[0].name, *rows.column_names[1:]])
        turns = rows["conversations"].to_pylist()
        if LAYOUTS[name].templated:
            assert chat is not None
            made = _templated(name, chat, turns)
        else:
            field = columns[0].type.value_type.field(2).name
            made = [_reasoned(one, field) for one in turns]
        first = {column.name: pa.array([row[column.name] for row in made], column.type) for column in columns}
        return pa.table(first | {column: rows[column] for column in rows.column_names[1:]})

    return write


def _reasoned(turns: Sequence[Message], field: str) -> dict[str, Any]:
    """Return the turns with the thought of the reply apart from it."""
    *asked, reply = turns
    thought = _THOUGHT.match(reply["content"])
    said = {"role": "assistant", "content": reply["content"], field: None}
    if thought:
        said |= {"content": reply["content"][thought.end() :], field: thought[1].strip("\n")}
    return {"messages": [*({**turn, field: None} for turn in asked), said]}


def _templated(name: LayoutName, chat: ChatTokenizer, chats: Sequence[Sequence[Message]]) -> list[dict[str, Any]]:
    asked = asked_in_turns(chat, chats)
    texts = [(one.head + one.question + one.tail, one.trace[one.opened :] + one.ends[0]) for one in asked]
    if name == "prompt_completion":
        # Whoever reads a text puts the BOS token before it, as the tokenizer says.
        bos = chat.bos_text
        return [{"prompt": prompt.removeprefix(bos), "completion": reply} for prompt, reply in texts]
    prompts, replies = (chat.tokenize(list(part)) for part in zip(*texts, strict=True))
    for (_, reply), ids in zip(texts, replies, strict=True):
        if (again := chat.decode(ids)) != reply:
            raise ValueError(f"the tokenizer makes {again[:40]!r} of {reply[:40]!r}: take another layout")
    return [
        {
            "input_ids": prompt + reply,
            "attention_mask": [1] * len(prompt + reply),
            "labels": [IGNORED] * len(prompt) + reply,
        }
        for prompt, reply in zip(prompts, replies, strict=True)
    ]
