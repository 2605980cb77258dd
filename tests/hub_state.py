"""What the hub of the tests holds, what it was asked, and what it is to do wrong."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TOKEN = "hf_testtokenthatnobodymayeversee0123"


@dataclass
class Fault:
    """What goes wrong `times` times with requests whose method and path match."""

    pattern: str
    status: int = 0
    """0 cuts the connection after half of the body was read."""
    times: int = 1_000_000
    headers: dict[str, str] = field(default_factory=dict)
    text: bytes = b"<html>not now</html>"
    meanwhile: Callable[[], object] = lambda: None
    """Called before a connection is cut."""


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: [hashlib.sha1(b"").hexdigest()])


@dataclass
class Hub:
    """What the hub holds, what it was asked, and what it does wrong."""

    user: str = "someone"
    role: str = "write"
    token: str = TOKEN
    part_bytes: int = 1 << 40
    """Larger files are uploaded in parts of this size."""
    all_regular: bool = False
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    """LFS content by SHA-256."""
    faults: list[Fault] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    """Requests, as `METHOD path`."""
    leaked: list[str] = field(default_factory=list)
    """Requests to the storage that carried a token."""
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, pattern: str) -> int:
        return sum(times for asked, times in self.asked.items() if re.search(pattern, asked))

    def entry(self, held: Repository, path: str) -> dict[str, Any]:
        """A file as listings show it."""
        body = held.files[path]
        blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(body), "oid": blob}
        sha = hashlib.sha256(body).hexdigest()
        if sha in self.stored:
            entry["lfs"] = {"oid": sha, "size": len(body), "pointerSize": 134}
        return entry

    def mode(self, held: Repository, path: str) -> dict[str, Any]:
        """How a file is to be uploaded, and what lies there now."""
        large = not self.all_regular and path.endswith(".parquet")
        known = self.entry(held, path) if path in held.files else None
        oid = None if known is None else known["lfs"]["oid"] if large else known["oid"]
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def fault(self, asked: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, asked):
                fault.times -= 1
                return fault
        return None
