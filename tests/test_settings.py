"""What a user may set: each range is checked when it is set, and told in one line that names the flag."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.flags import parse
from generation.builtin import RANGES
from generation.question_settings import read_range
from generation.settings import Settings
from generation.tasks.countdown import NAMES, Ranges


def test_no_flag_at_all() -> None:
    settings = Settings()
    assert settings == parse(Settings, [])
    assert (settings.model, settings.task, settings.variants) == (None, None, ("plain",))
    assert (settings.seed, settings.formats, settings.attempts) == (0, ("*C_full",), "5")
    left_to_the_model = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens")
    left_to_the_plan = ("questions", "rl_questions", "samples", "reflections", "engines", "out", "address")
    assert [getattr(settings, name) for name in (*left_to_the_model, *left_to_the_plan)] == [None] * 12
    assert settings.dry_run is False


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("questions", 1, 10**7),
        ("rl_questions", 0, 10**7),
        ("samples", 1, 10_000),
        ("reflections", 0, 1_000),
        ("temperature", 0, 2),
        ("top_p", 1e-9, 1),
        ("top_k", 0, 10**6),
        ("repetition_penalty", 0.01, 100),
        ("max_tokens", 1, 10**7),
        ("seed", 0, 2**63 - 1),
        ("engines", 1, 10_000),
        ("tensor_parallel", 1, 64),
    ],
)
def test_each_range_holds_both_ends_and_nothing_beyond(name: str, low: float, high: float) -> None:
    def build(value: Any) -> Settings:
        given: dict[str, Any] = {name: value}
        return Settings(**given)

    for value in (low, high):
        assert getattr(build(value), name) == value
    below = low - 1 if isinstance(low, int) else low / 2
    beyond = [below, high + 1, -1]
    if name != "questions":  # where a float is never read as one: it is the name of a file
        beyond += [float("nan"), float("inf")]
    for value in beyond:
        with pytest.raises(ValueError, match=rf"^--{name} must be between .* and .*, not ") as told:
            build(value)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"questions": 0}, "--questions must be between 1 and 10,000,000, not 0"),
        ({"seed": -1}, "--seed must be between 0 and 9,223,372,036,854,775,807, not -1"),
        ({"top_p": 1.5}, "--top_p must be between 1e-09 and 1, not 1.5"),
        ({"task": "countdown_7arg"}, f"--task 'countdown_7arg' is unknown: take one of {', '.join(NAMES)}"),
        ({"task": "countdown"}, "--task 'countdown' is unknown"),
        ({"variants": ("nice",)}, "variant 'nice' is unknown: take plain, all, or any of original"),
        ({"variants": ("all", "original")}, "a variant is named twice"),
        ({"variants": ()}, "no variant is named"),
        ({"inputs": "5"}, "--inputs must be LOW-HIGH in whole numbers, such as 1-99, not '5'"),
        ({"inputs": "9-5"}, "--inputs must be LOW-HIGH"),
        ({"inputs": "1-9999999"}, "--inputs must be LOW-HIGH"),
        ({"targets": "-5-9"}, "--targets must be LOW-HIGH in whole numbers, such as 100-200, not '-5-9'"),
        ({"targets": "1.5-9"}, "--targets must be LOW-HIGH"),
        ({"targets": ""}, "--targets must be LOW-HIGH"),
        ({"targets": " 1-9"}, "--targets must be LOW-HIGH"),
        ({"targets": "1-9\n"}, "--targets must be LOW-HIGH"),
    ],
)
def test_what_is_wrong_is_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r"^(--|variant|a variant|no variant)") as error:
        Settings(**given)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("inputs", "targets", "expected"),
    [
        (None, None, RANGES),
        ("1-10", "10-50", Ranges((1, 10), (10, 50))),
        ("7-7", None, Ranges((7, 7), RANGES.targets)),
        (None, "0-0", Ranges(RANGES.inputs, (0, 0))),
        ("007-999999", None, Ranges((7, 999_999), RANGES.targets)),
    ],
)
def test_ranges(inputs: str | None, targets: str | None, expected: Ranges) -> None:
    read = read_range("--inputs", inputs, RANGES.inputs), read_range("--targets", targets, RANGES.targets)
    assert Ranges(*read) == expected


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--questions", "7"], "questions", 7),
        (["--questions", "mine.jsonl"], "questions", "mine.jsonl"),
        (["--questions", "owner/name"], "questions", "owner/name"),
        (["--questions", "1e3"], "questions", "1e3"),
        (["--variants", "original,rephrase"], "variants", ("original", "rephrase")),
        (["--formats=*C,0C"], "formats", ("*C", "0C")),
        (["--rl-questions=0"], "rl_questions", 0),
        (["--temperature", "0"], "temperature", 0.0),
        (["--model=2024"], "model", "2024"),
        (["--dry-run"], "dry_run", True),
    ],
)
def test_as_typed(argv: list[str], name: str, value: object) -> None:
    assert getattr(parse(Settings, argv), name) == value


@pytest.mark.parametrize(
    "argv", [["--questions=-3"], ["--samples", "0"], ["--task=x"], ["--variants="], ["--inputs=5"]]
)
def test_wrong_input_ends_in_one_line_and_exit_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(Settings, argv)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
