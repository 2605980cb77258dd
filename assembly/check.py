"""Says what a trainer would train of a set, trace by trace: python -m assembly.check --sft DIR --model M."""

import html
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from assembly.inspection import Found, Wanted, inspect
from assembly.trained import DAMAGE
from cluster.flags import fail, flag, page, parse
from cluster.inference.chat_templates import check_kwargs
from cluster.inference.values import check_range
from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.card import counts_text
from cluster.jobs.progress import stage_line, wrapped
from cluster.paths import check_file, folder, local, local_or_name

_PAGE = "check.html"


@dataclass(frozen=True)
class Config:
    """Check that a trainer, or the model's chat template alone, trains whole traces and nothing else."""

    sft: Path = flag(MISSING, "the SFT_DATA, or the run that holds it", local)
    model: str = flag(MISSING, "the model to be trained: a folder, hub id or well-known name", local_or_name)
    trainer: Literal["llamafactory", "trl", "verl", "axolotl", "ms-swift", "openrlhf"] | None = flag(
        None, "default: the model's chat template alone"
    )
    config: Path | None = flag(None, "the trainer's own configuration, as YAML", local)
    python: Path | None = flag(None, "of the trainer's environment (default: the one that runs this)", local)
    rows: int = flag(1000, "look at so many rows of the set, the longest among them")
    chat_kwargs: dict[str, Any] | None = flag(None, "variables of the chat template, as for generation.run")
    json: Path | None = flag(None, "write what was found to this file, for scripts", folder)
    html: Path | None = flag(None, "write it to this file, for people", folder)

    def __post_init__(self) -> None:
        check_range("--rows", self.rows, 1, 10**9)
        for name in ("config", "python"):
            if getattr(self, name) is not None and self.trainer is None:
                raise ValueError(f"--{name} is for a trainer: give --trainer too")
        for name in ("json", "html"):
            if (path := getattr(self, name)) is not None:
                check_file(f"--{name}", path)
        if self.json is not None and self.json == self.html:
            raise ValueError("--json and --html are one file: give two")
        check_kwargs(self.chat_kwargs)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.sft, self.model, self.trainer, self.config, self.python, self.rows, self.chat_kwargs)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the check; return 0 if every trace is whole, else 1. Exits with 2 on wrong input."""
    config = parse(Config, argv)
    try:
        (found,) = inspect([config.wanted])
        if config.json is not None:
            told = json.dumps(asdict(found), indent=1, ensure_ascii=False, default=str)
            atomic_write_text(config.json, f"{told}\n")
        if config.html is not None:
            atomic_write_text(config.html, page_of(found))
    except (ValueError, OSError) as error:
        fail(str(error))
    page("\n".join([*summary(found), *shown(found)]))
    return 1 if found.hurt else 0


def summary(found: Found) -> Iterator[str]:
    """Yield what was looked at, how many traces each damage befell, and what helps."""
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    yield stage_line("set", found.set)
    yield stage_line("model", found.model)
    yield stage_line("trainer", f"{found.trainer}{f' ({versions})' if versions else ''}")
    of = f" of {found.total:,}" if found.total > found.traces else ""
    yield stage_line("looked at", f"{found.traces:,}{of} traces, the longest row of {found.longest:,} tokens")
    yield from (wrapped(stage_line("note", note)) for note in found.notes)
    if not found.hurt:
        yield stage_line("whole", f"every trace{' looked at' if of else ''} is trained whole, and nothing else")
        return
    if found.refused:
        yield wrapped(stage_line("refused", found.refused))
    yield stage_line("hurt", f"{found.hurt:,} of {found.traces:,} traces")
    yield from counts_text((f"{name:<9} {DAMAGE[name]}", count) for name, count in found.damage.items())
    for words in dict.fromkeys(found.remedies.values()):
        names = ", ".join(name for name, one in found.remedies.items() if one == words)
        yield wrapped(stage_line("remedy", f"{names}: {words}"))
    if found.limit is not None and found.longest > found.limit:
        yield stage_line("limit", f"{found.limit_name} is {found.limit:,}, and the longest row has {found.longest:,}")


def shown(found: Found) -> Iterator[str]:
    """Yield the examples."""
    for one in found.examples:
        yield f"\nrow {one.row}, {one.damage}: {DAMAGE[one.damage]}"
        yield wrapped(stage_line("  wanted", repr(one.was)))
        yield wrapped(stage_line("  trained", repr(one.found)))


def page_of(found: Found) -> str:
    """Return a page of its own, without network. All texts of the set, the model and the trainer are inert in it."""
    examples = "".join(
        f"<h2>row {one.row}, {html.escape(one.damage)}: {html.escape(DAMAGE[one.damage])}</h2>\n"
        f"<p>{html.escape(one.question)}</p>\n<h3>wanted</h3><pre class=was>{html.escape(one.was)}</pre>\n"
        f"<h3>trained</h3><pre class=found>{html.escape(one.found)}</pre>\n"
        for one in found.examples
    )
    frame = resources.files("assembly").joinpath(_PAGE).read_text(encoding="utf-8")
    before, _, rest = frame.partition("SUMMARY")
    between, _, after = rest.partition("EXAMPLES")
    return "".join([before, html.escape("\n".join(summary(found))), between, examples, after])


if __name__ == "__main__":
    sys.exit(main())
