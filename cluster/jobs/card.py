"""Dataset cards: YAML header, template, starts and texts of a run; and tables, in Markdown or plain text."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from huggingface_hub import DatasetCardData

from cluster.texts import fill, load_table, nearest

WIDTH = 80  # columns of the terminal that lines are made for
NONE = "(none)"  # stands for an empty name
UNKNOWN = "unknown"  # the license of texts about other people's questions: only their publisher can tell
LICENSES = frozenset(load_table("cluster.jobs", "licenses.toml")["identifiers"])  # all that the hub knows
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")  # a model without a slash is a local folder or built in
_SHORT = re.compile(r"^([^-]{12})[^-]*")  # a commit: 12 digits are kept, and "-changed" behind them
_PLAIN = re.compile(r"(large_)?string|bool|u?int\d+|halffloat|float|double")
_SIZES = "n<1K 1K<n<10K 10K<n<100K 100K<n<1M 1M<n<10M 10M<n<100M 100M<n<1B 1B<n<10B 10B<n<100B 100B<n<1T n>1T"
"""The hub's size categories, by the number of digits beyond three."""


class Table(NamedTuple):
    """A table whose cells are texts, counts, fractions (floats between 0 and 1), or None for an undefined fraction."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]

    def markdown(self, names: int = 0) -> str:
        """Return the table in Markdown, counts right-aligned; the first `names` columns hold names, shown as code."""
        right = [all(isinstance(row[place], int) for row in self.rows) for place in range(len(self.head))]
        lines = [list(self.head), ["---:" if counts else "---" for counts in right]]
        for row in self.rows:
            lines.append([code(str(cell or NONE)) for cell in row[:names]] + [shown_cell(cell) for cell in row[names:]])
        escaped = ((cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines)
        return "\n".join(f"| {' | '.join(line)} |" for line in escaped) + "\n"

    def text(self, first: int, others: int) -> list[str]:
        """Return the table as lines: names cut to `first` columns, other cells right-aligned in `others` each."""
        lines = [f"{self.head[0]:<{first + 2}}" + "".join(f"{cell:>{others}}" for cell in self.head[1:])]
        for name, *cells in self.rows:
            shown = "".join(f"{shown_cell(cell, none='-'):>{others}}" for cell in cells)
            lines.append(f"  {cut(str(name or NONE), first):<{first}}{shown}")
        return lines


def shown_cell(value: object, none: str = "") -> str:
    """Return a cell of a Table as people read it."""
    if value is None:
        return none
    if isinstance(value, float):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def counts_text(counts: Iterable[tuple[str, int]]) -> list[str]:
    """Return a line for each name, preceded by its count."""
    return [f"  {count:>7,}  {name}" for name, count in counts]


def cut(text: str, width: int = WIDTH) -> str:
    """Return the text cut to `width` columns, the last one an ellipsis if it was longer."""
    return text if len(text) <= width else text[: width - 1] + "…"


def code(text: str) -> str:
    """Return inline code, for names such as `*C_full`, which Markdown could read as emphasis."""
    return f"`{text}`"


def fenced(text: str, language: str = "") -> str:
    """Return a code block whose fences are longer than any run of backticks in the text, so that it cannot end them."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n"


def check_license(name: str) -> None:
    """Raise ValueError for a license that the hub does not know, naming similar ones."""
    if name in LICENSES:
        return
    wanted = "-".join(name.lower().split())
    near = [wanted] if wanted in LICENSES else nearest(wanted, sorted(LICENSES), most=3)
    known = "it knows apache-2.0, mit, cc-by-4.0, cc0-1.0, other and unknown, among others"
    hint = f"did you mean {' or '.join(near)}?" if near else known
    raise ValueError(f"--license {name!r} is no licence that the hub knows; {hint}")


class Split(NamedTuple):
    rows: int
    memory: int  # bytes as Arrow tables
    files: Sequence[Path]
    name: str = "train"
    path: str = "data/train-*"  # its file, or a pattern for its files, relative to the dataset's folder


