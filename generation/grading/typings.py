"""The many typings of arithmetic, rewritten as plain statements: digits, + - * / ( ) . and =.

Knows Unicode, LaTeX, Markdown and labels; knows neither numbers nor the rules of any game. What it
cannot rewrite it leaves as it stands, for the reader after it to refuse.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

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

_COMMANDS = {
    **dict.fromkeys((r"\times", r"\cdot", r"\ast"), "*"),
    r"\div": "/",
    **dict.fromkeys((r"\left", r"\right"), ""),
    **dict.fromkeys((r"\quad", r"\,", r"\;", r"\:", r"\!", r"\ ", r"\(", r"\)", r"\[", r"\]"), " "),
    r"\\": "\n",
    r"\{": "(",
    r"\}": ")",
    r"\boxed": "",
}
_FRACTIONS = (r"\frac", r"\dfrac", r"\tfrac", r"\cfrac")
_TEXTS = (r"\text", r"\textbf", r"\textit", r"\mathrm", r"\mathbf")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_GROUP, _TEXT, _NUMERATOR, _DENOMINATOR = ("(", ")"), (" ", " "), ("((", ")/"), ("(", "))")

_FENCE = re.compile(r"```[A-Za-z]*")
_BRACKETS = str.maketrans("[]`$", "()  ")
_TIMES = re.compile(r"(?<=[0-9)])( ?)[xX](?= ?[0-9(+-])")

_NAME = r"(?:step ?[0-9]{1,3}|(?:the )?(?:final )?(?:equation|expression|answer|solution|steps|result)(?: is)?)"
_MARK = r"[:=.)]"
_LABEL = re.compile(
    rf"(?:\*\*{_NAME}(?: ?{_MARK} ?\*\*|\*\* ?{_MARK})|{_NAME} ?{_MARK}|{_NAME} (?=[0-9(])) ?", re.IGNORECASE
)
_WRAPPERS = 8
"""Rounds of unwrapping: more than anyone types, and a bound on hostile text."""
_SEPARATOR = re.compile(r";|,(?= |$)|\band\b|\bthen\b", re.IGNORECASE)


def statements(text: str) -> list[str]:
    """The expressions or equations a text states, in order, each in plain typing.

    They stand on lines of their own, or between ";", ", ", "and", "then".
    """
    lines = [line.strip() for line in _unwrapped(_plain(text)).split("\n") if line.strip()]
    lines = [_unwrapped(line) for line in _without_bullets(lines)]
    lines = _joined([line for line in lines if line])
    pieces = [piece.strip() for line in lines for piece in _SEPARATOR.split(line) if piece.strip()]
    return [_unwrapped(piece).replace(":", "/") for piece in _without_numbering(pieces)]


def ascii_typing(text: str) -> str:
    """Every character that has a plain ASCII twin in arithmetic becomes it; the others stay."""
    return text if text.isascii() else "".join(map(_ascii_twin, text))


def _without_latex(text: str) -> str:
    """LaTeX arithmetic in plain typing, or the very same text where it is not well formed.

    A fraction gets brackets of its own; groups and boxes become brackets, \\text its contents.
    """
    written: list[str] = []
    open_groups: list[tuple[str, str]] = []
    coming = _GROUP
    for token in _TOKEN.findall(text):
        if token == "{":
            written.append(coming[0])
            open_groups.append(coming)
            coming = _GROUP
        elif token.isspace():
            written.append(token)
        elif coming is not _GROUP:
            return text
        elif token == "}":
            if not open_groups:
                return text
            group = open_groups.pop()
            written.append(group[1])
            coming = _DENOMINATOR if group is _NUMERATOR else _GROUP
        elif token in _FRACTIONS or token in _TEXTS:
            coming = _NUMERATOR if token in _FRACTIONS else _TEXT
        else:
            written.append(_COMMANDS.get(token, token))
    return text if open_groups or coming is not _GROUP else "".join(written)


def _plain(text: str) -> str:
    """Plain characters, one space at most between two, "\\n" the only line break; no LaTeX or fences."""
    text = _without_latex(_FENCE.sub("\n", ascii_typing("\n".join(text.splitlines()))))
    text = text.translate(_BRACKETS)
    text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    return _TIMES.sub(r"\1*", text)


@lru_cache(maxsize=4096)
def _ascii_twin(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if character.isspace():
        return " " if character != "\n" else character
    if unicodedata.decomposition(character).startswith(_SAME_MEANING):
        return unicodedata.normalize("NFKC", character)
    return character


def _unwrapped(text: str) -> str:
    """Without what stands round a statement: a full stop, bold, a label, brackets round an equation."""
    for _ in range(_WRAPPERS):
        before = text
        text = text.strip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
        text = _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
        if len(text) > 4 and text.startswith("**") and text.endswith("**"):
            text = text[2:-2]
        if "=" in text and _is_bracketed(text):
            text = text[1:-1]
        if text == before:
            break
    return text


def _is_bracketed(text: str) -> bool:
    """The first character is a bracket, and the last one closes it."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return character == ")" and index == len(text) - 1
    return False


def _without_bullets(lines: list[str]) -> list[str]:
    """Without "- " or "* " where every line opens with it: then it is a list, not a sign."""
    for bullet in ("- ", "* "):
        if len(lines) > 1 and all(line.startswith(bullet) for line in lines):
            return [line.removeprefix(bullet) for line in lines]
    return lines


def _joined(lines: list[str]) -> list[str]:
    """Lines, with one that goes on where the line before it broke off joined to that."""
    joined: list[str] = []
    for line in lines:
        if joined and _goes_on(joined[-1], line):
            joined[-1] = f"{joined[-1]} {line}"
        else:
            joined.append(line)
    return joined


def _goes_on(before: str, line: str) -> bool:
    if line.startswith(tuple("+*/=)")) or before.endswith(tuple("+-*/=(")):
        return True
    # Behind a finished equation a "-" opens a step of its own: "-4 + 9 = 5".
    return line.startswith("-") and "=" not in before


def _without_numbering(pieces: list[str]) -> list[str]:
    """Without "1. ", "2) ", "3: ", where they count the pieces and cannot be part of an expression."""
    marks = ".:)" if len(pieces) > 1 else ".)"
    numbers = [re.match(rf"{index}[{marks}] (?=[0-9(])", piece) for index, piece in enumerate(pieces, 1)]
    if not all(numbers):
        return pieces
    return [piece[number.end() :] for piece, number in zip(pieces, numbers, strict=True) if number]
