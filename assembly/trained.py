"""What a trainer's examples train, laid beside the traces that they were made of. Pure: knows texts, no trainer."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

DAMAGE = {
    "refused": "the trainer refuses the set",
    "dropped": "is not trained at all",
    "cut": "is cut: its end is gone",
    "torn": "is torn: parts of it stand in several examples",
    "lost": "text of it is gone",
    "added": "text is trained that is not its own",
    "spaces": "its spaces or line breaks are changed",
    "late": "loss begins late: its beginning is read, not trained",
    "early": "loss ends early, or has a hole",
    "end": "no end token is trained: a model would not stop",
    "question": "loss is on the question too",
    "prompt": "its prompt is not the one that vLLM will send",
    "mixed": "is packed with others that it sees",
}
"""What may befall a trace, the worst first."""
_CONTEXT = 24  # characters that are shown around a difference
_SHORT = 48  # characters by which a torn trace is known again


class Asked(NamedTuple):
    """A question and its trace, as vLLM asks the one and the model is to write the other."""

    head: str  # of the prompt, before the question
    question: str
    tail: str  # of the prompt, behind the question
    trace: str
    ends: Sequence[str]  # tokens that end the model's turn; one is to be trained

    @property
    def opened(self) -> int:
        """Return how many characters of the trace the prompt holds already, such as `<think>`."""
        longest = min(len(self.tail), len(self.trace))
        return next((size for size in range(longest, 0, -1) if self.tail.endswith(self.trace[:size])), 0)


class Example(NamedTuple):
    """What a trainer trains on at once."""

    pieces: Sequence[tuple[str, bool]]  # the text of its tokens, and whether they carry loss
    apart: bool = True  # False if rows in it see each other


class Hurt(NamedTuple):
    """A damage to a trace, with the texts that show it."""

    damage: str
    was: str = ""
    found: str = ""


class Spot(NamedTuple):
    """A conversation in an example: its prompt before the question, and what follows the question."""

    before: str
    question: str
    after: str
    trained: Sequence[tuple[int, int]]  # of `after`, from and to
    question_trained: bool


@dataclass
class Report:
    """What befell the traces, by number."""

    hurts: dict[int, list[Hurt]] = field(default_factory=lambda: defaultdict(list))

    def counts(self) -> dict[str, int]:
        """Return how many traces show each damage that was found, the worst damage first."""
        found = {name: sum(any(hurt.damage == name for hurt in of) for of in self.hurts.values()) for name in DAMAGE}
        return {name: count for name, count in found.items() if count}


def compare(asked: Sequence[Asked], examples: Iterable[Example]) -> Report:
    """Find each trace again among the examples, in any order and number, and say what befell it."""
    report, left = Report(), dict[str, list[int]]()
    for number, one in enumerate(asked):
        left.setdefault(one.question, []).append(number)
    seen, strays = set[int](), list[str]()
    for example in examples:
        found = list[int]()
        for spot in spots(example, left):
            if not (numbers := left.get(spot.question)):
                continue
            number = max(numbers, key=lambda number: _likeness(asked[number].trace, spot.after))
            numbers.remove(number)
            if not numbers:
                del left[spot.question]
            found.append(number)
            report.hurts[number] += hurts(asked[number], spot)
        if rest := _unasked(example):
            for number in _torn(asked, rest):
                report.hurts[number].append(Hurt("torn", asked[number].trace, rest))
        if not found:
            strays.append("".join(piece for piece, _ in example.pieces))
        if not example.apart and len(found) > 1:
            for number in found:
                report.hurts[number].append(Hurt("mixed"))
        seen.update(found)
    bare = ["".join(text.split()) for text in strays]
    for number, one in enumerate(asked):
        if number not in seen:
            question = "".join(one.question.split())
            place = next((place for place, text in enumerate(bare) if question and question in text), None)
            text = strays[place] if place is not None else ""
            report.hurts[number].append(
                Hurt("spaces" if text else "dropped", one.question if text else one.trace, text)
            )
    report.hurts = defaultdict(list, {number: of for number, of in sorted(report.hurts.items()) if of})
    return report


def spots(example: Example, questions: Collection[str]) -> Iterator[Spot]:
    """Yield the conversations of an example: where one of the questions stands, untrained if it does anywhere."""
    text, trained = "".join(piece for piece, _ in example.pieces), _trained(example)
    places = sorted(_places(text, questions), key=lambda place: (place[0], -len(place[1])))
    open_places = [place for place in places if not _covered(trained, place[0], place[0] + len(place[1]))]
    if not open_places:
        # Loss is on everything: a trace may say its question again, behind it.
        open_places = list({question: (start, question) for start, question in reversed(places)}.values())[::-1]
    end, chosen = 0, list[tuple[int, str]]()
    for start, question in open_places:
        if start >= end:
            chosen.append((start, question))
            end = start + len(question)
    last, ends = 0, [start for start, _ in chosen[1:]] + [len(text)]
    for (start, question), following in zip(chosen, ends, strict=False):
        begin = start + len(question)
        of_it = [(max(one, begin) - begin, min(two, following) - begin) for one, two in trained]
        inside = [(one, two) for one, two in of_it if one < two]
        question_trained = _covered(trained, start, begin)
        yield Spot(text[last:start], question, text[begin:following], inside, question_trained)
        last = begin + (inside[-1][1] if inside else 0)


def _places(text: str, questions: Collection[str]) -> Iterator[tuple[int, str]]:
    for question in questions:
        start = text.find(question)
        while start >= 0:
            yield start, question
            start = text.find(question, start + len(question))


def _trained(example: Example) -> list[tuple[int, int]]:
    """Return where the example's text carries loss, from and to."""
    found, end = list[tuple[int, int]](), 0
    for piece, trained in example.pieces:
        start, end = end, end + len(piece)
        if trained and piece:
            found.append((start, end))
    return found