def digest_of(files: Sequence[Path]) -> str:
    """Return 16 hex digits of the SHA-256 of the files' SHA-256 digests, in order."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def header(
    schema: pa.Schema,
    splits: Sequence[Split],
    *,
    tags: Sequence[str],
    license: str,
    models: Iterable[str] = (),
    sources: Iterable[str] = (),
) -> str:
    """Return the YAML block at the head of a README.md, as `datasets.load_dataset` and the hub's viewer read it.

    It names those with a hub id of `models`, which wrote the texts, and of `sources`, the datasets they were made from.
    Columns are left out if the hub has no name for a type: libraries then look into the files.
    """
    try:
        # `datasets` would call float64 so and not double, takes 0.7 s to import, and its method for this is private
        features = {"features": _features(schema)}
    except TypeError:
        features = {}
    # `datasets` caches a folder under the folder's name and a hash of `configs`: without a digest of the contents, it
    # could return old rows for a dataset that was made again, or for another of that name.
    contents = f"contents {'-'.join(digest_of(split.files) for split in splits)}"
    files = [{"split": split.name, "path": split.path} for split in splits]
    digits, sizes = len(str(sum(split.rows for split in splits))), _SIZES.split()
    data = DatasetCardData(
        license=license,
        task_categories=["text-generation"],
        size_categories=[sizes[min(max(digits - 3, 0), len(sizes) - 1)]],
        tags=[*tags],
        base_model=[model for model in models if HUB_ID.fullmatch(model)] or None,
        source_datasets=[source for source in sources if HUB_ID.fullmatch(source)] or None,
        configs=[{"config_name": "default", "description": contents, "data_files": files}],
        dataset_info={
            **features,
            "splits": [{"name": split.name, "num_bytes": split.memory, "num_examples": split.rows} for split in splits],
            "download_size": sum(file.stat().st_size for split in splits for file in split.files),
            "dataset_size": sum(split.memory for split in splits),
        },
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _features(fields: pa.Schema | pa.StructType) -> list[dict[str, Any]]:
    return [{"name": field.name, **_feature(field.type)} for field in fields]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """Return a column type as the hub's `dataset_info` writes it. Raises TypeError if it has none."""
    if pa.types.is_struct(kind):
        return {"struct": _features(kind)}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner if "list" in inner else next(iter(inner.values()))}
    if not _PLAIN.fullmatch(str(kind)):
        raise TypeError(kind)
    return {"dtype": str(kind)}


def fill_card(package: str, values: Mapping[str, str], template: str = "card.md") -> str:
    """Fill in the package's template, and {load} with how to load the dataset's `split`, by default train.

    Empty blocks leave no blank lines.
    """
    card, load = (
        resources.files(folder).joinpath(name).read_text(encoding="utf-8")
        for folder, name in ((package, template), ("cluster.jobs", "load.md"))
    )
    load = fill(load, {"split": values.get("split", "train")})
    blocks = (fill(block, {**values, "load": load}).strip("\n") for block in card.split("\n\n"))
    return "\n\n".join(filter(None, blocks)) + "\n"


def json_block(value: object, *, sort_keys: bool = True) -> str:
    return fenced(json.dumps(value, indent=2, sort_keys=sort_keys), "json")


def run_section(starts: Sequence[Mapping[str, Any]]) -> str:
    """Return the card's section on the starts of a run: when, how far, on which engines, by what command."""
    if not starts:
        return ""
    what = next((one for one in ("questions", "blocks", "rows") if any(one in start for start in starts)), "questions")
    head = ("begun (UTC)", "ended", "then", what, "tokens written", "seconds", "engines", "code")
    rows = [
        (
            *((start.get(time) or "").removesuffix("+00:00").replace("T", " ") for time in ("begun", "ended")),
            str(start.get("state", "")),
            int(start.get(what, 0)),
            int(start.get("output_tokens", 0)),
            f"{start.get('seconds', 0):,.0f}",
            _engines(start.get("engines")),
            " ".join(filter(None, (start.get("version"), _SHORT.sub(r"\1", start.get("commit") or "")))),
        )
        for start in starts
    ]
    commands = dict.fromkeys(_at_home(str(start["command"])) for start in starts if start.get("command"))
    counted = "Seconds are those in which engines answered; what was in flight when a start ended is not\ncounted"
    asked = f"Each start of the run. {counted}, and a start that was killed is known until its last shard.\n"
    note = asked if any(start.get("engines") for start in starts) else "No engine was asked.\n"
    return "\n".join(["## The run\n", note, Table(head, rows).markdown(), fenced("\n".join(commands), "bash")])


def _engines(engines: Mapping[str, Any] | None) -> str:
    """Return a text such as "8 on 1 GPU, vllm 0.33.0"."""
    if not engines:
        return ""
    here = f"on {engines['gpus_each']} GPU" if engines.get("gpus_each") else "on the CPU"
    each = "over HTTP" if engines.get("served") else here
    lost = [f"{engines['lost']} lost"] if engines.get("lost") else []
    return ", ".join([f"{engines['wanted']} {each}", *engines.get("started", {}), *lost])


def _at_home(command: str) -> str:
    # Anyone may read a card, and the user's home is private.
    home = str(Path.home())
    return command.replace(f"{home}/", "~/") if len(home) > 1 else command


def texts_section(title: str, texts: Mapping[str, Mapping[str, Any]], why: str) -> str:
    """Return a section that quotes texts: by kind and name, a text, a list of texts, or texts by role."""
    if not any(texts.values()):
        return ""
    parts = [f"## {title}\n", f"{why}\n"]
    for kind, named in texts.items():
        for name, text in named.items():
            lines = [text] if isinstance(text, str) else text
            if isinstance(text, Mapping):
                lines = "\n\n".join(f"[{role}]\n{words}" for role, words in text.items()).split("\n")
            parts += [f"### {kind}: {code(name)}\n", fenced("\n".join(lines), "text")]
    return "\n".join(parts)
