"""Word puzzles: a word from the first letters of listed words (acronym), or from given letters (letter countdown).

Four to eight words or letters, and words of at least four (or five) letters, after skillfactory.md §5. A
problem is built round a word that people know, so it can be solved; any other word of the dictionary that
fits is as right. The facts say what fits: the letters, how many at least, and whether their order counts.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from functools import cache, partial

from generation.tasks.dictionary import common_words
from generation.tasks.task import HEADER, Drawn, Problem

LONGEST = 8
_TRIES = 50
"""To find one more word with the same first letter."""
_WORDS = """Here is a list of words, in order: {shown}. Take the first letters of some of them, or of all of them, keeping their order, so that these letters spell an English word of at least {least} letters."""
_LETTERS = """Form an English word of at least {least} letters from the letters {shown}. Each letter can be used at most as often as it is listed, in any order, and not all of them need to be used."""


def acronym_letters(problem: Problem) -> tuple[Hashable, ...]:
    """The first letters in their order: other words that begin with them ask the same."""
    return ("acronym", problem.facts["letters"])


def bag_of_letters(problem: Problem) -> tuple[Hashable, ...]:
    """The letters, whatever their order."""
    return ("letters", "".join(sorted(problem.facts["letters"])))


def _acronym(least: int, rng: random.Random) -> Problem | None:
    word = rng.choice(_of_lengths(least))
    letters = list(word)
    for _ in range(rng.randint(len(word), LONGEST) - len(word)):
        letters.insert(rng.randint(0, len(letters)), rng.choice(word + "aeiounrstl"))
    listed: list[str] = []
    for letter in letters:
        known = _by_first_letter().get(letter)  # none begins with an x
        drawn = (rng.choice(known) for _ in range(_TRIES)) if known else iter(())
        other = next((one for one in drawn if one != word and one not in listed), None)
        if other is None:
            return None
        listed.append(other)
    return _problem(_WORDS, word, listed, letters, least)


def _letter_countdown(least: int, rng: random.Random) -> Problem:
    word = rng.choice(_of_lengths(least))
    letters = list(word) + [rng.choice(word + "aeiounrstl") for _ in range(rng.randint(len(word), LONGEST) - len(word))]
    rng.shuffle(letters)
    return _problem(_LETTERS, word, letters, letters, least)


def _problem(wording: str, word: str, shown: Sequence[str], letters: Sequence[str], least: int) -> Problem:
    text = HEADER + wording.replace("{shown}", ", ".join(shown)).replace("{least}", str(least))
    in_order = wording is _WORDS
    return Problem(text, word, {"letters": "".join(letters), "min_length": least, "in_order": in_order})


@cache
def _of_lengths(least: int) -> tuple[str, ...]:
    return tuple(word for word in common_words() if least <= len(word) <= LONGEST)


@cache
def _by_first_letter() -> Mapping[str, tuple[str, ...]]:
    found = defaultdict(list)
    for word in common_words():
        if 3 <= len(word) <= LONGEST:
            found[word[0]].append(word)
    return {letter: tuple(words) for letter, words in found.items()}


def _tasks(least: int) -> tuple[Drawn, Drawn]:
    return (
        Drawn(
            f"acronym_{least}o",
            f"a word from the first letters of {least} to {LONGEST} words",
            "word",
            "word",
            partial(_acronym, least),
            identity=acronym_letters,
            family=acronym_letters,
            source="made by generation.tasks.letters",
        ),
        Drawn(
            f"letter_countdown_{least}o",
            f"a word of at least {least} from {least} to {LONGEST} letters",
            "word",
            "word",
            partial(_letter_countdown, least),
            identity=bag_of_letters,
            family=bag_of_letters,
            source="made by generation.tasks.letters",
        ),
    )


_DRAWN = (*_tasks(4), *_tasks(5))
TASKS = tuple(drawn.task for drawn in sorted(_DRAWN, key=lambda drawn: drawn.name))
