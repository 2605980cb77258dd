"""Draws a Status: as a panel for a terminal of any size, or as one line for a log. Pure: it only reads the status."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from cluster.jobs.card import NONE, Table, cut, shown_cell
from cluster.jobs.status import EngineStatus, Section, Status

LINE = 200  # characters of a line for a log, at most
_HEAD = 12  # columns before the words
_GAP = 4  # columns between tables
_NAME = 36  # longest name in a table
_BAR_LEAST, _BAR_MOST = 10, 60
_GOES_ON = ("planning", "loading", "rolling out", "draining")
_FEW = 8  # engines that get a row each; of more only those that are not as they should be
_ROWS = (40, 16, 10, 6, 4)  # rows of a table, tried in turn until the panel is not higher than the terminal
_DIM, _STAGE = "dim", "bold"


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


def left(status: Status) -> str:
    """Return how long the rest will take, as a range; "" if nobody knows."""
    if status.left_s is None:
        return ""
    low, high = duration(status.left_s[0]), duration(status.left_s[2])
    return f"about {high} left" if low == high else f"{low} to {high} left"


def plain(text: str, longest: int = LINE) -> str:
    """Return a text that draws nothing but itself, on one line: models, tasks and reasons may hold anything."""
    return cut("".join(one if one.isprintable() else " " for one in text), longest)


def line(status: Status) -> str:
    """Return the status in one line of LINE characters at most, the less important words left out."""
    said = [_counts(status), left(status), *_speed(status), *(one.brief for one in status.sections)]
    said = [*filter(None, [*said, _engine_counts(status.engines)])]
    head = f"{'rollout' if status.stage == 'rolling out' else status.stage:<12}"
    text = f"{head}{', '.join(said)}"
    return plain(text)


def panel(status: Status, width: int, height: int) -> RenderableType:
    """Return what to draw in so many columns and lines; where lines are short, the first tables and rows only."""
    head = [*_head(status, width)][:height]
    for most in _ROWS:
        tables = _tables(status, width, most)
        if len(head) + sum(map(len, tables)) <= height:
            break
    while tables and len(head) + sum(map(len, tables)) > height:
        tables.pop()
    return Group(*head, *(line for table in tables for line in table))


def bar(stage: str, done: int, total: int, words: str, width: int) -> RenderableType:
    """Return a stage with its bar and the words behind it, on one line."""
    head = Text(f"{stage:<{_HEAD}}", style=_STAGE, no_wrap=True, overflow="ellipsis")
    room = width - _HEAD - len(words) - 1
    if room < _BAR_LEAST or not total:
        return head.append(Text(words, style="default"))
    row = Grid.grid()
    row.add_row(head, ProgressBar(total, min(done, total), width=min(room, _BAR_MOST)), Text(f" {words}"))
    return row


def _head(status: Status, width: int) -> Iterator[RenderableType]:
    ended = status.before + status.done + status.failed
    yield bar(status.stage, ended, status.total, _counts(status), width)
    took = duration(status.seconds or _since_begun(status))
    times = [left(status), f"{took} so far" if status.stage in _GOES_ON else f"rolled out in {took}"]
    before = [f"{status.before:,} before this start"] if status.before else []
    yield from _words("", [*filter(None, times), *before], width)
    written = [f"{status.output_tokens:,} written"] if status.output_tokens else []
    yield from _words("tokens/s", [*_rates(status), *written], width)
    yield from _words("engines", _engines_told(status), width)
    for note in status.notes:
        yield Text(plain(note), style=_STAGE, no_wrap=True, overflow="ellipsis")


def _tables(status: Status, width: int, most: int) -> list[list[Text]]:
    """Return the lines of the tables, as many beside each other as the width holds, each of so many rows at most."""
    found = list[list[Text]]()
    used = width
    for section in (*_of_engines(status), *status.sections):
        if not section.table.rows:
            continue
        table = _table(section, most, width)
        wide = cell_len(table[0])
        if used + _GAP + wide > width:
            found.append([Text("")])
            used = -_GAP
        beside = found[-1]
        beside += [Text("") for _ in range(1 + len(table) - len(beside))]
        # Nothing ends in spaces, which a terminal that becomes narrower would fold.
        for number, (text, told) in enumerate(zip(beside[1:], table, strict=False)):
            gap = " " * (used + _GAP - text.cell_len)
            text.append(gap).append(told.rstrip(), style="default" if number else _STAGE)
        used += _GAP + wide
    return found


def _of_engines(status: Status) -> Iterator[Section]:
    if odd := _shown_engines(status.engines):
        head = ("engine", "state", status.unit, "running", "waiting", "tokens", "lost")
        rows = [
            (str(one.number), one.state, one.items, one.running, one.waiting, one.output_tokens, one.lost)
            for one in odd
        ]
        yield Section("", Table(head, rows))


def _since_begun(status: Status) -> float:
    return (datetime.fromisoformat(status.updated) - datetime.fromisoformat(status.begun)).total_seconds()


def _counts(status: Status) -> str:
    ended = status.before + status.done
    return f"{ended:,}/{status.total:,} {status.unit}" + (f", {status.failed:,} failed" if status.failed else "")


def _rates(status: Status) -> list[str]:
    found = [("now", status.recent), ("on average", status.average)]
    return [f"{rate:,.0f} {when}" for when, rate in found if rate is not None]


def _speed(status: Status) -> list[str]:
    rate = status.average if status.recent is None else status.recent
    return [] if rate is None else [f"{rate:,.0f} tokens/s"]


def _engine_counts(engines: Sequence[EngineStatus]) -> str:
    ready = sum(one.state == "ready" for one in engines)
    lost = sum(one.lost for one in engines)
    told = f"{ready} of {len(engines)} engine{'s' * (len(engines) != 1)} ready" if engines else ""
    return told + (f", {lost} lost" if lost else "")


def _engines_told(status: Status) -> list[str]:
    engines = status.engines
    if not engines:
        return []
    told = [_engine_counts(engines).replace(" engines", "").replace(" engine", "")]
    told += [
        f"{count:,} {state}"
        for state in ("placing", "loading")
        if (count := sum(one.state == state for one in engines))
    ]
    running, waiting = sum(one.running for one in engines), sum(one.waiting for one in engines)
    if running or waiting:
        told.append(f"{running:,} requests running, {waiting:,} waiting")
    if status.cached_tokens:
        told.append(f"{status.cached_tokens / status.prompt_tokens:.0%} of prompt tokens cached")
    return told


def _shown_engines(engines: Sequence[EngineStatus]) -> list[EngineStatus]:
    """Return the engines that get a row: all if they are few but more than one, else those unlike the others."""
    if 1 < len(engines) <= _FEW:
        return [*engines]
    busy = any(one.running for one in engines)
    return [one for one in engines if one.lost or (one.state != "ready" and busy) or (busy and not one.running)]


def _words(head: str, words: Sequence[str], width: int) -> Iterator[RenderableType]:
    """Yield the words behind their head, folded between them."""
    if not words:
        return
    lines, room = [""], max(1, width - _HEAD - 1)
    for one in words:
        joined = f"{lines[-1]} · {one}" if lines[-1] else one
        if len(joined) > room and lines[-1]:
            lines.append(one)
        else:
            lines[-1] = joined
    for number, text in enumerate(lines):
        told = Text(f"{'' if number else head:<{_HEAD}}", style=_DIM, no_wrap=True, overflow="ellipsis")
        yield told.append(Text(text, style="default"))


def _table(section: Section, most: int, width: int) -> list[str]:
    """Return a section's head and first rows as lines of the same width, with as many columns as the width holds."""
    head, rows = section.table
    columns = list[list[str]]()
    for place, name in enumerate(head):
        title = section.title or name if place == 0 else name
        values = [row[place] for row in rows[:most]]
        cells = [plain(one, _NAME) for one in (title, *(shown_cell(value, none="-") or NONE for value in values))]
        if place == 0 and len(rows) > most:
            cells.append(f"and {len(rows) - most:,} more")
        cells = [set_cell_size(one, min(cell_len(one), width)) for one in cells]
        wide = max(map(cell_len, cells))
        if columns and cell_len("  ".join(column[0] for column in columns)) + 2 + wide > width:
            break
        left = any(isinstance(row[place], str) for row in rows)
        columns.append([_padded(one, wide, left=left) for one in cells])
    lines = max(map(len, columns))
    filled = [[*column, *[" " * cell_len(column[0])] * (lines - len(column))] for column in columns]
    return ["  ".join(cells) for cells in zip(*filled, strict=True)]


def _padded(text: str, wide: int, *, left: bool) -> str:
    gap = " " * (wide - cell_len(text))
    return text + gap if left else gap + text
