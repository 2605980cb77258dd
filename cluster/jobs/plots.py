"""Plots of a dataset for its card, as PNG files: parts of a whole, lengths, figures with intervals.

Each function writes `plots/NAME.png` in the dataset's folder and returns the Markdown that shows it, whose
alternative text has the numbers. The same numbers give the same bytes. Knows no questions.
"""

import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cluster.jobs.card import cut

ENDS = ("ended by themselves", "cut at the limit")
PLOTS = "plots"  # their folder in a dataset's
_MOST = 24  # rows of a plot; others are left out, and the plot says so
_NAME = 30  # characters of a row's name
_DPI = 160  # of 8 inches: 1280 pixels, twice what a card is wide on a phone, and half more than beside a sidebar
_BINS = 40
_EDGE = 0.1  # inches that stay free around a plot
_SHADES = 96
_ALT = 900  # characters of an image's alternative text
_MARKUP = re.compile(r"[!-$&-'*+<-@\[-`{-~]")  # ASCII's punctuation, but for what a sentence needs
_MARKS = ("o", "D", "s")
_COLOURS = (("#0072B2", "white"), ("#E69F00", "black"), ("#B0B0B0", "black"))
"""Of parts in turn, each with that of a text on it; told apart by people of any colour vision (Okabe and Ito)."""


class Lengths(NamedTuple):
    """How many texts there are of each length: those that ended by themselves, and those cut at the limit."""

    ended: Counter[int]
    cut: Counter[int]

    def longest(self) -> int:
        """Return the greatest length; 0 without any."""
        return max((*self.ended, *self.cut), default=0)

    def median(self) -> int:
        """Return the lower median of all; 0 without any."""
        both = self.ended + self.cut
        left = (both.total() + 1) // 2
        for length in sorted(both):
            left -= both[length]
            if left <= 0:
                return length
        return 0


class Interval(NamedTuple):
    """A share between 0 and 1 with its interval; a limit may be unknown."""

    value: float
    low: float | None
    high: float | None


def draw_parts(
    folder: Path, name: str, title: str, rows: Mapping[str, Sequence[int]], parts: Sequence[str], *, whole: bool = True
) -> str:
    """Draw a bar for each row, made of its counts of `parts`; with `whole`, bars have one length, and show shares."""
    shown = dict([*rows.items()][:_MOST])
    with _figure(folder, name, 1.0 + 0.36 * len(shown)) as figure:
        axes = figure.subplots()
        totals = [sum(counts) for counts in shown.values()]
        scale = [max(1, total) if whole else max(1, *totals) for total in totals]
        left = [0.0] * len(shown)
        for place, part in enumerate(parts):
            colour, ink = _COLOURS[place]
            widths = [counts[place] / of for counts, of in zip(shown.values(), scale, strict=True)]
            axes.barh(range(len(shown)), widths, left=left, color=colour, label=part, height=0.72)
            for row, (counts, width) in enumerate(zip(shown.values(), widths, strict=True)):
                inside = f"{width:.0%}" if whole else f"{counts[place]:,}"
                if width > 0.02 + 0.013 * len(inside):
                    axes.text(left[row] + width / 2, row, inside, ha="center", va="center", color=ink, size=10)
            left = [at + width for at, width in zip(left, widths, strict=True)]
        for row, (at, total) in enumerate(zip(left, totals, strict=True)):
            axes.text(at + 0.01, row, f"{total:,}", va="center", size=10)
        _rows(axes, [*shown], len(rows), title)
        axes.set_xlim(0, 1.1)
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.legend(ncols=len(parts), loc="lower left", bbox_to_anchor=(0, 1), frameon=False, borderaxespad=0.2)
    told = [f"{row}: {', '.join(f'{n:,} {part}' for part, n in zip(parts, rows[row], strict=True))}" for row in shown]
    return _image(name, f"{title}. {'; '.join(told)}.")


