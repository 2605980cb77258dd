"""Writes RAW_DATA from shards, and reports on its contents: on the terminal, and in its README.md."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.errors import AllFailedError
from cluster.jobs import card
from cluster.jobs.card import NONE, WIDTH, Table
from cluster.jobs.job import Job
from cluster.jobs.plan import JobPlan
from cluster.jobs.progress import ONLY_RETRIED
from generation.raw import counts as counting
from generation.raw import schema
from generation.raw.counts import OUTCOMES, TOKENS, VERDICTS, Look, RawCounts, Served, TaskCounts
from generation.raw.figures import opening

TAGS = ("skillfactory", "self-distillation", "reasoning")
_STAGES = {
    schema.SAMPLE_PROVENANCE: "samples",
    schema.PROVENANCE: "reflections",
    schema.PARENT: "retries and reflections on them",
}
_REASONS, _REASONS_SAID = 20, 5  # at most this many are listed, in a card and on the terminal
_SEEDS = {
    "ignored": "The server that wrote these rows did not keep to the seeds: **they cannot be made again.**",
    "not known": "Whether the server that wrote these rows keeps to the seeds is not known.",
}
_UNDECIDED = (
    "A sample without an answer is published as not correct, one that the grader could not judge as null; the reason\n"
    "is in `outcome_reason`.\n"
)


def write_raw_data(
    plan: JobPlan, job: Job, look: Look | None = None, served: Served | None = None, *, most: int | None = None
) -> RawCounts:
    """Write RAW_DATA/ from the shards, the same whichever engine made them. Raises AllFailedError if none finished.

    `most` is how many samples an item has at most, where its sampling may end before.
    """
    lost, finished = lost_units(plan, job), job.store.finished()
    merged = plan.merged
    kept = job.kept(merged)
    order = [key for key in kept if key in finished]
    counted: list[RawCounts] = []

    def finish(folder: Path) -> None:
        counts = counting.count_folder(folder, look, served)
        assert counts.questions == set(order), "questions were lost on the way"
        counts.lost = lost
        counts.unneeded = len(merged) - len(kept)
        counts.beyond = sum(key in finished or key in job.failed for key in merged[len(kept) :])
        counts.unasked = most * len(order) - counts.all().samples if most else None
        counted.append(counts)
        name, license = f"{schema.RAW_DATA}-{plan.name}", plan.license
        text = raw_card(counts, plan.configuration, job.record, name=name, license=license)
        (folder / "README.md").write_text(text, encoding="utf-8")

    job.store.merge(order, plan.out / schema.RAW_DATA, others=plan.keys, finish=finish)
    return counted[0]


def lost_units(plan: JobPlan, job: Job) -> Counter[str]:
    """Count the plan's units that failed, by reason. Raises AllFailedError if all did."""
    failed, finished, lost = job.failed, job.store.finished(), Counter[str]()
    kept = job.kept(plan.merged)
    for key in kept:
        if key not in finished:
            lost[failed[key]] += plan.size(key)
    if lost and finished.isdisjoint(kept):
        why = lost.most_common(1)[0][0]
        raise AllFailedError(f"all {plan.count(kept):,} {plan.unit} failed: {why}", ONLY_RETRIED)
    return lost


