"""Normalizes text: maps characters to ASCII and strips the wrapping of answers.

Also has the two graders that compare an answer with the gold one as text. Knows nothing about formulas.
"""

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from cluster.texts import load_table
from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.records import Question

DIFFERS = "differs from the gold answer"

_WORDS = load_table("generation.grading", "words.toml")
_CHARACTERS: dict[str, str] = {one: twin for twin, characters in _WORDS["twins"].items() for one in characters}
_WRAPPERS = [pair.split() for pair in _WORDS["wrappers"]]
# Compatibility forms with the same meaning. Not <super>, since "3²" is not 32; nor <circle>, <fraction>.
_SAME_MEANING = ("<wide>", "<narrow>", "<small>", "<font>")
# Zero-width characters, bidi marks, soft hyphens.
_UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_REORDERS = re.compile("[\u202a-\u202e\u2066-\u2069]")

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ"
_POWER, _DIGITS = re.compile(f"[{_RAISED}]+"), str.maketrans(_RAISED, "0123456789-+n")

IN_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname|boxed|bf|rm)\*? ?\{([^{}]*)\}")
"""LaTeX commands that only change how their contents look."""
_BOX = re.compile(r"\\boxed\s*\{")
_IN_BOXES = re.compile(
    r"\\(?:boxed|fbox)(?:\s*(?P<opens>\{)|\s+(?P<bare>[-+]?\d(?:[^\s{}$\\]*[^\s{}$\\.,;:])?))|\\.|[{}]", re.DOTALL
)
_BRACKETS = {"{": re.compile(r"\\.|[{}]", re.DOTALL), "(": re.compile(r"\\.|[()]", re.DOTALL)}
_FENCE = re.compile(r"```(?:[A-Za-z]{0,12}\n)?([^`]*)```")
_ROUNDS = 8  # of unwrapping: more than anyone types; bounds adversarial input

READINGS = {
    name: [(why, re.compile(pattern), "".join(written)) for why, pattern, *written in rows]
    for name, rows in load_table("generation.grading", "readings.toml").items()
}
"""Rewrite rules by table: the reason, the pattern, the replacement."""

_BESIDE = re.compile(r" ?([,;:=()\[\]{}]) ?")
_GROUPED = re.compile(r"(?<![0-9])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")
_DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}|[0-9]{1,99})(?:\.[0-9]{0,99})?|\.[0-9]{1,99}"
# Two digits of exponent: Fraction("1e999999999") would exhaust memory.
_NUMBER = re.compile(rf"\\?\$?([+-]?)\\?\$?({_DECIMAL})(e[+-]?[0-9]{{1,2}})?(?:/([0-9]{{1,99}}))?")
_LATEX_FRACTION = re.compile(r"\A([+-]?)\\[dtc]?frac ?\{([0-9]{1,99})\} ?\{([0-9]{1,99})\}\Z")


def judge_exact(answer: str, question: Question) -> str:
    """Return "" for the same text but for case, wrapping and spaces, else what is wrong; "7.0" is not "7" here."""
    if answer.strip() == question.answer.strip():
        return ""
    said, gold = (plain(normalised(text), "around_text") for text in (answer, question.answer))
    if _BESIDE.sub(r"\1", said) != _BESIDE.sub(r"\1", gold):
        return DIFFERS
    if _GROUPED.findall(said) != _GROUPED.findall(gold):
        raise UnreadableError('"1, 234" may be a list, or the one number that "1,234" is')
    return ""


def judge_own_answer(answer: str, question: Question) -> str:
    """Return "" if equal as text, decimal or fraction, else what is wrong; "2 + 2" is not "4", nor "50%" "0.5"."""
    said, gold = (plain(to_ascii(text).casefold(), "around_text") for text in (answer, question.answer))
    if said == gold:
        return ""
    number = _number(said)
    return "" if number is not None and number == _number(gold) else DIFFERS


def _number(text: str) -> Fraction | None:
    number = _NUMBER.fullmatch(_LATEX_FRACTION.sub(r"\1\2/\3", text))
    if number is None or (number[4] and not int(number[4])):
        return None
    sign, digits, exponent, under = number.groups(default="")
    return Fraction(sign + digits.replace(",", "") + exponent) / int(under or 1)


