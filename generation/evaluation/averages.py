"""The averages over tasks that an evaluation tells, by name: over all of its tasks, and those of the paper's tables."""

from collections.abc import Mapping, Sequence
from itertools import chain

from cluster.texts import load_table
from generation.evaluation.statistics import Draws, mean_of

_TABLE = load_table("generation.evaluation", "paper.toml")
PAPER_TASKS: Mapping[str, int] = _TABLE["tasks"]
"""The fifteen tasks of the paper with their numbers of questions, 3,291 in all."""
OVERALL = "overall"
Groups = Sequence[Sequence[str]]
_PAPER: Mapping[str, Groups] = _TABLE["averages"]


def averages_over(tasks: Sequence[str]) -> dict[str, Groups]:
    """Return the averages that can be told of these tasks: those all of whose tasks are there."""
    whole = {name: groups for name, groups in _PAPER.items() if {*tasks}.issuperset(chain(*groups))}
    return {OVERALL: [[task] for task in tasks], **whole} if tasks else {}


def average(groups: Groups, draws: Mapping[str, Draws]) -> Draws:
    """Return the means over groups of the means over their tasks, from each task's draws of the same figures."""
    return mean_of([mean_of([draws[task] for task in group]) for group in groups])
