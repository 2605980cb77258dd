"""A comparison of evaluations, written for a terminal and in Markdown."""

import textwrap
from collections.abc import Sequence

from cluster.jobs.card import WIDTH, Table
from generation.evaluation.averages import OVERALL
from generation.evaluation.compare import COMPARED, PAIRED, SOLVED, Comparison, Match, Pair
from generation.evaluation.shown import about, amount, lines, p_value, percent
from generation.evaluation.statistics import Figure


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison for a terminal of 80 columns, shares in percent."""
    shown = list[str]()
    for pair in comparison.pairs:
        shown += [*textwrap.wrap(_title(pair), WIDTH), *textwrap.wrap(_questions(pair), WIDTH)]
        for variant, matches in _by_variant(pair):
            shown += ["", *([f"variant {variant}:"] if variant else []), *_matches_text(matches)]
        shown.append("")
    return "\n".join([*shown, *textwrap.wrap(f"{PAIRED} {SOLVED}", WIDTH)]) + "\n"


def _title(pair: Pair) -> str:
    return f"{pair.second} (second) against {pair.first} (first)" + (f", arm {pair.arm}" if pair.arm else "")


def _questions(pair: Pair) -> str:
    alone = f"{pair.only_first:,} only in {pair.first}, {pair.only_second:,} only in {pair.second}"
    missing = f"; {pair.unanswered:,} without a reply" if pair.unanswered else ""
    return f"Questions: {pair.both:,} in both, {alone}{missing}"


def _by_variant(pair: Pair) -> list[tuple[str, list[Match]]]:
    """Return the matches of each variant, "" if there is one; no average of one task."""
    variants = dict.fromkeys(match.variant for match in pair.matches)
    kept = [match for match in pair.matches if not (match.name == OVERALL and len(match.tasks) == 1)]
    return [
        (variant if len(variants) > 1 else "", [match for match in kept if match.variant == variant])
        for variant in variants
    ]


def _matches_text(matches: Sequence[Match]) -> list[str]:
    rate, vote, tokens = COMPARED
    main = [
        [
            *(match.name, match.questions),
            *(percent(Figure(one, None, None, 0)) for one in match.figures[rate][:2]),
            *(percent(match.figures[rate].difference, signed=True), match.won, match.lost, match.tied),
        ]
        for match in matches
    ]
    more = [
        [
            *(match.name, percent(match.figures[vote].difference, signed=True)),
            *(about(match.figures[tokens].difference, share=False, signed=True), match.only_first, match.only_second),
            p_value(match.p),
        ]
        for match in matches
    ]
    head = ("task", "asked", "first", "second", "pass@1: difference", "won", "lost", "tied")
    rest = ("", "majority: diff.", "tokens", "solved: 1st", "only 2nd", "p")
    return [*lines(head, main, (20, 7, 6, 7, 22, 6, 6, 6)), "", *lines(rest, more, (20, 20, 11, 12, 9, 7))]


def comparison_markdown(comparison: Comparison) -> str:
    """Return a comparison in Markdown."""
    rate, vote, tokens = COMPARED
    head = (
        "task",
        "questions",
        "pass@1, first",
        "second",
        "difference",
        "majority, difference",
        "tokens a reply, difference",
    )
    counts = ("won", "lost", "tied", "only first solved", "only second solved", "McNemar's p")
    parts = list[str]()
    for pair in comparison.pairs:
        parts += [f"### {_title(pair)}\n", f"{_questions(pair)}.\n"]
        for variant, matches in _by_variant(pair):
            rows = [
                [match.name, match.questions]
                + [percent(Figure(one, None, None, 0), unit="%") for one in match.figures[rate][:2]]
                + [percent(match.figures[name].difference, signed=True) for name in (rate, vote)]
                + [amount(match.figures[tokens].difference, signed=True), match.won, match.lost, match.tied]
                + [match.only_first, match.only_second, p_value(match.p)]
                for match in matches
            ]
            parts += [f"Variant `{variant}`:\n"] if variant else []
            parts.append(Table((*head, *counts), rows).markdown(1))
    return "\n".join([*parts, f"{PAIRED} {SOLVED}\n"])
