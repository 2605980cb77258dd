"""The questions of a preview as text for a terminal: prompt, samples, grades, reflections, and one trace.

All that a model wrote is inert there: whatever a terminal would obey is written out.
"""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.candidates import choose, questions_of
from assembly.settings import SftSettings
from assembly.sft import SFT_DATA
from assembly.traces import assemble_question
from cluster.jobs.card import WIDTH, cut
from cluster.jobs.store import Failures
from cluster.texts import inert
from generation.plan import Plan
from generation.raw.reader import as_rows, find_columns
from generation.raw.schema import FOUND, PARENT, PREFIX, PROVENANCE, RAW_DATA, REFLECTIONS, SAMPLE_PROVENANCE, THOUGHT
from generation.records import Question
from generation.served_plan import chat_of

_LONGEST = 20_000  # characters of a text that are shown
_EXTRACTED = f"{PREFIX}__eval_extracted_answers"
_NAME, _CELL = 26, 12  # columns


def preview_text(plan: Plan, wanted: SftSettings) -> str:
    """Return the text of a preview whose sets are made, at WIDTH columns.

    Each question has its table of samples, and one of them whole, of another variant for each question.
    """
    table = pq.read_table(plan.out / RAW_DATA / "data")
    failed = Failures(plan.out).reasons()
    shown = plan.questions[: plan.previewed]
    lines = [""]
    for place, question in enumerate(shown):
        rows = table.filter(pc.equal(table["question_key"], question.key)).to_pylist()
        lines += [*_heading(f"question {place + 1} of {len(shown)}, {question.task}", "="), *_folded(question.text)]
        lines.append(f"gold answer: {inert(' '.join(question.answer.split()))}")
        if rows:
            lines += _samples_text(rows)
            names = [variant.name for variant in plan.rollout.variants]
            lines += _whole(plan, _one_under(rows, names[place % len(names)]), rows)
        else:
            lines += _folded(f"it failed: {failed.get(question.key, 'it has no rows')}")
    return "\n".join([*lines, *_trace_text(plan, wanted, shown, table)])


def _one_under(rows: Sequence[dict[str, Any]], variant: str) -> dict[str, Any]:
    """Return a sample under this variant, one that was told right or wrong if there is one; of any if it has none."""
    plain = [row for row in rows if row[PARENT] is None]
    under = [row for row in plain if row["prompt_variant"] == variant] or plain
    return next((row for row in under if row["outcome"] != "unknown"), under[0])


def _samples_text(rows: Sequence[dict[str, Any]]) -> list[str]:
    cells = []
    for row in rows:
        verdicts = [look["verdict"] for look in row[PROVENANCE]]
        told = " ".join(f"{verdicts.count(name)} {name or 'none'}" for name in dict.fromkeys(verdicts))
        answer = inert(" ".join((row[_EXTRACTED][0] or "-").split()))
        name = f"{row['prompt_variant']} {row[PARENT] or row['sample_index']}"
        cells.append((name, row["outcome"], cut(answer, 2 * _CELL), cut(told, WIDTH - _NAME - 3 * _CELL - 4)))
    head = f"  {'sample':<{_NAME}}{'grade':<{_CELL}}{'answer':<{2 * _CELL}} verdicts"
    return [
        "",
        head,
        *(
            f"  {cut(name, _NAME - 1):<{_NAME}}{grade:<{_CELL}}{answer:<{2 * _CELL}} {said}".rstrip()
            for name, grade, answer, said in cells
        ),
    ]


