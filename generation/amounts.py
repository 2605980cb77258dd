"""How much a run asks for, what follows from that, and what it had asked for with the amounts of an earlier start."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from cluster.jobs.growth import check_growth
from cluster.jobs.run_directory import JSON, Earlier
from cluster.texts import excerpt
from generation.model_plan import ModelChoice, sampling_of_reflections
from generation.records import stable_hash
from generation.rollout import Rollout
from generation.settings import Settings
from generation.supplied import (
    check_answer_stops,
    configured,
    examples_beside,
    notes_on_retries,
    notes_on_variants,
    places_in,
    with_places,
)
from generation.tasks.registry import Part, run_name, supply
from generation.tasks.task import Supplied
from generation.text_files import check_prompts
from generation.variants import Variant, parse_names, read_variants

COUNTS = ("questions", "rl_questions")
OF_EACH = ("variants", "samples", "reflections", "retries", "rl_samples")
GROWS = (*COUNTS, *OF_EACH)
"""The amounts in the configuration of a run."""


class Given(NamedTuple):
    """What does not depend on the amounts, and the questions."""

    settings: Settings
    choice: ModelChoice
    parts: Sequence[Part]
    supplied: Supplied


class Amounts(NamedTuple):
    """How much is asked of each question."""

    variants: tuple[Variant, ...]
    samples: int  # per variant
    reflections: int  # per sample
    retries: int  # of a sample, at most
    rl_samples: int  # of each question held out for RL


class Decided(NamedTuple):
    """What follows from these."""

    rollout: Rollout
    context: int  # in tokens
    configuration: Mapping[str, JSON]
    notes: Sequence[str]


def decide(given: Given, asked: Amounts) -> Decided:
    """Return what follows from questions and amounts. Raises ValueError for examples and stops that do not fit."""
    settings, choice, parts, supplied = given
    variants, samples, reflections, retries, rl_samples = asked
    model, sampling = choice.model, choice.sampling
    examples, notes = examples_beside(settings, variants, supplied, reflections)
    looking = sampling_of_reflections(settings, sampling, model, choice.chat) if reflections else None
    check_answer_stops(supplied, sampling, looking or sampling, reflections)
    looks = settings.asked_to_reflect()
    # Room for question, sample, reflection prompt and reflection, and a retry that sees all these; more is never used.
    longest = sampling.max_tokens * (2 if retries else 1) + (looking or sampling).max_tokens
    context = min(model.context, longest + 4096 + examples.size(variants, looks))
    rollout = Rollout(variants, samples, reflections, sampling, settings.seed)
    rollout = replace(rollout, prompts=looks, examples=examples, reflection_sampling=looking, rl_samples=rl_samples)
    rollout = replace(rollout, retries=retries, retry_prompt=settings.asked_to_retry())
    notes = [*notes_on_variants(settings), *notes, *notes_on_retries(rollout, model.context)]
    questions = (*supplied.sft, *supplied.rl)
    # Engines and traces are not part of it.
    configuration = {
        **choice.configuration,
        "task": run_name([part.task.name for part in parts]),
        "task_config": json.loads(json.dumps(supplied.config, sort_keys=True)),
        "questions": len(supplied.sft),
        "rl_questions": len(supplied.rl),
        "questions_hash": stable_hash(*((q.key, q.answer) for q in questions))[:16],
        **configured(settings, rollout),
        "context": context,
        **places_in(questions),
        **examples.configuration,
    }
    return Decided(rollout, context, configuration, notes)


def earlier_of(given: Given, now: Mapping[str, Any]) -> Earlier:
    """Return `configuration_of` for these, which makes the questions of an earlier configuration once."""
    known = dict[str, Mapping[str, Any]]()

    def earlier(before: Mapping[str, Any]) -> Mapping[str, Any]:
        text = json.dumps(before, sort_keys=True)
        if text not in known:
            known[text] = configuration_of(before, given, now)
        return known[text]

    return earlier


def configuration_of(before: Mapping[str, Any], given: Given, now: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration that these settings give with the amounts of an earlier one, instead of that of `now`.

    Raises ValueError if those are more, and if a question that was for SFT, or for RL, no longer would be. Where the
    earlier configuration is of other tasks or another command, nothing can be taken from it: that of `now` differs.
    """
    names, samples, reflections = (before.get(name) for name in ("variants", "samples", "reflections"))
    if before.get("task") != now["task"] or not isinstance(samples, int) or not isinstance(reflections, int):
        return now
    known = read_variants(check_prompts(given.settings.prompts))
    if not isinstance(names, list) or not {*names} <= {*known.known}:
        return now
    check_growth(GROWS, before, now)
    supplied = given.supplied
    if [before.get(name) for name in COUNTS] != [now[name] for name in COUNTS]:
        supplied = _fewer(before, given)
    more = (before.get(name) or 0 for name in ("retries", "rl_samples"))
    asked = Amounts(parse_names(tuple(names), known), samples, reflections, *more)
    return decide(given._replace(supplied=supplied), asked).configuration


def _fewer(before: Mapping[str, Any], given: Given) -> Supplied:
    """Return the questions of an earlier configuration. Raises ValueError if they would not be asked as they were."""
    counts = before["task_config"].get("tasks", {given.parts[0].task.name: before})
    parts = [
        Part(task, wanted._replace(sft=count["questions"], rl=count["rl_questions"]))
        for task, wanted in given.parts
        if (count := counts.get(task.name))
    ]
    supplied = with_places(supply(parts), given.settings.answer_in)
    now = {question.key: False for question in given.supplied.sft} | dict.fromkeys(
        (question.key for question in given.supplied.rl), True
    )
    for questions, held_out, whose in ((supplied.sft, False, "SFT"), (supplied.rl, True, "RL")):
        if moved := [one for one in questions if now.get(one.key) is not held_out]:
            told = f"{len(moved):,} questions that are for {whose} in this run, such as {excerpt(moved[0].text)}"
            counted = "as many --rl_questions as before" if moved[0].key in now else "as many of each task as before"
            raise ValueError(f"{told}, would not be for {whose} any more: give {counted}, or another folder")
    return supplied
