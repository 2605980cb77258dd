"""The figures of an evaluation, written for a terminal and for its card."""

import textwrap
from collections.abc import Sequence

from cluster.jobs.card import WIDTH, Table
from generation.evaluation.averages import OVERALL
from generation.evaluation.figures import NOTE, UNDEFINED, VERDICT_FIGURES, Evaluation, Row, figures
from generation.evaluation.schema import SKILLS
from generation.evaluation.shown import about, amount, lines, percent
from generation.evaluation.statistics import Figure
from generation.evaluation.tallies import (
    ANSWER_FORCED,
    ATTEMPTS,
    FORCED,
    MAJORITY,
    REFLECTIONS,
    RIGHT_TOKENS,
    SPENT,
    TOKENS,
    TRACES,
    pass_name,
)

_KEY = (
    "In percent; ± is half of an interval's width, < and > the one limit beside the figure. Tokens are those of a "
    "reply; per right one, all tokens over the right replies."
)
PROXY = (
    "Verification, backtracking and restarts are shares of the replies that are no traces, by a table of words "
    "(skills.toml): a proxy for what the model does."
)


def blocks(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows of each arm and variant under a title, "" if there is one of each; no average of one task."""
    several = {part: len({row.cell[part] for row in rows}) > 1 for part in (1, 2)}
    found = list[tuple[str, list[Row]]]()
    for arm, variant in dict.fromkeys(row.cell[1:] for row in rows):
        told = [f"{name} {value}" for part, name, value in ((1, "arm", arm), (2, "variant", variant)) if several[part]]
        here = [row for row in rows if row.cell[1:] == (arm, variant)]
        found.append((", ".join(told), [row for row in here if not (row.name == OVERALL and len(row.tasks) == 1)]))
    return found


def figures_text(evaluation: Evaluation, rows: Sequence[Row] | None = None) -> str:
    """Return the main figures for a terminal of 80 columns."""
    title = f"{evaluation.name}: {evaluation.model}" if evaluation.model else evaluation.name
    shown = textwrap.wrap(title, WIDTH)
    for title, here in blocks(figures(evaluation) if rows is None else rows):
        shown += ["", *([f"{title}:"] if title else []), *_block_text(here)]
    shown += ["", *textwrap.wrap(f"{_KEY} {NOTE}", WIDTH)]
    return "\n".join(shown) + "\n"


def _block_text(rows: Sequence[Row]) -> list[str]:
    samples = [row.samples for row in rows if row.samples]
    least = min(samples, default=1)
    most = least if least > 1 else max(samples, default=1)  # for as many tasks, and so averages, as there can be
    last = pass_name(most) if most > 1 else ""
    main = [
        [row.name, row.questions, *(percent(_of(row, name)) for name in ("pass@1", last, MAJORITY))] for row in rows
    ]
    shown = lines(
        ("task", "asked", "pass@1", last, MAJORITY if last else ""),
        [row if last else [*row[:3], "", ""] for row in main],
        (20, 6, 18, 18, 18),
    )
    ends = ("no_answer", "cut", "undecided")
    names = ["traces", "attempts", "reflections", "F1 correct", "F1 incorrect"]
    shares = [
        [
            row.name,
            *(about(_of(row, name)) for name in ends),
            *(about(_of(row, name), share=False) for name in (TOKENS, SPENT)),
        ]
        for row in rows
    ]
    shown += [
        "",
        *lines(("", "no answer", "cut", "undecided", "tokens", "per right"), shares, (20, 12, 11, 12, 12, 13)),
    ]
    if any(_of(row, TRACES).value for row in rows):
        skills = [
            [
                row.name,
                about(_of(row, TRACES)),
                *(about(_of(row, name), share=False) for name in (ATTEMPTS, REFLECTIONS)),
                *(about(_of(row, f"{verdict}_f1")) for verdict in ("correct", "incorrect")),
            ]
            for row in rows
        ]
        shown += ["", *lines(("", *names), skills, (20, 11, 11, 13, 12, 13))]
    for first, named in (("by words: a proxy", SKILLS), ("", (FORCED, ANSWER_FORCED))):
        if any(_of(row, named[-1]).value is not None for row in rows):
            cells = [[row.name, *(about(_of(row, name)) for name in named)] for row in rows]
            shown += ["", *lines((first, *(name.replace("_", " ") for name in named)), cells, (20, *[15] * len(named)))]
    return shown + _failures(rows)


def _failures(rows: Sequence[Row]) -> list[str]:
    """Return a line about failed requests, which are no replies, if there are any."""
    of_tasks = [row for row in rows if not row.tasks]
    failed, unanswered = sum(row.failed for row in of_tasks), sum(row.unanswered for row in of_tasks)
    if not failed:
        return []
    told = f"Failed requests: {failed:,}. Questions without a reply, which are in no figure: {unanswered:,}."
    return textwrap.wrap(told, WIDTH)


def _of(row: Row, name: str) -> Figure:
    return row.figures.get(name, UNDEFINED)


def figures_markdown(evaluation: Evaluation, rows: Sequence[Row] | None = None) -> str:
    """Return the figures for a card: the main table, pass@k, the skills, and what the intervals are."""
    parts = []
    for title, here in blocks(figures(evaluation) if rows is None else rows):
        parts += [f"### {title[0].upper()}{title[1:]}\n"] if title else []
        parts += _block_markdown(here)
    return "\n".join([*parts, f"{NOTE}\n"])


def _block_markdown(rows: Sequence[Row]) -> list[str]:
    head = ("task", "questions", "replies", "right (pass@1)", "majority", "wrong", "no answer", "cut", "undecided")
    shares = ("pass@1", MAJORITY, "wrong", "no_answer", "cut", "undecided")
    tokens = {"tokens a reply": TOKENS, "tokens a right reply": RIGHT_TOKENS, "tokens for a right reply": SPENT}
    told = any(_of(row, TOKENS).value is not None for row in rows)
    tokens = tokens if told else {}
    main = [
        [row.name, row.questions, row.replies]
        + [percent(_of(row, name), unit="%") for name in shares]
        + [amount(_of(row, name)) for name in tokens.values()]
        for row in rows
    ]
    parts = [Table((*head, *tokens), main).markdown(1)]
    most = max((row.samples for row in rows), default=0)
    if most > 1:
        ks = sorted({*(2**power for power in range(most.bit_length())), most})
        cells = [[row.name, *(percent(_of(row, pass_name(k)), unit="%") for k in ks)] for row in rows]
        parts.append(Table(("task", *map(pass_name, ks)), cells).markdown(1))
    if any(_of(row, TRACES).value for row in rows):
        verdicts = [name.replace("_f1", " F1").replace("_", " ") for name in VERDICT_FIGURES]
        cells = [
            [row.name, percent(_of(row, TRACES), unit="%")]
            + [amount(_of(row, name)) for name in (ATTEMPTS, REFLECTIONS)]
            + [percent(_of(row, name), unit="%") for name in VERDICT_FIGURES]
            for row in rows
        ]
        parts.append(Table(("task", "traces", "attempts", "reflections", *verdicts), cells).markdown(1))
    for names, why in ((SKILLS, f"{PROXY}\n"), ((FORCED, ANSWER_FORCED), "")):
        if any(_of(row, names[-1]).value is not None for row in rows):
            cells = [[row.name, *(percent(_of(row, name), unit="%") for name in names)] for row in rows]
            parts += [Table(("task", *(name.replace("_", " ") for name in names)), cells).markdown(1), why]
    return [*filter(None, parts), *(f"{line}\n" for line in _failures(rows))]
