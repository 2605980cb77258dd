"""What commands that run a model need from the assembly: whether traces are feasible, the sets, next steps."""

import shlex
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from assembly.asked import notes_on_template
from assembly.assemble import assemble, check_destination
from assembly.candidates import NO_REFLECTION
from assembly.enough import Enough, check_enough
from assembly.feasibility import Coverage, NothingMadeError, Supply, count_served, feasible, notes_on_supply
from assembly.formats import Attempts, rows_of
from assembly.rates import COLUMNS as RATE_COLUMNS
from assembly.rates import NO_RATE, PassRates, rates_of
from assembly.rl import RL_DATA, rl_data
from assembly.sessions import SESSIONS
from assembly.settings import SftSettings
from assembly.sft import SFT_DATA
from assembly.sft_report import summary_text
from assembly.shown import preview_text
from cluster.flags import page
from cluster.inference.values import read_shares
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.card import WIDTH, Table, counts_text
from cluster.jobs.job import Job
from cluster.jobs.progress import say
from generation.plan import Plan, amounts
from generation.raw.counts import OUTCOMES, RawCounts
from generation.raw.report import summary
from generation.raw.schema import RAW_DATA
from generation.settings import Settings
from generation.variants import parse_names

SETS = (RAW_DATA, SFT_DATA, RL_DATA)  # the dataset folders in a run directory, which may hold SESSIONS too
_BY_TASK = ("0C", "*C", "*C*IC", "*CC", "star")  # formats counted by task
_PROPOSED = ("*C*IC", "*CC", "*C_full", "algorithm1", "0C", "star")  # formats in the order they are suggested


def sft_settings(settings: Settings) -> SftSettings:
    """Return the assembly's settings from the flags of the whole job. Raises ValueError as SftSettings does."""
    wanted = SftSettings(settings.formats, settings.attempts, settings.seed, prompts=settings.prompts)
    if settings.enough:
        check_enough(wanted)
    return wanted


def check_flags(settings: Settings) -> None:
    """Raise ValueError for settings that cannot give any trace, whatever the model answers."""
    wanted = sft_settings(settings)
    _notes(wanted, len(parse_names(settings.variants, wanted.words.variants)), *amounts(settings), settings.retries)


def _notes(wanted: SftSettings, variants: int, samples: int, reflections: int, retries: int) -> tuple[str, ...]:
    return notes_on_supply(wanted, _supply(variants, samples, reflections, retries))


def _supply(variants: int, samples: int, reflections: int, retries: int) -> Supply:
    return Supply(
        variants * samples,
        variants,
        reflections > 0,
        retries > 0,
        more_samples=", or more --samples or --variants",
        more_retries="give --retries 1 or more",
        more_reflections="give --reflections 1 or more, or --formats star, which needs none",
    )


def sets_of(settings: Settings) -> tuple[str, ...]:
    """Return the names of the folders that the run may make and push."""
    return (*SETS, SESSIONS) if settings.export_traces else SETS


def with_traces(plan: Plan, wanted: SftSettings, settings: Settings) -> Plan:
    """Add phrases, and notes on infeasible formats. Raises ValueError if all are, or if the sets cannot be written.

    With --enough the sampling of a question ends when it can serve those that are feasible.
    """
    check_destination(plan.out / SFT_DATA, plan.out / RAW_DATA)
    if plan.rl_questions:
        check_replaceable(plan.out / RL_DATA)
    if settings.export_traces:
        check_replaceable(plan.out / SESSIONS)
    rollout = plan.rollout
    notes = _notes(wanted, len(rollout.variants), rollout.samples, rollout.reflections, rollout.retries)
    if chat := _counted(wanted, plan).chat():
        notes += tuple(notes_on_template(chat))
    if settings.enough:
        supply = _supply(len(rollout.variants), rollout.samples, rollout.reflections, rollout.retries)
        lacking = Enough(wanted, feasible(wanted, supply))
        plan = replace(plan, rollout=replace(rollout, lacking=lacking), per_item=lacking.lacking(0, 0))
    texts = {**plan.texts, "phrases": wanted.words.phrases, "formats": rows_of(wanted.chosen)}
    return replace(plan, texts=texts).with_notes(*notes)


