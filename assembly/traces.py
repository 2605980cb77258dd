"""Makes all traces of one question: their attempts, the phrases between them, their text and their faults.

All randomness is seeded by the question's key. `Trace` rejects parts whose text contains tags of the trace itself.
Traces are silver data, which no one wrote on purpose: only what a rule detects is called a fault.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from assembly.candidates import Candidate, QuestionSamples, false_equations, has_frame_tag, is_plain_answer
from assembly.formats import NO_TAG, OUR_MARKS, THINK, TOO_ALIKE, TOO_FEW_CORRECT, Format, Marks
from assembly.phrases import Phrases, glue_after
from assembly.settings import SftSettings


class TraceStep(NamedTuple):
    """An attempt as shown in the trace."""

    response: str
    reflection: str | None  # None in traces without reflections


@dataclass(frozen=True)
class Trace:
    """Attempts, the phrases between them, and the ending. Raises ValueError for parts that make no valid trace."""

    steps: tuple[TraceStep, ...]
    glue: tuple[str, ...] | None  # one phrase fewer than steps; None in traces without
    ending: str | None  # None in traces without
    answer: str
    review: tuple[str, ...] = ()  # follows the thinking: a phrase, and the earlier attempt that is returned to, if any
    marks: Marks = OUR_MARKS

    def __post_init__(self) -> None:
        glue = self.glue or ()
        if not self.steps or (self.glue is not None and len(glue) != len(self.steps) - 1):
            raise ValueError(f"{len(self.steps)} attempts cannot be joined by {len(glue)} phrases")
        phrases = (*glue, *([] if self.ending is None else [self.ending]), *self.review[:1])
        shown = (text for step in self.steps for text in step if text is not None)
        tags = tuple(sorted(self.marks.tags | OUR_MARKS.tags))
        if any(has_frame_tag(text, tags) for text in (*shown, *phrases, *self.review[1:], self.answer)):
            raise ValueError("a text of the trace holds a tag of the trace's own frame")
        if any(not phrase or phrase != phrase.strip() or "\n" in phrase for phrase in phrases):
            raise ValueError("a phrase must be one line of text without space around it")
        if not is_plain_answer(self.answer):
            raise ValueError("the final answer must be text without answer tags or space around it")


def render(trace: Trace) -> str:
    """Render the trace in the published layout (arXiv 2512.04072)."""
    lines, marks = list[str](), trace.marks
    for place, step in enumerate(trace.steps):
        lines += _marked(marks.sample, step.response)
        if step.reflection is not None:
            lines += _marked(marks.reflection, step.reflection)
        lines += (trace.glue or ())[place : place + 1]
    closing = (*trace.review, *([] if trace.ending is None else [trace.ending]), f"<answer>\n{trace.answer}\n</answer>")
    inside = _marked(marks.frame, "\n".join(lines))
    return "\n".join([*inside, "", "", "\n\n".join(closing)])


def _marked(tag: str, text: str) -> list[str]:
    return [text] if tag == NO_TAG else [f"<{tag}>", text, f"</{tag}>"]


def framed(text: str, frame: str | None) -> str:
    """Return a trace with another tag around its attempts, or "none". Raises ValueError if it holds that tag already.

    A text that is no trace, such as one of format `star`, stays as it is.
    """
    if frame in (None, THINK) or not text.startswith("<think>\n"):
        return text
    if frame != NO_TAG and re.search(rf"<[\s/]*{frame}\b", text, re.IGNORECASE):
        raise ValueError(f"--frame {frame}: a sample holds a tag of this name, give another")
    inside, _, behind = text.removeprefix("<think>\n").partition("\n</think>\n")
    opening, closing = ("", "") if frame == NO_TAG else (f"<{frame}>\n", f"\n</{frame}>")
    return f"{opening}{inside}{closing}\n{behind}"


class LabeledTrace(NamedTuple):
    """A trace and what it was made from."""

    format: str
    label: str
    text: str  # the assistant turn
    attempts: tuple[Candidate, ...]
    trace: Trace | None  # None if the text is just a sample


class QuestionTraces(NamedTuple):
    made: tuple[LabeledTrace, ...]
    not_given: tuple[tuple[str, str], ...]  # (format, reason) for each format that is missing, wholly or in part


def assemble_question(asked: QuestionSamples, formats: Sequence[Format], settings: SftSettings) -> QuestionTraces:
    """Make a question's traces, each with its own random generator: none depends on other formats or questions."""
    correct = sum(one.correct for one in asked.candidates)
    made: list[LabeledTrace] = []
    not_given = []
    for format_ in formats:
        if format_.lengths == "alone":
            samples = sorted(one for one in (*asked.candidates, *asked.unreflected) if one.correct)
            made += [LabeledTrace(format_.name, format_.label, one.response, (one,), None) for one in samples]
            reason = None if samples else TOO_FEW_CORRECT
        elif (reason := format_.shortage(correct, len(asked.candidates) - correct, settings.bounds)) is None:
            different: dict[str, LabeledTrace] = {}
            for attempts, rng in _groups(format_, asked, settings):
                if attempts is None:
                    reason = TOO_ALIKE
                    continue
                trace = _compose(format_, attempts, rng, settings.words.phrases)
                label = format_.label.replace("{n}", str(len(attempts)))
                one = LabeledTrace(format_.name, label, render(trace), tuple(attempts), trace)
                different.setdefault(one.text, one)
            made += different.values()
        if reason is not None:
            not_given.append((format_.name, reason))
    return QuestionTraces(tuple(made), tuple(not_given))


