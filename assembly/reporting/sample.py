"""Which rows a page shows: a stratified sample in bounded memory, the same whenever it is drawn of the same rows.

In each stratum those come first whose questions have the smallest hashes, so that strata, and sets, share questions.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from generation.records import stable_hash

SEED = 0
LONGEST, _END = 8_000, 2_000  # characters of a text that are shown, and how many of these are its last
_MOST = 512  # rows of a stratum that are held, while they fit
_TOGETHER = 2  # rows of a stratum that may be of one question before one of another comes
_FEW = 4  # rows of each stratum that are taken first
_HELD = 3  # times the size that is wanted, of rows that are held
Rank = tuple[int, int, int]
Shown = tuple[object, object]  # of the question, and of the row, as JSON values
Write = Callable[[list[int]], Iterable[Shown]]
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def inert(value: object) -> bytes:
    """Return JSON, in UTF-8, that can stand in a page whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def shown(text: str | None, longest: int = LONGEST) -> str | list[str | int] | None:
    """Return a text, or of a longer one its beginning, how many characters are left out, and its end."""
    if text is None or len(text) <= longest:
        return text
    end = min(_END, longest // 2)
    return [text[: longest - end], len(text) - longest, text[-end:]]


class Sample:
    """Rows and their questions, as JSON of at most `size` bytes; `rows` counts all that were offered."""

    def __init__(self, size: int) -> None:
        self.rows, self._size, self._most, self._bytes = 0, size, _MOST, 0
        self._held = defaultdict[str, list[tuple[Rank, str, bytes]]](list)
        self._questions = dict[str, bytes]()

    @property
    def strata(self) -> int:
        return len(self._held)

    def add(self, strata: Sequence[str], keys: Sequence[str], write: Write) -> None:
        """Offer rows, given the stratum and the question's key of each; `write` returns those at the places asked."""
        first = np.arange(len(keys)) + self.rows
        self.rows += len(keys)
        names, stratum = np.unique(np.asarray(strata, dtype=object), return_inverse=True)
        found, question = np.unique(np.asarray(keys, dtype=object), return_inverse=True)
        hashes = np.array([int(stable_hash(SEED, key)[:15], 16) for key in found], np.int64)[question]
        block = _blocks(stratum * len(found) + question)
        order = np.lexsort((first, hashes, block, stratum))
        ends = np.cumsum(np.bincount(stratum, minlength=len(names)))
        for name, of in zip(names, np.split(order, ends[:-1]), strict=True):
            held = self._held[name]
            worst = held[-1][0] if len(held) >= self._most else None
            ranks = [(int(block[one]), int(hashes[one]), int(first[one])) for one in of[: self._most]]
            ranks = [rank for rank in ranks if worst is None or rank < worst]
            places = [rank[2] - int(first[0]) for rank in ranks]
            for rank, at, (asked, row) in zip(ranks, places, write(places) if places else (), strict=True):
                key = keys[at]
                self._questions.setdefault(key, inert(asked))
                held.append((rank, key, inert(row)))
                self._bytes += len(held[-1][2])
            self._keep(name)
        while self._bytes > _HELD * self._size and self._most > 1:
            self._most //= 2
            for name in self._held:
                self._keep(name)

    def _keep(self, name: str) -> None:
        held = sorted(self._held[name])
        self._held[name] = held[: self._most]
        self._bytes -= sum(len(row) for *_, row in held[self._most :])

    def taken(self, share: float = 1.0) -> tuple[list[bytes], dict[str, bytes]]:
        """Return the rows that fit in this share of the size, in the order they were offered; their questions by key.

        Each stratum gets a few; what room is left is for more rows of the same questions, and then of others.
        """
        strata = [self._held[name] for name in sorted(self._held)]
        first = [held[level] for level in range(_FEW) for held in strata if level < len(held)]
        others = sorted(one for held in strata for one in held[_FEW:])
        kept, asked, left = list[tuple[int, bytes]](), dict[str, bytes](), int(share * self._size)
        for rank, key, row in [*first, *others]:
            size = len(row) + (0 if key in asked else len(self._questions[key]) + len(key) + 4) + 1
            if size <= left:
                left -= size
                asked[key] = self._questions[key]
                kept.append((rank[2], row))
        return [row for _, row in sorted(kept)], asked


def _blocks(groups: np.ndarray) -> np.ndarray:
    """Return of each row, among the rows of its group, which block of _TOGETHER it is in."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    within = np.empty(len(groups), np.int64)
    within[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
    return within // _TOGETHER