def make_sets(job: Job, plan: Plan, wanted: SftSettings, settings: Settings) -> tuple[list[str], int]:
    """Make SFT_DATA, unless there are no traces, and RL_DATA, unless selection leaves no question.

    Return the folders made and the number of traces.
    """
    wanted = _counted(wanted, plan)
    raw, out, folders, traces = plan.out / RAW_DATA, plan.out / SFT_DATA, [RAW_DATA], 0
    try:
        write = partial(assemble, published=job.published(RAW_DATA), starts=job.starts, sessions=settings.export_traces)
        made = write(raw, out, wanted, license=plan.license)
        print(f"{summary_text(made)}\n", flush=True)
        folders += [SFT_DATA, *([SESSIONS] if settings.export_traces else [])]
        traces = made.traces.total()
    except NothingMadeError as error:
        if plan.previewed:
            return folders, 0  # the preview says why
        kept = f"{out} stays as it was" if out.exists() else f"there is no {SFT_DATA}"
        print(f"failed: {error}\n{RAW_DATA} is kept in {plan.out}; {kept}", file=sys.stderr)
    if plan.rl_questions and _make_rl(job, plan, settings):
        folders.append(RL_DATA)
    return folders, traces


def all_made(plan: Plan, folders: Sequence[str]) -> bool:
    """Return True if these are all the sets that the run is to give; a preview is to give none but RAW_DATA."""
    return plan.previewed > 0 or {*folders} - {SESSIONS} == {*(SETS if plan.rl_questions else SETS[:2])}


def _make_rl(job: Job, plan: Plan, settings: Settings) -> bool:
    """Make RL_DATA, with pass rates if the questions were sampled; return False, after a line, if none is selected."""
    out, sampled = plan.out / RL_DATA, None
    if keys := [question.key for question in plan.sampled_for_rl]:
        finished = job.store.finished()
        found = rates_of(job.store.scan([key for key in keys if key in finished], RATE_COLUMNS))
        rates = {key: found.get(key, NO_RATE) for key in keys}
        sampled = PassRates(rates, read_shares("--rl_pass_rate", settings.rl_pass_rate), settings.seed)
        print(f"{sampled.text()}\n", flush=True)
    write = partial(rl_data, starts=job.starts, layout=settings.rl_layout, sampled=sampled)
    try:
        write(plan.rl_questions, out, plan.configuration, plan.license)
    except NothingMadeError as error:
        kept = f"{out} stays as it was" if out.exists() else f"there is no {RL_DATA}"
        print(f"failed: {error}; {kept}", file=sys.stderr)
        return False
    return True


def _counted(wanted: SftSettings, plan: Plan) -> SftSettings:
    """Return the settings with the run's own model, which counts the tokens of traces, if it can write a reply."""
    model = plan.model
    if model.served:
        return wanted
    name = f"{model.path}@{model.hub_revision}" if model.hub_revision else model.path
    try:
        return replace(wanted, model=name, chat_kwargs=dict(plan.chat.kwargs) or None)
    except ValueError:
        return wanted


def say_next(plan: Plan, wanted: SftSettings, traces: int, served: Mapping[str, int]) -> None:
    """Suggest the next commands, or show a preview; `served` counts the questions that can serve each format."""
    if plan.previewed:
        page(preview_text(plan, wanted))
        return
    if traces:
        say("next", f"train on {SFT_DATA}: docs/training.md")
    if others := [name for name in _PROPOSED if name not in wanted.formats and served.get(name)]:
        own = f" --prompts {shlex.quote(wanted.prompts)}" if wanted.prompts else ""
        say("next", f"{assembling(plan.out)}{own} --formats {shlex.quote(others[0])} --out traces", whole=True)


def assembling(raw: Path) -> str:
    """Return the command that makes traces from a run or RAW_DATA."""
    return f"python -m assembly.run --raw {shlex.quote(str(raw))}"


def say_counts(counts: RawCounts, coverage: Coverage) -> None:
    """Print a summary of RAW_DATA and of the traces it can give."""
    print(f"\n{summary(counts)}\n\n{coverage_text(coverage, counts)}\n", flush=True)


