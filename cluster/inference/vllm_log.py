"""What killed vLLM, as far as its log says it: the only trace that errors leave across its processes."""

import re
from typing import Any, Literal, NamedTuple, get_args

from cluster.errors import EngineDiedError, EngineMemoryError
from cluster.texts import load_table

Shortage = Literal["free", "asked", "cache", "work"]
"""What memory was short for: vllm.toml describes them."""
_LOG: dict[str, Any] = load_table("cluster.inference", "vllm.toml")["log"]
_PREFIX = re.compile(r"^(?:\([^)]*\) )?(?:ERROR [^\]]*\] ?)?")  # what vLLM puts before each line of a traceback
_RAISED = re.compile(r"[\w.]*(?:Error|Exception)(?P<words>: .+)?")  # the last line of a traceback
_FREE = re.compile(r"\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\)")
_NEEDED = re.compile(r"\((?P<needed>[\d.]+) GiB KV cache is needed")
_FITS = re.compile(r"estimated maximum model length is (?P<fits>\d+)")
_GIB = 1 << 30


class Numbers(NamedTuple):
    """What a message about memory says, in bytes and tokens; 0 where it does not."""

    free: int
    total: int
    needed: int
    fits: int


def cause_in(log: str) -> EngineDiedError | None:
    """Return the last relevant exception in the log; None without one.

    One without a message gets the statement that raised it, which is the last source line of the traceback.
    """
    lines = [_PREFIX.sub("", line, count=1) for line in log.splitlines()]
    raised = [number for number, line in enumerate(lines) if _RAISED.fullmatch(line) and not _names(line, "others")]
    causes = [number for number in raised if not _names(lines[number], "echoes")] or raised
    if not causes:
        return None
    number, message = causes[-1], lines[causes[-1]]
    before = lines[max(0, number - 3) : number]
    source = [line.strip() for line in before if line.startswith("    ") and line.strip(" ^~")]
    if source and ": " not in message:
        message += f" at `{source[-1]}`"
    return EngineMemoryError(message) if shortage(message) else EngineDiedError(message)


def shortage(message: str) -> Shortage | None:
    """Return what memory was short for; None if the message does not speak of memory."""
    return next((kind for kind in get_args(Shortage) if any(words in message for words in _LOG["short"][kind])), None)


def numbers(message: str) -> Numbers:
    """Return what the message says of memory. vLLM writes GiB with two decimals."""

    def read(pattern: re.Pattern[str], name: str, unit: int) -> int:
        found = pattern.search(message)
        return int(float(found[name]) * unit) if found else 0

    free, total = (read(_FREE, name, _GIB) for name in ("free", "total"))
    return Numbers(free, total, read(_NEEDED, "needed", _GIB), read(_FITS, "fits", 1))


def _names(line: str, kind: str) -> bool:
    return any(words in line for words in _LOG[kind])
