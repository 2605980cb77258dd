"""Turns RAW_DATA into a training set: python -m assembly.run --raw DIR_OR_REPO."""

import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from assembly.assemble import assemble
from assembly.feasibility import NothingMadeError
from assembly.settings import SftSettings
from assembly.sft import SFT_DATA, summary_text
from cluster.flags import fail, flag, page, parse
from cluster.inference.values import check_range
from cluster.jobs.card import UNKNOWN, check_license
from cluster.jobs.progress import stage_line
from cluster.paths import dataset_folder, local_or_name
from generation.raw.schema import RAW_DATA


@dataclass(frozen=True)
class Input:
    """The source of the traces; a class of its own so that --raw comes first."""

    raw: str = flag(
        MISSING, "a RAW_DATA or run folder, a parquet file, or a hub dataset (namespace/name)", local_or_name
    )


@dataclass(frozen=True)
class Config(SftSettings, Input):
    """Make SkillFactory training traces from a RAW_DATA, ready for LLaMA-Factory."""

    out: Path | None = flag(None, "the folder to make (default: SFT_DATA beside the raw folder)", dataset_folder)
    processes: int | None = flag(None, "default: as many as cores; the set does not depend on it")
    license: str = flag(UNKNOWN, "of the card, in the hub's words, such as apache-2.0 or cc-by-4.0")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_license(self.license)
        check_range("--processes", self.processes, 1, 1024)

    @property
    def settings(self) -> SftSettings:
        """Return the settings that decide the set's bytes."""
        return SftSettings(*(getattr(self, field.name) for field in fields(SftSettings)))

    @property
    def destination(self) -> Path:
        if self.out is not None:
            return self.out
        # A hub dataset has no local folder, so its set goes to the current one.
        raw = Path(self.raw)
        if not os.path.exists(raw):
            return Path(SFT_DATA)
        return (raw if (raw / RAW_DATA).is_dir() else raw.resolve().parent) / SFT_DATA


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command. Exits with 2, after one line on stderr, if the input is wrong or gives no trace."""
    config = parse(Config, argv)
    out = config.destination
    try:
        summary = assemble(config.raw, out, config.settings, config.processes, license=config.license)
    except ValueError as error:
        fail(f"{error}; {out} stays as it was" if isinstance(error, NothingMadeError) and out.exists() else str(error))
    made, train = stage_line("made", str(out)), stage_line("next", f"train on {out.name}: docs/training.md")
    page(f"{summary_text(summary)}\n\n{made}\n{train}")


if __name__ == "__main__":
    main()
