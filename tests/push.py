"""A push in a process of its own: `python -m tests.push FOLDER NAMESPACE NAME [public]`.

No wait is longer than a moment. Exit codes as those of the job: 2 where the login is refused, 1 where the push is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from unittest.mock import patch

from cluster.errors import NotPushed
from cluster.jobs.hub import check_push, push

_MOMENT_S = 0.02


def main(folder: str, namespace: str, name: str, public: str = "") -> int:
    sleep = time.sleep
    with patch("time.sleep", lambda seconds: sleep(min(seconds, _MOMENT_S))):
        try:
            check_push(namespace, [name])
            pushed = push(Path(folder), f"{namespace}/{name}", public=bool(public), tell=print)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        except NotPushed as error:
            print(error, file=sys.stderr)
            return 1
    print(pushed)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
