"""Some traces as sessions for the hub's viewer, a JSONL file each: huggingface.co/docs/hub/session-traces-format.

A session is the question and one reply, word for word as it is trained: its thought is the reply's
`reasoningContent`, which the viewer shows as a block of its own. Attempts are no turns of their own, since nobody
spoke between them, and a trained model will write them in one reply.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assembly.settings import SftSettings
from assembly.sft import SFT_DATA
from cluster.jobs import card
from cluster.jobs.atomic import replace_folder
from cluster.jobs.card import Split, Table
from generation.raw.files import RawSource
from generation.records import stable_hash
from generation.tasks.registry import share

SESSIONS = "TRACE_SESSIONS"  # its folder in a run directory, and the prefix of its repositories' names
MOST = 9_999  # the hub wants fewer than 10,000 files in a folder
HARNESS = "skillfactory"
"""The program that a session comes from. Of those without an icon of their own on the hub, which asks for the true one:
it knows `llama.app` alone, and that has not made these."""
_TAGS = ("skillfactory", "self-distillation", "reasoning", "sft", "agent-traces")


def sessions_beside(sft: Path) -> Path:
    """Return the folder of the sessions of this set, beside it."""
    return sft.with_name(SESSIONS if sft.name == SFT_DATA else f"{sft.name}-{SESSIONS}")


def choose_sessions(labels: Sequence[tuple[str, str]], kept: np.ndarray, most: int) -> np.ndarray:
    """Return which of the kept traces become sessions, sorted: of each label its share, evenly over the questions.

    `labels` has that of each trace, `kept` the sorted indices, int64, of those in the set.
    """
    if len(kept) <= most:
        return kept
    places: dict[tuple[str, str], list[int]] = {}
    for place in kept.tolist():
        places.setdefault(labels[place], []).append(place)
    names = sorted(places)
    shares = [*zip(names, share(most, [len(places[name]) for name in names]), strict=True)]
    given = [(name, count) for name, count in shares if count]
    # Each label begins elsewhere, or few sessions of many labels would all be of the same questions.
    chosen = [
        places[name][(number * len(given) + offset) * len(places[name]) // (count * len(given))]
        for offset, (name, count) in enumerate(given)
        for number in range(count)
    ]
    return np.sort(np.array(chosen, np.int64))


def session_of(row: dict[str, Any], frame: str, model: str | None) -> list[dict[str, Any]]:
    """Return the lines of a trace's session; the row has the columns of SFT_DATA in layout sharegpt."""
    *before, asked, answer = row["conversations"]
    question, text = asked["content"], answer["content"]
    thought, content = _parted(text, frame)
    told = {name: row[name] for name in ("format", "task", "question_key")}
    told |= {"label": row["sft_template_type_idx"], **{name: ", ".join(row[name]) for name in ("variants", "faults")}}
    last = next((line for line in reversed(question.splitlines()) if line.strip()), "").strip()
    head = {
        "type": "session",
        "harness": HARNESS,
        "id": stable_hash(row["question_key"], row["format"], question, text)[:16],
        "name": f"{told['label']}: {card.cut(last)}",
        **told,
    }
    reply = {"role": "assistant", "content": content}
    reply |= {"reasoningContent": thought} if thought else {}
    reply |= {"model": model} if model else {}
    return [head, *({"type": "message", "message": one} for one in (*before, asked, reply))]


def _parted(text: str, frame: str) -> tuple[str, str]:
    """Return the thought and what follows it; all of a text without this frame is no thought."""
    opening, closing = f"<{frame}>\n", f"\n</{frame}>\n"
    inside, ended, behind = text.removeprefix(opening).partition(closing)
    return (inside, behind.removeprefix("\n\n")) if text.startswith(opening) and ended else ("", text)


def write_sessions(
    traces: pa.Table, settings: SftSettings, out: Path, *, of: int, source: RawSource, license: str
) -> None:
    """Replace `out` with these traces, of schema SFT_SCHEMA, as sessions; `of` is how many the set has."""
    model = source.models[0] if len(source.models) == 1 else None
    rows = traces.to_pylist()

    def build(folder: Path) -> None:
        (folder / "sessions").mkdir()
        files = []
        for number, row in enumerate(rows):
            session = session_of(row, settings.frame or settings.words.formats[row["format"]].marks.frame, model)
            files.append(folder / "sessions" / f"{number:04}-{session[0]['id']}.jsonl")
            text = "".join(f"{json.dumps(line, ensure_ascii=True)}\n" for line in session)
            files[-1].write_text(text, encoding="utf-8")
        labels = Counter[str](row["sft_template_type_idx"] for row in rows)
        by_label = [(label, labels[label]) for label in sorted(labels, key=lambda label: (len(label), label))]
        split = Split(len(files), 0, files, path="sessions/*.jsonl")
        values = {
            # Without columns: where a card names them, `datasets`, and so the hub, sees lines and no sessions.
            "header": card.header(None, [split], tags=_TAGS, license=license, models=source.models),
            "sessions": f"{len(rows):,}",
            "of": f"{of:,}",
            "labels": Table(("label", "sessions"), by_label).markdown(1),
            "source": card.code(source.name),
        }
        (folder / "README.md").write_text(card.fill_card("assembly", values, "sessions_card.md"), encoding="utf-8")

    replace_folder(build, out)
