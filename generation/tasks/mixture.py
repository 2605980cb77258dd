"""What `--task` says: one task, or several with how many questions of each. Knows names, not tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from generation.records import stable_hash

MOST = 10**7
"""Questions of one task."""
_LONGEST_NAME = 60
_PART = re.compile(r"(?P<name>[^:,]+)(?::(?P<count>[0-9]{1,8}))?")


class Part(NamedTuple):
    """One task of a mixture, as given."""

    name: str
    questions: int | None
    """Questions for SFT; None where the mixture does not say."""


def parse(text: str) -> tuple[Part, ...]:
    """The parts of NAME, NAME,NAME or NAME:COUNT,NAME:COUNT. Raises ValueError."""
    parts = []
    for piece in text.split(","):
        found = _PART.fullmatch(piece.strip())
        if found is None:
            raise ValueError(
                f"--task {text!r} is no task, and no mixture such as countdown_3arg:2000,longmult_2dig:1000"
            )
        count = None if found["count"] is None else int(found["count"])
        if count is not None and not 1 <= count <= MOST:
            raise ValueError(f"--task {piece.strip()}: the count must be between 1 and {MOST:,}")
        parts.append(Part(found["name"].strip(), count))
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--task names {name} twice: name each task once")
    counted = sum(part.questions is not None for part in parts)
    if 0 < counted < len(parts):
        raise ValueError(f"--task {text!r} gives some tasks a count and others none: give all of them one, or none")
    return tuple(parts)


def share(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole numbers in proportion to the weights; what does not divide goes to the largest remainders."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return parts


def run_name(names: Sequence[str]) -> str:
    """What a run of these tasks is called, in folders and on the hub."""
    plain = [re.sub(r"[^\w.-]", "_", name) for name in names]
    if len(plain) == 1:
        return plain[0]
    joined = f"mix-{'-'.join(plain)}"
    return joined if len(joined) <= _LONGEST_NAME else f"mix-of-{len(plain)}-{stable_hash(*names)[:8]}"
