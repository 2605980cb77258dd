"""The nodes of a Ray cluster that runs already: waiting until they joined.

`python -m cluster.nodes ADDRESS COUNT SECONDS`
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import ray

_LOOK_S = 1.0
_SAY_S = 30.0


def alive() -> list[dict[str, Any]]:
    """What Ray says of each node that lives."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def wait_for(count: int, seconds: float) -> bool:
    """Wait until so many nodes live, for so long at most; whether they came."""
    began, spoke = time.monotonic(), -_SAY_S
    while True:
        names = sorted(str(node["NodeManagerHostname"]) for node in alive())
        waited = time.monotonic() - began
        late = waited > seconds
        if len(names) >= count or late or waited - spoke > _SAY_S:
            print(f"{len(names)} of {count} nodes joined Ray after {waited:.0f} s: {', '.join(names)}", flush=True)
            spoke = waited
        if len(names) >= count or late:
            return not late
        time.sleep(_LOOK_S)


def main(address: str, count: str, seconds: str) -> int:
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    if not wait_for(int(count), float(seconds)):
        print("the others are late; it begins without them", flush=True)
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
