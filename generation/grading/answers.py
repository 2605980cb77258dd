r"""Where a response gives its answer: in a tag, in a box, in its last line, or where a regular expression matches.

All but the last take time linear in the text. An expression of the user's may not terminate on a text of the model's,
so it is searched for in a process that can be killed.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cluster.texts import nearest
from generation.grading.text import closed_box, layers
from generation.grading.workers import pool_of
from generation.records import ANSWER_IN
from reflection.tags import last_block

WORKER = "generation.grading.search_worker"
ONLY = "the only answer tag"
LAST = "the last of several answer tags"
NESTED = "the innermost of nested answer tags"
CLOSED = "the last answer tag that is closed"
FENCED = "an answer tag in a code fence"
BOXED = "the last box"
LAST_LINE = "the last line"
MATCHED = "the last match of the expression"
PLACES = (ONLY, LAST, NESTED, CLOSED, FENCED, BOXED, LAST_LINE, MATCHED)
"""Where an answer was found; if several of the tags' apply, the last of these."""

WORDS = frozenset({"tag", "boxed", "last_line"})
DEFAULTS = dict.fromkeys(("math", "number"), ("tag", "boxed"))  # by grader; elsewhere ANSWER_IN
_LONGEST_LINE = 10_000  # characters; graders read no longer answers
_AROUND_LINE = re.compile(r"\A\s*#{1,6} |</?answer>|\A\s*`{3,}\s*\w*\s*\Z", re.IGNORECASE)
_MEANS_MORE = re.compile(r"[\\.^$*+?{}\[\]|()]")


class Found(NamedTuple):
    answer: str  # stripped, never empty
    place: str  # one of PLACES


def read_answer_in(text: str) -> tuple[str, ...]:
    """Parse the value of --answer_in: a comma list of words, then perhaps one regular expression, commas and all.

    The first item that is no such word begins the expression. Raises ValueError, naming the flag.
    """
    places, rest, comma = list[str](), text, ","
    while comma and (word := rest.partition(",")[0].strip()) in WORDS:
        if word in places:
            raise ValueError(f"--answer_in names {word} twice: name each place once")
        places.append(word)
        _, comma, rest = rest.partition(",")
    if comma:
        _check_expression(rest := rest.strip())
        places.append(rest)
    return tuple(places)


def _check_expression(text: str) -> None:
    """Raise ValueError for what is no regular expression, or cannot be meant as one."""
    words = ", ".join(_FINDERS)
    if not _MEANS_MORE.search(text):
        hint = "".join(f"; did you mean {near}?" for near in nearest(text, sorted(WORDS)))
        told = f"--answer_in: {text!r} is none of {words}, and as a regular expression finds only itself"
        raise ValueError(f"{told}{hint}")
    if (last := text.rpartition(",")[2].strip()) in WORDS:
        raise ValueError(f"--answer_in: a regular expression comes last, with all its commas: name {last} before it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python warns of what another version may read in another way
            pattern = re.compile(text)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        told = f"--answer_in: {text!r} is none of {words}, and no regular expression"
        raise ValueError(f"{told}: {error}") from error
    if pattern.search(""):
        raise ValueError(f"--answer_in: {text!r} matches an empty text, and so finds nothing: let it need a character")


def places_of(grader: str, chosen: str | None) -> tuple[str, ...]:
    """Return where answers to questions of a grader are looked for. Raises ValueError as read_answer_in does."""
    return DEFAULTS.get(grader, ANSWER_IN) if chosen is None else read_answer_in(chosen)


def find(response: str, answer_in: tuple[str, ...], *, was_cut: bool = False) -> Found | None:
    """Return the answer in the first of these places that has one; None if none has.

    What reaches the end of a response that `was_cut` may go on, and is no answer. Raises TimedOutError or DiedError for
    an expression that takes too long, CannotStartError.
    """
    for where in answer_in:
        found = _FINDERS[where](response, was_cut) if where in _FINDERS else _match(where, response, was_cut)
        if found is not None and found.answer:
            return found
    return None


def _in_tag(response: str, _: bool) -> Found | None:
    block = last_block(response, "answer")
    if block is None:
        return None
    places = ((block.fenced, FENCED), (block.nested, NESTED), (block.reopened, CLOSED), (block.earlier, LAST))
    return Found(block.text.strip(), next((place for is_there, place in places if is_there), ONLY))


def _in_box(response: str, _: bool) -> Found | None:
    box = closed_box(response)
    return None if box is None else Found(box.strip(), BOXED)


def _in_last_line(response: str, was_cut: bool) -> Found | None:
    """Return the last line with more than a fence or a tag in it, without Markdown and a label as "The answer is"."""
    for line in () if was_cut else reversed(response.splitlines()):
        text = _AROUND_LINE.sub("", line).strip()
        if 0 < len(text) <= _LONGEST_LINE:
            *_, text = layers(text, "around")
        if text:
            return Found(text, LAST_LINE)
    return None


def _match(expression: str, response: str, was_cut: bool) -> Found | None:
    found = pool_of(WORKER).ask({"expression": expression, "text": response, "whole": not was_cut})["found"]
    return None if found is None else Found(found.strip(), MATCHED)


_FINDERS: Mapping[str, Callable[[str, bool], Found | None]] = {
    "tag": _in_tag,
    "boxed": _in_box,
    "last_line": _in_last_line,
}
assert _FINDERS.keys() == WORDS
