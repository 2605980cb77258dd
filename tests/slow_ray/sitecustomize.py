"""Holds a process of Ray's back, once, for longer than Ray gives it to come up, as a slow disk does.

On PYTHONPATH it is imported by each Python process. The file that SKILLFACTORY_TEST_SLOW names holds the end of a
word: the first process with such a word in its command removes the file and sleeps.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

_FILE = Path(os.environ.get("SKILLFACTORY_TEST_SLOW", "/nowhere"))

with contextlib.suppress(FileNotFoundError):
    _END = _FILE.read_text()
    if any(word.endswith(_END) for word in sys.orig_argv):
        _FILE.unlink()
        time.sleep(40)
