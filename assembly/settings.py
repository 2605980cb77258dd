"""All settings that an assembled data set depends on, the formats it may have among them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

from assembly.asked import asked_by, lengths_of
from assembly.formats import (
    FORMATS,
    KEPT_TAGS,
    OUR_MARKS,
    TAG,
    THINK,
    Attempts,
    Format,
    choose_formats,
    read_attempts,
    read_formats,
)
from assembly.layouts import LAYOUTS, LayoutName
from assembly.phrases import Phrases, read_phrases
from assembly.selection import read_caps, read_weights, repeats_for
from cluster.flags import flag
from cluster.inference.chat import Prompt, fault_in, fit, probe
from cluster.inference.chat_templates import check_kwargs, own_template
from cluster.inference.models import Model, find
from cluster.inference.tokenizer import ChatFormat, ChatTokenizer
from cluster.inference.values import check_range, read_shares
from cluster.paths import local, local_or_name
from cluster.texts import first_line, nearest
from generation import builtin
from generation.tasks.asked_sets import shown_place
from generation.text_files import PROMPTS_HELP, check_prompts, files_hash
from generation.variants import HINT, PLAIN, Variants, read_variants
from reflection.prompts import read_reflections

_MOST_REPEATS = 1000
FAULT_NAMES = (
    "sample_contradicts_verdict",
    "sample_states_false_arithmetic",
    "final_attempt_states_false_arithmetic",
    "reflection_states_false_arithmetic",
    "reflection_denies_a_given_number",
    "glue_contradicts_verdict",
    "repeats_an_attempt",
    "cut_at_the_length_limit",
    "names_hint",
)
"""Of the rules in `assembly.faults`."""


class Words(NamedTuple):
    """What traces are made with: ours, or those of --prompts."""

    formats: Mapping[str, Format]
    phrases: Phrases
    variants: Variants


@dataclass(frozen=True)
class SftSettings:
    """The settings of a set of traces. Raises ValueError, naming the flag, for settings that cannot work."""

    formats: tuple[str, ...] = flag(
        ("*C_full",), f"comma list of {', '.join(FORMATS)}; quote the stars", group="traces"
    )
    attempts: str = flag("5", "N, the most attempts in a trace; or a range, 2-5")
    seed: int = flag(0, "another seed draws another set")
    repeats: int = flag(1, "traces of each format and length from a question")
    variants: tuple[str, ...] = flag(
        (), f"comma list: only samples under these prompt variants, such as {', '.join(PLAIN)}", group="attempts"
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
    drop_faults: tuple[str, ...] = flag(
        (), f"leave out what shows these faults: all, or a comma list of {', '.join(FAULT_NAMES)}"
    )
    layout: LayoutName = flag(
        "sharegpt", "the columns of question and trace; docs/training.md has which trainer takes which", group="layout"
    )
    frame: str | None = flag(
        None, "the tag around attempts and reflections: another name, or none (default: the format's, think)"
    )
    model: str | None = flag(
        None, "the model to be trained: counts tokens, and its chat template is in some layouts", local_or_name
    )
    chat_kwargs: dict[str, Any] | None = flag(None, "variables of that chat template, as for generation.run")
    max_trace_tokens: int | None = flag(None, "leave out longer traces (question, trace and template)")
    subsample: int | None = flag(None, "keep this many traces, of each label its share", group="selection")
    prompts: str | None = flag(None, PROMPTS_HELP, local, group="traces")
    reflection_prompts: tuple[str, ...] = flag(
        (), "comma list: only reflections that were written under these prompts, or groups of them", group="attempts"
    )
    pass_rate: str | None = flag(
        None,
        "LOW-HIGH, such as 0.1-0.9: only questions of whose samples such a share is right; docs/assembly.md",
        group="selection",
    )
    exclude: tuple[str, ...] = flag(
        (), "comma list of files, folders and hub datasets: no question that stands in one of them", local_or_name
    )
    weights: tuple[str, ...] = flag(
        (), "TASK=0.5,TASK=2: the traces of each task, as a multiple of what it has; above 1 others are drawn"
    )
    cap: tuple[str, ...] = flag((), "3, the most traces of a question; or task=1000,question=3,variant=500")
    validation: float | None = flag(None, "hold out this share of the questions as a split of their own, such as 0.1")
    system: str | None = flag(None, "a system turn in front of every conversation", group="layout")
    pairs: int | None = flag(
        None,
        "write so many pairs of each question, a right and a wrong sample, beside the set: for DPO",
        group="output",
    )

    def __post_init__(self) -> None:
        formats = self.chosen
        for name in self.drop_faults:
            if name not in ("all", *FAULT_NAMES):
                meant = "".join(f"; did you mean {one}?" for one in nearest(name, ["all", *FAULT_NAMES]))
                raise ValueError(
                    f"--drop_faults {name!r} is unknown: take all, or any of {', '.join(FAULT_NAMES)}{meant}"
                )
        check_range("--repeats", self.repeats, 1, _MOST_REPEATS)
        if self.max_similarity is not None and not 0 <= self.max_similarity < 1:
            raise ValueError(f"--max_similarity must be at least 0 and below 1, not {self.max_similarity}")
        if self.model is None and (self.max_trace_tokens is not None or LAYOUTS[self.layout].templated):
            flag_ = "--max_trace_tokens" if self.max_trace_tokens is not None else f"--layout {self.layout}"
            raise ValueError(f"{flag_} needs the model to be trained: give --model too")
        self._check_frame()
        for name in ("max_trace_tokens", "subsample"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, not {value}")
        used_up = [format_.name for format_ in formats if format_.lengths == "used_up"]
        if used_up and (self.unique_variants or self.max_similarity is not None):
            why = f"do not go with format {used_up[0]}, which draws as the paper does; leave them out"
            raise ValueError(f"--unique_variants and --max_similarity {why}, or make its set for itself")
        if self.chat_kwargs is not None and self.model is None:
            raise ValueError("--chat_kwargs is for a chat template: give --model too")
        check_kwargs(self.chat_kwargs)
        self._check_selection()
        self.chat()

    def _check_selection(self) -> None:
        read_shares("--pass_rate", self.pass_rate)
        if self.reflection_prompts and self.inner_attempts:
            told = "reflections inside samples are under no prompt: leave --reflection_prompts or --inner_attempts out"
            raise ValueError(told)
        if self.reflection_prompts and (retried := [one.name for one in self.chosen if one.retried]):
            told = "no retry tells under which prompt the reflection that it saw was written"
            raise ValueError(f"{told}: leave --reflection_prompts or format {retried[0]} out")
        read_caps(self.cap)
        check_range("--pairs", self.pairs, 1, 1000)
        if self.validation is not None and not 0 < self.validation < 1:
            raise ValueError(f"--validation must be a share between 0 and 1, such as 0.1, not {self.validation:g}")
        if self.system is not None and not self.system.strip():
            raise ValueError("--system is blank: leave it out, or give the text of the turn")
        for task, weight in read_weights(self.weights).items():
            if repeats_for(weight, self.repeats) > _MOST_REPEATS:
                told = f"--weights {task}={weight:g} with --repeats {self.repeats}"
                raise ValueError(f"{told} draws more than {_MOST_REPEATS:,} times from a question: give less of one")

    def _check_frame(self) -> None:
        if self.frame is not None:
            if not TAG.fullmatch(self.frame) or self.frame in {"sample", "reflect", *KEPT_TAGS}:
                raise ValueError(f"--frame must be none or the name of a tag such as think, not {self.frame!r}")
            for one in self.chosen:
                if one.marks.frame != THINK:
                    raise ValueError(f"--frame and the frame of format {one.name} in formats.toml: give one of them")
        if self.layout == "reasoning" and self.frame not in (None, THINK):
            raise ValueError("--layout reasoning has a thought without a tag: leave --frame out")
        if self.layout == "reasoning" and (other := [one for one in self.chosen if one.marks.frame != THINK]):
            told = f"--layout reasoning takes the thought out of <think>, which format {other[0].name} has not"
            raise ValueError(f"{told}: give another layout")

    @cached_property
    def words(self) -> Words:
        """Return formats, phrases and variants, which then stay as they were read, in other processes too."""
        folder = check_prompts(self.prompts)
        return Words(read_formats(folder), read_phrases(folder), read_variants(folder))

    @cached_property
    def reflected_under(self) -> Mapping[str, frozenset[str]]:
        """Return the names of prompts that each of --reflection_prompts stands for: those of a group, or itself."""
        if not self.reflection_prompts:
            return {}
        groups = read_reflections(check_prompts(self.prompts)).groups
        return {name: frozenset(groups.get(name, (name,))) for name in self.reflection_prompts}

    @property
    def scored(self) -> bool:
        """Return True if each trace needs a random number of its own, as some are left out at random."""
        return bool(self.weights or self.cap or self.subsample is not None)

    @cached_property
    def chosen(self) -> tuple[Format, ...]:
        """Return the formats asked for. Raises ValueError as choose_formats does."""
        return choose_formats(self.formats, self.bounds, self.words.formats)

    @cached_property
    def dropped(self) -> tuple[str, ...]:
        """Return the names of the faults that no trace may show."""
        named = {*(FAULT_NAMES if "all" in self.drop_faults else self.drop_faults)}
        named |= {"reflection_states_false_arithmetic"} if self.true_arithmetic else set()
        named |= {"cut_at_the_length_limit"} if self.drop_cut else set()
        return tuple(name for name in FAULT_NAMES if name in named)

    @cached_property
    def hint_words(self) -> tuple[str, ...]:
        """Return the words for a hint in the prompts of the variants; ours where none gives a hint."""
        words = {one.hint_word for one in self.words.variants.known.values() if one.rationalized}
        return tuple(sorted(words or {HINT}))

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """Return the tags that no text of a trace may hold: ours, and those of the formats asked for."""
        return tuple(sorted(OUR_MARKS.tags.union(*(one.marks.tags for one in self.chosen))))

    @property
    def bounds(self) -> Attempts:
        return read_attempts(self.attempts)

    def shown(self) -> dict[str, Any]:
        """Return the settings for a card, the model by its name, not by its place on this machine."""
        own: dict[str, Any] = {"prompts": self.prompts and f"own, {files_hash(self.prompts)}"}
        own["exclude"] = [shown_place(one) for one in self.exclude]
        return asdict(self) | {"model": self.model and find_model(self.model).name} | own

    def chat(self) -> ChatTokenizer | None:
        """Return the tokenizer of --model, if that is given. Raises ValueError if it cannot render a chat."""
        if self.model is None:
            return None
        return load_tokenizer(self.model, json.dumps(self.chat_kwargs or {}), self.system)


def find_model(name: str) -> Model:
    """Return a model as `find` does, or the built-in one by its name or folder. Raises ValueError as `find` does."""
    if name in (builtin.NAME, str(builtin.MODEL)):
        return replace(find(str(builtin.MODEL)), name=builtin.NAME)
    return find(name)


@cache
def load_tokenizer(name: str, kwargs: str = "{}", system: str | None = None) -> ChatTokenizer:
    """Load a model's tokenizer by folder, hub id or well-known name. Raises ValueError if it cannot render a chat.

    `kwargs` are the variables of its template, as JSON; `system` is the text of a turn that it must write.
    """
    roles = ("user", "assistant") if system is None else ("system", "user", "assistant")
    model, turns = find_model(name), probe(roles)
    try:
        chat = ChatTokenizer(model.path, model.hub_revision, ChatFormat(own_template(model), json.loads(kwargs)))
        chat = fit(chat, [Prompt("", turns)]).chat
        fault = fault_in(chat.render(turns), turns)
        if not fault:
            lengths_of(chat, asked_by(chat, [("2 + 2?", "4")], system))
    except Exception as error:
        # Chat templates and tokenizers come with the model, and raise anything.
        raise ValueError(f"--model {name} cannot write a conversation: {first_line(error)[:160]}") from error
    if fault:
        raise ValueError(f"--model {name}: its chat template {fault}, which would not be counted: give another one")
    return chat
