"""Text helpers: tables kept as data files, templates, and pieces of messages (similar names, shortened lists)."""

import difflib
import os
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

_NAME = re.compile(r"\{([a-z_]+)\}")


def load_table(package: str, name: str) -> dict[str, Any]:
    """Load the TOML file `name` that ships with `package`."""
    return tomllib.loads(resources.files(package).joinpath(name).read_text(encoding="utf-8"))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace every {name} in the template by its value, in one pass: braces in values stay. Raises KeyError."""
    return _NAME.sub(lambda match: values[match.group(1)], template)


def first_line(error: BaseException, otherwise: str = "") -> str:
    """Return an error's first line, with the last if the first ends in a colon; `otherwise` or its type if empty."""
    first, *others = str(error).strip().splitlines() or [otherwise or type(error).__name__]
    return f"{first} {others[-1].strip()}" if others and first.endswith(":") else first


def listed(names: Sequence[str], most: int) -> str:
    """Join the names with commas; those beyond `most` are only counted."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def counted(reasons: Counter[str]) -> str:
    """Return each reason with its count, the most frequent first."""
    return ", ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common())


def excerpt(text: str, longest: int = 50) -> str:
    """Return the beginning of a text on one line, quoted."""
    words = " ".join(text.split())
    return repr(words if len(words) <= longest else words[: longest - 3] + "...")


def shortened(text: str, longest: int) -> str:
    """Cut the middle out of a longer text: messages begin with the problem and end with the remedy."""
    kept = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[: longest - 3 - kept]}...{text[-kept:]}"


def nearest(word: str, known: Iterable[str], most: int = 1, cutoff: float = 0.5) -> list[str]:
    """Return the known names most similar to `word`, best first, ignoring case."""
    names = {name.strip().casefold(): name for name in known}
    return [names[near] for near in difflib.get_close_matches(word.strip().casefold()[:200], names, most, cutoff)]


def bars() -> bool:
    """Return True if progress may be drawn: stdout and stderr are terminals that can move the cursor."""
    return sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
