"""Questions that stand in a given set: by facts, by text, by 13 words in a row, from every kind of set that we read."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assembly.exclusion import BY_FACTS, BY_KEY, BY_TEXT, BY_WORDS, COMMON, EXCLUDED, exclude, match_part, read_given
from assembly.run import main
from generation.raw.reader import open_parts
from generation.tasks import countdown
from generation.tasks.asked_sets import read_asked
from tests.assembly_rows import published_row, write_parquet

LONG = "A farmer has seventeen sheep and buys four more at the market on Monday before he sells nine of them again."
INSIDE = f"Think of this story. {LONG.replace(',', '').upper()} How many sheep does he have in the end?"
COUNTDOWN = countdown.problem([3, 7, 9], 30, "").text

CASES = [
    ("2 + 2?", "2 + 2?", BY_TEXT),
    ("Who wrote Faust", " who  wrote Faust? ", BY_TEXT),
    ("What is 2 + 2?", "What is 2 - 2?", None),
    (countdown.problem([9, 7, 3], 30, "").text, COUNTDOWN, BY_FACTS),
    (countdown.problem([9, 7, 3], 31, "").text, COUNTDOWN, None),
    (INSIDE, LONG, BY_WORDS),
    (INSIDE.replace("FOUR", "five"), LONG, BY_WORDS),  # 13 words in a row are left behind it
    (INSIDE.replace("MARKET", "fair").replace("SEVENTEEN", "ten"), LONG, None),
    (LONG[:40], LONG, None),  # fewer words than 13 are only the same as a whole
]


def asked_for(folder: Path, ours: list[str], given: list[dict[str, Any]]) -> tuple[dict[str, str], Counter[Any]]:
    """By question of ours why it is left out, and what is told of it."""
    raw = write_parquet(folder / "raw.parquet", [published_row(text, "1", True) for text in ours])
    (folder / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
    told = Counter[Any]()
    keys = exclude(map, open_parts(raw), [str(folder / "held.jsonl")], told, folder)
    lines = [json.loads(line) for line in (folder / EXCLUDED).read_text(encoding="utf-8").splitlines()]
    assert {line["question_key"] for line in lines} == keys
    return {line["question"]: line["by"] for line in lines}, told


@pytest.mark.parametrize(("ours", "given", "by"), CASES)
def test_a_question_is_found_where_it_stands(ours: str, given: str, by: str | None, tmp_path: Path) -> None:
    found, told = asked_for(tmp_path, [ours, "something else"], [{"question": "Why?"}, {"question": given}])
    assert found == ({} if by is None else {ours[:400]: by})
    assert told["--exclude held.jsonl", "different questions there"] == 2
    assert told.total() == 2 + len(found)


def test_words_that_many_questions_share_tell_none_of_them_apart(tmp_path: Path) -> None:
    ours = [f"{LONG} And {n}?" for n in range(COMMON + 1)]
    (tmp_path / "few").mkdir()
    few, _ = asked_for(tmp_path / "few", ours[:COMMON], [{"question": LONG}])
    assert few == dict.fromkeys(ours[:COMMON], BY_WORDS)
    many, _ = asked_for(tmp_path, ours, [{"question": LONG}, {"question": f"{LONG} And 3?"}])
    assert many == {ours[3]: BY_TEXT}


def test_words_that_the_set_repeats_tell_none_apart_either(tmp_path: Path) -> None:
    given = [{"question": f"{LONG} But {n}?"} for n in range(COMMON + 1)]
    assert asked_for(tmp_path, [INSIDE], given)[0] == {}
    (tmp_path / "fewer").mkdir()
    assert asked_for(tmp_path / "fewer", [INSIDE], given[1:])[0] == {INSIDE: BY_WORDS}


TURNS = [{"role": "system", "content": "x"}, {"role": "user", "content": "2 + 2?"}]
ROWS: list[dict[str, Any]] = [
    {"question": "2 + 2?", "answer": "4"},
    {"problem": "2 + 2?", "prompt": "something else"},
    {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]},
    {"messages": TURNS},
    {"prompt": TURNS, "extra_info": {"question_key": "k"}},
    {"prompt": "2 + 2?"},
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: next(iter(row)))
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder"])
def test_every_kind_of_set_is_read(row: dict[str, Any], kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"held.{kind}"
    if kind == "jsonl":
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    else:
        place = path / "SFT_DATA" / "data" / "train.parquet" if kind == "folder" else path
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([row]), place)
    (asked,) = read_asked(str(path), "--exclude")
    assert asked.text == "2 + 2?"
    assert asked.key == ("k" if "extra_info" in row else "")


def test_numbers_and_target_in_columns_are_facts(tmp_path: Path) -> None:
    given = [{"question": "Reach it.", "numbers": [9, 3, 7], "target": 30}]
    assert asked_for(tmp_path, [COUNTDOWN], given)[0] == {COUNTDOWN: BY_FACTS}


def test_a_set_of_tokens_is_known_by_its_keys(tmp_path: Path) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", [published_row("a", "1", True) | {"question_key": "k"}])
    held = write_parquet(tmp_path / "held.parquet", [{"input_ids": [1], "question_key": "k"}])
    match = match_part(open_parts(raw)[0], read_given([str(held)]))
    assert {key: hit.by for key, hit in match.exact.items()} == {"k": BY_KEY}


def test_what_a_former_set_holds_stands_in_no_later_one(tmp_path: Path) -> None:
    """A set in the layout of turns, made here, is what the next one leaves out."""
    rows = [published_row(f"question {n}", f"{n} {s}", s % 2 == 0) for n in range(6) for s in range(4)]
    for name, some in (("first", rows[:12]), ("second", rows)):
        write_parquet(tmp_path / name / "RAW_DATA" / "a.parquet", some)
    common = ["--attempts", "2", "--processes", "1"]
    main(["--raw", str(tmp_path / "first"), *common])
    former = str(tmp_path / "first" / "SFT_DATA")
    main(["--raw", str(tmp_path / "second"), "--exclude", former, *common])
    out = tmp_path / "second" / "SFT_DATA"
    asked = {turns[0]["content"] for turns in pq.read_table(out / "data")["conversations"].to_pylist()}
    assert asked == {"question 3", "question 4", "question 5"}
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"| `--exclude SFT_DATA` | questions left out by {BY_TEXT} | 3 |" in card
    assert str(tmp_path) not in card.partition("## The run")[0]
