"""The command for more reflections keeps the shape of the house: its flags, its length, its names."""

from __future__ import annotations

import dataclasses

import pytest

from generation.settings import Settings
from reflection.added.settings import AdditionSettings
from tests.test_shape import SOURCES

FIELDS = dataclasses.fields(AdditionSettings)


def test_flags_are_frozen() -> None:
    """A new flag must be added here, and to the README, and earn its place."""
    assert [field.name for field in FIELDS] == [
        "raw",
        "reflections",
        "model",
        "temperature",
        "top_p",
        "top_k",
        "repetition_penalty",
        "max_tokens",
        "seed",
        "engines",
        "tensor_parallel",
        "silence",
        "retry_failed",
        "address",
        "grace_s",
        "out",
        "push_to",
        "public",
        "license",
        "dry_run",
    ]


def test_all_but_the_first_are_flags_of_the_whole_job_with_the_same_defaults() -> None:
    whole = {field.name: field for field in dataclasses.fields(Settings)}
    assert [field.name for field in FIELDS if field.name not in whole] == ["raw"]
    for field in FIELDS[1:]:
        assert (field.default, field.type) == (whole[field.name].default, whole[field.name].type), field.name


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_flag_has_a_line_of_help(field: dataclasses.Field[object]) -> None:
    assert field.metadata["help"].strip()
    assert "\n" not in field.metadata["help"]


@pytest.mark.parametrize("name", ["generation.run", "reflection.run"])
def test_a_run_reads_as_a_table_of_contents(name: str) -> None:
    assert len(SOURCES[name].read_text(encoding="utf-8").splitlines()) < 60
