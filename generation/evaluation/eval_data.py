"""Writes EVAL_DATA from shards, with its card and figures."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from cluster.jobs import card
from cluster.jobs.job import Job
from cluster.jobs.store import ROW_GROUP_ROWS, ROWS_PER_FILE
from generation.evaluation.changes import Change, changes, changes_json, changes_markdown, changes_text
from generation.evaluation.compare import Comparison, compare_arms, comparison_json
from generation.evaluation.compare_report import comparison_markdown, comparison_text
from generation.evaluation.figures import Evaluation, Row, figures, figures_json
from generation.evaluation.opening import main_figures, one_question
from generation.evaluation.plan import EvaluationPlan
from generation.evaluation.reader import BATCH_ROWS, read_evaluation
from generation.evaluation.report import figures_markdown, figures_text
from generation.evaluation.schema import (
    ARM,
    COLUMNS,
    CONTROL,
    EVAL_DATA,
    EVAL_SCHEMA,
    FORCED,
    SCHEMA_VERSION,
    STOPPED,
    TAGS,
)
from generation.raw.report import lost_units, made_sections, reasons_table
from generation.raw.schema import columns_table

FIGURES = "figures.json"
_CHANGED = "What forcing changed"


class FigureReport(NamedTuple):
    """The figures of an evaluation."""

    evaluation: Evaluation
    rows: list[Row]
    changes: list[Change]
    """What forcing changed; empty without it."""
    forced: Comparison | None
    """The forced arm against its control."""

    def text(self) -> str:
        """Return them for a terminal."""
        told = figures_text(self.evaluation, self.rows)
        if self.forced is None:
            return told
        return "\n".join([told, *changes_text(self.changes), "", comparison_text(self.forced)])

    def markdown(self) -> str:
        """Return them for a card."""
        told = figures_markdown(self.evaluation, self.rows)
        if self.forced is None:
            return told
        return "\n".join([told, f"### {_CHANGED}\n", changes_markdown(self.changes), comparison_markdown(self.forced)])

    def json(self, lost: Mapping[str, int] = {}) -> str:
        """Return all of them, with the number of questions `lost`, by reason."""
        told = figures_json(self.evaluation, self.rows) | {"questions_without_rows": dict(lost)}
        if self.forced is not None:
            told |= {"forcing": changes_json(self.changes), "forced_against_control": comparison_json(self.forced)}
        return json.dumps(told, indent=1) + "\n"


def figures_told(evaluation: Evaluation) -> FigureReport:
    """Make the figures of an evaluation."""
    rows, arms = figures(evaluation), {*evaluation.replies[ARM].unique().to_pylist()}
    if not {STOPPED, FORCED, CONTROL} <= arms:
        return FigureReport(evaluation, rows, [], None)
    return FigureReport(evaluation, rows, changes(evaluation), compare_arms(evaluation._replace(name=ARM)))


def figures_of_folder(folder: Path) -> str:
    """Write the figures of an EVAL_DATA, and plots of them, into its folder; return them for its card."""
    try:
        told = figures_told(read_evaluation(folder))
    except ValueError as error:
        # Rows of others may lack what figures need, and are graded all the same where they can be.
        return f"No figures: {str(error).replace(f'{folder}/', '')}.\n"
    (folder / FIGURES).write_text(told.json(), encoding="utf-8")
    return f"{main_figures(told.rows, told.evaluation.replies, folder)}\n{told.markdown()}"


def write_evaluation(plan: EvaluationPlan, job: Job) -> tuple[FigureReport, Counter[str]]:
    """Write EVAL_DATA/ from the shards. Return its figures, and the questions lost, by reason.

    Raises AllFailedError if no question is finished.
    """
    lost, finished = lost_units(plan, job), job.store.finished()
    order = [key for key in plan.keys if key in finished]
    made = list[FigureReport]()

    def finish(folder: Path) -> None:
        told = figures_told(read_evaluation(folder)._replace(name=plan.name, model=plan.model.full_name))
        made.append(told)
        (folder / FIGURES).write_text(told.json(lost), encoding="utf-8")
        text = evaluation_card(folder, told, plan, job.record, lost)
        (folder / "README.md").write_text(text, encoding="utf-8")

    # A row has all replies of a question, so that a group holds as much as one of RAW_DATA.
    each = max(plan.work.samples.values())
    group, file = (max(1, rows // each) for rows in (ROW_GROUP_ROWS, ROWS_PER_FILE))
    out = plan.out / EVAL_DATA
    job.store.merge(order, out, split="test", finish=finish, rows_per_group=group, rows_per_file=file)
    return made[0], lost


def evaluation_card(
    folder: Path, told: FigureReport, plan: EvaluationPlan, record: Mapping[str, Any], lost: Counter[str]
) -> str:
    """Return the README.md of an EVAL_DATA, and write its plots; `record` is the contents of run.json."""
    files = sorted(folder.glob("data/*.parquet"))
    rows = memory = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                rows, memory = rows + batch.num_rows, memory + batch.nbytes
    split = card.Split(rows, memory, files, name="test", path="data/test-*")
    configuration = plan.configuration
    models = [str(configuration[name]) for name in ("model", "adapter") if name in configuration]
    values = {
        "split": "test",
        "header": card.header(EVAL_SCHEMA, [split], tags=TAGS, license=plan.license, models=models),
        "name": f"{EVAL_DATA}-{plan.name}",
        "main": main_figures(told.rows, told.evaluation.replies, folder),
        "example": one_question(files[0]),
        "figures": told.markdown(),
        "lost": reasons_table("Questions without rows:", ("reason", "questions"), lost),
        "version": str(SCHEMA_VERSION),
        "columns": columns_table(COLUMNS),
        "configuration": card.json_block(configuration),
        **made_sections(record),
    }
    return card.fill_card("generation.evaluation", values)
