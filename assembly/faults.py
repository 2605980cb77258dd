"""The faults of traces, by rules that a card can tell. Traces are silver data, which no one wrote on purpose.

Only what a rule detects is called a fault; --drop_faults leaves out what shows one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from assembly.claims import contradicts_grade, denies_given, states_false_arithmetic, verdict_of
from assembly.claims import names_hint as _names_hint
from assembly.rendering import LabeledTrace


def sample_contradicts_verdict(made: LabeledTrace) -> bool:
    """The end of a correct attempt says that it failed, or that of an incorrect one that it is right."""
    if made.trace is None or not any(step.reflection for step in made.trace.steps):
        return False
    return any(contradicts_grade(one.response, one.correct) for one in made.attempts)


# The traces of a question share their attempts.
_states_false = lru_cache(maxsize=256)(states_false_arithmetic)


def sample_states_false_arithmetic(made: LabeledTrace) -> bool:
    """An attempt, right or wrong, states an equation between numbers that is false."""
    return any(_states_false(one.response) for one in made.attempts)


def final_attempt_states_false_arithmetic(made: LabeledTrace) -> bool:
    """The attempt whose answer the trace gives is correct, and states an equation between numbers that is false."""
    return made.final.correct and _states_false(made.final.response)


def reflection_states_false_arithmetic(made: LabeledTrace) -> bool:
    """A reflection states an equation between numbers that is false."""
    return any(states_false_arithmetic(text) for text in made.reflections if text is not None)


def reflection_denies_a_given_number(made: LabeledTrace) -> bool:
    """A reflection says "N was not given", or "is not in the list", of a number that the question gives, or "N was used
    too often" of one that the answer, a single expression, uses no more often than it was given. For questions with
    given numbers, such as countdown's, and such plain sentences alone: no condition, doubt, quotation or question."""
    shown = zip(made.attempts, made.reflections, strict=False)
    return any(text is not None and denies_given(text, made.numbers, one.answer) for one, text in shown)


def glue_contradicts_verdict(made: LabeledTrace) -> bool:
    """The phrase after an attempt whose reflection says Correct calls it wrong, or after Incorrect right, as far as a
    list of words can tell: a proxy."""
    if made.trace is None or made.trace.glue is None:
        return False
    judged = zip(made.attempts, made.reflections, made.trace.glue, strict=False)
    return any(text is not None and verdict_of(phrase) is (not one.correct) for one, text, phrase in judged)


_SEEN, _LETTERS = 80, 24


def repeats_an_attempt(made: LabeledTrace) -> bool:
    """Two attempts are the same text, but for case and spacing."""
    texts = [one.response for one in made.attempts]
    # Most differ in their last letters, which is seen much faster.
    ends = {"".join(text[-_SEEN:].lower().split())[-_LETTERS:] for text in texts}
    if len(ends) == len(texts) and all(len(end) == _LETTERS for end in ends):
        return False
    return len({" ".join(text.lower().split()) for text in texts}) < len(texts)


def cut_at_the_length_limit(made: LabeledTrace) -> bool:
    """An attempt was cut at the length limit."""
    return any(one.cut for one in made.attempts)


def names_hint(made: LabeledTrace) -> bool:
    """The word "hint" stands in it, or the word for it of your own variants."""
    return _names_hint(made.text, made.hint_words)


Rule = Callable[[LabeledTrace], bool]
_RULES: Sequence[Rule] = (
    sample_contradicts_verdict,
    sample_states_false_arithmetic,
    final_attempt_states_false_arithmetic,
    reflection_states_false_arithmetic,
    reflection_denies_a_given_number,
    glue_contradicts_verdict,
    repeats_an_attempt,
    cut_at_the_length_limit,
    names_hint,
)
FAULTS: Mapping[str, Rule] = {rule.__name__: rule for rule in _RULES}
"""What may be wrong with a trace, by name."""
RULES: Mapping[str, str] = {name: " ".join((rule.__doc__ or "").split()) for name, rule in FAULTS.items()}
"""When a trace shows it, as the card says."""
