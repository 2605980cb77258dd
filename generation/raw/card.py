"""The README.md of a RAW_DATA folder, from what its files really hold.

Knows the columns of RAW_DATA and nothing of how the rows came to be but what they say themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.jobs.card import About, Size, code, fenced, header, table
from cluster.jobs.licenses import UNKNOWN
from cluster.jobs.run_card import run_section, texts_section
from generation.raw.counts import OUTCOMES, TOKENS, VERDICTS, RawCounts, Serving, Tally, share
from generation.raw.schema import COLUMNS, SCHEMA, SCHEMA_VERSION

_REASONS = 20
_TOKENS = dict(zip(TOKENS, ("tokens read", "of these found in the cache", "tokens written"), strict=True))
_PROMPTS = ("variants", "reflections")
_ASKED = "Word for word, as they were filled in: `{names}` stand for what differs by question and sample."


def raw_card(
    counts: RawCounts,
    configuration: Mapping[str, object],
    *,
    name: str = "RAW_DATA",
    serving: Serving | None = None,
    license: str = UNKNOWN,
    record: Mapping[str, Any] | None = None,
) -> str:
    """The whole README.md; `configuration` holds JSON values and is shown as it is.

    `record` is the run's run.json, from which its `starts` and `texts` are shown.
    """
    size = Size.of(counts.all().samples, counts.memory, counts.files)
    tags = ["skillfactory", "self-distillation", "reasoning"]
    about = About(tags, [str(configuration.get("model", ""))], license)
    return "\n".join(
        [
            header(SCHEMA, size, about),
            f"# {name}\n",
            "Samples that a language model wrote for verifiable questions, each graded, each with the same "
            "model's\nreflections on it: the raw material of SkillFactory traces (arXiv 2512.04072). "
            "One row is one sample.\n",
            "## What it holds\n",
            *held(counts, serving, lost=counts.lost.total()),
            *_failures(counts),
            "## Columns\n",
            f"Schema version {SCHEMA_VERSION}.\n",
            table(
                ("column", "type", "meaning"),
                [(code(column.name), code(str(column.type)), column.meaning) for column in COLUMNS],
            ),
            "## How it was made\n",
            fenced(json.dumps(configuration, indent=2, sort_keys=True), "json"),
            "Each request has a seed of its own, so the same configuration asks for the same rows, however many "
            "engines there\nare and whatever dies on the way. vLLM's arithmetic depends on what else is in a batch: "
            "made again, some rows\nmay differ. `engine` and `engine_version` name who wrote each.\n",
            *made_sections(record or {}),
            "## How to load it\n",
            'Run this in the folder that holds this file, or give the folder\'s path for `"."`:\n',
            fenced('from datasets import load_dataset\n\nrows = load_dataset(".", split="train")', "python"),
        ]
    )


def made_sections(record: Mapping[str, Any]) -> list[str]:
    """The starts of a run and the prompts it asked, as its run.json has them."""
    prompts = {kind: texts for kind, texts in record.get("texts", {}).items() if kind in _PROMPTS}
    return [*run_section(record.get("starts", ())), *texts_section("The prompts", prompts, _ASKED)]


def held(counts: RawCounts, serving: Serving | None = None, *, lost: int | None = None) -> list[str]:
    """What any RAW_DATA holds, as tables; with how many of its questions can serve each trace format.

    `lost` counts questions without rows, where that is known.
    """
    parts = [_totals(counts, lost)]
    if tasks := counts.several():
        rows = [(code(task or "(none)"), one.samples, *map(one.outcome, OUTCOMES)) for task, one in tasks.items()]
        parts.append(table(("task", "samples", *OUTCOMES), rows))
    parts += _outcomes(counts.all())
    parts.append(
        "A sample without an answer is published as not correct, one that the grader could not judge as null; "
        "the reason\nis in `outcome_reason`.\n"
    )
    parts += _agreement(counts.all())
    if serving is not None:
        parts.append(f"Questions that can serve a trace format, with up to {serving.attempts} attempts a trace:\n")
        parts.append(_served(serving, sorted(counts.tasks)))
    for task, tally in tasks.items():
        parts += [f"### {code(task or '(none)')}\n", *_outcomes(tally), *_agreement(tally)]
    return parts


def _outcomes(tally: Tally) -> list[str]:
    """By variant, and why some are unknown."""
    rows = [
        (code(name or "(none)"), found.total(), *(found[outcome] for outcome in OUTCOMES))
        for name, found in tally.variants().items()
    ]
    parts = [table(("variant", "samples", *OUTCOMES), rows)]
    if tally.unknown:
        parts.append(table(("why a sample's outcome is unknown", "samples"), tally.unknown.most_common(_REASONS)))
    return parts


def _served(serving: Serving, tasks: Sequence[str]) -> str:
    """By format, and of several tasks each for itself."""
    several = tasks if len(tasks) > 1 else []
    of_task = [serving.served(task) for task in several]
    rows = [(code(name), count, *(served[name] for served in of_task)) for name, count in serving.served().items()]
    return table(("format", "questions", *(code(task or "(none)") for task in several)), rows)


def _totals(counts: RawCounts, lost: int | None) -> str:
    whole = counts.all()
    return table(
        ("what", "count"),
        [
            ("questions", len(counts.questions)),
            *([] if lost is None else [("questions that failed and have no rows", lost)]),
            ("samples", whole.samples),
            ("samples that mention their hint", counts.hinted),
            ("samples whose request failed", counts.failed),
            ("reflections", whole.reflections),
            ("reflections that say Correct", whole.verdict("Correct")),
            ("reflections that say Incorrect", whole.verdict("Incorrect")),
            ("reflections without a verdict", whole.verdict("none")),
            ("reflections whose verdict is right", whole.valid),
            ("reflections whose request failed", counts.refused),
            *((_TOKENS[name], counts.tokens[name]) for name in TOKENS if counts.tokens),
        ],
    )


def _agreement(tally: Tally) -> list[str]:
    """The verdicts against the outcomes, and how well they tell right from wrong."""
    if not tally.reflections:
        return []
    seen = [one for one in OUTCOMES if any(key[0] == one for key in tally.verdicts)]
    shares = [(code(verdict), *map(_percent, share(tally.verdicts, verdict))) for verdict in VERDICTS[:2]]
    return [
        table(("sample", *VERDICTS), [(one, *(tally.verdicts[one, verdict] for verdict in VERDICTS)) for one in seen]),
        table(("verdict", "precision", "recall", "F1"), shares),
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _failures(counts: RawCounts) -> list[str]:
    if not counts.lost:
        return []
    rows = [(code(reason), count) for reason, count in counts.lost.most_common(_REASONS)]
    return ["Questions without rows:\n", table(("reason", "questions"), rows)]
