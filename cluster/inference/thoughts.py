"""Tells a model's thought from its reply, by the model's own marks. Pure: knows texts, neither engines nor tokenizers.

The marks are data, in `thoughts.toml`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

from cluster.texts import load_table

_SPACES = re.compile(r"\s*")
_BREAKS = re.compile(r"\n{0,2}")  # what templates put between a closing mark and the reply
_MOST_SPANS = 8
_LONGEST_MARK = 64  # characters
_BETWEEN = "\n\n"  # joins the thoughts, or the framed replies, of a text that has several


class Marks(NamedTuple):
    """A pair of marks that models write around their thoughts; a row of thoughts.toml, patterns compiled."""

    opening: re.Pattern[str]
    closing: re.Pattern[str]
    sign: re.Pattern[str]  # is found in an added token or in the chat template of a model that owns the pair
    frame: re.Pattern[str] | None  # what is written around the reply
    alone: bool  # True if a closing mark without an opening one ends a thought too
    words: bool  # True for plain words, which are marks only where they begin the text


def _marks(row: Mapping[str, str | bool]) -> Marks:
    opening, closing = str(row["opening"]), str(row["closing"])
    sign, frame = str(row.get("sign", f"{opening}|{closing}")), row.get("frame")
    return Marks(
        re.compile(opening),
        re.compile(closing),
        re.compile(sign),
        frame=re.compile(str(frame)) if frame else None,
        alone=bool(row.get("alone", True)),
        words=bool(row.get("words", False)),
    )


KNOWN = tuple(map(_marks, load_table("cluster.inference", "thoughts.toml")["marks"]))
THINK = KNOWN[0]
"""`<think>` and `</think>`: begin a thought in any model, where they begin its text."""


class Parted(NamedTuple):
    """A text in two parts, and where in it the thoughts stand."""

    thought: str | None  # without marks and surrounding space; "" for an empty one, None if there is none
    reply: str
    spans: tuple[tuple[int, int], ...] = ()
    """Start and end of each thought with its marks, in characters; one never closed ends behind the text."""


def part(text: str, own: Sequence[Marks] = (), opened: Marks | None = None) -> Parted:
    """Tell the thought from the reply of a text by a model that owns these marks.

    `opened` are those with which the prompt opened a thought. Several thoughts are joined by an empty line. One that is
    never closed reaches to the end. A text without a thought is returned unchanged, but for the frames of its model.
    """
    thoughts, spans, replies = list[str](), list[tuple[int, int]](), list[str]()
    start, place, marks, openings = 0, 0, opened or _closed_alone(text, own), _Openings(text, own)
    leading = True
    if opened and (again := opened.opening.match(text, _text_from(text, 0))):
        place = again.end()
    while True:
        if marks is None:
            found, marks = openings.next(place, leading=leading)
            piece = text[place : found.start() if found else len(text)]
            leading &= not piece.strip()
            if found is None or marks is None:
                replies.append(piece)
                break
            replies.append(piece if piece.strip() else "")
            start, place = found.span()
        closing = marks.closing.search(text, place)
        thoughts.append(text[place : closing.start() if closing else len(text)].strip())
        spans.append((start, closing.end() if closing else len(text) + 1))
        if closing is None:
            break
        place, marks = closing.end(), None
    return Parted(_BETWEEN.join(filter(None, thoughts)) if spans else None, _reply(replies, own, spans), tuple(spans))


def part_unknown(text: str) -> Parted:
    """Part a text by a model whose marks nobody knows here: `<think>` must begin it, and `</think>` may stand alone."""
    closing = THINK.closing.search(text)
    alone = closing is not None and not THINK.opening.search(text, 0, closing.start())
    return part(text, opened=THINK if alone else None)


def behind(spans: Sequence[tuple[int, int]], place: int) -> list[tuple[int, int]]:
    """Return what of the spans lies behind this place, counted from there."""
    return [(max(0, start - place), end - place) for start, end in spans if end > place]


def closing_of(text: str, span: tuple[int, int]) -> int | None:
    """Return where the mark begins that closes a thought in this span of the text; None if nothing closes it."""
    start, end = span
    if end > len(text):
        return None
    found = (one.start() for marks in KNOWN for one in marks.closing.finditer(text, start, end) if one.end() == end)
    return min(found, default=None)


def _closed_alone(text: str, own: Sequence[Marks]) -> Marks | None:
    """Return the marks whose closing one comes before any opening one."""
    first, first_marks = len(text), None
    for marks in own:
        closing = marks.closing.search(text) if marks.alone else None
        if closing is not None and closing.start() < first:
            first, first_marks = closing.start(), marks
    opened = any(marks.opening.search(text, 0, first) for marks in own if not marks.words)
    return None if opened or THINK.opening.match(text, _text_from(text, 0)) else first_marks


def _text_from(text: str, place: int) -> int:
    """Return the place of the first character from there on that is no space."""
    spaces = _SPACES.match(text, place)
    return spaces.end() if spaces else place


class _Openings:
    """The opening marks of a text, in order, in time linear in it: a model may write nothing but marks."""

    def __init__(self, text: str, own: Sequence[Marks]) -> None:
        self._text = text
        self._anywhere = [marks for marks in own if not marks.words]
        self._leading = [marks for marks in (*own, THINK) if marks not in self._anywhere]
        self._known = {number: marks.opening.search(text) for number, marks in enumerate(self._anywhere)}

    def next(self, place: int, *, leading: bool) -> tuple[re.Match[str] | None, Marks | None]:
        """Return the next one: an own one anywhere, plain words and `<think>` only if `leading`, before any reply."""
        begin = _text_from(self._text, place)
        for marks in self._leading if leading else ():
            if found := marks.opening.match(self._text, begin):
                return found, marks
        first: tuple[re.Match[str] | None, Marks | None] = (None, None)
        for number, marks in enumerate(self._anywhere):
            found = self._known[number]
            if found is not None and found.start() < place:
                found = self._known[number] = marks.opening.search(self._text, place)
            if found is not None and (first[0] is None or found.start() < first[0].start()):
                first = found, marks
        return first


def _reply(pieces: Sequence[str], own: Sequence[Marks], spans: Sequence[tuple[int, int]]) -> str:
    """Join the pieces beside the thoughts, without frames, and without the line breaks that follow a thought."""
    reply = "".join(pieces)
    for frame in {marks.frame: None for marks in own if marks.frame}:
        reply = _BETWEEN.join(filter(str.strip, frame.split(reply)))
    return _BREAKS.sub("", reply, count=1) if spans else reply


@dataclass(frozen=True)
class Thinking:
    """How one model writes its thoughts."""

    own: tuple[Marks, ...] = ()
    special: tuple[str, ...] = ()  # tokens that are no text
    raw: bool = False  # True if marks are among the special tokens, which must then be decoded to be seen

    @classmethod
    def of(cls, added: Mapping[str, bool], template: str) -> Self:
        """Return that of a model with these added tokens, each with whether it is special, and this chat template."""
        own = tuple(marks for marks in KNOWN if any(map(marks.sign.search, (template, *added))))
        special = tuple(token for token, is_special in added.items() if is_special and token)
        return cls(own, special, any(marks.sign.search(token) for marks in own for token in special))

    def opened_by(self, prompt: str) -> Marks | None:
        """Return the marks with which the prompt opens a thought and leaves it open; None if it does not."""
        end = prompt.rstrip()
        return next((marks for marks in self.own if _ends_with(end, marks.opening)), None)

    def part(self, text: str, opened: Marks | None = None) -> Parted:
        """Part a text as it was decoded: with its special tokens if `raw`, which are then dropped."""
        parted = part(text, self.own, opened)
        if not self.raw:
            return parted
        thought = parted.thought if parted.thought is None else self._no_special.sub("", parted.thought).strip()
        return parted._replace(thought=thought, reply=self._no_special.sub("", parted.reply))

    @cached_property
    def _no_special(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self.special, key=len, reverse=True))))


def _ends_with(text: str, opening: re.Pattern[str]) -> bool:
    return any(found.end() == len(text) for found in opening.finditer(text, max(0, len(text) - _LONGEST_MARK)))


def tokens_in(spans: Sequence[tuple[int, int]], count: int, width: Callable[[int, int], int]) -> int:
    """Return how many of `count` tokens stand in the spans; `width(i, k)` is the number of characters from i to k.

    Tokens are decoded little more than once, whatever their number; the last of very many spans are counted as one.
    """
    few = spans if len(spans) <= _MOST_SPANS else [*spans[: _MOST_SPANS - 1], (spans[_MOST_SPANS - 1][0], spans[-1][1])]
    ends = list[int]()
    low = before = 0  # the first `low` tokens have `before` characters
    for place in (place for span in few for place in span):
        high = low if place <= before else count
        while high - low > 1:
            middle = (low + high) // 2
            if (upto := before + width(low, middle)) >= place:
                high = middle
            else:
                low, before = middle, upto
        ends.append(high)
    return sum(end - start for start, end in zip(ends[::2], ends[1::2], strict=True))
