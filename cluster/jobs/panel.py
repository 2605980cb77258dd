"""Draws a Status: as a panel for a terminal of any size, or as one line for a log. Pure: it only reads the status."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from cluster.jobs.card import NONE, Table, cut, shown_cell
from cluster.jobs.status import EngineStatus, Section, Status

LINE = 200  # characters of a line for a log, at most
_HEAD = 12  # columns before the words
_GAP = 4  # columns between tables
_NAME, _WIDEST = 36, 10_000  # longest name in a table; wider than any table
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
    said = [_counts(status), *_speed(status), *(one.brief for one in status.sections if one.brief)]
    if engines := _engine_counts(status.engines):
        said.append(engines)
    said += filter(None, [left(status)])
    head = f"{'rollout' if status.stage == 'rolling out' else status.stage:<12}"
    text = f"{head}{', '.join(said)}"
    return plain(text)


def panel(status: Status, width: int, height: int) -> RenderableType:
    """Return what to draw in so many columns and lines; where lines are short, the first tables and rows only."""
    head = [*_head(status, width)][:height]
    for most in _ROWS:
        tables = [*_tables(status, width, most)]
        if _lines([*head, *tables], width) <= height:
            break
    while tables and _lines([*head, *tables], width) > height:
        tables.pop()
    return Group(*head, *tables)


def _lines(parts: Sequence[RenderableType], width: int) -> int:
    console = Console(width=width, color_system=None)
    return len(console.render_lines(Group(*parts), pad=False))


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


def _tables(status: Status, width: int, most: int) -> Iterator[RenderableType]:
    """Yield the tables, as many beside each other as the width holds, each with so many rows at most."""
    console = Console(width=_WIDEST, color_system=None)
    rows, used = list[list[Grid]](), width
    for section in (*_of_engines(status), *status.sections):
        if not section.table.rows:
            continue
        # Where the terminal is narrow, the first columns.
        for count in range(len(section.table.head), 0, -1):
            one = _table(section, most, count)
            if (wide := Measurement.get(console, console.options, one).maximum) <= width:
                break
        if used + _GAP + wide > width:
            rows.append([])
            used = -_GAP
        rows[-1].append(one)
        used += _GAP + wide
    for some in rows:
        row = Grid.grid(padding=(0, _GAP, 0, 0))
        row.add_row(*some)
        yield Group(Text(""), row)


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


def _table(section: Section, most: int, columns: int) -> Grid:
    """Return the first columns and rows of a section's table."""
    head, rows = section.table.head[:columns], [row[:columns] for row in section.table.rows]
    table = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style=_STAGE)
    numbers = [all(not isinstance(row[place], str) for row in rows) for place in range(len(head))]
    for place, name in enumerate(head):
        title = section.title or name if place == 0 else name
        side: Literal["right", "left"] = "right" if numbers[place] else "left"
        table.add_column(plain(str(title), _NAME), justify=side, no_wrap=True, overflow="ellipsis")
    for row in rows[:most]:
        table.add_row(*(Text(plain(shown_cell(cell, none="-") or NONE, _NAME)) for cell in row))
    if len(rows) > most:
        table.add_row(Text(f"and {len(rows) - most:,} more", style=_DIM))
    return table
