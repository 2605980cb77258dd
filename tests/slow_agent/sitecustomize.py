"""Holds Ray's agent back, once, for longer than Ray gives a node to come up, as the first reading of a slow disk does.

On PYTHONPATH it is imported by each Python process; the first agent to find the file removes it and sleeps.
"""

import contextlib
import os
import sys
import time

_FILE = os.environ.get("SKILLFACTORY_TEST_SLOW_AGENT")

if _FILE and any(word.endswith("dashboard/agent.py") for word in sys.orig_argv):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_FILE)
        time.sleep(40)
