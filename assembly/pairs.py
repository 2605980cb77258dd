"""PAIRS_DATA: a right and a wrong sample of one question, for training by preference (DPO, arXiv 2305.18290).

The prompt is the plain question, whatever prompt variant the samples were asked under; the texts are the samples as
they are, without reflections. Columns are those of LLaMA-Factory (layout sharegpt) or of TRL (all others).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.candidates import UNREFLECTED
from assembly.feasibility import NothingMadeError
from assembly.layouts import MESSAGES
from assembly.selection import TRAIN, VALIDATION, side_of
from assembly.settings import SftSettings
from assembly.sft import DATASET_INFO, DATASET_NAME, FOLDERS, SFT_DATA
from cluster.inference.engine import Message
from cluster.jobs import card
from cluster.jobs.atomic import replace_folder
from cluster.jobs.card import Split, Table
from generation.raw.files import RawSource
from generation.raw.schema import Column, columns_table

PAIRS_DATA = "PAIRS_DATA"  # its folder in a run directory
_TEXTS = ("question", "chosen", "rejected", "question_key", "task", "chosen_variant", "rejected_variant")
_BUCKET = pa.schema([*((name, pa.string()) for name in _TEXTS), ("side", pa.float64())])
_TAGS = ("skillfactory", "self-distillation", "reasoning", "dpo")
_ROWS = 1_000  # that are written at once
_MEANING = {"chosen": "a right sample", "rejected": "a wrong sample of the same question"}
_PROMPT = "the plain question (user), behind the system turn if there is one"
_TOLD = (
    Column("question_key", pa.string(), "the question's name in RAW_DATA"),
    Column("task", pa.string(), "the question's task"),
    Column("chosen_variant", pa.string(), "the prompt variant of the right sample"),
    Column("rejected_variant", pa.string(), "the prompt variant of the wrong sample"),
)


def pairs_beside(sft: Path) -> Path:
    """Return the folder of the pairs of this set, beside it."""
    return sft.with_name(PAIRS_DATA if sft.name == SFT_DATA else f"{sft.name}-{PAIRS_DATA}")


def draw_pairs(
    right: Sequence[tuple[str, str]], wrong: Sequence[tuple[str, str]], most: int, rng: Random
) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Return at most so many pairs of samples, (text, prompt variant) each; no text stands in two of them."""
    drawn = []
    for samples in (right, wrong):
        by_text = dict(sorted(samples, reverse=True))  # of the same text the first variant
        drawn.append(rng.sample(sorted(by_text.items()), min(most, len(by_text))))
    return list(zip(*drawn, strict=False))


def write_bucket_pairs(pool: pa.Table, settings: SftSettings, path: Path) -> None:
    """Write the pairs of the questions in a table of schema POOL to `path` with the suffix .pairs."""
    assert settings.pairs is not None
    # A retry refers to what it saw, which a pair does not show.
    usable = pc.is_in(pool["left_out"], pa.array(["", *UNREFLECTED]))
    standing = pool.filter(pc.and_not(usable, pool["is_retry"]))
    found: dict[str, tuple[str, str, dict[bool, list[tuple[str, str]]]]] = {}
    names = ("question_key", "question", "task", "variant", "response", "correct")
    standing = standing.sort_by([("order", "ascending"), ("question_key", "ascending")])
    for key, question, task, variant, response, correct in zip(
        *(standing[name].to_pylist() for name in names), strict=True
    ):
        *_, samples = found.setdefault(key, (question, task, {True: [], False: []}))
        samples[correct].append((response, variant or ""))
    rows = []
    for key, (question, task, samples) in found.items():
        rng = Random(f"{settings.seed}/pairs/{key}")
        side = 0.0 if settings.validation is None else side_of(settings.seed, question)
        for chosen, rejected in draw_pairs(samples[True], samples[False], settings.pairs, rng):
            values = (question, chosen[0], rejected[0], key, task, chosen[1], rejected[1], side)
            rows.append(dict(zip(_BUCKET.names, values, strict=True)))
    with pa.ipc.new_file(path.with_suffix(".pairs"), _BUCKET) as file:
        file.write_table(pa.Table.from_pylist(rows, _BUCKET), max_chunksize=_ROWS)


@dataclass
class _Lengths:
    """What is told of the pairs of a set, summed."""

    pairs: int = 0
    questions: set[str] = field(default_factory=set)
    chosen: int = 0  # in tokens, or else in characters
    rejected: int = 0
    longer: int = 0  # pairs whose chosen text is the longer one

    def add(self, rows: pa.Table, settings: SftSettings) -> None:
        chat = settings.chat()
        lengths = []
        for name in ("chosen", "rejected"):
            texts = rows[name].to_pylist()
            lengths.append([*map(len, texts if chat is None else chat.tokenize(texts))] if texts else [])
        self.pairs += rows.num_rows
        self.questions.update(rows["question_key"].to_pylist())
        self.chosen, self.rejected = self.chosen + sum(lengths[0]), self.rejected + sum(lengths[1])
        self.longer += sum(one > other for one, other in zip(*lengths, strict=True))

    def table(self, unit: str) -> Table:
        n = max(1, self.pairs)
        mean, other = self.chosen / n, self.rejected / n
        ratio = f", {mean / other:.2f} times as long" if other else ""
        return Table(
            ("what", "figures"),
            [
                ("pairs", f"{self.pairs:,} of {len(self.questions):,} questions"),
                ("mean length of the chosen", f"{mean:,.1f} {unit}{ratio}"),
                ("mean length of the rejected", f"{other:,.1f} {unit}"),
                ("pairs whose chosen text is the longer one", f"{self.longer:,}, {self.longer / n:.1%}"),
            ],
        )


