"""Long multiplication and word puzzles, generated from a seed, after arXiv 2512.04072.

Products of two N-digit numbers, N from 2 to 5; an English word of at least four (or five) letters, to be spelled with
the first letters of listed words (acronym) or with given letters (letter countdown), eight at most. Each puzzle is
built around a common word, so it has a solution; every other dictionary word that fits is right, too.
"""

import random
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from functools import cache, partial

from generation.grading.word import common_words
from generation.tasks.task import HEADER, Drawn, Problem

LONGEST = 8
_MORE = "aeiounrstl"  # letters added to those of the word, besides its own
_WORDS = """Here is a list of words, in order: {shown}. Take the first letters of some of them, or of all of them, keeping their order, so that these letters spell an English word of at least {least} letters."""
_LETTERS = """Form an English word of at least {least} letters from the letters {shown}. Each letter can be used at most as often as it is listed, in any order, and not all of them need to be used."""


def _product(digits: int, rng: random.Random) -> Problem:
    left, right = (rng.randrange(10 ** (digits - 1), 10**digits) for _ in range(2))
    text = f"{HEADER}Multiply {left} by {right}. Give the exact product as a whole number."
    return Problem(text, str(left * right), {"factors": [left, right]})


def _acronym(least: int, rng: random.Random) -> Problem | None:
    word = rng.choice(_of_lengths(least))
    letters = list(word)
    for _ in range(rng.randint(len(word), LONGEST) - len(word)):
        letters.insert(rng.randint(0, len(letters)), rng.choice(word + _MORE))
    listed: list[str] = []
    for letter in letters:
        known = _by_first_letter().get(letter, ())  # no word begins with an x
        drawn = (rng.choice(known) for _ in range(50 if known else 0))
        other = next((one for one in drawn if one != word and one not in listed), None)
        if other is None:
            return None
        listed.append(other)
    return _puzzle(_WORDS, word, listed, letters, least)


def _letter_countdown(least: int, rng: random.Random) -> Problem:
    word = rng.choice(_of_lengths(least))
    letters = list(word) + [rng.choice(word + _MORE) for _ in range(rng.randint(len(word), LONGEST) - len(word))]
    rng.shuffle(letters)
    return _puzzle(_LETTERS, word, letters, letters, least)


def _puzzle(wording: str, word: str, shown: Sequence[str], letters: Sequence[str], least: int) -> Problem:
    text = HEADER + wording.replace("{shown}", ", ".join(shown)).replace("{least}", str(least))
    return Problem(text, word, {"letters": "".join(letters), "min_length": least, "in_order": wording is _WORDS})


def _same_letters(problem: Problem) -> tuple[Hashable, ...]:
    """Return the letters, sorted unless their order counts: puzzles of the same letters are the same."""
    letters, in_order = problem.facts["letters"], problem.facts["in_order"]
    return ("acronym", letters) if in_order else ("letters", "".join(sorted(letters)))


@cache
def _of_lengths(least: int) -> tuple[str, ...]:
    return tuple(word for word in common_words() if least <= len(word) <= LONGEST)


@cache
def _by_first_letter() -> Mapping[str, Sequence[str]]:
    found = defaultdict(list)
    for word in _of_lengths(3):
        found[word[0]].append(word)
    return found


LETTERS = tuple(
    Drawn(
        name=f"{name}_{least}o",
        line=line.replace("{least}", str(least)),
        grader="word",
        answer_type="word",
        draw=partial(draw, least),
        identity=_same_letters,
        family=_same_letters,
        source="made by generation.tasks.letters",
    )
    for name, draw, line in (
        ("acronym", _acronym, "a word from the first letters of {least} to 8 words"),
        ("letter_countdown", _letter_countdown, "a word of at least {least} from {least} to 8 letters"),
    )
    for least in (4, 5)
)
LONGMULT = tuple(
    Drawn(
        name=f"longmult_{digits}dig",
        line=f"the product of two numbers of {digits} digits",
        grader="number",
        answer_type="product",
        draw=partial(_product, digits),
        # 12 * 34 gives away 34 * 12, so both go to SFT or both to RL.
        family=lambda problem: tuple(sorted(problem.facts["factors"])),
        source="made by generation.tasks.longmult",
    )
    for digits in range(2, 6)
)
