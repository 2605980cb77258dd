"""Tables and texts as a terminal shows them and as Markdown."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

WIDTH = 80
"""Columns of a terminal that the lines for it are made for."""
NONE = "(none)"
"""What stands for an empty name."""


class Table(NamedTuple):
    """A table whose cells are texts, counts, shares (floats between 0 and 1), or None where there is no share."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]

    def markdown(self, names: int = 0) -> str:
        """Return the table in Markdown, counts to the right; the cells of the first `names` columns are names."""
        right = [all(isinstance(row[place], int) for row in self.rows) for place in range(len(self.head))]
        lines = [list(self.head), ["---:" if counts else "---" for counts in right]]
        for row in self.rows:
            lines.append([code(str(cell or NONE)) for cell in row[:names]] + [_cell(cell) for cell in row[names:]])
        escaped = ((cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines)
        return "\n".join(f"| {' | '.join(line)} |" for line in escaped) + "\n"

    def text(self, first: int, others: int) -> list[str]:
        """Return the table as lines: names cut to `first` columns, each other cell to the right of `others`."""
        lines = [f"{self.head[0]:<{first + 2}}" + "".join(f"{cell:>{others}}" for cell in self.head[1:])]
        for name, *cells in self.rows:
            shown = "".join(f"{_cell(cell, none='-'):>{others}}" for cell in cells)
            lines.append(f"  {cut(str(name or NONE), first):<{first}}{shown}")
        return lines


def _cell(value: object, none: str = "") -> str:
    if value is None:
        return none
    if isinstance(value, float):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def counts_text(counts: Iterable[tuple[str, int]]) -> list[str]:
    """Return a line for each name, its count before it."""
    return [f"  {count:>7,}  {name}" for name, count in counts]


def cut(text: str, width: int = WIDTH) -> str:
    """Return the text, with an ellipsis in its last column where it is longer than `width`."""
    return text if len(text) <= width else text[: width - 1] + "…"


def code(text: str) -> str:
    """Return inline code, for names such as `*C_full` that Markdown would read as emphasis."""
    return f"`{text}`"


def fenced(text: str, language: str = "") -> str:
    """Return the text between fences longer than any run of backticks in it, so that it cannot end them."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n"