def _columns(settings: SftSettings) -> tuple[Column, ...]:
    turn = MESSAGES.value_type
    if settings.layout == "sharegpt":
        texts = [Column("conversations", MESSAGES, _PROMPT)]
        return (*texts, *(Column(name, turn, meaning) for name, meaning in _MEANING.items()), *_TOLD)
    texts = [Column("prompt", MESSAGES, _PROMPT)]
    return (*texts, *(Column(name, MESSAGES, meaning) for name, meaning in _MEANING.items()), *_TOLD)


def _schema(settings: SftSettings) -> pa.Schema:
    return pa.schema([(column.name, column.type) for column in _columns(settings)])


def _laid_out(rows: pa.Table, settings: SftSettings, schema: pa.Schema) -> pa.Table:
    before = [] if settings.system is None else [Message(role="system", content=settings.system)]
    made = []
    for row in rows.to_pylist():
        told = {column.name: row[column.name] for column in _TOLD}
        told[schema.names[0]] = [*before, Message(role="user", content=row["question"])]
        for name in _MEANING:
            said = Message(role="assistant", content=row[name])
            told[name] = said if settings.layout == "sharegpt" else [said]
        made.append(told)
    return pa.Table.from_pylist(made, schema)


def dataset_info(splits: Sequence[str], *, system: bool) -> Mapping[str, Any]:
    """Return LLaMA-Factory's description of pairs in its columns, by the name of each split."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    tags |= {"system_tag": "system"} if system else {}
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    taken = {"formatting": "sharegpt", "ranking": True, "columns": columns, "tags": tags}
    names = {TRAIN: f"{DATASET_NAME}_pairs", VALIDATION: f"{DATASET_NAME}_pairs_validation"}
    return {names[split]: {"file_name": FOLDERS[split], **taken} for split in splits}


def check_pairs(paths: Sequence[Path]) -> None:
    """Raise NothingMadeError if the files of all buckets hold no pair."""
    if not any(table.num_rows for path in paths for table in _tables(path)):
        told = "no question has both a right and a wrong sample that may stand in a trace or only lack a reflection"
        raise NothingMadeError(f"no pair comes with --pairs: {told}; leave --pairs out")


def _tables(path: Path) -> Iterator[pa.Table]:
    with pa.memory_map(str(path.with_suffix(".pairs"))) as mapped:
        file = pa.ipc.open_file(mapped)
        for number in range(file.num_record_batches):
            yield pa.Table.from_batches([file.get_batch(number)])


def write_pairs(
    paths: Sequence[Path], settings: SftSettings, out: Path, *, cut: float, source: RawSource, license: str
) -> Table:
    """Replace `out` with the pairs of all buckets, those whose side is below `cut` as a split of their own.

    Return what is told of them.
    """
    schema, lengths = _schema(settings), _Lengths()

    def build(folder: Path) -> None:
        splits = [_write_split(paths, name, cut, settings, folder=folder) for name in (TRAIN, VALIDATION)]
        for path in paths:
            for rows in _tables(path):
                lengths.add(rows, settings)
        made = [split for split in splits if split is not None]
        if settings.layout == "sharegpt":
            info = dataset_info([split.name for split in made], system=settings.system is not None)
            (folder / DATASET_INFO).write_text(f"{json.dumps(info, indent=2)}\n", encoding="utf-8")
        values = {
            "header": card.header(
                schema, made, tags=_TAGS, license=license, models=source.models, sources=[source.repository]
            ),
            "main": lengths.table(_unit(settings)).markdown(),
            "splits": Table(("split", "pairs"), [(split.name, split.rows) for split in made]).markdown(1),
            "columns": columns_table(_columns(settings)),
            "source": card.code(source.name),
            "digest": card.code(source.digest),
            "configuration": card.json_block(settings.shown(), sort_keys=False),
        }
        (folder / "README.md").write_text(card.fill_card("assembly", values, "pairs_card.md"), encoding="utf-8")

    replace_folder(build, out)
    return lengths.table(_unit(settings))


def _unit(settings: SftSettings) -> str:
    return "characters" if settings.model is None else "tokens"


def _write_split(paths: Sequence[Path], name: str, cut: float, settings: SftSettings, *, folder: Path) -> Split | None:
    """Write the pairs of a split; return None if there are none."""
    schema = _schema(settings)
    file, rows, memory = folder / FOLDERS[name] / f"{name}-00000-of-00001.parquet", 0, 0
    writer: pq.ParquetWriter | None = None
    for table in (table for path in paths for table in _tables(path)):
        held = pc.less(table["side"], cut)
        laid_out = _laid_out(table.filter(held if name == VALIDATION else pc.invert(held)), settings, schema)
        if not laid_out.num_rows:
            continue
        if writer is None:
            file.parent.mkdir()
            writer = pq.ParquetWriter(file, schema, compression="zstd")
        writer.write_table(laid_out)
        rows, memory = rows + laid_out.num_rows, memory + laid_out.nbytes
    if writer is None:
        return None
    writer.close()
    return Split(rows, memory, [file], name, f"{FOLDERS[name]}/{name}-*")
