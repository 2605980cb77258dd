"""What a plan makes of its questions: where they give answers, what goes with them, what its configuration says."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from cluster.inference.chat import Prompt
from cluster.inference.engine import Sampling
from cluster.inference.sampling import check_stops
from cluster.jobs.run_directory import JSON
from generation.examples import (
    Examples,
    check_apart,
    check_golds,
    load_examples,
    notes_on_answering,
    notes_on_reflecting,
)
from generation.grading.answers import places_of
from generation.records import ANSWER_IN, Parent, Question, stable_hash
from generation.rollout import Rollout
from generation.settings import Settings
from generation.tasks.task import Supplied
from generation.text_files import check_prompts
from generation.variants import HINT, Variant, read_variants
from reflection.prompts import read_reflections


class HasExamples(Protocol):
    @property
    def examples(self) -> str | None: ...
    @property
    def prompts(self) -> str | None: ...


def examples_beside(
    settings: HasExamples, asked: tuple[Variant, ...], supplied: Supplied, reflections: int
) -> tuple[Examples, list[str]]:
    """Return the examples of --examples and notes on them. Raises ValueError if they do not go with the questions."""
    folder = check_prompts(settings.prompts)
    examples = load_examples(settings.examples, read_variants(folder).known, read_reflections(folder).all)
    check_golds(examples, asked)
    check_apart(examples, (question.text for question in (*supplied.sft, *supplied.rl)))
    notes = [*notes_on_answering(examples, asked, {question.answer_in for question in supplied.sft})]
    return examples, [*notes, *(notes_on_reflecting(examples) if reflections else ())]


def check_answer_stops(supplied: Supplied, sampling: Sampling, looking: Sampling, reflections: int) -> None:
    """Raise ValueError for a stop that would end a sample before its answer, or a reflection before its verdict."""
    if any("tag" in q.answer_in for q in (*supplied.sft, *supplied.rl)):
        check_stops(sampling, "answer", "sample")
    if reflections:
        check_stops(looking, "verdict", "reflection")


def with_places(supplied: Supplied, answer_in: str | None) -> Supplied:
    """Set where samples of each question give their answers."""
    sft, rl = ([replace(q, answer_in=places_of(q.grader, answer_in)) for q in of] for of in (supplied.sft, supplied.rl))
    return supplied._replace(sft=tuple(sft), rl=tuple(rl))


def places_in(questions: Iterable[Question]) -> dict[str, JSON]:
    """Return where answers stand, by grader, as the configuration has it: nothing where it is as it always was."""
    there = {question.grader: list(question.answer_in) for question in questions if question.answer_in != ANSWER_IN}
    return {"answer_in": there} if there else {}


def first_of_each_grader(questions: Iterable[Question]) -> list[Question]:
    """Return the first question of each grader."""
    firsts: dict[str, Question] = {}
    for question in questions:
        firsts.setdefault(question.grader, question)
    return [*firsts.values()]


def graded_by(first: Question) -> str:
    """Return the line of a description that says how questions such as this one are graded."""
    places = f"; answers in {', '.join(first.answer_in)}" if first.answer_in != ANSWER_IN else ""
    return f"graded by   {first.grader}, the first gold answer {' '.join(first.answer.split())[:60]!r}{places}"


def graders_in(questions: Iterable[Question]) -> dict[str, dict[str, str]]:
    """Return the programs of graders that are the user's own, by name, as a run keeps its texts."""
    programs = {question.grader: question.program for question in questions if question.program}
    return {"graders": programs} if programs else {}


def notes_on_variants(settings: Settings) -> tuple[str, ...]:
    """Return notes on the variants' file, if `plain` of it was asked for."""
    return read_variants(check_prompts(settings.prompts)).notes if "plain" in settings.variants else ()


def notes_on_retries(rollout: Rollout, context: int) -> Iterator[str]:
    """Yield what the user should know of retries on a model with this context, in sentences."""
    if not rollout.retries:
        return
    if rollout.retries > rollout.reflections:
        told = f"each follows one of the {rollout.reflections} reflections of a sample"
        yield f"--retries {rollout.retries} can be no more than {rollout.reflections}: {told}"
    needed = 2 * rollout.sampling.max_tokens + rollout.of_reflections.max_tokens
    if needed >= context:
        told = f"a sample, a reflection and a retry of the longest kind are {needed:,} tokens"
        yield f"{told}, more than the context of {context:,}: retries that do not fit fail, and their rows say so"


def retry_chat(rollout: Rollout, question: Question, sample: str) -> list[Prompt]:
    """Return the prompt of a retry of this sample, if there are retries; "" stands for an empty reflection too."""
    said = "(a reflection that says Incorrect, as the model wrote it)" if sample else ""
    seen = Parent("", 0, 0, sample, None, said, "wrong", cut=False, mentions_hint=False)
    return [Prompt("retry", rollout.retry_request(question, seen).messages)] if rollout.retries else []


def hint_words(asked: Iterable[Variant]) -> list[str]:
    """Return the words that rationalized responses must not hold where they are others than ours, for the hash."""
    return sorted({one.hint_word for one in asked} - {HINT})


def configured(settings: Settings, rollout: Rollout) -> dict[str, JSON]:
    """Return what the configuration says of how questions are sampled. What is not used adds nothing."""
    looking = rollout.reflection_sampling
    retry_prompt = [rollout.retry_prompt] if rollout.retries else []
    enough: JSON = {"formats": sorted({*settings.formats}), "attempts": settings.attempts}
    return {
        "prompts_hash": stable_hash(
            *rollout.variants, *hint_words(rollout.variants), *rollout.prompts.items(), *retry_prompt
        )[:16],
        "variants": [variant.name for variant in rollout.variants],
        "samples": rollout.samples,
        "reflections": rollout.reflections,
        "sampling": rollout.sampling.parameters(),
        **({"reflection_sampling": looking.parameters()} if looking else {}),
        **({"retries": rollout.retries} if rollout.retries else {}),
        **({"rl_samples": rollout.rl_samples} if rollout.rl_samples else {}),
        **({"enough": enough} if settings.enough else {}),
        "seed": rollout.seed,
    }
