"""Small datasets of the same shape as those on the hub: their columns, files, configurations and commits."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from generation.tasks.loaded import HUB_TASKS
from tests.hub_state import Hub, Repository

ROWS = 10
BY_NAME = {loaded.name: loaded for loaded in HUB_TASKS}


def parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), buffer)
    return buffer.getvalue()


def jsonl(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(pa.Table.from_pylist(list(rows)), buffer)
    return buffer.getvalue()


def put(hub: Hub, task: str, files: Mapping[str, bytes]) -> None:
    """Let the hub hold these files as the task's repository, at its commit."""
    place = BY_NAME[task].place
    assert place.revision is not None
    hub.repositories[place.repository] = Repository(private=False, files=dict(files), commits=[place.revision])


def card(*configurations: tuple[str, Mapping[str, str]]) -> bytes:
    """The head of a README that says which files are which split of which configuration."""
    lines = ["---", "configs:"]
    for name, splits in configurations:
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    return "\n".join([*lines, "---", "# A card"]).encode()


def gsm8k(hub: Hub) -> None:
    rows = [
        {"question": f"Tom has {n} apples and buys 1,000. How many?", "answer": f"{n}+1000=<<>>.\n#### 1,00{n}"}
        for n in range(ROWS - 1)
    ]
    rows.append({"question": "How many?", "answer": "Nobody wrote it down."})
    other = [{"question": "a test question", "answer": "#### 1"}]
    socratic = [{"question": "a socratic question", "answer": "#### 1"}]
    files = {f"main/{split}-00000-of-00001.parquet": parquet(r) for split, r in (("train", rows), ("test", other))}
    files["socratic/train-00000-of-00001.parquet"] = parquet(socratic)
    splits = {"train": "main/train-*", "test": "main/test-*"}
    files["README.md"] = card(("main", splits), ("socratic", {"train": "socratic/train-*"}))
    put(hub, "gsm8k", files)


def commonsense(hub: Hub) -> None:
    rows = [
        {
            "id": f"{n:032x}",
            "question": f"Where is thing {n}?",
            "question_concept": "thing",
            "choices": {"label": list("ABCDE"), "text": [f"place {n} {m}" for m in range(5)]},
            "answerKey": "ABCDE"[n % 5],
        }
        for n in range(ROWS)
    ]
    files = {"data/train-00000-of-00001.parquet": parquet(rows)}
    for split, key in (("validation", "A"), ("test", "")):
        others = [{**row, "question": f"{split} {row['question']}", "answerKey": key} for row in rows]
        files[f"data/{split}-00000-of-00001.parquet"] = parquet(others)
    put(hub, "commonsenseQA", files)


def math500(hub: Hub) -> None:
    rows = [
        {
            "problem": f"Convert $(0,{n})$ to polar coordinates.",
            "solution": rf"We have \boxed{{({n},\frac{{\pi}}{{2}})}}",
            "answer": rf"\left( {n}, \frac{{\pi}}{{2}} \right)",
            "subject": "Precalculus",
            "level": 2,
            "unique_id": f"test/precalculus/{n}.json",
        }
        for n in range(1, ROWS + 1)
    ]
    put(hub, "math500", {"test.jsonl": jsonl(rows), "README.md": b"# MATH-500"})


def aime25(hub: Hub) -> None:
    rows = [{"problem": f"Find ${n}$ more than $60$.", "answer": str(60 + n), "id": str(n)} for n in range(ROWS)]
    put(hub, "aime25", {"test.jsonl": jsonl(rows)})


def amc23(hub: Hub) -> None:
    rows = [
        {"id": n, "answer": f"{n}.0", "url": "https://example.org", "question": f"How far is {n} miles?"}
        for n in range(ROWS)
    ]
    put(hub, "amc23", {"test-00000-of-00001.parquet": parquet(rows)})


def gpqa(hub: Hub) -> None:
    rows = [
        {
            "Pre-Revision Question": "not this",
            "Question": f"What is the energy of state {n}?\n",
            "Correct Answer": f"right {n} ",
            **{f"Incorrect Answer {m}": f"wrong {n} {m}" for m in (1, 2, 3)},
            "Record ID": f"rec{n}",
        }
        for n in range(ROWS)
    ]
    twice = {**rows[0], "Question": "Which of two that are the same?", "Incorrect Answer 1": "right 0"}
    files = {"gpqa_diamond.csv": csv([*rows, twice]), "gpqa_main.csv": csv(rows[:1])}
    named = [(name, {"train": f"{name}.csv"}) for name in ("gpqa_diamond", "gpqa_main")]
    put(hub, "gpqa", {**files, "README.md": card(*named)})


def thought(question: str, response: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": response}]
    return {"difficulty": 7, "source": "somewhere", "domain": "math", "conversations": turns}


def openthoughts(hub: Hub) -> None:
    """Each of the 120 files holds a question of its own and one that all share; two answers are no use."""
    files = {}
    for number, path in enumerate(BY_NAME["openthoughts"].files):
        rows = [
            thought(
                f"Solve {number}.", rf"<think>\boxed{{7}} or so</think>It is \boxed{{1}}, so \boxed{{ {number} }}."
            ),
            thought(
                f"Halve {number}.",
                rf"<think>Hm.</think>\boxed{{\frac{{{number}}}{{2}}}} = \boxed{{\frac{{{number}}}{{2}} }}",
            ),
            thought("What do all ask?", r"<think></think>\boxed{0}"),
            thought(f"Write code {number}.", r"<think>\boxed{no}</think>```print()```"),
            thought(f"Cut {number}.", r"<think>It is \boxed{3}"),
        ]
        files[path] = parquet(rows)
    put(hub, "openthoughts", files)


ALL = {
    "gsm8k": gsm8k,
    "commonsenseQA": commonsense,
    "math500": math500,
    "aime25": aime25,
    "amc23": amc23,
    "gpqa": gpqa,
    "openthoughts": openthoughts,
}