def draw_lengths(
    folder: Path, name: str, unit: str, texts: Mapping[str, Lengths], labels: tuple[str, str] = ENDS
) -> str:
    """Draw how long texts of each kind are, in `unit` such as tokens; those that were cut are marked."""
    told = []
    with _figure(folder, name, 2.9) as figure:
        for axes, (kind, lengths) in zip(figure.subplots(1, len(texts), squeeze=False)[0], texts.items(), strict=True):
            middle, most = lengths.median(), lengths.longest()
            width = most // _BINS + 1  # whole, or some bars would stand for more lengths than others
            edges = range(0, most + width + 1, width)
            drawn, _, _ = axes.hist(
                [[*counts] for counts in lengths],
                edges,
                weights=[[*counts.values()] for counts in lengths],
                stacked=True,
                color=[colour for colour, _ in _COLOURS[:2]],
                label=[f"{label}: {counts.total():,}" for label, counts in zip(labels, lengths, strict=True)],
            )
            peak = max(drawn[-1])
            label = f"median: {middle:,} {unit}"
            axes.vlines(middle, 0, peak, color="black", linestyle="--", linewidth=1.2, label=label)
            axes.set_title(f"Length of {kind}", loc="left", size=12)
            axes.set_xlabel(unit)
            axes.set_xlim(0, edges[-1])
            axes.set_ylim(0, 1.5 * peak)  # room for the legend
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.locator_params(integer=True, nbins=6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(loc="upper left", frameon=False, borderaxespad=0.1, fontsize=10)
            counted = f"median {middle:,}, longest {most:,} {unit}, {lengths.cut.total():,} {labels[1]}"
            told.append(f"Length of {sum(counts.total() for counts in lengths):,} {kind}: {counted}")
    return _image(name, f"{'. '.join(told)}.")


def draw_intervals(folder: Path, name: str, title: str, rows: Mapping[str, Mapping[str, Interval]]) -> str:
    """Draw the named shares of each row with their intervals."""
    shown = dict([*rows.items()][:_MOST])
    series = [*dict.fromkeys(one for shares in shown.values() for one in shares)][: len(_MARKS)]
    with _figure(folder, name, 1.25 + 0.36 * len(shown)) as figure:
        axes = figure.subplots()
        for place, one in enumerate(series):
            found = [(row, shares[one]) for row, shares in enumerate(shown.values()) if one in shares]
            values = [share.value for _, share in found]
            low = [share.value - (share.value if share.low is None else share.low) for _, share in found]
            high = [(share.value if share.high is None else share.high) - share.value for _, share in found]
            at = [row + 0.16 * (place - (len(series) - 1) / 2) for row, _ in found]
            axes.errorbar(
                *(values, at),
                xerr=[[max(0.0, one) for one in side] for side in (low, high)],
                fmt=_MARKS[place],
                color=_COLOURS[place][0],
                capsize=3,
                markersize=7,
                label=one,
            )
        _rows(axes, [*shown], len(rows), title)
        axes.set_xlim(-0.01, 1.01)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(axis="x", color="#D0D0D0")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(ncols=len(series), loc="lower left", bbox_to_anchor=(0, 1), frameon=False, borderaxespad=0.2)
    told = [
        f"{row}: {', '.join(f'{one} {share.value:.1%}' for one, share in shares.items())}"
        for row, shares in shown.items()
    ]
    return _image(name, f"{title}. {'; '.join(told)}.")


def _rows(axes: Any, names: Sequence[str], of: int, title: str) -> None:
    axes.set_yticks(range(len(names)), [_label(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    more = f" (the first {len(names)} of {of:,})" if of > len(names) else ""
    axes.set_title(f"{title}{more}", loc="left", size=12, pad=26)


@contextmanager
def _figure(folder: Path, name: str, height: float) -> Iterator[Any]:
    """Yield a figure of this height in inches, and write it."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it speaks of its caches
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # of a name in another script: a box
        matplotlib.rcdefaults()  # whatever the user's own file says
        # Names are no formulas, whatever dollars they hold.
        matplotlib.rcParams.update({"text.parse_math": False, "font.size": 11})
        matplotlib.rcParams.update(
            dict.fromkeys(("figure.constrained_layout.w_pad", "figure.constrained_layout.h_pad"), _EDGE)
        )
        figure = Figure(figsize=(8, height), dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        yield figure
        canvas.draw()
        # In a few colours: a third of the bytes.
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3]).quantize(_SHADES)
        path = folder / PLOTS / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        drawn.save(path, optimize=True)


def _label(text: str) -> str:
    return cut("".join(one if one.isprintable() else " " for one in text), _NAME) or "(none)"


def _image(name: str, told: str) -> str:
    """Return the image in Markdown; nothing in its text is markup, whatever names hold."""
    line = " ".join("".join(one if one.isprintable() else " " for one in told).split())
    alt = _MARKUP.sub(r"\\\g<0>", cut(line, _ALT))
    return f"![{alt}]({PLOTS}/{name}.png)\n"
