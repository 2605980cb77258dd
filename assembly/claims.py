"""What the texts of a trace claim: equations, an outcome, which numbers were given. No text is ever evaluated.

Each reader knows a few exact wordings: what it does not know, it does not find.
"""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction
from functools import cache, lru_cache

from cluster.texts import load_table
from generation.grading.countdown import Expression, read
from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.grading.text import to_ascii

_LEFT = " 0123456789.()+-*/×÷−·"
_RIGHT = re.compile(r" *([-−]?\d{1,18}(?:\.\d{1,18})?)(?! *[-+*/×÷−·^(=%]| *\d)(?!\.\d)(?![^\W\d])")
_OPERATION = re.compile(r"[\d)] *[-+*/×÷−·] *[-−(\d]")
_UNSTATED = re.compile(
    r" *(?:\?|,\d|\(?mod\b|r(?:em(?:ainder|\.)?)?\b|with (?:a )?(?:remainder|rest)\b"
    r"|(?:,? which)? ?(?:is|was) (?:wrong|false|incorrect|not)\b|\(?(?:wrong|false|incorrect)\b)",
    re.IGNORECASE,
)
"""Behind an equation: it is a question, another arithmetic, called false, or there is more of its last number."""
_NOT_STATED = re.compile(r"\b(?:not|if|whether|unless|suppose) *$", re.IGNORECASE)
"""Before one, likewise."""
_BACKWARDS = re.compile(r"(?:^|[.:;]\s+|\n)(\d{1,9}) is (\d{1,9} ?[-+*/×÷] ?\d{1,9})", re.MULTILINE)
"""A value, and the operation that gives it, at the beginning of a clause: 27 is 21 + 6."""
_MORE_BACKWARDS = re.compile(r" and (\d{1,9}) is (\d{1,9} ?[-+*/×÷] ?\d{1,9})")
_GOES_ON = re.compile(r" *(?:[-+*/×÷=^(%\d]|[.,]\d)")


def false_equations(text: str) -> Iterator[str]:
    """Yield the false equations between numbers in the text."""
    return (said for _, said in located_false(text))


def located_false(text: str) -> Iterator[tuple[int, str]]:
    """Yield where each false equation ends, and the equation, in order; also "27 is 20 + 6", as one."""
    return iter(sorted([*_forwards(text), *_backwards(text)]))


def _backwards(text: str) -> Iterator[tuple[int, str]]:
    for found in _BACKWARDS.finditer(text) if " is " in text else ():
        one: re.Match[str] | None = found
        while one is not None:
            goes_on = _GOES_ON.match(text, one.end())
            if not goes_on and _differs(one[2], one[1]) and not _UNSTATED.match(text, one.end()):
                yield one.end(), f"{one[1]} is {one[2]}"
            one = None if goes_on else _MORE_BACKWARDS.match(text, one.end())


def _forwards(text: str) -> Iterator[tuple[int, str]]:
    place = -1
    while (place := text.find("=", place + 1)) >= 0:
        if (right := _RIGHT.match(text, place + 1)) is not None:
            # What stands before, of 200 characters at most; empty if it is part of a word, as in "x2 + 3".
            seen = text[max(0, place - 200) : place]
            outside = seen.rstrip(_LEFT)
            left = seen[len(outside) :]
            # Behind a digit and a comma without a space there is more of a number, as in 1,000 + 2 = 1,002.
            inside = outside[-1:].isalnum() or (outside[-1:] == "," and outside[-2:-1].isdecimal())
            left = "" if inside and not left.startswith(" ") else left.strip()
            if (
                _differs(left, right[1])
                and not _UNSTATED.match(text, right.end())
                and not _NOT_STATED.search(outside[-20:])
            ):
                yield right.end(), f"{left} = {right[1]}"


# A question's samples stand in several of its traces, one after the other.
@lru_cache(maxsize=1024)
def states_false_arithmetic(text: str) -> bool:
    """Return True if the text states an equation between numbers that is false."""
    return any(True for _ in itertools.chain(_forwards(text), _backwards(text)))


# Texts on a question repeat the same equations.
@lru_cache(maxsize=16384)
def _differs(left: str, stated: str) -> bool:
    """Return True if an expression has another value than is stated, be it rounded or cut to the places stated."""
    if not _OPERATION.search(left):
        return False
    try:
        value = read(to_ascii(left)).value
    except (UnreadableError, OutOfBoundsError):
        return False
    if value is None:
        return False
    (_, _, places), exactly = stated.partition("."), stated.replace("−", "-")
    if not places:
        return value != int(exactly)
    return abs(Fraction(exactly) - value) >= Fraction(1, 10 ** len(places))


_END = 400  # number of last characters of a sample that are searched for claims
_GIVES_UP = re.compile(
    r"\b(?:(?:is|are|was) (?:not (?:correct|right|possible)|incorrect)|does(?: not|n't) (?:work|equal|reach|fit)"
    r"|no solution|impossible|cannot be (?:done|made|reached)|(?:can't|cannot) find)\b",
    re.IGNORECASE | re.ASCII,
)
_CLAIMS = re.compile(
    r"\b(?:(?:is|are) (?:indeed )?(?:correct|right|the (?:correct|right) answer)|this works|which works|as required)\b",
    re.IGNORECASE | re.ASCII,
)
_NEEDED = {
    _GIVES_UP: ("not", "n't", "incorrect", "no solution", "impossible"),
    _CLAIMS: ("correct", "right", "works", "as required"),
}
"""A text that matches the pattern contains one of these, and searching for them is much faster."""


