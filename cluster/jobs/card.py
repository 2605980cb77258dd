"""What every dataset card of ours is made of: the YAML header, Markdown tables, fenced text.

Knows columns and counts, not what a dataset is about.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from huggingface_hub import DatasetCardData

from cluster.jobs.licenses import UNKNOWN

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
"""How the hub names a repository; a model without a slash was a local folder or the built-in one."""
_BOUNDS = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


class Size(NamedTuple):
    """How much a dataset holds."""

    rows: int
    memory: int
    """Bytes as Arrow tables."""
    files: int
    """Bytes of the parquet files."""
    digest: str
    """Of what they hold."""

    @classmethod
    def of(cls, rows: int, memory: int, files: Sequence[Path]) -> Size:
        """Return the size of a dataset with these parquet files."""
        return cls(rows, memory, sum(path.stat().st_size for path in files), digest_of(files))


def digest_of(files: Sequence[Path]) -> str:
    """Return 16 hex digits of a SHA-256 over those of the files' bytes, in order."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


class Split(NamedTuple):
    """One split of a dataset."""

    name: str
    path: str
    """Its file, or a pattern of its files, from the dataset's folder."""
    size: Size


class About(NamedTuple):
    """What the head of a card says beside columns and sizes."""

    tags: Sequence[str]
    base_models: Sequence[str] = ()
    """Hub ids of the models that wrote the texts; others are left out."""
    license: str = UNKNOWN
    sources: Sequence[str] = ()
    """Hub ids of the datasets that it was made from; others are left out."""


def header(schema: pa.Schema, size: Size, about: About) -> str:
    """As `header_of_splits`, for one split `train` in `data/train-*`."""
    return header_of_splits(schema, [Split("train", "data/train-*", size)], about)


def can_describe(schema: pa.Schema) -> bool:
    """Whether the card can name every column's type; where it cannot, libraries look into the files."""
    return all(_known(field.type) for field in schema)


def _nested(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def _known(type_: pa.DataType) -> bool:
    if pa.types.is_struct(type_):
        return all(_known(field.type) for field in type_)
    if pa.types.is_list(type_):
        return not _nested(type_.value_type) and _known(type_.value_type)
    text = pa.types.is_string(type_) or pa.types.is_large_string(type_)
    return bool(text or pa.types.is_boolean(type_) or pa.types.is_integer(type_) or pa.types.is_floating(type_))


def header_of_splits(schema: pa.Schema, splits: Sequence[Split], about: About) -> str:
    """The YAML block at the head of a README.md, between its dashes, as `datasets.load_dataset` and the
    hub's viewer read it; without the columns where a type has no name there.
    """
    data = DatasetCardData(
        license=about.license,
        task_categories=["text-generation"],
        size_categories=[_size_category(sum(split.size.rows for split in splits))],
        tags=[*about.tags],
        base_model=[model for model in about.base_models if HUB_ID.fullmatch(model)] or None,
        source_datasets=[source for source in about.sources if HUB_ID.fullmatch(source)] or None,
        configs=[
            {
                "config_name": "default",
                # `datasets` keeps what it read of a folder under the folder's name and a hash of this block: without
                # the contents' digest, a set made anew, or another of that name, may be answered with the old rows.
                "description": f"contents {'-'.join(split.size.digest for split in splits)}",
                "data_files": [{"split": split.name, "path": split.path} for split in splits],
            },
        ],
        dataset_info={
            **({"features": [_feature(field) for field in schema]} if can_describe(schema) else {}),
            "splits": [
                {"name": split.name, "num_bytes": split.size.memory, "num_examples": split.size.rows}
                for split in splits
            ],
            "download_size": sum(split.size.files for split in splits),
            "dataset_size": sum(split.size.memory for split in splits),
        },
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _size_category(rows: int) -> str:
    """In the hub's words: `n<1K`, `1K<n<10K`, and so on."""
    place = sum(rows >= 1000 * 10**power for power in range(len(_BOUNDS)))
    if place == 0:
        return f"n<{_BOUNDS[0]}"
    return f"{_BOUNDS[place - 1]}<n<{_BOUNDS[place]}" if place < len(_BOUNDS) else f"n>{_BOUNDS[-1]}"


def _feature(field: pa.Field) -> dict[str, Any]:
    return {"name": field.name, **_type(field.type)}


def _type(type_: pa.DataType) -> dict[str, Any]:
    """A column type in the words of the hub's `dataset_info`."""
    if pa.types.is_struct(type_):
        return {"struct": [_feature(field) for field in type_]}
    if pa.types.is_list(type_):
        inner = _type(type_.value_type)
        return {"list": inner.get("dtype") or inner["struct"]}
    return {"dtype": str(type_)}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; columns of numbers stand right."""
    body = [[_cell(cell) for cell in row] for row in rows]
    right = [all(isinstance(row[place], int) for row in rows) for place in range(len(head))]
    lines = [list(head), ["---:" if numbers else "---" for numbers in right], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def code(text: str) -> str:
    """Inline code, for names such as `*C_full` that Markdown would read as emphasis."""
    return f"`{text}`"


def fenced(text: str, language: str = "") -> str:
    """The text between fences longer than any run of backticks in it, so that it cannot end them."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n"
