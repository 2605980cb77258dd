"""How figures are written: with their intervals, and in tables that fit a terminal."""

from collections.abc import Sequence

from cluster.jobs.card import cut
from generation.evaluation.statistics import Figure

NONE = "-"


def percent(figure: Figure, *, signed: bool = False, unit: str = "") -> str:
    """Return a share in percent with its interval: "25.1 [21.0, 29.4]"; `unit` goes behind the share."""
    value, *limits = (_percents(one, signed) for one in figure[:3])
    if figure.value is None:
        return NONE
    return f"{value}{unit}" if limits == [NONE, NONE] else f"{value}{unit} [{', '.join(limits)}]"


def _percents(value: float | None, signed: bool) -> str:
    if value is None:
        return NONE
    text = f"{100 * value:{'+' if signed else ''}.1f}"
    if text in ("-0.0", "+0.0"):
        text = "0.0"
    return text.replace("100.0", "100")


def about(figure: Figure, *, share: bool = True, signed: bool = False) -> str:
    """Return a figure with half the width of its interval: "25.1±4.2" percent, "310±12"; "0.0<1.5" if it is a limit."""
    at, low, high, _ = figure
    if at is None:
        return NONE

    def written(value: float, signed: bool) -> str:
        return _percents(value, signed) if share else _amount(value, signed, at)

    if low is None or high is None:
        return written(at, signed)
    if low == at < high:
        return f"{written(at, signed)}<{written(high, signed)}"
    if low < at == high:
        return f"{written(at, signed)}>{written(low, signed)}"
    return f"{written(at, signed)}±{written((high - low) / 2, False)}"


def amount(figure: Figure, *, signed: bool = False) -> str:
    """Return an amount with its interval: "1,310 [1,200, 1,420]"; a missing limit is "-"."""
    if figure.value is None:
        return NONE
    value, *limits = (NONE if one is None else _amount(one, signed, figure.value) for one in figure[:3])
    return value if limits == [NONE, NONE] else f"{value} [{', '.join(limits)}]"


def _amount(value: float, signed: bool, like: float) -> str:
    """Return an amount with as many digits as befit `like`."""
    sign, size = "+" if signed else "", abs(like)
    if size >= 100_000:
        return f"{value / 1000:{sign},.0f}k"
    places = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:{sign},.{places}f}"


def p_value(p: float) -> str:
    """Return a p with two digits, and small ones as a bound."""
    return "<1e-4" if p < 1e-4 else f"{p:.2g}"


def lines(head: Sequence[str], rows: Sequence[Sequence[object]], widths: Sequence[int]) -> list[str]:
    """Return a table as lines: the first column to the left and cut, the others to the right."""
    shown = []
    for row in (head, *rows):
        first, *others = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row)
        cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        shown.append((f"{cut(first, widths[0] - 1):<{widths[0]}}" + "".join(cells)).rstrip())
    return shown
