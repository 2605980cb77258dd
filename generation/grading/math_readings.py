r"""How two formulas are to be compared, and what else they may mean. Knows typing, and nothing of what is equal.

Values of several variables ("x=1, y=2") are a point, in the order of the variables' names. A clock's time is no
ratio, and a ratio of three numbers no quotient.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from generation.grading.math_typing import is_clock
from generation.grading.refusals import SeveralError

# What math-verify reads in one way alone: a vector for a point, degrees for radians, "log" for "ln", a choice.
_LIST = re.compile(r"\[([^\[\]]*)\]")
_DECIMAL_COMMA = re.compile(r"(?<![0-9.,])([0-9]+),([0-9]+)(?![0-9.,])")
_LETTER_OF_UNIT = re.compile(r"(?<=[0-9)}]) ?[mghslK]$")
_OTHERWISE = (
    (re.compile(r"\\begin\{[pb]matrix\}([^&]*?)\\end\{[pb]matrix\}"), r"(\1)"),
    (re.compile(r"\\\\"), ","),
    (re.compile(r"\\log(?![A-Za-z_]| ?_)"), r"\\ln"),
    (re.compile(r"(?<![0-9.])([0-9.]++) ?\^ ?\{? ?\\circ ?\}?"), r"\\frac{\1\\pi}{180}"),
    (re.compile(r"(?<![A-Za-z\\])C ?\(([^(),]*),([^(),]*)\)"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?<=[0-9]) to (?=[0-9])"), ":"),
    (re.compile(r"\\(?:vec|overrightarrow) ?\{([A-Za-z]+)\}"), r"\1"),
    (re.compile(r"^R$"), r"\\mathbb{R}"),
    (re.compile(r"^[A-Za-z] ?\([a-z]\) ?="), "y ="),
    (re.compile(r"^\\\{ ?(\([^()]*\)) ?\\\}$"), r"\1"),
    (re.compile(r"\\(?:overline|angle|triangle) ?\{?([A-Z]+)\}?"), r"\1"),
)
_GLUED_FRACTION = re.compile(r"(?<![0-9./])([0-9]+)/([0-9]+)(?=[A-Za-z(\\])")
_CONSTANT = re.compile(r"(?<=[^ ]) ?\+ ?([CcKk])$|^([CcKk]) ?\+ ?")
_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_RATIO = re.compile(r"[^:=<>,;]++(?::[^:=<>,;]++)++")
_NAME = r"(?:[A-Za-z]|\\[A-Za-z]+)(?: ?_ ?(?:[A-Za-z0-9]|\{[A-Za-z0-9]+\}))?"
_ASSIGNMENT = re.compile(rf"({_NAME}) ?= ?([^=<>]+)")
_FUNCTION = r"(?:[A-Za-z]|\\(?:phi|psi|sigma|tau|mu|pi|zeta|theta|lambda|omega|Gamma|Phi|Psi))"
_NUMERAL = re.compile(r"-?(?:[0-9.]+(?:/[0-9.]+)?|\\frac\{[0-9]+\}\{[0-9]+\})(?:\\%|%)?")
_APPLIED = re.compile(r"[A-Za-z]\(|\\[A-Za-z]")
_CALLED = re.compile(rf"({_FUNCTION}(?: ?[_^] ?(?:\w|\{{-?\w+\}})|')*) ?\(([^()]*)\) ?= ?([^=<>]+)")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_NAMED_POINT = re.compile(r"\(([^()]*)\) ?= ?\((.*)\)", re.DOTALL)
_CASES = re.compile(r"\\begin ?\{cases\}(.*)\\end ?\{cases\}", re.DOTALL)
_SEPARATOR = re.compile(r"[,;]|\\\\|\\text ?\{ ?(?:and|or) ?\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|[()\[\]{}]")

Pair = tuple[str, str]
"""The gold formula and the one that was said."""


class Readings(NamedTuple):
    """What to compare."""

    first: Pair
    """Right when these are equal."""
    others: tuple[Pair, ...] = ()
    """Where the first are not, and these are, nobody knows."""
    doubtful: bool = False
    """Nor where the first are."""


def readings(gold: str, said: str) -> Readings:
    """Choose how to compare two formulas. Raises SeveralError if a variable is given several values."""
    if found := _as_points(gold, said):
        return found
    if found := _as_values(gold, said):
        return found
    one, other = _ASSIGNMENT.fullmatch(gold), _ASSIGNMENT.fullmatch(said)
    if one and other and one[1] == other[1]:
        gold, said = one[2], other[2]
    parts = [text.count(":") if _RATIO.fullmatch(text) else 0 for text in (gold, said)]
    if parts[0] == parts[1] > 1:
        return Readings((_ratio(gold), _ratio(said)))
    doubtful = max(parts) > 1 or is_clock(gold) or (is_clock(said) and not parts[0])
    if _is_set_for_tuple(gold, said):
        return Readings((_as_set(gold), _as_set(said)), doubtful=True)
    alike = any(gold.startswith(left) and said.startswith(left) for left in ("(", r"\{"))
    doubtful = doubtful or (not alike and _repeats(gold) != _repeats(said))
    others = [_otherwise(gold, said), _without_constant(gold, said)]
    if _repeats(gold) == _repeats(said) > 0 and gold.startswith("(") != said.startswith("("):
        others.append((f"({_unbracketed(gold)})", f"({_unbracketed(said)})"))
    if len(_DECIMAL_COMMA.findall(gold)) != len(_DECIMAL_COMMA.findall(said)):
        others.append((_without_decimal_commas(gold), _without_decimal_commas(said)))
    return Readings((gold, said), tuple(pair for pair in others if pair != (gold, said)), doubtful)


def _otherwise(gold: str, said: str) -> Pair:
    """Both in the other reading that some typings have; the very same where they have none."""
    said = _LETTER_OF_UNIT.sub("", said)
    gold, said = (_GLUED_FRACTION.sub(r"\\frac{\1}{\2} ", text) for text in (gold, said))
    if not re.search(r"[(\[]", gold):
        said = _LIST.sub(r"(\1)", said)
    for pattern, replacement in _OTHERWISE:
        gold, said = pattern.sub(replacement, gold), pattern.sub(replacement, said)
    return gold, said


def _without_constant(gold: str, said: str) -> Pair:
    """Antiderivatives without what is added to all of them; the derivatives where both are such."""
    if not (_CONSTANT.search(gold) and _CONSTANT.search(said)):
        # One alone is seen as such by its usual letter.
        gold, said = (_CONSTANT.sub(lambda one: "" if "C" in one[0] else one[0], text) for text in (gold, said))
        return gold, said
    bare = _CONSTANT.sub("", gold), _CONSTANT.sub("", said)
    variables = set(_VARIABLE.findall(gold)) - set("CcKk")
    if len(variables) != 1:
        return bare
    return rf"\frac{{d}}{{d{(name := min(variables))}}}({bare[0]})", rf"\frac{{d}}{{d{name}}}({bare[1]})"


def _as_values(gold: str, said: str) -> Readings | None:
    """The readings of "f(2)=3": for its number alone, or for a value at another point."""
    one, other = _CALLED.fullmatch(gold), _CALLED.fullmatch(said)
    if one and other:
        point, another = (f"(1,{call[2]},{call[3]})" for call in (one, other))
        return Readings((point, another), doubtful=one[1].replace(" ", "") != other[1].replace(" ", ""))
    if one and "=" not in said:
        return Readings((one[3], said))
    return _as_equations(gold, said)


def _as_equations(gold: str, said: str) -> Readings | None:
    """The readings of two equations of which math-verify may see the right sides alone, and these are numbers."""
    (left, *right), (other, *value) = gold.split("="), said.split("=")
    sides = ["".join(side.split()) for side in (left, other)]
    if len(right) != 1 or len(value) != 1 or sides[0] == sides[1] or re.search(r"[<>]", gold + said):
        return None
    if not all(_NUMERAL.fullmatch(side.strip()) for side in (right[0], value[0])):
        return None
    if right[0].strip() == value[0].strip() != "0":
        return Readings((left, other))
    return Readings((gold, said), doubtful=True) if any(map(_APPLIED.search, sides)) else None


def _is_set_for_tuple(gold: str, said: str) -> bool:
    """A point or an interval is neither, though math-verify takes the ends of one for the members of the other."""
    sets = [text.startswith(r"\{") and len(_pieces(_unbracketed(text))) > 1 for text in (gold, said)]
    tuples = [text[:1] in ("(", "[") and text[-1:] in (")", "]") and len(_pieces(text)) == 1 for text in (gold, said)]
    return (sets[0] and tuples[1]) or (tuples[0] and sets[1])


def _as_set(text: str) -> str:
    return rf"\{{{text.strip('()[]')}\}}" if text[0] in "([" else text


def _repeats(text: str) -> int:
    """How often a list says again what it has said: math-verify makes a set of it, and one number of that."""
    pieces = ["".join(one.split()) for one in _pieces(_THOUSANDS.sub("", _unbracketed(text).strip("[]")))]
    return len(pieces) - len(set(pieces))


def _without_decimal_commas(text: str) -> str:
    return _DECIMAL_COMMA.sub(r"\1.\2", text).replace(";", ",")


def _ratio(text: str) -> str:
    """As a point whose first entry is 1, so that equal ratios are equal."""
    first, *rest = text.split(":")
    shares = [rf"\frac{{{one}}}{{{first}}}" for one in rest]
    return f"({','.join(['1', *shares])})"


def _as_points(gold: str, said: str) -> Readings | None:
    """The readings where one of the two gives several variables, None where neither does."""
    both = _assigned(gold), _assigned(said)
    if not any(len(dict(pairs)) > 1 for pairs in both) or gold.replace(" ", "") == said.replace(" ", ""):
        return None
    wanted, given = map(dict, both)
    if len(wanted) < len(both[0]) or len(given) < len(both[1]) or r"\pm" in gold + said:
        raise SeveralError("gives a variable several values")
    if wanted and given:
        return Readings((_point(wanted), _point(given))) if wanted.keys() == given.keys() else None
    values, other = (wanted, said) if wanted else (given, gold)
    entries = _pieces(_unbracketed(other))
    if len(entries) != len(values) or any("=" in one for one in entries):
        return None
    listed = f"({','.join(entries)})"
    orders = [_point(values), f"({','.join(values.values())})"]
    pairs = [(order, listed) if wanted else (listed, order) for order in orders]
    if not other.startswith("("):
        sets = [rf"\{{{one[1:-1]}\}}" for one in pairs[0]]
        pairs.append((sets[0], sets[1]))
    return Readings(pairs[0], tuple(pairs[1:]), doubtful=other.startswith(r"\{"))


def _point(values: dict[str, str]) -> str:
    return f"({','.join(values[name] for name in sorted(values, key=_letters))})"


def _letters(name: str) -> str:
    return name.lstrip("\\")


def _assigned(text: str) -> list[Pair]:
    """Names and values of "x=1, y=2", nothing of what is something else."""
    if (point := _NAMED_POINT.fullmatch(text)) and len(names := _pieces(point[1])) == len(values := _pieces(point[2])):
        pairs = [f"{name}={value}" for name, value in zip(names, values, strict=True)]
    else:
        pairs = _pieces(_unbracketed(text)) if text.count("=") > 1 else []
    found = [_ASSIGNMENT.fullmatch(pair) for pair in pairs]
    return [(one[1].replace(" ", ""), one[2].strip()) for one in found if one] if all(found) else []


def _unbracketed(text: str) -> str:
    if cases := _CASES.fullmatch(text):
        return cases[1].strip().removesuffix(r"\\")
    for left, right in (("(", ")"), (r"\{", r"\}")):
        inner = text[len(left) : -len(right)]
        if text.startswith(left) and text.endswith(right) and not re.search(r"[()]", inner):
            return inner
    return text


def _pieces(text: str) -> list[str]:
    """What stands between the commas, semicolons and "and" outside of brackets."""
    pieces, depth, behind = list[str](), 0, 0
    for mark in _SEPARATOR.finditer(text):
        if mark[0] in "()[]{}":
            depth += 1 if mark[0] in "([{" else -1
        elif depth == 0:
            pieces.append(text[behind : mark.start()].strip(" &"))
            behind = mark.end()
    pieces.append(text[behind:].strip(" &"))
    return [piece for piece in pieces if piece]
