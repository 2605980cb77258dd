"""Shows what a run or a set holds, or how two differ, as one page: python -m assembly.report RUN."""

import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path

from assembly.reporting.gather import find_sets
from assembly.reporting.page import REPORT, write_report
from cluster.flags import fail, flag, page, parse
from cluster.jobs.progress import stage_line
from cluster.jobs.run_directory import RUN_FILE
from cluster.paths import check_file, folder, local_or_name


@dataclass(frozen=True)
class Config:
    """Make a page of a run, or of a RAW_DATA, EVAL_DATA or SFT_DATA; of two, how they differ.

    What is shown needs no flag before it: python -m assembly.report RUN OTHER.
    """

    data: tuple[str, ...] = flag(MISSING, "a run, folder, file or hub dataset; or two", local_or_name, words=True)
    out: Path | None = flag(None, f"the page (default: {REPORT}, of a run in its folder)", folder)

    def __post_init__(self) -> None:
        if len(self.data) > 2:
            raise ValueError(f"--data takes one or two, and got {len(self.data)}")
        check_file("--out", self.page)

    @property
    def page(self) -> Path:
        of_run = len(self.data) == 1 and Path(self.data[0], RUN_FILE).is_file()
        return self.out or Path(self.data[0] if of_run else "", REPORT)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; return 0. Exits with 2 on wrong input."""
    config = parse(Config, argv, first="data")
    try:
        subjects = [find_sets(one) for one in config.data]
        if len({one.name for one in subjects}) < len(subjects):
            subjects = [one._replace(name=told) for one, told in zip(subjects, config.data, strict=True)]
        write_report(subjects, config.page)
    except (ValueError, OSError) as error:
        fail(str(error))
    page(stage_line("report", str(config.page)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
