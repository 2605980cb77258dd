"""RAW_DATA to a training set: python -m assembly.run --raw DIR_OR_REPO."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assembly.assemble import assemble
from assembly.formats import FORMATS, choose_formats
from assembly.summary import SftSettings, summary_text
from cluster.flags import fail, parse


@dataclass(frozen=True)
class Config:
    """Make SkillFactory training traces from a RAW_DATA, ready for LLaMA-Factory."""

    raw: str = field(metadata={"help": "a RAW_DATA folder, a parquet file, or a hub dataset (namespace/name)"})
    formats: tuple[str, ...] = field(
        default=("*C_full",), metadata={"help": f"comma list of {', '.join(FORMATS)}; quote the stars"}
    )
    attempts: int = field(default=5, metadata={"help": "N, the most attempts in a trace"})
    seed: int = field(default=0, metadata={"help": "another seed draws another set"})
    out: Path | None = field(
        default=None, metadata={"help": "the folder to make; default SFT_DATA beside the raw folder"}
    )

    def __post_init__(self) -> None:
        choose_formats(self.formats, self.attempts)

    @property
    def destination(self) -> Path:
        if self.out is not None:
            return self.out
        # a hub dataset lies nowhere here, so its set is made in the current folder
        raw = Path(self.raw)
        return raw.resolve().parent / "SFT_DATA" if os.path.exists(raw) else Path("SFT_DATA")


def main(argv: Sequence[str] | None = None) -> None:
    """Exit code 0, or 2 after one line on stderr when the input was wrong."""
    config = parse(Config, argv)
    settings = SftSettings(config.formats, config.attempts, config.seed)
    try:
        summary = assemble(config.raw, config.destination, settings)
    except ValueError as error:
        fail(str(error))
    print(summary_text(summary))


if __name__ == "__main__":
    main()
