"""The table of trace formats, and all other settings that an assembled data set depends on."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal, NamedTuple

from assembly.asked import asked_by, lengths_of
from assembly.layouts import LAYOUTS, LayoutName
from cluster.flags import flag
from cluster.inference.chat import Prompt, fault_in, fit, probe
from cluster.inference.chat_templates import check_kwargs, own_template
from cluster.inference.models import Model, find
from cluster.inference.tokenizer import ChatFormat, ChatTokenizer
from cluster.inference.values import check_range
from cluster.paths import local_or_name
from cluster.texts import first_line, nearest
from generation import builtin
from generation.variants import PLAIN

THINK = "think"
_TAGS = {"sample", "reflect", "answer", "verdict"}  # of a trace's parts, and so not of its frame
TOO_FEW = "fewer usable attempts than asked for"
TOO_FEW_CORRECT = "too few correct attempts"
TOO_FEW_INCORRECT = "too few incorrect attempts"
TOO_ALIKE = "too few usable attempts that --unique_variants or --max_similarity lets stand in one trace"


class Attempts(NamedTuple):
    """How many attempts a trace has: `most`, or if `least` is given, anything in between."""

    least: int | None
    most: int

    @property
    def fewest(self) -> int:
        return self.least or self.most


@cache
def read_attempts(text: str) -> Attempts:
    """Parse `5` or `2-5`. Raises ValueError."""
    found = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,4})", text)
    if found is None or not 1 <= int(found[1] or 1) <= int(found[2]) <= 1000:
        raise ValueError(f"--attempts must be a number such as 5, or a range such as 2-5, not {text!r}")
    return Attempts(int(found[1]) if found[1] else None, int(found[2]))


@dataclass(frozen=True)
class Format:
    """What traces a format makes of a question; N is --attempts."""

    name: str
    label: str  # {n} stands for the number of attempts in the trace
    lengths: Literal["one", "all", "each", "used up", "alone"]
    """1 attempt; N attempts; a trace for each of 1..N; until no correct one is left; each correct sample by itself."""
    last: tuple[bool | None, ...] = (True,)  # required correctness of the last attempts, in order; None for either
    earlier_correct: int = 0  # how many attempts before those must be correct
    whole_pool: bool = True
    """Even its shorter traces need N usable attempts, as published, so that all labels cover the same questions."""
    reflections: bool = True
    review: Literal["backtrack", "confirm"] | None = None

    @property
    def shortest(self) -> int:
        """Return the number of attempts in the shortest trace."""
        return len(self.last) + self.earlier_correct

    @property
    def reflected(self) -> bool:
        """Return True if each sample needs a reflection with the right verdict, shown or not, as published."""
        return self.lengths != "alone"

    def pool(self, attempts: Attempts) -> int:
        """Return the number of usable attempts that a question needs."""
        if not self.whole_pool:
            return 1
        return attempts.fewest if self.lengths == "all" else attempts.most

    def shortage(self, correct: int, incorrect: int, attempts: Attempts) -> str | None:
        """Return why this many usable attempts cannot give the format; None if they can."""
        if correct + incorrect < self.pool(attempts):
            return TOO_FEW
        # As published, every format, even "random", leaves out questions without a correct attempt.
        if correct < max(1, self.last.count(True) + self.earlier_correct):
            return TOO_FEW_CORRECT
        return TOO_FEW_INCORRECT if incorrect < self.last.count(False) else None


_TABLE = (
    Format("0C", "0C", "one", whole_pool=False),
    Format("*C", "{n}C", "all"),
    Format("*C_full", "{n}C", "each"),
    Format("*C*IC", "*C*IC", "all", (False,), earlier_correct=1, review="backtrack"),
    Format("*CC", "*CC", "all", (True, True), review="confirm"),
    Format("random", "random", "each", (None,)),
    Format("no_reflection", "no_reflection", "each", reflections=False),
    # the paper's Algorithm 1, and its baseline of unchanged correct samples (arXiv 2512.04072)
    Format("algorithm1", "algorithm1", "used up", whole_pool=False),
    Format("star", "star", "alone", whole_pool=False, reflections=False),
)
FORMATS = {format_.name: format_ for format_ in _TABLE}


def choose_formats(names: Sequence[str], attempts: Attempts) -> tuple[Format, ...]:
    """Return the distinct formats of these names. Raises ValueError for an unknown one, or if N is too small for it."""
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        near = [one for name in unknown for one in nearest(name, FORMATS)]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"unknown format {', '.join(unknown) or '(none)'}; known are {', '.join(FORMATS)}{hint}")
    formats = tuple(FORMATS[name] for name in dict.fromkeys(names))
    for format_ in formats:
        if attempts.fewest < format_.shortest and format_.lengths == "all":
            raise ValueError(f"attempts is {attempts.fewest}; format {format_.name} needs at least {format_.shortest}")
    return formats


@dataclass(frozen=True)
class SftSettings:
    """The settings of a set of traces. Raises ValueError, naming the flag, for settings that cannot work."""

    formats: tuple[str, ...] = flag(("*C_full",), f"comma list of {', '.join(FORMATS)}; quote the stars")
    attempts: str = flag("5", "N, the most attempts in a trace; or a range, 2-5")
    seed: int = flag(0, "another seed draws another set")
    repeats: int = flag(1, "traces of each format and length from a question")
    variants: tuple[str, ...] = flag(
        (), f"comma list: only samples under these prompt variants, such as {', '.join(PLAIN)}"
    )
    unique_variants: bool = flag(False, "no two attempts of a trace under one prompt variant")
    max_similarity: float | None = flag(None, "no two attempts of a trace more alike than this, 0 to 1")
    """The share of word trigrams in common."""
    drop_cut: bool = flag(False, "leave out samples cut at the length limit")
    keep_unanswered: bool = flag(False, "samples without an answer may stand as incorrect attempts")
    inner_attempts: bool = flag(
        False,
        "take each attempt inside samples that are traces themselves, not only the one that gives their answer",
    )
    thoughts: Literal["drop", "show"] = flag(
        "drop", "what the model thought before its replies: drop it, or show it as text in the attempts"
    )
    true_arithmetic: bool = flag(False, "leave out reflections that state a false equation")
    layout: LayoutName = flag(
        "sharegpt", "the columns of question and trace; docs/training.md has which trainer takes which"
    )
    frame: str = flag("think", "the tag around attempts and reflections: think, another name, or none")
    model: str | None = flag(
        None, "the model to be trained: counts tokens, and its chat template is in some layouts", local_or_name
    )
    chat_kwargs: dict[str, Any] | None = flag(None, "variables of that chat template, as for generation.run")
    max_trace_tokens: int | None = flag(None, "leave out longer traces (question, trace and template)")
    subsample: int | None = flag(None, "keep this many traces, of each label its share")

    def __post_init__(self) -> None:
        formats = choose_formats(self.formats, self.bounds)
        check_range("--repeats", self.repeats, 1, 1000)
        if self.max_similarity is not None and not 0 <= self.max_similarity < 1:
            raise ValueError(f"--max_similarity must be at least 0 and below 1, not {self.max_similarity}")
        if self.model is None and (self.max_trace_tokens is not None or LAYOUTS[self.layout].templated):
            flag_ = "--max_trace_tokens" if self.max_trace_tokens is not None else f"--layout {self.layout}"
            raise ValueError(f"{flag_} needs the model to be trained: give --model too")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", self.frame) or self.frame in _TAGS:
            raise ValueError(f"--frame must be none or the name of a tag such as think, not {self.frame!r}")
        if self.layout == "reasoning" and self.frame != THINK:
            raise ValueError("--layout reasoning has a thought without a tag: leave --frame out")
        for name in ("max_trace_tokens", "subsample"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, not {value}")
        used_up = [format_.name for format_ in formats if format_.lengths == "used up"]
        if used_up and (self.unique_variants or self.max_similarity is not None):
            why = f"do not go with format {used_up[0]}, which draws as the paper does; leave them out"
            raise ValueError(f"--unique_variants and --max_similarity {why}, or make its set for itself")
        if self.chat_kwargs is not None and self.model is None:
            raise ValueError("--chat_kwargs is for a chat template: give --model too")
        check_kwargs(self.chat_kwargs)
        self.chat()

    @property
    def bounds(self) -> Attempts:
        return read_attempts(self.attempts)

    def shown(self) -> dict[str, Any]:
        """Return the settings for a card, the model by its name, not by its place on this machine."""
        return asdict(self) | {"model": self.model and find_model(self.model).name}

    def chat(self) -> ChatTokenizer | None:
        """Return the tokenizer of --model, if that is given. Raises ValueError if it cannot render a chat."""
        return None if self.model is None else load_tokenizer(self.model, json.dumps(self.chat_kwargs or {}))


def find_model(name: str) -> Model:
    """Return a model as `find` does, or the built-in one by its name or folder. Raises ValueError as `find` does."""
    if name in (builtin.NAME, str(builtin.MODEL)):
        return replace(find(str(builtin.MODEL)), name=builtin.NAME)
    return find(name)


@cache
def load_tokenizer(name: str, kwargs: str = "{}") -> ChatTokenizer:
    """Load a model's tokenizer by folder, hub id or well-known name. Raises ValueError if it cannot render a chat.

    `kwargs` are the variables of its template, as JSON.
    """
    model, turns = find_model(name), probe(("user", "assistant"))
    try:
        chat = ChatTokenizer(model.path, model.hub_revision, ChatFormat(own_template(model), json.loads(kwargs)))
        chat = fit(chat, [Prompt("", turns)]).chat
        fault = fault_in(chat.render(turns), turns)
        if not fault:
            lengths_of(chat, asked_by(chat, [("2 + 2?", "4")]))
    except Exception as error:
        # Chat templates and tokenizers come with the model, and raise anything.
        raise ValueError(f"--model {name} cannot write a conversation: {first_line(error)[:160]}") from error
    if fault:
        raise ValueError(f"--model {name}: its chat template {fault}, which would not be counted: give another one")
    return chat