def check_readable(text: str, most: int = 2000, gold: str = "") -> None:
    """Raise OutOfBoundsError if the text is longer, UnreadableError if bidi marks reorder it and it is not `gold`."""
    if len(text) > most:
        raise OutOfBoundsError(f"more than {most} characters")
    if not text.isascii() and _REORDERS.search(text) and text.strip() != gold.strip():
        raise UnreadableError("is shown in another order than it is stored")


def to_ascii(text: str) -> str:
    """Replace every character that means the same as an ASCII one in arithmetic with that."""
    return text if text.isascii() else "".join(map(_ascii_twin, text))


@lru_cache(maxsize=4096)
def _ascii_twin(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    if (digit := unicodedata.decimal(character, None)) is not None:
        return str(digit)
    if character.isspace():
        return character if character == "\n" else " "
    if unicodedata.decomposition(character).startswith(_SAME_MEANING):
        return unicodedata.normalize("NFKC", character)
    return character


def to_latex(text: str) -> str:
    """Convert superscripts and one-character fractions to LaTeX, and remove invisible characters."""
    text = _POWER.sub(lambda power: f"^{{{power[0].translate(_DIGITS)}}}", _UNSEEN.sub("", text))
    for character in {one for one in text if unicodedata.decomposition(one).startswith("<fraction>")}:
        over, _, under = unicodedata.normalize("NFKC", character).partition("⁄")
        text = text.replace(character, rf"\frac{{{over}}}{{{under or 1}}}")
    return text


def rewritten(text: str, name: str) -> str:
    """Apply each of the rewrite rules of a table, in order."""
    for _, pattern, written in READINGS[name]:
        text = pattern.sub(written, text)
    return text


def normalised(text: str) -> str:
    """Return the text case-folded, in NFC and without wrapping, equal for answers that are the same text."""
    return plain(to_ascii(unicodedata.normalize("NFC", _UNSEEN.sub("", text))).casefold())


def plain(text: str, *more: str) -> str:
    """Return the text in ASCII, single-spaced and unwrapped, same case; "around_text" also strips ! and brackets."""
    *_, last = layers(" ".join(to_ascii(unfenced(text)).split()), "around", *more)
    return last


def unfenced(text: str) -> str:
    """Return the contents of the code fence that makes up the whole text, or the text itself."""
    fenced = _FENCE.fullmatch(text.strip())
    return fenced[1] if fenced else text


def layers(text: str, *names: str) -> Iterator[str]:
    """Yield the text, then what is left each time one more wrapping is stripped, by these tables of rewrite rules."""
    yield text
    for _ in range(_ROUNDS):
        before = text
        for name in (*names, ""):
            inner = (rewritten(text, name) if name else _unmarked(text)).strip()
            if inner != text:
                yield (text := inner)
        if text == before:
            break


def _unmarked(text: str) -> str:
    for left, right in _WRAPPERS:
        if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
            inner = text[len(left) : -len(right)]
            # Not the outer marks of "$1$ and $2$", which are not a pair.
            together = closing(text, len(left)) == len(text) - 1 if right == "}" else right not in inner
            text = inner if together else text
    return text


def closing(text: str, start: int) -> int:
    """Return where the bracket just before `start` closes, -1 if it does not; ignores escaped brackets."""
    opening, depth = text[start - 1], 1
    for bracket in _BRACKETS[opening].finditer(text, start):
        if len(bracket[0]) == 1:
            depth += 1 if bracket[0] == opening else -1
        if not depth:
            return bracket.start()
    return -1


def boxed(text: str) -> list[str]:
    r"""Return the contents of each outermost `\boxed{}`, in order; ignores any that is never closed."""
    found: list[str] = []
    end = 0
    while (box := _BOX.search(text, end)) and (end := closing(text, box.end())) > 0:
        found.append(text[box.end() : end].strip())
    return found


def closed_box(text: str) -> str | None:
    r"""Return the contents of the last closed `\boxed{}` or `\fbox{}`, the outermost of nested ones; None if none is.

    `\boxed 5`, which has no braces, counts too. Takes linear time, however many are left open.
    """
    last = (0, 0)
    opened: list[int] = []  # for each open brace, where the box that it opens begins; 0 if it opens none
    for one in _IN_BOXES.finditer(text):
        if one["bare"]:
            last = one.span("bare")
        elif one["opens"]:
            opened.append(one.end())
        elif one[0] == "{":
            opened.append(0)
        elif one[0] == "}" and opened and (start := opened.pop()):
            last = (start, one.start())
    return text[slice(*last)] if any(last) else None
