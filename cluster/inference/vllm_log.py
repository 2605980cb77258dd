"""What killed vLLM, as far as its log says it: the only trace that errors leave across its processes."""

import re

from cluster.errors import EngineDiedError, EngineMemoryError
from cluster.texts import load_table

_LOG: dict[str, list[str]] = load_table("cluster.inference", "vllm.toml")["log"]
_PREFIX = re.compile(r"^(?:\([^)]*\) )?(?:ERROR [^\]]*\] ?)?")  # what vLLM puts before each line of a traceback
_RAISED = re.compile(r"[\w.]*(?:Error|Exception)(?P<words>: .+)?")  # the last line of a traceback


def cause_in(log: str) -> EngineDiedError | None:
    """Return the last relevant exception in the log; None without one.

    One without a message gets the statement that raised it, which is the last source line of the traceback.
    """
    lines = [_PREFIX.sub("", line, count=1) for line in log.splitlines()]
    for number in reversed(range(len(lines))):
        found = _RAISED.fullmatch(lines[number])
        if found and not any(words in lines[number] for words in _LOG["others"]):
            before = lines[max(0, number - 3) : number]
            source = [line.strip() for line in before if line.startswith("    ") and line.strip(" ^~")]
            message = lines[number] + (f" at `{source[-1]}`" if source and not found["words"] else "")
            short = any(words in message for words in _LOG["memory"])
            return EngineMemoryError(message) if short else EngineDiedError(message)
    return None
