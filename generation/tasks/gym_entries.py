"""Entries of one of reasoning-gym's generators, a JSON line each. Run as a module with NAME SEED SIZE.

A process of its own, started with a fixed PYTHONHASHSEED: some generators order sets of texts, and would give
other entries for the same seed. What a generator prints is thrown away. A failure is a line as well.
"""

from __future__ import annotations

import json
import os
import sys

from cluster.messages import first_line


def main(name: str, seed: int, size: int) -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # It takes a second to import, and only its own tasks need it.
    import reasoning_gym

    try:
        made = reasoning_gym.create_dataset(name, seed=seed, size=size)
        for index in range(size):
            print(json.dumps({"entry": dict(made[index])}), file=replies, flush=True)
    except BrokenPipeError:
        os._exit(0)  # enough
    except Exception as error:
        # The generators fail in their own ways, some of them with an assertion.
        reason = first_line(error)[:200]
        print(json.dumps({"failed": reason}), file=replies, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
