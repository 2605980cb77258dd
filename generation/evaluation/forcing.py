"""Budget forcing: a reply is taken before its closing tag and gone on with (arXiv 2501.19393; 2512.04072, section 6).

The trigger goes by the reply's own form. In a trace it is `<sample>`, in a thought `Wait`, each before what closes the
thought; behind a reply without a thought it is the mark that opens one, where the model has such, or else `Wait`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from cluster.inference.engine import Completion, Sampling
from cluster.inference.thoughts import THINK, closing_of
from reflection.inner import after_last, attempts_in

WAIT, SAMPLE = "Wait", "<sample>"
ANSWER_TOKENS = 64
"""An answer that did not come is asked for in this many tokens more, of which no arm's length takes account."""
_END = "\n</think>\n\n"
_ASKED = {"tag": ("<answer>\n", "</answer>"), "boxed": ("\\boxed{", "\n"), "last_line": ("The answer is ", "\n")}
"""How a reply is made to answer, by the place of answers, and what ends the answer."""


class Forcing(NamedTuple):
    """How replies are forced."""

    stop_at: int  # tokens of the reply that is stopped
    end_at: int  # tokens of the reply that went on, and of its control
    trigger: str | None = None  # of the user's, None for one by the form of the reply
    mark: str = ""  # what opens a thought of this model; "" if it has none of its own


class Cut(NamedTuple):
    """Where a reply is gone on with."""

    kept: str
    trigger: str

    @property
    def begun(self) -> str:
        return f"{self.kept}{self.trigger}"


def cut(base: Completion, forcing: Forcing) -> Cut:
    """Return what of a reply is kept, and the trigger that is appended."""
    text, spans = base.written, base.spans
    closing = closing_of(text, spans[-1]) if spans else None
    inside = base.thought if spans else text
    if (inside or "").lstrip().lower().startswith(SAMPLE):
        # Without a frame of its own a trace ends where its last block does.
        place = closing if spans else after_last(text) if attempts_in(text) else None
        return Cut(text[:place].rstrip() + "\n", forcing.trigger or f"{SAMPLE}\n")
    if spans:
        return Cut(text[:closing].rstrip() + "\n", forcing.trigger or WAIT)
    opening = f"{forcing.mark}\n" if forcing.mark else WAIT
    return Cut(text.rstrip() + "\n" if text.strip() else "", forcing.trigger or opening)


def ask_for_answer(
    written: Completion, places: Sequence[str], sampling: Sampling, mark: str
) -> tuple[str, Sampling] | None:
    """Return the begin of a reply that must give its answer next, and how to sample it; None if that is impossible.

    It is where answers stand by a regular expression alone, and inside a thought whose marks are not `<think>`.
    """
    place = next((one for one in places if one in _ASKED), None)
    if place is None:
        return None
    text, spans = written.written, written.spans
    if spans and spans[-1][1] > len(text):
        if not (mark or THINK.opening.match(text.lstrip())):
            return None
        text = f"{text.rstrip()}{_END}"
    opening, end = _ASKED[place]
    space = "" if not text or text[-1].isspace() else "\n\n"
    more = {**sampling.more, "stop": [end], "include_stop_str_in_output": place == "tag"}
    more.pop("min_tokens", None)
    return f"{text}{space}{opening}", replace(sampling, max_tokens=ANSWER_TOKENS, more=more)
