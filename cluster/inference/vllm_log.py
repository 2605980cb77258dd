"""What vLLM's processes say of their end in their log: the cause, and whether memory was short.

Only this text arrives across its processes: the exception of the front end says "see above".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PREFIX = re.compile(r"^(?:\([^)]*\) )?(?:ERROR [^\]]*\] ?)?")
"""What vLLM puts before each line of a traceback that it logs."""
_RAISED = re.compile(r"[\w.]*(?:Error|Exception)(?P<words>: .+)?")
"""The last line of a traceback."""
_EMPTY = re.compile(
    r"Engine core initialization failed|EngineDeadError|EngineCore encountered an issue"
    r"|WorkerProc initialization failed|RuntimeError: Executor failed"
)
"""What a process of vLLM raises when another one is to blame."""
_SHORT = re.compile(
    r"OutOfMemoryError|MemoryError|out of memory|[Cc]an(?:no|')t allocate memory|KV cache is needed"
    r"|No available memory for the cache blocks|less than desired GPU memory utilization"
    r"|is less than requested memory for kv"
)


def cause(log: str) -> str | None:
    """Return the last exception in the log that says something, or None."""
    lines = [_PREFIX.sub("", line, count=1) for line in log.splitlines()]
    for number in reversed(range(len(lines))):
        found = _RAISED.fullmatch(lines[number])
        if found and not _EMPTY.search(lines[number]):
            return lines[number] + ("" if found["words"] else _statement(lines[:number]))
    return None


def lacked_memory(log: str) -> bool:
    """Return True if the cause is a lack of memory."""
    return _SHORT.search(cause(log) or "") is not None


def _statement(lines: Sequence[str]) -> str:
    """The statement that raised, for an exception without words of its own: the last source line of the traceback."""
    source = [line.strip() for line in lines[-3:] if line.startswith("    ") and line.strip(" ^~")]
    return f" at `{source[-1]}`" if source else ""
