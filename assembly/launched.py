"""What is wrong with a command by its flags alone, told before a launcher queues the job. Each raises as parse does."""

from __future__ import annotations

from collections.abc import Sequence

from assembly.assemble import check_settings
from assembly.settings import SftSettings
from cluster.flags import fail, parse
from generation.additions.settings import AdditionSettings
from generation.settings import Settings


def check_generation(argv: Sequence[str]) -> None:
    """The flags of generation.run."""
    settings = parse(Settings, argv)
    try:
        check_settings(SftSettings(settings.formats, settings.attempts, settings.seed))
    except ValueError as error:
        fail(str(error))


def check_reflection(argv: Sequence[str]) -> None:
    """The flags of reflection.run."""
    parse(AdditionSettings, argv)