def _groups(
    format_: Format, asked: QuestionSamples, settings: SftSettings
) -> Iterator[tuple[list[Candidate] | None, Random]]:
    """Yield the attempts of each trace, None if too few differ, with the generator that then draws its phrases."""
    bounds, candidates = settings.bounds, asked.candidates
    for repeat in range(settings.repeats):
        behind = f"{asked.key}/{repeat}" if repeat else asked.key
        if format_.lengths == "used_up":
            rng = Random(f"{settings.seed}/{format_.name}/{behind}")
            yield from ((group, rng) for group in _use_up(candidates, bounds.most, rng))
            continue
        lengths: Sequence[int] = [1 if format_.lengths == "one" else bounds.most]
        if format_.lengths == "each":
            lengths = range(bounds.least or 1, bounds.most + 1)
        elif format_.lengths == "all" and bounds.least is not None:
            rng = Random(f"{settings.seed}/{format_.name}/{behind}/length")
            lengths = [rng.randint(bounds.least, min(bounds.most, len(candidates)))]
        for length in lengths:
            rng = Random(f"{settings.seed}/{format_.name}/{length}/{behind}")
            yield _pick(format_, candidates, length, rng, settings), rng


def _pick(
    format_: Format, candidates: Sequence[Candidate], count: int, rng: Random, settings: SftSettings
) -> list[Candidate] | None:
    """Draw `count` candidates, in trace order; None if too few differ enough."""
    left, picked = list(candidates), list[Candidate]()
    for wanted in (*reversed(format_.last), *[True] * format_.earlier_correct, *[None] * (count - format_.shortest)):
        places = [place for place, one in enumerate(left) if wanted in (None, one.correct)]
        while places:
            drawn = places.pop(rng.randrange(len(places)))
            one = left[drawn]
            alike = settings.unique_variants and any(other.variant == one.variant for other in picked)
            if settings.max_similarity is not None and not alike:
                alike = any(similarity(other.response, one.response) > settings.max_similarity for other in picked)
            # The trace gives the last attempt's answer, unless it returns to an earlier one.
            if (one.answer or picked or format_.review == "backtrack") and not alike:
                picked.append(left.pop(drawn))
                break
        else:
            return None
    last, earlier = picked[: len(format_.last)], picked[len(format_.last) :]
    rng.shuffle(earlier)
    return [*earlier, *reversed(last)]