def _covered(trained: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    return any(one <= start and end <= two for one, two in trained)


def _likeness(trace: str, after: str) -> tuple[bool, int]:
    """Return how much of the trace is found behind its question: all of it, or its beginning and its end."""
    whole = trace in after
    return whole, 0 if whole else max(common(trace, after[start:]) for start in _starts(trace, after)) + common(
        trace[::-1], after.rstrip()[::-1]
    )


def _starts(trace: str, after: str) -> list[int]:
    """Return where the trace may begin."""
    place = after.find(trace[:_SHORT])
    return [0, place] if place > 0 else [0]


def hurts(asked: Asked, spot: Spot) -> list[Hurt]:
    """Return what befell a trace in its conversation."""
    found = list[Hurt]()
    if spot.question_trained:
        found.append(Hurt("question"))
    base = asked.tail[: len(asked.tail) - asked.opened]
    place, size = spot.after.find(asked.trace), len(asked.trace)
    if place < 0 and (like := _with_other_spaces(asked.trace, spot.after)):
        place, size = like[0], like[1] - like[0]
        found.append(Hurt("spaces", *beside(asked.trace, spot.after[place : place + size])))
    before = spot.before.lstrip(), asked.head.lstrip()
    if place < 0:
        start = len(base) if spot.after.startswith(base) else 0
        return found + _other_text(asked, "".join(spot.after[max(one, start) : two] for one, two in spot.trained))
    if spot.after[:place] != base or before[0] != before[1]:
        found.append(Hurt("prompt", *beside(f"{before[1]}…{base}", f"{before[0]}…{spot.after[:place]}")))
    needed = place + (asked.opened if spot.after[:place] == base else 0)
    stop = place + size
    trained = [(one, two) for one, two in spot.trained if two > needed]
    ahead = spot.after[min((one for one, _ in spot.trained), default=place) : place]
    if ahead.strip() and ahead not in base and not spot.question_trained:
        found.append(Hurt("added", asked.trace[:_CONTEXT], ahead + asked.trace[:_CONTEXT]))
    if not trained or trained[0][0] >= stop:
        return [*found, Hurt("late", asked.trace, "")]
    if trained[0][0] > needed:
        found.append(Hurt("late", asked.trace, spot.after[trained[0][0] : stop]))
    if trained[0][1] < stop and spot.after[trained[0][1] : stop].strip():
        found.append(Hurt("early", asked.trace, spot.after[place : trained[0][1]]))
    return found + _end(asked, spot.after, stop, trained)


def _end(asked: Asked, after: str, stop: int, trained: Sequence[tuple[int, int]]) -> list[Hurt]:
    """Return what is wrong behind the trace, which ends at `stop`."""
    behind = after[stop:].lstrip()
    start = len(after) - len(behind)
    end = next((end for end in asked.ends if behind.startswith(end)), None)
    if end is None or not any(one <= start and start + len(end) <= two for one, two in trained):
        return [Hurt("end", asked.trace + next(iter(asked.ends), ""), after[: stop + _SHORT])]
    more = "".join(after[max(one, start + len(end)) : two] for one, two in trained if two > start + len(end))
    for one in asked.ends:
        more = more.replace(one, "")
    return [Hurt("added", asked.trace[-_CONTEXT:], asked.trace[-_CONTEXT:] + more)] if more.strip() else []


def _other_text(asked: Asked, reply: str) -> list[Hurt]:
    """Return what befell a trace whose text is not there as it was."""
    reply = reply.rstrip()
    bare = next((reply.removesuffix(end) for end in asked.ends if reply.endswith(end)), reply)
    if asked.trace.startswith(bare.rstrip()):
        return [Hurt("cut", asked.trace, bare)]
    was, found = _difference(asked.trace, bare)
    shown = beside(asked.trace, bare)
    return [Hurt(name, *shown) for name, text in (("lost", was), ("added", found)) if text.strip()]


def _difference(was: str, found: str) -> tuple[str, str]:
    """Return what stands in two texts between what they begin and end with alike."""
    first, last = _differs(was, found)
    return was[first : len(was) - last], found[first : len(found) - last]


def _differs(was: str, found: str) -> tuple[int, int]:
    """Return how many characters two texts begin and end with alike."""
    first = common(was, found)
    return first, common(was[first:][::-1], found[first:][::-1])


def beside(was: str, found: str) -> tuple[str, str]:
    """Return where two texts differ, with what stands around it."""
    first, last = _differs(was, found)
    start = max(0, first - _CONTEXT)
    ends = (len(text) - max(0, last - _CONTEXT) for text in (was, found))
    one, other = (text[start:end] for text, end in zip((was, found), ends, strict=True))
    return one, other


def common(one: str, other: str) -> int:
    """Return the length of what both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one.startswith(other[:middle]) else (low, middle - 1)
    return low


def _with_other_spaces(trace: str, text: str) -> tuple[int, int] | None:
    """Return where the text has the trace but for spaces and line breaks."""
    words, places = "".join(trace.split()), [place for place, one in enumerate(text) if not one.isspace()]
    first = "".join(text.split()).find(words)
    return (places[first], places[first + len(words) - 1] + 1) if words and first >= 0 else None


def _unasked(example: Example) -> str:
    """Return the trained text with which an example begins, without any prompt."""
    first = next(((piece, trained) for piece, trained in example.pieces if piece.strip()), ("", False))
    return first[0].strip() if first[1] else ""


def _torn(asked: Sequence[Asked], rest: str) -> list[int]:
    """Return the first trace that this text is the rest of."""
    for number, one in enumerate(asked):
        piece = rest[:_SHORT]
        for end in one.ends:
            piece = piece.partition(end)[0]
        if piece and piece in one.trace and not one.trace.startswith(piece):
            return [number]
    return []
