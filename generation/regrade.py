"""Grades stored responses again, without a model: python -m generation.regrade --raw|--eval WHAT --out DIR."""

import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path

from cluster.flags import fail, flag, page, parse
from cluster.inference.values import check_range
from cluster.jobs.card import UNKNOWN, check_license
from cluster.jobs.progress import FAILED, stage_line
from cluster.paths import dataset_folder, local, local_or_name
from generation.evaluation.eval_data import figures_of_folder
from generation.grading.answers import read_answer_in
from generation.grading.errors import CannotStartError
from generation.grading.own import SUFFIX, load
from generation.question_settings import check_grader
from generation.raw.questions import Chosen
from generation.regrading.columns import EVAL, RAW
from generation.regrading.report import summary
from generation.regrading.sets import regrade
from generation.tasks import registry
from generation.tasks.countdown import Ranges
from generation.tasks.custom_facts import GraderName


@dataclass(frozen=True)
class Config:
    """Grade the responses of a RAW_DATA or of an evaluation again; ours or a published one, which stays as it is."""

    out: Path = flag(MISSING, "the folder to make, or one that this command made", dataset_folder)
    raw: str | None = flag(
        None, "a RAW_DATA or run folder, a parquet file, or a hub dataset (namespace/name)", local_or_name
    )
    eval: str | None = flag(None, "the same of an evaluation (EVAL_DATA)", local_or_name)
    grader: GraderName | str | None = flag(
        None, "of all rows; your my_grader.py, too (default: as each row says, else by wording and gold answer)", local
    )
    task: str | None = flag(None, "a task, or your my_task.py, whose grader is for the rows of that name", local)
    answer_in: str | None = flag(
        None, "where the answers of these rows stand: tag, boxed, last_line, REGEX (default: as each row says)"
    )
    processes: int | None = flag(None, "default: as many as cores; the set does not depend on it")
    license: str = flag(UNKNOWN, "of the card, in the hub's words, such as apache-2.0 or cc-by-4.0")

    def __post_init__(self) -> None:
        if (self.raw is None) == (self.eval is None):
            given = "--raw and --eval are both given" if self.raw else "neither --raw nor --eval is given"
            raise ValueError(f"{given}: give --raw=VALUE for a RAW_DATA or --eval=VALUE for an evaluation")
        check_grader(self.grader)
        if self.grader is not None and self.task is not None:
            raise ValueError(f"--grader {self.grader} and --task {self.task}: give one, as a task has its own grader")
        if self.answer_in is not None:
            read_answer_in(self.answer_in)
        if self.task is not None:
            registry.check_name(self.task)
        check_license(self.license)
        check_range("--processes", self.processes, 1, 1024)

    @property
    def chosen(self) -> Chosen:
        """Return how rows are graded. Raises ValueError for a file that cannot be used."""
        if self.grader is not None and self.grader.endswith(SUFFIX):
            own = load(self.grader)
            return Chosen(own.name, self.answer_in, own=own)
        if self.task is None:
            return Chosen(self.grader, self.answer_in)
        task = registry.find(self.task, Ranges())
        return Chosen(task.grader, self.answer_in, task.name, registry.own_grader(task))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command. Exits with 2, after one line on stderr, if the input is wrong, 1 if no grader starts."""
    config = parse(Config, argv)
    try:
        what, kind = (config.raw, RAW) if config.raw is not None else (config.eval or "", EVAL)
        chosen, figures = config.chosen, figures_of_folder if kind is EVAL else None
        changes = regrade(what, kind, config.out, chosen, config.processes, license=config.license, figures=figures)
    except ValueError as error:
        fail(str(error))
    except CannotStartError as error:
        print(f"failed: {error}", file=sys.stderr)
        raise SystemExit(FAILED) from error
    page(f"{summary(changes)}\n\n{stage_line('made', str(config.out))}")


if __name__ == "__main__":
    main()
