"""Random expressions in random typings grade as a tiny evaluator of their trees says."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from generation.grading import grade
from generation.grading.countdown import read
from generation.records import Grade, Question

Tree = int | tuple[str, "Tree", "Tree"]

_APPLY: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_TREES: st.SearchStrategy[Tree] = st.recursive(
    st.integers(1, 12),
    lambda inner: st.tuples(st.sampled_from("+-*/"), inner, inner),
    max_leaves=6,
)

# Each typing writes the four operations over two operands that carry brackets of their own.
_TYPINGS: dict[str, dict[str, str]] = {
    "plain": {sign: f"(@{sign}#)" for sign in "+-*/"},
    "spaced": {sign: f"( @ {sign} # )" for sign in "+-*/"},
    "unicode": {"+": "(@ + #)", "-": "(@ − #)", "*": "(@ × #)", "/": "(@ ÷ #)"},
    "letters": {"+": "[@+#]", "-": "[@–#]", "*": "[@x#]", "/": "[@ : #]"},
    "wide": {"+": "（@＋#）", "-": "（@－#）", "*": "（@＊#）", "/": "（@／#）"},
    "latex": {"+": r"\left(@+#\right)", "-": r"{@-#}", "*": r"(@\cdot #)", "/": r"\frac{@}{#}"},
    "latex dots": {"+": r"(@\,+\,#)", "-": r"\left[@-#\right]", "*": r"(@ \times #)", "/": r"(@\div#)"},
}
_WRAPS = ["@", " @ ", "@.", "**@**", "`@`", "```\n@\n```", "$@$", r"\[@\]", r"\boxed{@}", "Equation: @", "(@)"]


def _value(tree: Tree) -> Fraction:
    if isinstance(tree, int):
        return Fraction(tree)
    return _APPLY[tree[0]](_value(tree[1]), _value(tree[2]))


def _leaves(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else _leaves(tree[1]) + _leaves(tree[2])


def _typed(tree: Tree, typing: dict[str, str]) -> str:
    if isinstance(tree, int):
        return str(tree)
    left, right = _typed(tree[1], typing), _typed(tree[2], typing)
    return "".join({"@": left, "#": right}.get(character, character) for character in typing[tree[0]])


def _steps(tree: Tree) -> Iterator[str]:
    """The equations of the inner nodes, operands before what is made of them."""
    if isinstance(tree, int):
        return
    yield from _steps(tree[1])
    yield from _steps(tree[2])
    yield f"({_value(tree[1])}) {tree[0]} ({_value(tree[2])}) = {_value(tree)}"


def _graded(answer: str, numbers: list[int], target: int) -> Grade:
    facts = {"numbers": numbers, "target": target}
    question = Question("?", "?", "countdown", "made", "countdown", "equation", facts)
    return grade(f"<answer>{answer}</answer>", question, "stop")


def _is_right(tree: Tree, numbers: list[int], target: int) -> bool:
    try:
        return _value(tree) == target and Counter(_leaves(tree)) <= Counter(numbers)
    except ZeroDivisionError:
        return False


@given(_TREES, st.sampled_from(sorted(_TYPINGS)), st.sampled_from(_WRAPS), st.data())
def test_an_expression_in_any_typing(tree: Tree, typing: str, wrap: str, data: st.DataObject) -> None:
    leaves = _leaves(tree)
    numbers = data.draw(st.permutations(leaves) | st.permutations([*leaves[1:], 7]), "numbers")
    target = data.draw(st.integers(-50, 50) | st.just(_whole_value(tree)), "target")
    answer = wrap.replace("@", _typed(tree, _TYPINGS[typing]))
    expected = "right" if _is_right(tree, numbers, target) else "wrong"
    assert _graded(answer, numbers, target).outcome == expected


def _whole_value(tree: Tree) -> int:
    try:
        return int(_value(tree))
    except ZeroDivisionError:
        return 0


@given(_TREES, st.integers(-3, 3), st.booleans())
def test_a_stated_result_must_be_true(tree: Tree, error: int, ahead: bool) -> None:
    assume(_defined(tree) and _value(tree).denominator == 1)
    value = int(_value(tree))
    typed = _typed(tree, _TYPINGS["plain"])
    answer = f"{value + error} = {typed}" if ahead else f"{typed} = {value + error}"
    result = _graded(answer, _leaves(tree), value)
    assert result.outcome == ("wrong" if error else "right")
    assert result.reason.startswith("false equality") == bool(error)


@given(_TREES, st.sampled_from(["\n", "; ", ", ", " and ", ", then ", ".\nStep 7: "]), st.booleans())
def test_steps_are_right_as_their_expression_is(tree: Tree, between: str, short: bool) -> None:
    assume(not isinstance(tree, int) and _defined(tree) and _value(tree).denominator == 1)
    answer = between.join(_steps(tree))
    numbers = _leaves(tree)[short:]
    result = _graded(answer, numbers, int(_value(tree)))
    # Without one of its numbers only a last step that stands alone, or the same value twice, can save it.
    assert result.outcome == "right" or (short and result.reason.startswith("uses "))


@given(_TREES, st.data())
def test_one_false_step_is_enough(tree: Tree, data: st.DataObject) -> None:
    assume(not isinstance(tree, int) and _defined(tree) and _value(tree).denominator == 1)
    steps = list(_steps(tree))
    false = data.draw(st.integers(0, len(steps) - 1))
    steps[false] += f" = {_value(tree) + 100_003}"
    result = _graded("\n".join(steps), _leaves(tree), int(_value(tree)))
    assert result.reason.startswith("false equality")


@given(_TREES)
def test_a_value_is_exact(tree: Tree) -> None:
    assume(_defined(tree))
    assert read(_typed(tree, _TYPINGS["plain"])).value == _value(tree)


def _defined(tree: Tree) -> bool:
    try:
        _value(tree)
    except ZeroDivisionError:
        return False
    return True