def similarity(first: str, second: str) -> float:
    """Return the Jaccard index of the texts' word trigrams, between 0 and 1, ignoring case and spacing."""
    words = first.lower().split(), second.lower().split()
    one, other = ({tuple(text[start : start + 3]) for start in range(max(1, len(text) - 2))} for text in words)
    return len(one & other) / len(one | other)


def _use_up(candidates: Sequence[Candidate], most: int, rng: Random) -> Iterator[list[Candidate]]:
    """Yield groups of attempts, in trace order, until no correct one is left: Algorithm 1 of arXiv 2512.04072.

    Each takes n+ in [1, most] correct and n- in [0, n+ - 1] incorrect attempts, or as many as are left, without
    replacement, and shuffles all but one correct attempt, which comes last.
    """
    pools = {wanted: [one for one in candidates if one.correct is wanted] for wanted in (True, False)}
    for pool in pools.values():
        rng.shuffle(pool)
    while pools[True]:
        correct = min(rng.randint(1, most), len(pools[True]))
        incorrect = min(rng.randint(0, correct - 1), len(pools[False]))
        taken = [pools[True].pop() for _ in range(correct)]
        earlier = [*taken[1:], *(pools[False].pop() for _ in range(incorrect))]
        rng.shuffle(earlier)
        yield [*earlier, taken[0]]


def _compose(format_: Format, picked: Sequence[Candidate], rng: Random, phrases: Phrases) -> Trace:
    """Make a trace of the picked attempts: a reflection for each, phrases in between, the format's ending."""
    shown = format_.reflections
    steps = tuple(TraceStep(one.response, rng.choice(one.reflections) if shown else None) for one in picked)
    known = [one.correct if shown else None for one in picked[:-1]]
    glue = tuple(rng.choice(glue_after(one, phrases)) for one in known) if "glue" in format_.blocks else None
    review: tuple[str, ...] = (rng.choice(phrases[format_.review]),) if format_.review != "none" else ()
    final = picked[-1]
    if format_.review == "backtrack":
        final = next(one for one in reversed(picked) if one.correct)
        review += (final.response,)
    ending = rng.choice(phrases["ending"]) if "ending" in format_.blocks else None
    return Trace(steps, glue, ending, final.answer, review, format_.marks)


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


def _says(pattern: re.Pattern[str], text: str) -> bool:
    """Return True if the pattern matches in the end of a sample."""
    end = text[-_END:].lower()
    needed = any(words in end for words in _NEEDED[pattern])
    return needed and pattern.search(text, max(0, len(text) - _END)) is not None


def sample_contradicts_verdict(made: LabeledTrace) -> bool:
    """The end of a correct attempt says that it failed, or that of an incorrect one that it is right."""
    if made.trace is None or not any(step.reflection for step in made.trace.steps):
        return False
    return any(_says(_GIVES_UP if one.correct else _CLAIMS, one.response) for one in made.attempts)


def reflection_states_false_arithmetic(made: LabeledTrace) -> bool:
    """A reflection states an equation between numbers that is false."""
    steps = made.trace.steps if made.trace is not None else ()
    return any(any(false_equations(step.reflection)) for step in steps if step.reflection is not None)


def repeats_an_attempt(made: LabeledTrace) -> bool:
    """Two attempts are the same text, but for case and spacing."""
    return len({" ".join(one.response.lower().split()) for one in made.attempts}) < len(made.attempts)


def cut_at_the_length_limit(made: LabeledTrace) -> bool:
    """An attempt was cut at the length limit."""
    return any(one.cut for one in made.attempts)


def names_hint(made: LabeledTrace) -> bool:
    """The word "hint" stands in it."""
    return "hint" in made.text.lower() and re.search(r"\bhint", made.text, re.IGNORECASE) is not None


_RULES = (
    sample_contradicts_verdict,
    reflection_states_false_arithmetic,
    repeats_an_attempt,
    cut_at_the_length_limit,
    names_hint,
)
FAULTS = {rule.__name__: rule for rule in _RULES}
"""What may be wrong with a trace, by name; the card prints the docstrings as rules."""
