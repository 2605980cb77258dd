"""RL_DATA: questions held out for RL, in the columns that a trainer reads, and their reward.

A complete dataset repository. Knows nothing about traces.
"""

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assembly.feasibility import NothingMadeError
from assembly.rates import NO_RATE, RATES_TITLE, PassRates
from assembly.reward import truth_of
from assembly.rl_layouts import RL_LAYOUTS, RL_TRAINERS, Held, held_in, instructions
from cluster.jobs.atomic import replace_folder
from cluster.jobs.card import UNKNOWN, Split, Table, fill_card, header, json_block, run_section
from cluster.texts import first_line
from generation.raw.schema import columns_table, without_surrogates
from generation.records import Question, RlLayoutName, stable_hash

RL_DATA = "RL_DATA"  # its folder in a run directory, and the prefix of its repositories' names
FILES = {"train": "train.parquet", "validation": "val.parquet"}
"""File of each split; verl reads files, `datasets` splits."""
REWARD_FILE = "reward.py"
_VALIDATION_SHARE = 0.1
_NEXT = "\n## "

_REWARD = '''"""The graders that judged the samples of this run, as trainers call them.

verl: compute_score. TRL: reward. ms-swift: --external_plugins reward.py --reward_funcs skillfactory. OpenRLHF:
--reward.remote_url reward.py. slime: --custom-rm-path reward.score, with this folder on PYTHONPATH. SkyRL: imported
where skyrl_gym is, it registers the environment skillfactory.
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


if "skyrl_gym" in sys.modules:
    import skyrl_gym
    from skyrl_gym.envs.base_text_env import BaseTextEnv

    class SkillFactoryEnv(BaseTextEnv):
        def __init__(self, env_config=None, extras=None):
            super().__init__()
            self.truth = extras["reward_spec"]["ground_truth"]

        def step(self, action):
            (found,) = reward([action], ground_truth=[self.truth])
            return {"observations": [], "reward": found, "done": True, "metadata": {}}

    if "skillfactory" not in skyrl_gym.registry:
        skyrl_gym.register("skillfactory", entry_point=SkillFactoryEnv)
'''


_CALL = "carry"
_CARRY = f"""\
# The grader of whoever made the questions. Its text is executed in a process that is killed when it takes too long; an
# answer reaches its grade(answer, facts) as a str.
from assembly.reward import {_CALL}  # noqa: E402"""


def rl_data(
    questions: Sequence[Question],
    destination: Path,
    configuration: Mapping[str, object] | None = None,
    license: str = UNKNOWN,
    *,
    starts: Sequence[Mapping[str, Any]] = (),
    layout: RlLayoutName = "verl",
    sampled: PassRates | None = None,
) -> None:
    """Replace `destination` with RL_DATA; within each split the questions keep their order.

    There is a validation split if there are two or more questions. The card shows `configuration`, JSON values, and
    the `starts` of the run that held out the questions. If they were `sampled`, each has its pass rate, and only those
    to be kept are written: each stays in the split that it would be in without selection. Raises NothingMadeError if
    none is left to train on; `destination` is unchanged then.
    """
    chosen = validation_keys(questions)
    rates = sampled.rates if sampled else {}
    programs = list(dict.fromkeys(question.program for question in questions if question.program))
    held = [
        Held(
            index,
            question.key,
            question.task,
            "validation" if question.key in chosen else "train",
            question.text,
            truth_of(question),
            *((rates.get(question.key, NO_RATE).value, rates.get(question.key, NO_RATE).n) if sampled else ()),
        )
        for index, question in enumerate(questions)
    ]
    if sampled is not None and sampled.between is not None:
        kept = sampled.kept
        held = [one for one in held if one.key in kept]
        if not any(one.split == "train" for one in held):
            left = f"of {len(questions):,} RL questions" + " to train on" * bool(held)
            low, high = sampled.between
            raise NothingMadeError(f"--rl_pass_rate {low:g}-{high:g} leaves none {left}")
    told = {"configuration": configuration or {}, "starts": starts, "license": license, "programs": programs}
    write_rl(held, destination, layout, told | {"rates": sampled.markdown() if sampled else ""})


