"""Writes EVAL_DATA from shards, with its card and figures."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cluster.jobs import card
from cluster.jobs.job import Job
from generation.evaluation.figures import figures_json, figures_markdown
from generation.evaluation.plan import EvaluationPlan
from generation.evaluation.reader import Evaluation, read_evaluation
from generation.evaluation.schema import COLUMNS, EVAL_DATA, EVAL_SCHEMA, SCHEMA_VERSION
from generation.raw.report import lost_units, made_sections, reasons_table
from generation.raw.schema import columns_table

FIGURES = "figures.json"
TAGS = ("skillfactory", "evaluation", "reasoning")


def write_evaluation(plan: EvaluationPlan, job: Job) -> tuple[Evaluation, Counter[str]]:
    """Write EVAL_DATA/ from the shards. Return what it holds, and the questions lost, by reason.

    Raises AllFailedError if no question is finished.
    """
    lost, finished = lost_units(plan, job), job.store.finished()
    order = [key for key in plan.keys if key in finished]
    made = list[Evaluation]()

    def finish(folder: Path) -> None:
        evaluation = read_evaluation(folder)._replace(name=plan.name, model=plan.model.full_name)
        made.append(evaluation)
        figures = figures_json(evaluation, plan.configuration["seed"])
        (folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        text = evaluation_card(folder, evaluation, plan, job.record, lost)
        (folder / "README.md").write_text(text, encoding="utf-8")

    job.store.merge(order, plan.out / EVAL_DATA, split="test", finish=finish)
    return made[0], lost


def evaluation_card(
    folder: Path, evaluation: Evaluation, plan: EvaluationPlan, record: Mapping[str, Any], lost: Counter[str]
) -> str:
    """Return the README.md of an EVAL_DATA; `record` is the contents of run.json."""
    files = sorted(folder.glob("data/*.parquet"))
    rows = memory = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                rows, memory = rows + batch.num_rows, memory + batch.nbytes
    split = card.Split(rows, memory, files, name="test", path="data/test-*")
    configuration = plan.configuration
    models = [str(configuration[name]) for name in ("model", "adapter") if name in configuration]
    values = {
        "header": card.header(EVAL_SCHEMA, [split], tags=TAGS, license=plan.license, models=models),
        "name": f"{EVAL_DATA}-{plan.name}",
        "figures": figures_markdown(evaluation, plan.configuration["seed"]),
        "lost": reasons_table("Questions without rows:", ("reason", "questions"), lost),
        "version": str(SCHEMA_VERSION),
        "columns": columns_table(COLUMNS),
        "configuration": card.json_block(configuration),
        **made_sections(record),
    }
    return card.fill_card("generation.evaluation", values)
