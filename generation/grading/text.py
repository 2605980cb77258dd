"""Text as people type it: plain ASCII twins of characters, and answers without what is only put round them.

Home of the two graders that compare an answer with the gold one as text. Knows no formulas.
"""

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.records import Question

DIFFERS = "differs from the gold answer"
"""The reason of a wrong answer."""

_CHARACTERS = {
    **dict.fromkeys("×⋅·∗•∙✕✖⨉⨯", "*"),
    **dict.fromkeys("÷∕⁄", "/"),
    **dict.fromkeys("−–—‐‑‒", "-"),
    **dict.fromkeys("∶", ":"),
    **dict.fromkeys("。", "."),
    **dict.fromkeys("\u200b\u2060\ufeff", " "),
}
# Compatibility forms that mean their character. Not <super>: "3²" is no 32; nor <circle>, <fraction>.
_SAME_MEANING = ("<wide>", "<narrow>", "<small>", "<font>")
_UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_REORDERS = re.compile("[\u202a-\u202e\u2066-\u2069]")

_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_NAME = r"(?:(?:so|thus|hence|therefore),? )?(?:(?:the|my|our) )?(?:(?:final|correct) )?answer"
_LABEL = re.compile(rf"(?:\*\*{_NAME}(?: is)?(?::\*\*|\*\*:)|{_NAME}(?: is ?:?|:)) ?", re.IGNORECASE)
_FENCE = re.compile(r"```(?:[A-Za-z]{0,12}\n)?([^`]*)```")
_WRAPPERS = (
    *((mark, mark) for mark in ("**", "*", "$", "`", '"', "'")),
    *((rf"\{name}{{", "}") for name in ("boxed", "text", "textbf", "textit", "emph", "mathrm", "fbox", "mathbf")),
    *((r"\(", r"\)"), (r"\[", r"\]"), ("“", "”"), ("‘", "’"), ("«", "»")),
)
_ROUNDS = 8
"""Of unwrapping: more than anyone types, and a bound on hostile text."""
# Behind two letters, perhaps with marks between: "5!" is a factorial.
_EXCLAIMED = re.compile(r"(?:(?<=[^\W\d_]{2})|(?<=[^\W\d_]\*\*)|(?<=[^\W\d_][*\"'`”]))!+\Z")
_BRACKETED = re.compile(r"\(([^()\[\]{},]+)\)")

_BESIDE = re.compile(r" ?([,;:=()\[\]{}]) ?")
_GROUPED = re.compile(r"(?<![0-9])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")
_DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}|[0-9]{1,99})(?:\.[0-9]{0,99})?|\.[0-9]{1,99}"
# Two digits of exponent: Fraction("1e999999999") would fill the memory.
_NUMBER = re.compile(rf"\\?\$?([+-]?)\\?\$?({_DECIMAL})(e[+-]?[0-9]{{1,2}})?(?:/([0-9]{{1,99}}))?")
_LATEX_FRACTION = re.compile(r"([+-]?)\\[dtc]?frac ?\{([0-9]{1,99})\} ?\{([0-9]{1,99})\}")


def judge_exact(answer: str, question: Question) -> str:
    """Return "" when the answer says the same text as `question.answer`, else what is wrong.

    The same in one case, after Unicode's composition, with single spaces and none beside commas, colons, brackets and
    equals signs, without what is put round it. "7.0" is not "7" here.
    """
    if answer.strip() == question.answer.strip():
        return ""
    said, gold = bare(normalised(answer)), bare(normalised(question.answer))
    if _BESIDE.sub(r"\1", said) != _BESIDE.sub(r"\1", gold):
        return DIFFERS
    if _GROUPED.findall(said) != _GROUPED.findall(gold):
        raise UnreadableError('"1, 234" may be a list, or the one number that "1,234" is')
    return ""


def judge_own_answer(answer: str, question: Question) -> str:
    """Return "" when the answer is the gold one as text, or as a number: a decimal or a fraction.

    For people's own questions. Works nothing out: "2 + 2" is not "4", "50%" is not "0.5".
    """
    said, gold = (bare(ascii_typing(text).casefold()) for text in (answer, question.answer))
    if said == gold:
        return ""
    number = _number(said)
    return "" if number is not None and number == _number(gold) else DIFFERS


