"""Checks of our own commands' flags, made by the launcher before it queues the job."""

from __future__ import annotations

from collections.abc import Sequence

from assembly.job import sft_settings
from cluster.flags import fail, parse
from generation.settings import Settings
from reflection.added.settings import AdditionSettings


def check_generation(argv: Sequence[str]) -> None:
    """Check the flags of generation.run. Raises SystemExit as `cluster.flags.parse` does."""
    settings = parse(Settings, argv)
    try:
        sft_settings(settings)
    except ValueError as error:
        fail(str(error))


def check_reflection(argv: Sequence[str]) -> None:
    """Check the flags of reflection.run. Raises SystemExit as `cluster.flags.parse` does."""
    parse(AdditionSettings, argv)