def coverage_text(coverage: Coverage, counts: RawCounts) -> str:
    """Describe how many questions can serve each format, and why the others cannot."""
    total, usable = len(counts.questions), coverage.usable()
    lines = [f"questions that can serve a format with --attempts {coverage.settings.attempts}, of {total:,}"]
    by_count: dict[int, list[str]] = {}
    for name, count in coverage.served().items():
        by_count.setdefault(count, []).append(name)
    for count, names in sorted(by_count.items(), reverse=True):
        head = f"  {count:>7,} {count / max(1, total):>4.0%}  "
        lines += textwrap.wrap(", ".join(names), WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    # Questions that could give a *C trace of each length, up to 8, unless all lengths are the same.
    lengths = range(1, min(coverage.settings.bounds.most, 8) + 1)
    plain = coverage.settings.words.formats.get("*C")
    shorter = {length: count_served(plain, usable, Attempts(None, length)) for length in lengths if plain}
    if len({*shorter.values()}) > 1:
        given = "  ".join(f"{length}C {count:,}" for length, count in shorter.items())
        head = "questions with enough attempts for " if len(given) < WIDTH - 37 else ""
        lines.append(f"  {head}{given}")
    if len(counts.tasks) > 1:
        served = {task: coverage.served(task) for task in sorted(counts.tasks)}
        shown = [name for name in _BY_TASK if name in coverage.settings.words.formats]
        rows = [(task, coverage.usable(task).total(), *(of[name] for name in shown)) for task, of in served.items()]
        lines += Table(("  by task", "questions", *shown), rows).text(WIDTH - 2 - 10 * (1 + len(shown)), 10)
    return "\n".join([*lines, *_remarks(coverage, counts)])


def _remarks(coverage: Coverage, counts: RawCounts) -> list[str]:
    """Say why there are no traces, or only some, if all samples share the reason."""
    right, wrong, unknown = map(counts.all().outcome, OUTCOMES)
    if not right and not wrong:
        return ["No sample could be told right or wrong: no traces come from these."]
    if not right:
        head = "No sample is known to be right" if unknown else "The model solved nothing: no sample is right"
        remedy = "Take an easier task, a stronger model, more samples, or --variants all."
        return [f"{head}, and every format needs one.", remedy]
    lines = []
    if not wrong:
        head = "No sample is known to be wrong." if unknown else "The model solved everything: no sample is wrong."
        lines.append(f"{head} *C*IC needs one, and no trace")
        lines.append("can show how a mistake is found. Take a harder task or a weaker model.")
    for task, tally in counts.several().items() if wrong else ():
        of_right, of_wrong, of_unknown = map(tally.outcome, OUTCOMES)
        solved = f"the model solved {'everything' if of_right else 'nothing'}"
        unsure = f"no sample is known to be {'wrong' if of_right else 'right'}"
        if bool(of_right) != bool(of_wrong):
            lines.append(f"Task {task}: {unsure if of_unknown else solved}.")
    return [*lines, *_short_of_usable(coverage, counts)]


def _short_of_usable(coverage: Coverage, counts: RawCounts) -> list[str]:
    """Say why no right sample gives a trace with reflections, if none does."""
    usable = coverage.usable()
    most = max((right + wrong for right, wrong, _ in usable if right), default=0)
    if most >= coverage.settings.bounds.fewest:
        return []
    if most:
        others = any(right + wrong > most for right, wrong, _ in usable)
        question = "question with a right one" if others else "question"
        told = f"No {question} has more than {most} usable attempts: --attempts {most} or fewer gives traces."
        return textwrap.wrap(told, WIDTH)
    if set(coverage.right_left_out) <= {NO_REFLECTION}:
        if counts.only_thoughts and not counts.all().reflections:
            told = (
                "Every reflection is only a thought: only star comes. Give reflections more tokens, or switch thoughts"
            )
            return textwrap.wrap(f"{told} off with --chat_kwargs where the chat template can.", WIDTH)
        if not counts.all().reflections:
            return ["There are no reflections: only star comes; `python -m reflection.run` adds some."]
        return ["No right sample has a reflection that says so: only star comes."]
    star = ", save alone in star" if coverage.served().get("star") else ""
    return [f"No right sample may stand in a trace{star}:", *counts_text(coverage.right_left_out.most_common())]
