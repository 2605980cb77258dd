"""The panel at any size, and the line of a log, drawn from a status."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from cluster.jobs.card import Table
from cluster.jobs.panel import LINE, bar, duration, left, line, panel
from cluster.jobs.status import EngineStatus, Section, Status

VARIANTS = [(f"variant_{number}", 6400, 0.5, 0.375, 0.125, 12, 0) for number in range(8)]
SECTIONS = (
    Section(
        "samples by variant",
        Table(("variant", "samples", "right", "wrong", "unknown", "cut", "failed"), VARIANTS),
        "50% right",
    ),
    Section(
        "reflections", Table(("", "number", "share"), [("all", 9, None), ("verdict agrees", 7, 7 / 9)]), "78% of it"
    ),
    Section("verdicts", Table(("verdict", "precision", "recall", "F1"), [("Correct", 0.9, 0.8, None)])),
)


def engines(count: int) -> list[EngineStatus]:
    return [EngineStatus(number, "ready", 9, 1024, 100 + number, 5_000, 2, 1) for number in range(count)]


STATUS = Status(
    stage="rolling out",
    host="node1",
    pid=7,
    begun="2026-11-30T20:00:00+00:00",
    updated="2026-11-30T20:50:00+00:00",
    total=4_000,
    before=1_000,
    done=1_234,
    failed=12,
    seconds=2_500.0,
    output_tokens=6_120_334,
    recent=2_380.4,
    average=2_300.0,
    left_s=(4_200.0, 4_800.0, 5_400.0),
    prompt_tokens=1_000,
    cached_tokens=430,
    engines=engines(1),
    sections=SECTIONS,
    notes=("12 failed, see runs/x/failed.json",),
)


def drawn(status: Status, width: int, height: int = 60) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with console.capture() as found:
        console.print(panel(status, width, height))
    return found.get().splitlines()


def test_at_80_columns_everything_that_matters_is_there() -> None:
    lines = drawn(STATUS, 80)
    assert re.fullmatch(r"rolling out ━+[╸ ] +2,234/4,000 questions, 12 failed", lines[0])
    assert lines[1] == "            1 h 10 min to 1 h 30 min left · 42 min so far"
    assert lines[2] == "            1,000 before this start"
    assert lines[3] == "tokens/s    2,380 now · 2,300 on average · 6,120,334 written"
    assert lines[4] == "engines     1 of 1 ready, 1 lost · 1,024 requests running, 100 waiting"
    assert lines[5] == "            43% of prompt tokens cached"
    assert lines[6] == "12 failed, see runs/x/failed.json"
    assert re.fullmatch(r"engine +state +questions +running +waiting +tokens +lost", lines[8])
    assert re.fullmatch(r"0 +ready +9 +1,024 +100 +5,000 +1", lines[9])
    assert re.fullmatch(r"samples by variant +samples +right +wrong +unknown +cut +failed", lines[11])
    assert re.fullmatch(r"variant_0 +6,400 +50.0% +37.5% +12.5% +12 +0", lines[12])
    assert re.fullmatch(r"reflections +number +share +verdicts +precision +recall +F1", lines[21])
    assert re.fullmatch(r"all +9 +- +Correct +90.0% +80.0% +-", lines[22])


def test_at_200_columns_the_tables_stand_beside_each_other() -> None:
    lines = drawn(STATUS, 200)
    (heads,) = [one for one in lines if "samples by variant" in one]
    assert "reflections" in heads
    assert "verdicts" in heads
    assert len(lines) < len(drawn(STATUS, 80)) - 4


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 100, 132, 200, 400])
@pytest.mark.parametrize("height", [5, 8, 12, 20, 60])
def test_it_is_never_wider_nor_higher_than_the_terminal(width: int, height: int) -> None:
    many = replace(STATUS, engines=engines(64), sections=SECTIONS * 3)
    for status in (STATUS, many, replace(STATUS, engines=engines(8))):
        lines = drawn(status, width, height)
        assert max(map(cell_len, lines)) <= width
        assert len(lines) <= height


def test_where_lines_are_few_the_first_rows_are_kept_and_the_others_counted() -> None:
    lines = drawn(STATUS, 200, 12)
    assert any("and 4 more" in one for one in lines)
    assert any("reflections" in one for one in lines)


def test_of_many_engines_only_the_odd_ones_are_named() -> None:
    many = [replace(one, lost=0) for one in engines(64)]
    many[3] = replace(many[3], state="loading", running=0)
    many[5] = replace(many[5], lost=2)
    many[9] = replace(many[9], running=0)
    lines = drawn(replace(STATUS, engines=many, sections=()), 200)
    assert lines[3].startswith("engines     63 of 64 ready, 2 lost · 1 loading · 63,488 requests running")
    assert [one.split()[0] for one in lines if re.match(r"\d+ +(ready|loading)", one)] == ["3", "5", "9"]
    healthy = drawn(replace(STATUS, engines=[replace(one, lost=0) for one in engines(64)], sections=()), 200)
    assert not [one for one in healthy if one.startswith("engine  ")]


def test_a_line_of_a_log_says_all_that_matters() -> None:
    told = "rollout     2,234/4,000 questions, 12 failed, 1 h 10 min to 1 h 30 min left, 2,380 tokens/s, 50% right"
    assert line(STATUS) == f"{told}, 78% of it, 1 of 1 engine ready, 1 lost"
    long = replace(STATUS, sections=[Section("", Table((), ()), "x" * 50)] * 9)
    assert len(line(long)) == LINE
    assert line(replace(STATUS, stage="loading", recent=None, average=None, left_s=None, sections=())).startswith(
        "loading "
    )


def test_hostile_names_draw_nothing_but_themselves() -> None:
    name = "\x1b[31m[bold]a\nb\u202e\x07" + "x" * 500
    section = Section(name, Table((name, "n"), [(name, 1)]), name)
    status = replace(STATUS, sections=[section], notes=[name], host=name)
    for text in ("\n".join(drawn(status, 80)), line(status)):
        assert not set(text) & set("\x1b\x07\u202e")
        assert "[bold]a b" in text
    assert max(map(cell_len, drawn(status, 80))) <= 80


@pytest.mark.parametrize("width", [20, 60, 80])
def test_wide_characters_are_counted_as_they_are_drawn(width: int) -> None:
    status = replace(STATUS, sections=[Section("任务", Table(("任务", "n"), [("数" * 60, 1)])), SECTIONS[2]])
    lines = drawn(status, width)
    assert max(map(cell_len, lines)) <= width
    assert any("数" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5_900, "1 h 38 min"),
        (3_500, "58 min"),
        (7_200, "2 h"),
        (8_000, "2 h 13 min"),
        (300_000, "3 d 11 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_time_left_is_a_range_where_its_ends_differ() -> None:
    assert left(STATUS) == "1 h 10 min to 1 h 30 min left"
    assert left(replace(STATUS, left_s=(60.1, 60.2, 60.3))) == "about 60 s left"
    assert left(replace(STATUS, left_s=None)) == ""


def test_a_bar_has_no_room_where_words_fill_the_line() -> None:
    console = Console(file=io.StringIO(), width=30, color_system=None)
    with console.capture() as found:
        console.print(Group(bar("assembling", 3, 8, "3/8 parts, about 2 min left", 30)))
    assert found.get().rstrip().startswith("assembling  3/8 parts, about")
    assert len(found.get().splitlines()) == 1