def write_rl(held: Sequence[Held], destination: Path, layout: RlLayoutName, told: Mapping[str, Any]) -> None:
    """Replace `destination` with RL_DATA in a layout.

    `told` is for its card: configuration, starts, license, rates; and for its reward.py, the `programs` of graders that
    are the user's own.
    """
    laid_out = RL_LAYOUTS[layout]
    if any(one.n is not None for one in held):
        laid_out = laid_out.with_rates()
    columns, row_of = laid_out
    schema = laid_out.schema
    of_split = {split: [one for one in held if one.split == split] for split in FILES}

    def build(folder: Path) -> None:
        splits = []
        for name, rows in of_split.items():
            # `datasets` cannot read an empty split next to one that is not.
            if not rows and name != "train":
                continue
            made = [without_surrogates(row_of(one)) for one in rows]
            path, table = folder / FILES[name], pa.Table.from_pylist(made, schema=schema)
            # Statistics are not deterministic.
            pq.write_table(table, path, compression="zstd", write_statistics=False)
            splits.append(Split(len(rows), table.nbytes, [path], name=name, path=path.name))
        (folder / REWARD_FILE).write_text(_REWARD + _carrying(told.get("programs", ())), encoding="utf-8")
        counts = [Counter(one.task for one in of_split[split.name]) for split in splits]
        tasks = [(task, *(of[task] for of in counts)) for task in sorted(set().union(*counts))]
        tags = ["skillfactory", "reasoning", "rl", layout]
        values = {
            "header": header(schema, splits, tags=tags, license=told["license"]),
            "trainer": RL_TRAINERS[layout]["shown"],
            "tasks": Table(("task", *(split.name for split in splits)), tasks).markdown(1),
            "rates": told.get("rates", ""),
            "columns": columns_table(columns),
            "configuration": json_block(told["configuration"]),
            "run": run_section(told["starts"]),
            "instructions": instructions(layout, {split.name: split.path for split in splits}),
        }
        (folder / "README.md").write_text(fill_card("assembly", values, "rl_card.md"), encoding="utf-8")

    replace_folder(build, destination)


def read_rl(folder: Path) -> list[Held]:
    """Return the questions of an RL_DATA in any layout, in their order. Raises ValueError if there is none."""
    held = list[Held]()
    for split, name in FILES.items():
        if (path := folder / name).exists():
            try:
                held += [held_in(row, split) for row in pq.read_table(path).to_pylist()]
            except (OSError, pa.ArrowException, LookupError, TypeError, AttributeError) as error:
                raise ValueError(f"{path} is no {RL_DATA} that a run has made: {first_line(error)}") from error
    if not held:
        raise ValueError(f"--rl_layout is for the {RL_DATA} of a run, and {folder} is none: give a run with --raw")
    return sorted(held)


def _carrying(programs: Sequence[str]) -> str:
    """Return the end of a reward.py that grades by these programs."""
    if not programs:
        return ""
    texts = ""
    for program in programs:
        texts += "\n".join(f"    {line!r}" for line in program.splitlines(keepends=True)) + ",\n"
    return f"\n\n{_CARRY}\n\n{_CALL}(\n{texts})\n"


def programs_in(folder: Path) -> list[str]:
    """Return the programs that the reward.py of an RL_DATA carries; it is read, and not executed."""
    try:
        source = (folder / REWARD_FILE).read_text(encoding="utf-8")
        _, found, after = source.partition(f"\n{_CALL}(\n")
        return list(ast.literal_eval(f"({after}")) if found else []
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{folder / REWARD_FILE} is none that a run has made: {first_line(error)}") from error


def rates_told(folder: Path) -> str:
    """Return what the card of an RL_DATA tells of pass rates, which another layout does not change; "" if nothing."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except OSError:
        return ""
    _, found, after = card.partition(f"\n{RATES_TITLE}\n")
    return f"{RATES_TITLE}\n{after.partition(_NEXT)[0]}" if found else ""


def validation_keys(questions: Sequence[Question]) -> frozenset[str]:
    """Return the keys of a tenth of the questions, at least one if there are two, by hash, so order does not matter."""
    keys = sorted({question.key for question in questions}, key=lambda key: stable_hash("validation", key))
    count = max(1, round(_VALIDATION_SHARE * len(keys))) if len(keys) > 1 else 0
    return frozenset(keys[:count])
