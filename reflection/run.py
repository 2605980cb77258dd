"""More reflections for a RAW_DATA that is there: python -m reflection.run --raw DIR_OR_REPO."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from assembly.serving import Serving, serving_text
from assembly.settings import SftSettings
from cluster.flags import parse
from generation.additions.plan import describe
from generation.additions.settings import AdditionSettings
from generation.additions.stages import Job, decide, introduce, open_job, publish, roll_out, write_raw_data
from generation.command import carry_out, say_stopped
from generation.raw_summary import summary
from generation.stop import Stop


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong input, 75 stopped on request."""
    return carry_out(parse(AdditionSettings, argv), decide, describe, open_job, work)


def work(job: Job, settings: AdditionSettings, stop: Stop) -> int:
    introduce(job)
    if not roll_out(job, stop):
        return say_stopped(job, job.plan.out)
    with stop.leaving():  # from here on the same command does it again
        serving = Serving(SftSettings(("*C_full",), "5", settings.seed))
        counts = write_raw_data(job, serving)
        whole = counts.all()
        told = {"samples": whole.samples, "reflections": whole.reflections, "failed_rows": counts.kept.total()}
        job.directory.update(state="done", counts=told)
        print(f"\n{summary(counts)}\n\n{serving_text(serving, counts)}\n")
        return publish(job, settings)


if __name__ == "__main__":
    sys.exit(main())
