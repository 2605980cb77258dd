"""Questions that stand in a given set, such as a benchmark, and so must stand in no trace.

Made questions are the same by their facts, others by their text or by 13 words in a row: the rule of GPT-3 (arXiv
2005.14165, appendix C), by which a word is in lower case and without punctuation, and words in a row that more than 10
documents share are common wording. Here documents are questions, and those of the given sets count too.
"""

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from string import punctuation
from typing import Any, NamedTuple

import numpy as np

from assembly.selection import Told
from cluster.jobs.progress import follow
from generation.raw.files import Part
from generation.raw.reader import questions_in
from generation.tasks.asked_sets import read_asked, shown_place
from generation.tasks.same import countdown_identity, identity_of, is_made, plain

FLAG = "--exclude"
EXCLUDED = "excluded.jsonl"  # the list of such questions, beside the card
WORDS = 13
COMMON = 10  # the most questions that words in a row may stand in and still tell one from another
BY_KEY, BY_FACTS, BY_TEXT, BY_WORDS = "its question_key", "the same facts", "the same text", f"{WORDS} words in a row"
_NO_PUNCTUATION = str.maketrans("", "", punctuation)
_SHOWN = 400  # characters of a question in the list


class Given(NamedTuple):
    """A question of a given set."""

    set: str
    row: str
    text: str


class GivenSets(NamedTuple):
    """What is known of the given sets: each hash with the index of the first question that has it, sorted."""

    exact: tuple[np.ndarray, np.ndarray]  # hashes of keys, facts and texts, uint64; indices, int64
    words: tuple[np.ndarray, np.ndarray]  # hashes of words in a row, those that are common in the sets left out
    questions: Sequence[Given]


class Hit(NamedTuple):
    """Why a question is left out."""

    by: str
    given: int  # of the given question


class Match(NamedTuple):
    """What a part of RAW_DATA shares with the given sets."""

    exact: Mapping[str, Hit]  # by question_key
    words: Mapping[int, Sequence[str]]
    """By the hash of words in a row, the keys of questions that hold them, COMMON + 1 at most."""
    texts: Mapping[str, str]  # the questions among these, by key


def read_given(sets: Sequence[str]) -> GivenSets:
    """Read the sets. Raises ValueError, as read_asked does."""
    exact, words, common = dict[int, int](), dict[int, int](), Counter[int]()
    questions: list[Given] = []
    for what in sets:
        name = shown_place(what)
        for asked in read_asked(what, FLAG):
            names = [_hash(BY_KEY, asked.key)] if asked.key else []
            if asked.facts is not None:
                names.append(_hash(countdown_identity(*asked.facts)))
            if asked.text:
                names.append(_hash(identity_of(asked.text)))
            new = [one for one in names if one not in exact]
            if not new:
                continue
            exact |= dict.fromkeys(new, len(questions))
            for one in {*_words_in_a_row(asked.text)}:
                words.setdefault(one, len(questions))
                common[one] += 1
            questions.append(Given(name, asked.row, asked.text[:_SHOWN]))
    rare = {one: index for one, index in words.items() if common[one] <= COMMON}
    return GivenSets(_sorted(exact), _sorted(rare), questions)


def _sorted(found: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    hashes, indices = np.fromiter(found.keys(), np.uint64, len(found)), np.fromiter(found.values(), np.int64)
    order = np.argsort(hashes)
    return hashes[order], indices[order]


def _hash(*parts: Hashable) -> int:
    return int.from_bytes(blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _words_in_a_row(text: str) -> Iterator[int]:
    """Yield a hash of each WORDS words in a row; none of a made question, whose wording is that of all others."""
    if is_made(identity_of(text)):
        return
    words = plain(text).translate(_NO_PUNCTUATION).split()
    for start in range(len(words) - WORDS + 1):
        yield _hash(*words[start : start + WORDS])


def _index_in(sorted_: tuple[np.ndarray, np.ndarray], one: int) -> int | None:
    hashes, indices = sorted_
    place = int(np.searchsorted(hashes, np.uint64(one)))
    return int(indices[place]) if place < len(hashes) and int(hashes[place]) == one else None


def match_part(part: Part, given: GivenSets) -> Match:
    """Return what the questions of a part share with the given sets. Raises ValueError for rows that cannot be read."""
    exact, words, texts = dict[str, Hit](), dict[int, list[str]](), dict[str, str]()
    for key, text in questions_in(part):
        identity = identity_of(text)
        by = BY_FACTS if is_made(identity) else BY_TEXT
        for how, one in ((by, _hash(identity)), (BY_KEY, _hash(BY_KEY, key))):
            if (index := _index_in(given.exact, one)) is not None:
                exact[key], texts[key] = Hit(how, index), text
                break
        for one in {*_words_in_a_row(text)}:
            if _index_in(given.words, one) is not None and len(of := words.setdefault(one, [])) <= COMMON:
                of.append(key)
                texts[key] = text
    return Match(exact, words, texts)


def left_out(matches: Iterable[Match], given: GivenSets) -> dict[str, Hit]:
    """Return why questions are left out, by key, sorted by it."""
    exact, words = dict[str, Hit](), dict[int, set[str]]()
    for match in matches:
        exact |= match.exact
        for one, keys in match.words.items():
            words.setdefault(one, set()).update(keys)
    for one, found in words.items():
        index = _index_in(given.words, one)
        assert index is not None
        for key in found if len(found) <= COMMON else ():
            before = exact.get(key)
            if before is None or (before.by == BY_WORDS and index < before.given):
                exact[key] = Hit(BY_WORDS, index)
    return dict(sorted(exact.items()))


def exclude(map_: Any, parts: Sequence[Part], sets: Sequence[str], told: Told, folder: Path) -> frozenset[str]:
    """Return the keys of the questions that stand in one of the sets, count them, and write their list to the folder.

    Raises ValueError for sets or rows that cannot be read.
    """
    given = read_given(sets)
    match = partial(match_part, given=given._replace(questions=()))
    matches = [*follow(map_(match, parts), len(parts), "excluding", "parts")]
    texts = {key: text for one in matches for key, text in one.texts.items()}
    found = left_out(matches, given)
    with (folder / EXCLUDED).open("w", encoding="utf-8") as file:
        for key, hit in found.items():
            of = given.questions[hit.given]
            line = {"question_key": key, "question": texts[key][:_SHOWN], "by": hit.by}
            file.write(f"{json.dumps(line | {'set': of.set, 'row': of.row, 'given': of.text}, ensure_ascii=False)}\n")
    for what in dict.fromkeys(map(shown_place, sets)):
        told[f"{FLAG} {what}", "different questions there"] = sum(one.set == what for one in given.questions)
        for by, count in Counter(hit.by for hit in found.values() if given.questions[hit.given].set == what).items():
            told[f"{FLAG} {what}", f"questions left out by {by}"] = count
    return frozenset(found)