def _whole(plan: Plan, row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return one sample with all that belongs to it, the retries among the question's rows too."""
    made, name = row[SAMPLE_PROVENANCE], f"{row['prompt_variant']} {row['sample_index']}"
    lines = [*_heading(f"the prompt of {name}, as the model gets it"), *_folded(chat_of(plan).render(row["prompt"]))]
    if row[THOUGHT] is not None:
        lines += [*_heading(f"what {name} thought"), *_folded(row[THOUGHT])]
    ended = made["error"] or {"length": "cut at the length limit"}.get(made["finish_reason"], "ended by itself")
    lines += [*_heading(f"{name}: {made['output_tokens']:,} tokens, {ended}"), *_folded(row[PREFIX][0])]
    answer = row[_EXTRACTED][0]
    said = "no answer was found" if answer is None else f"its answer, {answer.strip()!r}, stands in {row[FOUND]}"
    reason = f": {row['outcome_reason']}" if row["outcome_reason"] else ""
    lines += [*_heading("its grade"), *_folded(f"{row['outcome']}{reason}; {said}")]
    for look, text in zip(row[PROVENANCE], row[REFLECTIONS], strict=True):
        agrees = (
            "as the grade" if look["valid"] else "the grade says otherwise" if look["verdict"] else "which counts not"
        )
        verdict = f"{look['verdict'] or 'no verdict'}, {agrees}"
        lines += [*_heading(f"a reflection on it, {look['prompt_name']}: {verdict}"), *_folded(text)]
    for again in (one for one in rows if (one[PARENT] or "").startswith(f"{name.replace(' ', '/')}/")):
        number = int(again[PARENT].rpartition("/")[2]) + 1
        lines += [*_heading(f"a retry after reflection {number}: {again['outcome']}"), *_folded(again[PREFIX][0])]
    return lines


def _trace_text(plan: Plan, wanted: SftSettings, shown: Sequence[Question], table: pa.Table) -> list[str]:
    """Return one trace of the questions shown, of several attempts if there is one; else why there is none."""
    keys = pa.array([question.key for question in shown])
    files = plan.out / SFT_DATA / "data"
    made = pq.read_table(files).to_pylist() if files.exists() else []
    made = [row for row in made if row["question_key"] in keys.to_pylist()]
    if not made:
        rows = table.filter(pc.is_in(table["question_key"], keys))
        return [*_heading("no trace comes of these", "="), *_why_none(rows, wanted)]
    row = next((row for row in made if len(row["variants"]) > 1), made[0])
    place = next(place for place, question in enumerate(shown) if question.key == row["question_key"])
    head = f"one of {len(made):,} traces: {row['format']}, of question {place + 1}"
    return [*_heading(head, "="), *_folded(row["conversations"][-1]["content"])]


def _why_none(rows: pa.Table, wanted: SftSettings) -> Iterator[str]:
    """Yield why these rows give no trace: what leaves samples out, then what formats lack."""
    here = Path("preview")
    columns = find_columns(rows.schema, here)
    if not rows.num_rows:
        return
    pool = pa.concat_tables([choose(as_rows(batch, columns, here, 0), wanted) for batch in rows.to_batches()])
    why = pool["left_out"].value_counts().to_pylist()
    for one in why:
        yield f"  {one['counts']:>5,} samples: {one['values'] or 'may stand in a trace'}"
    formats = wanted.chosen
    lacks = [lack for asked in questions_of(pool) for lack in assemble_question(asked, formats, wanted).not_given]
    for name, reason in dict.fromkeys(lacks):
        yield f"  {lacks.count((name, reason)):>5,} questions give no {name}: {reason}"


def _heading(text: str, sign: str = "-") -> list[str]:
    return ["", f"{sign * 3} {cut(inert(text), WIDTH - 8)} ".ljust(WIDTH, sign)]


def _folded(text: str) -> list[str]:
    """Return a text as lines of WIDTH columns, inert, with its middle left out if it is very long."""
    if (more := len(text) - _LONGEST) > 0:
        half = _LONGEST // 2
        text = f"{text[:half]}\n… {more:,} characters are left out here …\n{text[-half:]}"
    lines = []
    for line in inert(text).expandtabs(4).splitlines():
        indent = line[: len(line) - len(line.lstrip())][: WIDTH // 2]
        lines += textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return lines
