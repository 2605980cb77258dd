"""What an assembly is asked for: with the RAW_DATA, all that decides its bytes."""

from dataclasses import dataclass
from functools import cache

from assembly.formats import FORMATS, Attempts, choose_formats, read_attempts
from cluster.flags import flag
from cluster.inference.chat import fault_in, probe
from cluster.inference.engine import Message
from cluster.inference.models import find
from cluster.inference.vllm_engine import ChatTokenizer
from cluster.paths import local_or_name
from cluster.texts import first_line
from generation.variants import PLAIN


@dataclass(frozen=True)
class SftSettings:
    """How a set of traces is asked for. Raises ValueError for what cannot be made so, naming the flag."""

    formats: tuple[str, ...] = flag(("*C_full",), f"comma list of {', '.join(FORMATS)}; quote the stars")
    attempts: str = flag("5", "N, the most attempts in a trace; or a range, 2-5")
    seed: int = flag(0, "another seed draws another set")
    repeats: int = flag(1, "traces of each format and length from a question")
    variants: tuple[str, ...] = flag(
        (), f"comma list: only samples under these prompt variants, such as {', '.join(PLAIN)}"
    )
    unique_variants: bool = flag(False, "no two attempts of a trace under one prompt variant")
    max_similarity: float | None = flag(None, "no two attempts of a trace more alike than this, 0 to 1")
    """The part of their word triples that they share."""
    drop_cut: bool = flag(False, "leave out samples cut at the length limit")
    keep_unanswered: bool = flag(False, "samples without an answer may stand as incorrect attempts")
    true_arithmetic: bool = flag(False, "leave out reflections that state a false equation")
    tokenizer: str | None = flag(None, "model whose tokenizer counts --max_trace_tokens", local_or_name)
    max_trace_tokens: int | None = flag(None, "leave out longer traces (question, trace and template)")
    subsample: int | None = flag(None, "keep this many traces, of each label its share")

    def __post_init__(self) -> None:
        formats = choose_formats(self.formats, self.bounds)
        if not 1 <= self.repeats <= 1000:
            raise ValueError(f"--repeats must be between 1 and 1,000, not {self.repeats}")
        if self.max_similarity is not None and not 0 <= self.max_similarity < 1:
            raise ValueError(f"--max_similarity must be at least 0 and below 1, not {self.max_similarity}")
        if (self.tokenizer is None) != (self.max_trace_tokens is None):
            raise ValueError("--tokenizer and --max_trace_tokens go together: give both or none")
        if self.max_trace_tokens is not None and self.max_trace_tokens < 1:
            raise ValueError(f"--max_trace_tokens must be at least 1, not {self.max_trace_tokens}")
        if self.subsample is not None and self.subsample < 1:
            raise ValueError(f"--subsample must be at least 1, not {self.subsample}")
        used_up = [format_.name for format_ in formats if format_.lengths == "used up"]
        if used_up and (self.unique_variants or self.max_similarity is not None):
            raise ValueError(
                f"--unique_variants and --max_similarity do not go with format {used_up[0]}, which draws as the "
                "paper does; leave them out, or make its set for itself"
            )
        if self.tokenizer is not None:
            check_tokenizer(self.tokenizer)

    @property
    def bounds(self) -> Attempts:
        """What `attempts` says."""
        return read_attempts(self.attempts)


@cache
def load_tokenizer(name: str) -> ChatTokenizer:
    """Load the tokenizer of a model by folder, hub id or well-known name. Raises ValueError if it is not there."""
    model = find(name)
    return ChatTokenizer(model.path, model.hub_revision)


def check_tokenizer(name: str) -> None:
    """Raise ValueError if the tokenizer is not there or cannot write a conversation."""
    chat = load_tokenizer(name)
    turns = probe(("user", "assistant"))
    try:
        fault = fault_in(chat.render(turns), turns)
        chat.encode([Message(role="user", content="2 + 2?"), Message(role="assistant", content="4")])
    except Exception as error:
        # A template is the model's own program, a tokenizer anyone's file: they fail in their own ways.
        reason = first_line(error)[:160]
        raise ValueError(f"--tokenizer {name} cannot write a conversation: {reason}") from error
    if fault:
        raise ValueError(f"--tokenizer {name}: its chat template {fault}, which would not be counted: give another one")