def summary(counts: RawCounts) -> str:
    """Summarize the counts in a few lines, none longer than WIDTH, then those of each task if there are several."""
    whole, tasks = counts.all(), counts.several()
    lines = [f"{whole.samples:,} samples of {len(counts.questions):,} questions", *_outcomes_text(whole.variants())]
    if tasks:
        lines += _outcomes_text({name: [*map(one.outcome, OUTCOMES)] for name, one in tasks.items()}, "by task")
    lines += _reflections_text(whole)
    lines += filter(None, [counts.retries.text()])
    if counts.unasked is not None:
        saved, whole_count = counts.unwritten(), whole.samples + counts.unasked
        lines.append(f"{counts.unasked:,} of {whole_count:,} samples were not asked: their questions had enough,")
        lines.append(f"which saved about {saved:,} tokens, {counts.unasked / max(1, whole_count):.0%} of all")
    if counts.unneeded:
        lines.append(f"{counts.unneeded:,} further questions were not needed for the traces asked for:")
        lines.append(f"{counts.beyond:,} ended all the same, the others saved about {counts.unspent():,} tokens")
    lines += _reasons_text(f"{counts.lost.total():,} questions failed and have no samples:", counts.lost)
    lines += _reasons_text(f"{counts.kept.total():,} rows failed and stay as they were:", counts.kept)
    if traces := counts.inner[counting.TRACES]:
        inner, right = counts.inner[counting.INNER], counts.inner[counting.INNER_RIGHT]
        lines.append(f"{traces:,} samples are traces themselves, of {inner:,} attempts, {right:,} right")
    if failed := counts.failed[schema.SAMPLE_PROVENANCE]:
        lines.append(f"{failed:,} requests failed; the reasons are in sample__provenance.error")
    if failed := counts.failed[schema.PROVENANCE]:
        lines.append(f"{failed:,} reflections failed; see reflections__provenance.error")
    if counts.only_thoughts:
        lines.append(f"{counts.only_thoughts:,} reflections are only a thought: more --max_tokens may help")
    reused = [(what, counts.reused(column)) for column, what in _STAGES.items()]
    if any(share for _, share in reused):
        told = ", ".join(f"{share:.0%} of {what.split()[0]}" for what, share in reused if share is not None)
        lines.append(f"prompt tokens found in the prefix cache: {told}")
    for name, one in tasks.items():
        lines += ["", card.cut(f"task {name or NONE}: {one.samples:,} samples")]
        lines += [*_outcomes_text(one.variants()), *_reflections_text(one)]
    return "\n".join(lines)


def _reflections_text(task: TaskCounts) -> list[str]:
    given = task.reflections - task.verdict("none")
    said = f"{task.reflections:,} reflections, {given:,} with a verdict, {task.valid:,} with a right one"
    lines = [*_reasons_text("unknown because", task.unknown), said]
    if not given:
        return lines
    verdicts, told = _verdict_rows(task)
    rows = [row for row in verdicts if any(row[1:]) or row[0] != "unknown"]
    lines += Table(("  on samples", *VERDICTS), rows).text(12, 12)
    return lines + Table(("  verdict", "precision", "recall", "F1"), told).text(12, 12)


def _outcomes_text(found: Mapping[str, Sequence[int]], head: str = "") -> list[str]:
    rows = [(name, *(f"{count:,} {count / sum(counts):>4.0%}" for count in counts)) for name, counts in found.items()]
    names = min(max(map(len, found), default=7), WIDTH - 2 - 16 * len(OUTCOMES))
    return Table((head, *OUTCOMES), rows).text(max(names, len(head) - 2, 7), 16)


def _reasons_text(head: str, found: Counter[str]) -> list[str]:
    if not found:
        return []
    rest = found.most_common()[_REASONS_SAID:]
    others = card.counts_text([(f"for {len(rest):,} other reasons", sum(count for _, count in rest))]) if rest else []
    return [head, *map(card.cut, card.counts_text(found.most_common(_REASONS_SAID))), *others]


def raw_card(
    counts: RawCounts, configuration: Mapping[str, Any], record: Mapping[str, Any], *, name: str, license: str
) -> str:
    """Return the README.md of a RAW_DATA, and write its plots into the folder that was counted.

    `configuration` is shown as JSON, `record` is the contents of run.json.
    """
    split = card.Split(counts.rows, counts.memory, counts.files)
    models = [configuration[name] for name in ("model", "adapter") if name in configuration]
    values = {
        "header": card.header(schema.SCHEMA, [split], tags=TAGS, license=license, models=models),
        "name": name,
        **opening(counts),
        "held": held(counts, lost=True),
        "lost": reasons_table("Questions without rows:", ("reason", "questions"), counts.lost),
        "version": str(schema.SCHEMA_VERSION),
        "columns": schema.columns_table(schema.COLUMNS),
        "configuration": card.json_block(configuration),
        **made_sections(record),
    }
    return card.fill_card("generation.raw", values)


