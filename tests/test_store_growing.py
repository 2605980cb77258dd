"""Shards of a run that has grown: the later one has more of an item, and where it is lost the earlier one counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import TornShardError
from cluster.jobs.growth import Amounts, Asked, check_growth, covers, first_of, grown
from cluster.jobs.store import ShardStore, finished_in, rows_in
from tests.test_store import SCHEMA, rows_of


def asked(samples: int) -> Asked:
    def whole(key: str, had: Amounts) -> bool:
        return key == "whole" or had["samples"] == samples

    return Asked({"samples": samples}, {"samples": 1}, whole)


def opened(folder: Path, samples: int) -> ShardStore:
    return ShardStore(folder, schema=SCHEMA, sort_by=("variant", "index"), asked=asked(samples))


def test_a_later_shard_counts_and_an_earlier_one_again_where_it_is_torn(tmp_path: Path) -> None:
    small = opened(tmp_path, 1)
    first = small.write_shard(rows_of({"a": 1, "b": 1, "whole": 1}))
    grown = opened(tmp_path, 2)
    assert ({*grown.finished()}, {*grown.begun()}) == ({"whole"}, {"a", "b"})
    assert [table.num_rows for table in grown.scan(grown.begun())] == [2]
    second = grown.write_shard(rows_of({"a": 2}))
    assert ({*grown.finished()}, {*grown.begun()}) == ({"whole", "a"}, {"b"})
    assert grown.read(["a", "b", "whole"]).num_rows == 4, "what lacks something has its rows too"
    assert finished_in(tmp_path, "question_key", asked(2)) == {"whole", "a"}
    assert sum(table.num_rows for table in rows_in(tmp_path, "question_key", asked(2))) == 3
    assert opened(tmp_path, 2).repeated == []

    second.write_bytes(second.read_bytes()[:-20])
    with pytest.raises(TornShardError):
        grown.read(["a"])
    again = opened(tmp_path, 2)
    assert ({*again.finished()}, {*again.begun()}) == ({"whole"}, {"a", "b"})
    assert again.write_shard(rows_of({"a": 2, "b": 2})).name > second.name > first.name
    more = opened(tmp_path, 3)
    assert ({*more.finished()}, {*more.begun()}) == ({"whole"}, {"a", "b"})
    assert more.read(["a", "b"]).num_rows == 4, "of two that lack something the later one has more"


def test_amounts() -> None:
    rows = [
        (2, 1, True),
        (1, 2, False),
        (0, None, True),
        (None, 1, False),
        (["a", "b"], ["b"], True),
        (["a"], ["a", "b"], False),
        ({"a": 2, "b": 1}, {"a": 1}, True),
        ({"a": 2}, {"b": 1}, False),
    ]
    assert [covers(more, less) for more, less, _ in rows] == [wanted for *_, wanted in rows]
    before: Amounts = {"samples": 4, "variants": ["x"]}
    assert grown(("samples", "variants"), before, {"samples": 6, "variants": ["x", "y"]}) == (
        "samples 4 to 6, variants x to x,y"
    )
    assert grown(("samples", "variants"), before, before) == ""
    with pytest.raises(ValueError, match="--samples was 4, now 2: a run grows, and never shrinks"):
        check_growth(("samples", "variants"), before, {"samples": 2, "variants": ["x"]})


def test_what_a_run_began_with() -> None:
    record = {
        "configuration": {"samples": 6, "rl_samples": 2, "seed": 0},
        "grown": [{"from": {"samples": 2}}, {"from": {"samples": 4, "rl_samples": None}}],
    }
    assert first_of(record) == {"samples": 2, "seed": 0}
