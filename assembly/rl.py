"""RL_DATA: questions held out for RL, in the columns that verl's trainers read, and their reward.

A complete dataset repository. Knows nothing about traces.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assembly.layouts import MESSAGES
from assembly.reward import truth_of
from cluster.jobs.atomic import replace_folder
from cluster.jobs.card import UNKNOWN, Split, Table, fill_card, header, json_block, run_section
from generation.raw.schema import Column, columns_table, without_surrogates
from generation.records import Question, stable_hash

SOURCE = "skillfactory/"
_EXTRA = pa.struct([("index", pa.int64()), ("question_key", pa.string()), ("split", pa.string())])
RL_COLUMNS = (
    Column("data_source", pa.string(), f"`{SOURCE}` and the task: a name that no trainer has a rule of its own for"),
    Column("prompt", MESSAGES, "the plain question as one user turn"),
    Column("ability", pa.string(), "always `math`, as published"),
    Column(
        "reward_model",
        pa.struct([("style", pa.string()), ("ground_truth", pa.string())]),
        "`rule`, and a JSON string with the gold answer, the grader's name and the facts it needs",
    ),
    Column("extra_info", _EXTRA, "place among the questions of both splits, the question's name, the split"),
)
RL_SCHEMA = pa.schema([(column.name, column.type) for column in RL_COLUMNS])

RL_DATA = "RL_DATA"  # its folder in a run directory, and the prefix of its repositories' names
FILES = {"train": "train.parquet", "validation": "val.parquet"}
"""File of each split; verl reads files, `datasets` splits."""
REWARD_FILE = "reward.py"
_VALIDATION_SHARE = 0.1

_REWARD = '''"""The graders that judged the samples of this run, as trainers call them.

verl: compute_score. TRL: reward. ms-swift: --external_plugins reward.py --reward_funcs skillfactory. OpenRLHF:
--reward.remote_url reward.py. slime: --custom-rm-path reward.score, with this folder on PYTHONPATH.
"""

import sys

try:
    from assembly.reward import compute_score, compute_score_batch, replies_of, reward, score
except ModuleNotFoundError as error:
    if error.name not in ("assembly", "assembly.reward"):
        raise
    raise ModuleNotFoundError(
        "reward.py needs the graders of the project skillfactory-data: in its checkout, run "
        "`pip install --no-deps .` with the pip of this environment"
    ) from None

__all__ = ["compute_score", "compute_score_batch", "reward", "reward_func", "score"]


def reward_func(queries, prompts, labels):
    import torch

    rewards = torch.tensor(reward(replies_of(queries, prompts), reward_model=labels))
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}


if "swift" in sys.modules:
    from swift.rewards import ORM, orms

    class SkillFactory(ORM):
        def __call__(self, completions, **columns):
            return reward(completions, **columns)

    orms["skillfactory"] = SkillFactory
'''


def rl_data(
    questions: Sequence[Question],
    destination: Path,
    configuration: Mapping[str, object] | None = None,
    license: str = UNKNOWN,
    *,
    starts: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Replace `destination` with RL_DATA; within each split the questions keep their order.

    There is a validation split if there are two or more questions. The card shows `configuration`, JSON values, and
    the `starts` of the run that held out the questions.
    """
    rows = _rows_by_split(questions)

    def build(folder: Path) -> None:
        splits = []
        for name, of_split in rows.items():
            path, table = folder / FILES[name], pa.Table.from_pylist(of_split, schema=RL_SCHEMA)
            # Statistics are not deterministic.
            pq.write_table(table, path, compression="zstd", write_statistics=False)
            splits.append(Split(len(of_split), table.nbytes, [path], name=name, path=path.name))
        (folder / REWARD_FILE).write_text(_REWARD, encoding="utf-8")
        counts = {
            name: Counter(row["data_source"].removeprefix(SOURCE) for row in of_split)
            for name, of_split in rows.items()
        }
        tasks = [(task, *(of[task] for of in counts.values())) for task in sorted(set().union(*counts.values()))]
        values = {
            "header": header(RL_SCHEMA, splits, tags=["skillfactory", "reasoning", "rl", "verl"], license=license),
            "tasks": Table(("task", *rows), tasks).markdown(1),
            "columns": columns_table(RL_COLUMNS),
            "configuration": json_block(configuration or {}),
            "run": run_section(starts),
            "files": "\n".join(f"data.{Path(split.path).stem}_files={split.path}" for split in splits),
        }
        (folder / "README.md").write_text(fill_card("assembly", values, "rl_card.md"), encoding="utf-8")

    replace_folder(build, destination)


def _rows_by_split(questions: Sequence[Question]) -> dict[str, list[dict[str, Any]]]:
    held_out = validation_keys(questions)
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in FILES}
    for index, question in enumerate(questions):
        split = "validation" if question.key in held_out else "train"
        row = {
            "data_source": f"{SOURCE}{question.task}",
            "prompt": [{"role": "user", "content": question.text}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": truth_of(question)},
            "extra_info": {"index": index, "question_key": question.key, "split": split},
        }
        rows[split].append(without_surrogates(row))
    # `datasets` cannot read an empty split next to one that is not.
    return {split: of_split for split, of_split in rows.items() if of_split or split == "train"}


def validation_keys(questions: Sequence[Question]) -> frozenset[str]:
    """Return the keys of a tenth of the questions, at least one if there are two, by hash, so order does not matter."""
    keys = sorted({question.key for question in questions}, key=lambda key: stable_hash("validation", key))
    count = max(1, round(_VALIDATION_SHARE * len(keys))) if len(keys) > 1 else 0
    return frozenset(keys[:count])
