"""Plots of cards: the same bytes each time, true to their numbers, small, and inert whatever names hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from cluster.jobs.plots import Interval, Lengths, draw_intervals, draw_lengths, draw_parts

BLUE, ORANGE, GREY = (0, 114, 178), (230, 159, 0), (176, 176, 176)
NAMES = [
    "plain",
    "plan_and_execute",
    "$x^{2$ \\frac{",
    "](http://evil.example) ![a](b)",
    "<script>alert(1)</script>",
    "`code` **bold** &lt; | \\",
    "a\nb\r\u2028c\u202ed\x00",
    "名前",
    "",
    "x" * 5000,
]
Draw = Callable[[Path], str]


def _parts(folder: Path) -> str:
    return draw_parts(folder, "parts", "Samples", dict.fromkeys(NAMES, (3, 1, 0)), ("right", "wrong", "unknown"))


def _lengths(folder: Path) -> str:
    lengths = Lengths(Counter({length: length % 7 for length in range(1, 5000)}), Counter({32768: 40}))
    return draw_lengths(
        folder, "lengths", "tokens", {"samples": lengths, "reflections": Lengths(Counter([5]), Counter())}
    )


def _intervals(folder: Path) -> str:
    shares = {"pass@1": Interval(0.2, 0.1, 0.3), "pass@4": Interval(1.0, None, None)}
    return draw_intervals(folder, "intervals", "Right replies", dict.fromkeys(NAMES, shares))


@pytest.mark.parametrize("draw", [_parts, _lengths, _intervals])
def test_the_same_numbers_give_the_same_small_file(draw: Draw, tmp_path: Path) -> None:
    told = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        told.append(draw(tmp_path / name))
    (first,), (second,) = (sorted((tmp_path / name / "plots").iterdir()) for name in ("a", "b"))
    assert told[0] == told[1]
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 30_000
    with Image.open(first) as image:
        assert image.size[0] == 1280
        assert {*image.info} <= {"transparency"}, "no date, and no version of a program"


@pytest.mark.parametrize("draw", [_parts, _lengths, _intervals])
def test_its_markdown_is_one_image_and_nothing_else(draw: Draw, tmp_path: Path) -> None:
    (paragraph,) = [one for one in MarkdownIt("commonmark").parse(draw(tmp_path)) if one.type == "inline"]
    assert paragraph.children is not None
    (image,) = paragraph.children
    assert image.type == "image"
    assert image.attrs["src"] == f"plots/{draw.__name__[1:]}.png"
    assert (tmp_path / str(image.attrs["src"])).is_file()
    assert len(image.content) > 50
    assert "\n" not in image.content


def _row_of(path: Path, colour: tuple[int, int, int]) -> int:
    """How many pixels of this colour the fullest line of the image has."""
    with Image.open(path) as image:
        same = (np.abs(np.asarray(image.convert("RGB"), int) - colour) < 8).all(axis=2)
    return int(same.sum(axis=1).max())


def test_bars_are_as_long_as_their_shares(tmp_path: Path) -> None:
    told = draw_parts(tmp_path, "one", "Samples", {"only": (6, 3, 1)}, ("right", "wrong", "unknown"))
    assert "only: 6 right, 3 wrong, 1 unknown" in told
    widths = [_row_of(tmp_path / "plots" / "one.png", colour) for colour in (BLUE, ORANGE, GREY)]
    assert [width / sum(widths) for width in widths] == pytest.approx([0.6, 0.3, 0.1], abs=0.01)


def test_what_was_cut_is_seen(tmp_path: Path) -> None:
    draw_lengths(tmp_path, "none", "tokens", {"samples": Lengths(Counter([1, 2, 3]), Counter())})
    draw_lengths(tmp_path, "some", "tokens", {"samples": Lengths(Counter([1, 2, 3]), Counter({9: 2}))})
    none, some = (_row_of(tmp_path / "plots" / f"{name}.png", ORANGE) for name in ("none", "some"))
    assert some > none


def test_more_rows_than_fit_are_told(tmp_path: Path) -> None:
    told = draw_parts(tmp_path, "many", "Samples", {f"name {n}": (1, 1) for n in range(100)}, ("right", "wrong"))
    with Image.open(tmp_path / "plots" / "many.png") as image:
        assert image.size[1] < 1700
    assert "name 23" in told
    assert "name 24" not in told


@pytest.mark.parametrize(
    ("ended", "cut", "median", "longest"),
    [([], [], 0, 0), ([5], [], 5, 5), ([1, 2, 3, 4], [], 2, 4), ([1, 2], [9], 2, 9), ([], [7, 7, 7], 7, 7)],
)
def test_lengths_are_summed_up(ended: list[int], cut: list[int], median: int, longest: int) -> None:
    lengths = Lengths(Counter(ended), Counter(cut))
    assert (lengths.median(), lengths.longest()) == (median, longest)
