"""Why a sample may stand in no trace, as people read it, and what helps against it."""

from __future__ import annotations

from collections.abc import Mapping

from assembly.settings import SftSettings
from generation.records import CUT, NO_ANSWER

UNDECIDED = "correctness undecided"
BLANK = "its response is blank"
HINT = "mentions its hint"
FRAME_TAG = "holds `<think>`, `<sample>` or `<reflect>`, the tags of a trace"
UNQUOTABLE = "its answer cannot be quoted"
NO_REFLECTION = "no reflection with the right verdict"
FRAMED_REFLECTION = "each reflection with the right verdict holds tags of a trace"
FALSE_REFLECTION = "each reflection with the right verdict states a false equation"
OTHER_VARIANT = "under a prompt variant that was not asked for"

UNREFLECTED = (NO_REFLECTION, FRAMED_REFLECTION, FALSE_REFLECTION)
"""Nothing is wrong with these samples themselves: they may stand alone. In the order in which it is asked."""

_NO_THOUGHTS = "take a model, or a chat template, that does not think aloud"
_ADVICE = {
    UNDECIDED: "look at outcome_reason in RAW_DATA, then at the gold answers and their --grader",
    HINT: "ask under --variants plain",
    FRAME_TAG: _NO_THOUGHTS,
    FRAMED_REFLECTION: _NO_THOUGHTS,
    UNQUOTABLE: "look at the extracted answers in RAW_DATA",
    NO_REFLECTION: "add reflections with `python -m reflection.run`, or take --formats star, which needs none",
    FALSE_REFLECTION: "leave --true_arithmetic out",
    OTHER_VARIANT: "take other --variants",
    CUT: "take more --max_tokens",
    NO_ANSWER: "take a model that answers in <answer> tags, as the prompts ask",
}


def advice(left_out: Mapping[str, int], settings: SftSettings) -> str:
    """Return what helps against the most frequent reason."""
    most = max(sorted(left_out), key=lambda reason: left_out[reason])
    if most == CUT and settings.drop_cut:
        return "leave --drop_cut out"
    return _ADVICE.get(most, "look at the samples in RAW_DATA")
