"""Texts kept as data: TOML tables beside the modules, and names filled in, in one pass.

`str.format` is not used on purpose: what is filled in was written by a model and may hold braces.
"""

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

_NAME = re.compile(r"\{([a-z_]+)\}")


def load_table(package: str, name: str) -> dict[str, Any]:
    """The TOML file `name` that ships with `package`."""
    return tomllib.loads(resources.files(package).joinpath(name).read_text(encoding="utf-8"))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace every {name} of the template by its value, once: values are not looked into.

    Raises KeyError for a name that has no value.
    """
    return _NAME.sub(lambda match: values[match.group(1)], template)
