"""RAW_DATA to a training set: python -m assembly.run --raw DIR_OR_REPO."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path

from assembly.assemble import assemble, check_settings
from assembly.cards import SFT_DATA
from assembly.formats import FORMATS
from assembly.next_steps import training
from assembly.settings import SftSettings
from assembly.shortfall import NothingMadeError
from assembly.summary import summary_text
from cluster.flags import fail, flag, page, parse
from cluster.jobs.card import UNKNOWN, check_license
from cluster.jobs.progress import staged
from cluster.paths import dataset_folder, local_or_name
from generation.raw.schema import RAW_DATA
from generation.variants import PLAIN


@dataclass(frozen=True)
class Config:
    """Make SkillFactory training traces from a RAW_DATA, ready for LLaMA-Factory."""

    raw: str = flag(
        MISSING, "a RAW_DATA or run folder, a parquet file, or a hub dataset (namespace/name)", local_or_name
    )
    formats: tuple[str, ...] = flag(("*C_full",), f"comma list of {', '.join(FORMATS)}; quote the stars")
    attempts: str = flag("5", "N, the most attempts in a trace; or a range, 2-5")
    repeats: int = flag(1, "traces of each format and length from a question")
    variants: tuple[str, ...] = flag(
        (), f"comma list: only samples under these prompt variants, such as {', '.join(PLAIN)}"
    )
    unique_variants: bool = flag(False, "no two attempts of a trace under one prompt variant")
    max_similarity: float | None = flag(None, "no two attempts of a trace more alike than this, 0 to 1")
    drop_cut: bool = flag(False, "leave out samples cut at the length limit")
    keep_unanswered: bool = flag(False, "samples without an answer may stand as incorrect attempts")
    true_arithmetic: bool = flag(False, "leave out reflections that state a false equation")
    tokenizer: str | None = flag(None, "model whose tokenizer counts --max_trace_tokens", local_or_name)
    max_trace_tokens: int | None = flag(None, "leave out longer traces (question, trace and template)")
    subsample: int | None = flag(None, "keep this many traces, of each label its share")
    seed: int = flag(0, "another seed draws another set")
    license: str = flag(UNKNOWN, "of the card, in the hub's words, such as apache-2.0 or cc-by-4.0")
    processes: int | None = flag(None, "default: as many as cores; the set does not depend on it")
    out: Path | None = flag(  # noqa: RUF009  it makes a field
        None, "the folder to make (default: SFT_DATA beside the raw folder)", dataset_folder
    )

    def __post_init__(self) -> None:
        check_license(self.license)
        check_settings(self.settings)
        if self.processes is not None and not 1 <= self.processes <= 1024:
            raise ValueError(f"--processes must be between 1 and 1,024, not {self.processes}")

    @property
    def settings(self) -> SftSettings:
        return SftSettings(**{one.name: getattr(self, one.name) for one in dataclasses.fields(SftSettings)})

    @property
    def destination(self) -> Path:
        if self.out is not None:
            return self.out
        # a hub dataset lies nowhere here, so its set is made in the current folder
        raw = Path(self.raw)
        if not os.path.exists(raw):
            return Path(SFT_DATA)
        return (raw if (raw / RAW_DATA).is_dir() else raw.resolve().parent) / SFT_DATA


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command. Exits with 2 after one line on stderr if the input is wrong or gives no trace."""
    config = parse(Config, argv)
    out = config.destination
    try:
        summary = assemble(config.raw, out, config.settings, config.processes, license=config.license)
    except NothingMadeError as error:
        fail(f"{error}; {out} stays as it was" if out.exists() else str(error))
    except ValueError as error:
        fail(str(error))
    page("\n".join([summary_text(summary), "", staged("made", str(out)), staged("next", training(out))]))


if __name__ == "__main__":
    main()
