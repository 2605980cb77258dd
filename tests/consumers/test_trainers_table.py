"""The table of docs/training.md holds: every layout that it recommends is trained whole, on the real trainers.

By the built-in model's tokenizer, and for the chat templates that TRL ships; `python -m benchmarks.trainers` makes the
table with real tokenizers. A trainer, which takes long to start, is asked about all its models at once.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assembly.inspection import inspect
from assembly.trainers import TRAINERS
from benchmarks.trainers import FAMILIES, MARKS, PAGE, Cell, Desk, trl_templates

pytestmark = pytest.mark.consumers
SHOWN = {known["shown"]: name for name, known in TRAINERS.items() if "settings" in known}


def recommended() -> dict[Cell, str]:
    """Return what the table recommends: cells, and what they hold."""
    text = PAGE.read_text(encoding="utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0]
    (table, *_) = [block for block in text.split("\n\n") if block.startswith("| |")]
    head, _, *rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    found = {}
    for family, *cells in rows:
        for shown, cell in zip(head, cells, strict=True):
            if layout := re.match(r"`(\w+)`", cell):
                found[Cell(SHOWN[shown], family.partition(", asked with")[0], layout[1])] = cell
    return found


def test_every_family_and_trainer_is_in_it() -> None:
    assert {cell.family for cell in recommended()} == {*FAMILIES}
    assert {cell.trainer for cell in recommended()} == {*SHOWN.values()}


@pytest.mark.parametrize(
    "trainer", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SHOWN.values()]
)
def test_what_it_recommends_is_trained_whole(trainer: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path, [trl_templates()])
    cells = [cell for cell in recommended() if cell.trainer == trainer and desk.template(cell.family)]
    found = dict(zip(cells, inspect([desk.wanted(cell) for cell in cells]), strict=True))
    assert {cell: (one.damage, one.refused) for cell, one in found.items() if one.hurt} == {}
    assert len(found) >= 10
