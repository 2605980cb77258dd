"""The first files of openthoughts and no more: `python -m tests.ask_few FILES SFT`, in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import replace

from cluster.flags import fail
from generation.tasks.task import Wanted
from tests.hub_datasets import BY_NAME


def main(files: str, sft: str) -> int:
    loaded = BY_NAME["openthoughts"]
    few = replace(loaded, files=loaded.files[: int(files)])
    try:
        supplied = few.supply(Wanted(int(sft), 0, 0))
    except ValueError as error:
        fail(str(error))
    print(len(supplied.sft))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
