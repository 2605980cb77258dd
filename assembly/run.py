"""Turns RAW_DATA into a training set: python -m assembly.run --raw DIR_OR_REPO."""

import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path

from assembly.assemble import assemble
from assembly.feasibility import NothingMadeError
from assembly.pairs import pairs_beside
from assembly.reporting.page import leave_report
from assembly.rl import RL_DATA, programs_in, rates_told, read_rl, write_rl
from assembly.sessions import MOST, sessions_beside
from assembly.settings import SftSettings
from assembly.sft import SFT_DATA
from assembly.sft_report import summary_text
from cluster.flags import fail, flag, page, parse
from cluster.inference.values import check_range
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.card import UNKNOWN, check_license
from cluster.jobs.progress import stage_line
from cluster.jobs.run_directory import RUN_FILE, config_of, starts_of, this_command
from cluster.paths import check_dataset_folder, dataset_folder, local_or_name
from generation.raw.schema import RAW_DATA
from generation.records import RlLayoutName


@dataclass(frozen=True)
class Input:
    """The source of the traces; a class of its own so that --raw comes first."""

    raw: tuple[str, ...] = flag(
        MISSING,
        "a RAW_DATA or run folder, a parquet file, or a hub dataset (namespace/name); or several, by comma",
        local_or_name,
        words=True,
    )


@dataclass(frozen=True)
class Config(SftSettings, Input):
    """Make SkillFactory training traces from a RAW_DATA, ready for LLaMA-Factory."""

    out: Path | None = flag(
        None, "the folder to make (default: SFT_DATA beside the raw folder)", dataset_folder, group="output", often=True
    )
    processes: int | None = flag(None, "default: as many as cores; the set does not depend on it")
    license: str = flag(UNKNOWN, "of the card, in the hub's words, such as apache-2.0 or cc-by-4.0")
    rl_layout: RlLayoutName | None = flag(
        None, "write the run's RL_DATA anew too, beside the set, in the columns that this trainer reads"
    )

    export_traces: int | None = flag(
        None, "write so many of the traces as sessions for the hub's trace viewer, beside the set"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.raw) > 1:
            self._check_several()
        check_license(self.license)
        check_range("--export_traces", self.export_traces, 1, MOST)
        check_range("--processes", self.processes, 1, 1024)

    def _check_several(self) -> None:
        """Raise ValueError for what several RAW_DATA do not go with."""
        if twice := [raw for raw in self.raw if self.raw.count(raw) > 1]:
            raise ValueError(f"--raw names {twice[0]} twice: give it once")
        if self.out is None:
            raise ValueError(
                f"--raw names {len(self.raw)} RAW_DATA, beside none of which their set belongs: give --out"
            )
        if self.rl_layout is not None:
            raise ValueError("--rl_layout writes the RL_DATA of one run: give that run alone as --raw")

    @property
    def settings(self) -> SftSettings:
        """Return the settings that decide the set's bytes."""
        return SftSettings(*(getattr(self, field.name) for field in fields(SftSettings)))

    @property
    def destination(self) -> Path:
        if self.out is not None:
            return self.out
        return self.run / SFT_DATA

    @property
    def rl_destination(self) -> Path:
        return self.destination.parent / RL_DATA

    @property
    def run(self) -> Path:
        """Return the folder that RAW_DATA lies in; a hub dataset has none, so the current one."""
        raw = Path(self.raw[0])
        if not os.path.exists(raw):
            return Path()
        return raw if (raw / RAW_DATA).is_dir() else raw.resolve().parent


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command. Exits with 2, after one line on stderr, if the input is wrong or gives no trace."""
    config = parse(Config, argv)
    out = config.destination
    try:
        rewrite = _rewriting(config) if config.rl_layout is not None else None
        write = partial(assemble, license=config.license, sessions=config.export_traces)
        summary = write(config.raw, out, config.settings, config.processes)
        if rewrite is not None:
            rewrite()
    except ValueError as error:
        fail(f"{error}; {out} stays as it was" if isinstance(error, NothingMadeError) and out.exists() else str(error))
    made = [
        out,
        *([pairs_beside(out)] if config.pairs else []),
        *([config.rl_destination] if rewrite else []),
        *([sessions_beside(out)] if config.export_traces else []),
    ]
    page("\n".join([f"{summary_text(summary)}\n", *(stage_line("made", str(path)) for path in made)]))
    in_run = out.name == SFT_DATA and (out.parent / RUN_FILE).exists()
    leave_report(out.parent if in_run else out, out=None if in_run else out.with_name(f"{out.name}.html"))
    page(stage_line("next", f"train on {out.name}: docs/training.md"))


def _rewriting(config: Config) -> Callable[[], None]:
    """Return what lays RL_DATA out anew. Raises ValueError if it cannot be."""
    assert config.rl_layout is not None
    to = config.rl_destination
    if config.destination.name == RL_DATA:
        raise ValueError(f"--out {config.destination} is where {RL_DATA} goes with --rl_layout: give another folder")
    check_dataset_folder(to)
    check_replaceable(to)
    held = read_rl(config.run / RL_DATA)
    starts = [*starts_of(config.run), this_command(state="laid out anew", questions=len(held))]
    rates = rates_told(config.run / RL_DATA)
    told = {"configuration": config_of(config.run), "starts": starts, "license": config.license, "rates": rates}
    told["programs"] = programs_in(config.run / RL_DATA)
    return partial(write_rl, held, to, config.rl_layout, told)


if __name__ == "__main__":
    main()
