"""Evaluations compared as the command does it: read, compared, and written down where that is wanted."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from cluster.jobs.atomic import atomic_write_text, make_folder
from generation.evaluation.compare import compare, comparison_json
from generation.evaluation.compare_report import comparison_markdown, comparison_text
from generation.evaluation.reader import read_evaluation
from generation.evaluation.schema import FORCED

_FILES = ("comparison.md", "comparison.json")


def compare_sets(names: Sequence[str], arm: str | None, out: str | None, seed: int) -> str:
    """Return the comparison of these evaluations for a terminal, and write it into the folder `out`, if given.

    Without an `arm` it is the forced one, where all have it.

    Raises ValueError for what is no evaluation, for evaluations that cannot be compared, and for a folder that holds
    something else.
    """
    folder = None if out is None else Path(out)
    if folder is not None:
        _check(folder)
    evaluations = [read_evaluation(name) for name in names]
    for place, (name, one) in enumerate(zip(names, evaluations, strict=True)):
        # Two runs may have folders of one name.
        if [other.name for other in evaluations].count(one.name) > 1:
            evaluations[place] = one._replace(name=name)
    arms = [{*one.replies["arm"].unique().to_pylist()} for one in evaluations]
    if arm is None and all(FORCED in of for of in arms):
        arm = FORCED
    comparison = compare(evaluations, arm, seed)
    if folder is not None:
        make_folder(folder)
        texts = (comparison_markdown(comparison), json.dumps(comparison_json(comparison), indent=1) + "\n")
        for name, text in zip(_FILES, texts, strict=True):
            atomic_write_text(folder / name, text)
    return comparison_text(comparison)


def _check(folder: Path) -> None:
    """Raise ValueError unless the folder is absent, empty, or of an earlier comparison."""
    try:
        there = sorted(os.listdir(folder)) if folder.exists() else []
    except OSError as error:
        raise ValueError(f"--out {folder} cannot be used: {error.strerror}; give another folder") from error
    if others := [name for name in there if name not in _FILES]:
        raise ValueError(f"--out {folder} holds {others[0]!r}: give another folder for the comparison")
