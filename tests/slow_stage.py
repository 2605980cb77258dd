"""The job of `drive_job`, one of whose stages takes a minute: `python -m tests.slow_stage MODULE.STAGE FLAGS`."""

from __future__ import annotations

import sys
import time
from unittest.mock import patch

from tests import drive_job

_sleep = time.sleep  # the job's own waits are cut short


def slow(*args: object, **named: object) -> None:
    print("the stage has begun", flush=True)
    for _ in range(600):
        _sleep(0.1)


if __name__ == "__main__":
    with patch(sys.argv[1], slow):
        sys.exit(drive_job.main(sys.argv[2:]))