def contradicts_grade(sample: str, correct: bool) -> bool:
    """Return True if the end of a correct sample says that it failed, or that of an incorrect one that it is right."""
    pattern = _GIVES_UP if correct else _CLAIMS
    end = sample[-_END:].lower()
    needed = any(words in end for words in _NEEDED[pattern])
    return needed and pattern.search(sample, max(0, len(sample) - _END)) is not None


def names_hint(text: str, words: tuple[str, ...]) -> bool:
    """Return True if one of the words, which stand for a hint, begins a word of the text."""
    lower = text.lower()
    there = [word for word in words if word.lower() in lower]
    return any(re.search(rf"(?<!\w){re.escape(word)}", text, re.IGNORECASE) for word in there)


_DENIAL = re.compile(
    r"(?<![\w.,/^])(\d{1,9})(?:,? which)? (?:"
    r"(?:(?:was|is) not|wasn['’]t|isn['’]t) (?:given|provided|in the (?:given )?list(?: of (?:given )?numbers)?"
    r"|(?:one of|among) the (?:given )?numbers)"
    r"|(?:was|is) (?P<often>used (?:too often|too many times|more often than (?:it was )?given)))"
    r"(?= *(?:[.,;:!)<\n]|$|(?:and|but|so)\b))",
    re.IGNORECASE,
)
"""A number, and a clause that ends after its predicate: not "was not given twice"."""
_BEFORE = re.compile(
    r"(?:^|[.:;!,] +|[\n(]|\b(?<!\d )(?:number|and|so|but|as|that|because|since|use|uses|used|using) )$",
    re.IGNORECASE,
)
"""What may stand before that number: nothing of an expression, and no "step" or "line" that it counts."""
_DOUBT = re.compile(
    r"\b(?:if|whether|unless|suppose|supposing|would|could|might|claim(?:s|ed)?|says?|said|false that|untrue"
    r"|not (?:true|right|correct|the case))\b|n['’]t (?:true|right|correct|the case)\b",
    re.IGNORECASE,
)
"""Before it in the same clause: nothing is stated then."""
_CLAUSE = re.compile(r"[.:;!\n]|, (?:and|so|but) ", re.IGNORECASE)
_SEEN = 200  # characters before a denial that are looked at
_DENYING = (
    "not given",
    "not provided",
    "not in the",
    "not one of",
    "not among",
    "n't ",
    "n’t ",
    "used too",
    "used more",
)
"""A text that holds a denial contains one of these in small letters, and searching for them is much faster."""


def denies_given(reflection: str, numbers: Collection[int], answer: str) -> bool:
    """Return True if the reflection says of one of these numbers that it was not given, or was used too often.

    The latter only if the answer is one expression, which uses it no more often than it was given.
    """
    lower = reflection.lower() if numbers else ""
    if not any(words in lower for words in _DENYING):
        return False
    for found in _DENIAL.finditer(reflection):
        before = reflection[max(0, found.start() - _SEEN) : found.start()]
        number, clause = int(found[1]), _CLAUSE.split(before)[-1]
        if number in numbers and _BEFORE.search(before) and not _DOUBT.search(clause):
            if not found["often"]:
                return True
            used = _uses(answer)
            if used is not None and used[number] <= [*numbers].count(number):
                return True
    return False


@lru_cache(maxsize=256)
def _uses(answer: str) -> Counter[object] | None:
    """Count the numbers of an answer that is one expression, perhaps with what it equals; None for any other."""
    left, _, right = answer.partition("=")
    try:
        expression = read(to_ascii(left).strip())
    except (UnreadableError, OutOfBoundsError):
        return None
    return None if expression.is_bare or "=" in right else Counter(_leaves(expression))


def _leaves(expression: Expression) -> Iterator[object]:
    if not expression.parts:
        yield expression.value
    for part in expression.parts:
        yield from _leaves(part)


@cache
def _verdict_words() -> tuple[re.Pattern[str], Mapping[str, bool | None]]:
    """Return a pattern of all words of verdict_words.toml, longest first, and what each says."""
    table = load_table("assembly", "verdict_words.toml")
    said = {word: verdict for kind, verdict in _VERDICTS.items() for word in table[kind]}
    words = "|".join(map(re.escape, sorted(said, key=len, reverse=True)))
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)"), said


_VERDICTS = {"right": True, "wrong": False, "neither": None}


@lru_cache(maxsize=1024)
def verdict_of(phrase: str) -> bool | None:
    """Return whether a phrase says that the attempt before it is right; None if it says neither, or both."""
    pattern, verdicts = _verdict_words()
    found = pattern.findall(" ".join(phrase.lower().replace("’", "'").split()))
    said = {verdicts[word] for word in found} - {None}
    return said.pop() if len(said) == 1 else None