def made_sections(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the `run` and `prompts` sections of a card, from the contents of run.json."""
    prompts = {
        kind: texts for kind, texts in record.get("texts", {}).items() if kind not in ("phrases", "chat_template")
    }
    why = "Word for word, as they were filled in: `{names}` stand for what differs by question and sample."
    asked = card.texts_section("The prompts", prompts, why)
    server = record.get("configuration", {}).get("server", {})
    run = (_SEEDS.get(server.get("seeds", ""), ""), card.run_section(record.get("starts", ())))
    return {"run": "\n\n".join(filter(None, run)), "prompts": asked}


def held(counts: RawCounts, *, lost: bool) -> str:
    """Return the tables of a RAW_DATA's contents, with the number of questions without rows if `lost`."""
    whole, tasks = counts.all(), counts.several()
    totals = [
        ("questions", len(counts.questions)),
        *([("questions that failed and have no rows", counts.lost.total())] if lost else []),
        ("samples", whole.samples),
        *([("questions not needed for the traces asked for", counts.unneeded)] if counts.unneeded else []),
        *_not_asked(counts),
        ("samples that mention their hint", counts.hinted),
        ("samples whose request failed", counts.failed[schema.SAMPLE_PROVENANCE]),
        ("reflections", whole.reflections),
        ("reflections that say Correct", whole.verdict("Correct")),
        ("reflections that say Incorrect", whole.verdict("Incorrect")),
        ("reflections without a verdict", whole.verdict("none")),
        ("reflections whose verdict is right", whole.valid),
        ("reflections whose request failed", counts.failed[schema.PROVENANCE]),
        ("reflections that are only a thought", counts.only_thoughts),
        *([("retries", counts.retries.total)] if counts.retries.total else []),
        *([("reflections on retries", counts.retries.reflections)] if counts.retries.total else []),
        *counts.inner.items(),
        *_tokens(counts),
    ]
    by_task = [(task, one.samples, *map(one.outcome, OUTCOMES)) for task, one in tasks.items()]
    parts = [
        Table(("what", "count"), totals).markdown(),
        Table(("task", "samples", *OUTCOMES), by_task).markdown(1) if tasks else "",
        *_task_tables(whole, _UNDECIDED),
        reasons_table("", ("where an answer was found", "samples"), counts.found, names=0),
        counts.retries.markdown(),
        counts.served,
    ]
    for task, one in tasks.items():
        parts += [f"### {card.code(task or NONE)}\n", *_task_tables(one)]
    return "\n".join(filter(None, parts))


def _not_asked(counts: RawCounts) -> list[tuple[str, int]]:
    """Return the rows of a card on samples that were not asked, if sampling could end early."""
    if counts.unasked is None:
        return []
    asked = ("samples not asked, since their questions had enough", counts.unasked)
    return [asked, ("tokens that this saved, estimated by the mean of those asked", counts.unwritten())]


def _tokens(counts: RawCounts) -> list[tuple[str, int]]:
    """Return the rows of a card that count tokens, those of samples and of reflections apart."""
    named = [(column, what, name) for column, what in _STAGES.items() for name in TOKENS]
    return [
        (TOKENS[name].format(what), counts.tokens[column, name])
        for column, what, name in named
        if (column, name) in counts.tokens
    ]


def _task_tables(task: TaskCounts, note: str = "") -> list[str]:
    outcomes = [(name, sum(found), *found) for name, found in task.variants().items()]
    parts = [
        Table(("variant", "samples", *OUTCOMES), outcomes).markdown(1),
        reasons_table("", ("why a sample's outcome is unknown", "samples"), task.unknown, names=0),
        note,
    ]
    if task.reflections:
        verdicts, told = _verdict_rows(task)
        parts.append(Table(("sample", *VERDICTS), [row for row in verdicts if any(row[1:])]).markdown())
        parts.append(Table(("verdict", "precision", "recall", "F1"), told).markdown(1))
    return parts


def _verdict_rows(task: TaskCounts) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Return the rows of two tables: reflections by outcome and verdict; precision, recall and F1 by verdict."""
    counted = [(outcome, *(task.verdicts[outcome, verdict] for verdict in VERDICTS)) for outcome in OUTCOMES]
    return counted, [(verdict, *counting.shares(task.verdicts, verdict)) for verdict in VERDICTS[:2]]


def reasons_table(intro: str, head: tuple[str, str], reasons: Counter[str], *, names: int = 1) -> str:
    """Return a card's table of the most frequent reasons, preceded by `intro`; "" if there are none."""
    table = Table(head, reasons.most_common(_REASONS)).markdown(names)
    return (f"{intro}\n\n{table}" if intro else table) if reasons else ""
