"""The explicit, versioned schema of EVAL_DATA, one row per question, arm and prompt variant, in the published names.

Lists have one element per reply, in the order of the samples. REPLIES is what figures are made from: a row per reply.
"""

import pyarrow as pa

from cluster.texts import load_table
from generation.raw.schema import ATTEMPT, REQUESTS, SAMPLE_PROVENANCE, SCHEMA, Column

_TABLE = load_table("generation.evaluation", "columns.toml")
SCHEMA_VERSION: int = _TABLE["version"]
TAGS = ("skillfactory", "evaluation", "reasoning")  # of its card
EVAL_DATA = "EVAL_DATA"  # its folder in a run directory, and the prefix of its repositories' names
PREFIX = "model_responses"
ARM = "arm"
STOPPED, FORCED, CONTROL = "stopped", "forced", "control"
"""The arms of budget forcing: the reply as its limit stopped it; forced to go on from there; another of that length."""
FORCING = pa.struct({"trigger": pa.string(), "kept": pa.int32(), "answer": pa.bool_()})
"""What was appended, "" if nothing; behind how many characters of the reply; whether an answer had to be asked for."""
_TEXTS = pa.list_(pa.string())
_TYPES = {
    "text": pa.string(),
    "texts": _TEXTS,
    "flags": pa.list_(pa.bool_()),
    "nested texts": pa.list_(_TEXTS),
    "nested flags": pa.list_(pa.list_(pa.bool_())),
    "places": pa.list_(pa.int32()),
    "place": pa.int32(),
    "lists of attempts": pa.list_(pa.list_(ATTEMPT)),
    "requests": pa.list_(REQUESTS[SAMPLE_PROVENANCE]),
    "forcings": pa.list_(FORCING),
    "messages": SCHEMA.field("prompt").type,
    "sampling": SCHEMA.field("sampling").type,
}
COLUMNS = tuple(Column(name, _TYPES[kind], meaning) for name, (kind, meaning) in _TABLE["columns"].items())
EVAL_SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])

VERDICTS = tuple(
    f"{outcome}_{verdict}" for outcome in ("right", "wrong") for verdict in ("correct", "incorrect", "none")
)
"""Columns of REPLIES: verdicts on right and on wrong attempts inside a reply, counted."""
SKILLS = ("verification", "backtracking", "restart")
REPLIES = pa.schema(
    {
        "question_key": pa.string(),
        "gold": pa.string(),  # null where it is one right answer of many
        "task": pa.string(),
        "arm": pa.string(),  # "" without budget forcing
        "variant": pa.string(),
        "sample": pa.int32(),  # place among the replies of its row
        "outcome": pa.string(),  # right, wrong, unknown
        "reason": pa.string(),  # as generation.records; "" when right
        "answer": pa.string(),  # as extracted; null without one
        "same_answer": pa.int32(),  # as responses__same_answer
        "tokens": pa.int64(),  # written, thoughts included; null if nobody counted them
        "trigger": pa.string(),  # what forced it to go on; null if nothing did
        "answer_forced": pa.bool_(),
        "attempts": pa.int32(),  # inside a trace; null for a reply that is none
        "reflections": pa.int32(),  # likewise
        **dict.fromkeys(VERDICTS, pa.int32()),  # likewise
        **dict.fromkeys(SKILLS, pa.bool_()),  # by the words of a reply that is no trace; null for a trace
    }
)