def _number(text: str) -> Fraction | None:
    if latex := _LATEX_FRACTION.fullmatch(text):
        text = f"{latex[1]}{latex[2]}/{latex[3]}"
    number = _NUMBER.fullmatch(text)
    if number is None or (number[4] and not int(number[4])):
        return None
    sign, digits, exponent, under = number.groups(default="")
    return Fraction(sign + digits.replace(",", "") + exponent) / int(under or 1)


def check_readable(text: str, most: int, gold: str = "") -> None:
    """Raise OutOfBoundsError or UnreadableError for what is not worth looking at, or is shown in another order.

    Of the latter nobody knows what was meant, unless it is the gold text.
    """
    if len(text) > most:
        raise OutOfBoundsError(f"more than {most} characters")
    if not text.isascii() and _REORDERS.search(text) and text.strip() != gold.strip():
        raise UnreadableError("is shown in another order than it is stored")


def seen(text: str) -> str:
    """Return the text without the characters that nobody sees: zero width, bidi marks, soft hyphens."""
    return _UNSEEN.sub("", text)


def ascii_typing(text: str) -> str:
    """Return the text with every character that has a plain ASCII twin in arithmetic as that twin."""
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


def fraction_typing(text: str, shape: str) -> str:
    """Return the text with each one-character fraction in the shape given: "½" as " 1/2" for " over/under"."""
    fractions = {one for one in text if not one.isascii() and unicodedata.decomposition(one).startswith("<fraction>")}
    for character in fractions:
        over, _, under = unicodedata.normalize("NFKC", character).partition("⁄")
        text = text.replace(character, shape.replace("over", over).replace("under", under or "1"))
    return text


def normalised(text: str) -> str:
    """Return what two answers share that say the same text: one case, composed, as `plain` has it."""
    return plain(ascii_typing(unicodedata.normalize("NFC", seen(text))).casefold())


def bare(text: str) -> str:
    """Strip what `plain` does, and exclamation marks and outer brackets, which mean something in a formula."""
    for _ in range(_ROUNDS):
        before = text
        text = _EXCLAIMED.sub("", plain(text))
        bracketed = _BRACKETED.fullmatch(text)
        text = bracketed[1] if bracketed else text
        if text == before:
            break
    return text


def plain(text: str) -> str:
    """Return the text in plain characters with single spaces, without what is only put round it; case stays."""
    *_, last = layers(" ".join(ascii_typing(unfenced(text)).split()))
    return last


def unfenced(text: str) -> str:
    """Return what stands in the code fence that is all of a text, or the text."""
    fenced = _FENCE.fullmatch(text.strip())
    return fenced[1] if fenced else text


def layers(text: str) -> Iterator[str]:
    """Yield a text, then what is left of it each time one more wrapping is taken off."""
    yield text
    for _ in range(_ROUNDS):
        before = text
        for peel in (_unlabelled, _unstopped, _unmarked, str.strip):
            if (peeled := peel(text)) != text:
                text = peeled
                yield text
        if text == before:
            break


def _unlabelled(text: str) -> str:
    return text[label.end() :] if (label := _LABEL.match(text)) else text


def _unstopped(text: str) -> str:
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1]
    return text[:-1] if text.endswith((",", ";")) and text[-2:-1].isalnum() else text


def _unmarked(text: str) -> str:
    for left, right in _WRAPPERS:
        if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
            inner = text[len(left) : -len(right)]
            # Not the two marks of "$1$ and $2$", which do not belong together.
            together = is_balanced(inner, "{}") if right == "}" else right not in inner
            text = inner if together else text
    return text


def is_balanced(text: str, brackets: str) -> bool:
    """Return True if no bracket closes before it opens; more may be opened than are closed."""
    depth = 0
    for character in text:
        depth += (character == brackets[0]) - (character == brackets[1])
        if depth < 0:
            return False
    return True


def boxed(text: str) -> list[str]:
    r"""Return what stands in each `\boxed{}`, outermost ones only, in order; one that is never closed is none."""
    found: list[str] = []
    end = 0
    while mark := _BOX.search(text, end):
        depth = 1
        for brace in _BRACE.finditer(text, mark.end()):  # an escaped one is none
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if not depth:
                found.append(text[mark.end() : brace.start()].strip())
                end = brace.start()
                break
        else:
            break
    return found
