"""--help: the flags of a command by groups, what must be given first. The only user of fire, which formats it."""

import os
import re
import shlex
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, Field
from inspect import Parameter, Signature, get_annotations, getdoc
from typing import Any

from cluster.flag_values import wanted

HELP_WIDTH = 80
GROUPS = ("model", "questions", "sampling", "engines", "traces", "attempts", "selection", "layout", "output")
"""In the order of --help; other groups come before these, as they are declared."""
_REQUIRED = "required"
_NOT_OURS = re.compile(r"\x1b\[\d*m|(?<=    )-\w, (?=--)|\n +Default: ''")
"""To be removed from Fire's help: colors, one-letter flags, which are refused here, and the default of `_help`."""


def groups_of(flags: Mapping[str, Field[Any]]) -> dict[str, str]:
    """Return the group of each flag by name: its own, or that of the flag before it."""
    groups, group = dict[str, str](), ""
    for name, one in flags.items():
        groups[name] = group = one.metadata.get("group") or group
    return groups


def help_page(config_class: Any, flags: Mapping[str, Field[Any]], kinds: Mapping[str, Any]) -> str:
    """Return Fire's help for a function with these flags, by groups, with the type, default and meaning of each."""
    from fire import helptext, trace

    def command() -> None: ...

    def base_of(name: str) -> int:
        return next(n for n, one in enumerate(config_class.__mro__) if name in get_annotations(one))

    groups, places = groups_of(flags), list(flags)
    groups |= {name: _REQUIRED for name, one in flags.items() if one.default is MISSING}
    others = [group for group in dict.fromkeys(groups.values()) if group not in (_REQUIRED, *GROUPS)]
    order = [_REQUIRED, *others, *GROUPS]

    def place_of(item: tuple[str, Field[Any]]) -> tuple[int, bool, int, int]:
        # What is used often, then a command's own flags before those of its bases, which other commands have too.
        name, one = item
        own = base_of(name) if name in config_class.__dataclass_fields__ else len(config_class.__mro__)
        return order.index(groups[name]), not one.metadata.get("often"), own, places.index(name)

    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=Parameter.empty if one.default is MISSING else "")
        for name, one in sorted(flags.items(), key=place_of)
    ]
    command.__doc__, command.__signature__ = getdoc(config_class), Signature(parameters)  # type: ignore[attr-defined]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = f"python -m {spec.name}" if spec else os.path.basename(sys.argv[0])
    text = _NOT_OURS.sub("", helptext.HelpText(command, trace.FireTrace(command, name)))
    lines, group = list[str](), "none so far"
    for line in text.replace(shlex.quote(name), name).splitlines():
        found = re.match("    --(.+)=", line)
        if found and len({*groups.values()}) > 1 and groups[found[1]] != group:
            group = groups[found[1]]
            lines += ["", f"  {(group or 'others').upper()}"]
        for words in (line, *(_flag_lines(flags[found[1]], kinds[found[1]]) if found else ())):
            indent = words[: len(words) - len(words.lstrip())]
            lines.append(textwrap.fill(words, HELP_WIDTH, subsequent_indent=indent, break_on_hyphens=False))
    return "\n".join(lines)


def _flag_lines(one: Field[Any], kind: Any) -> list[str]:
    default, meaning = one.default, one.metadata.get("help", "")
    if isinstance(default, tuple):
        default = ",".join(map(str, default)) or "none"
    elif isinstance(default, bool):
        default = str(default).lower()
    elif default is None:
        default = MISSING if "default:" in meaning else "not given"
    lines = (f"Type: {wanted(kind)}", "" if default is MISSING else f"Default: {default}", meaning)
    return [f"        {line}" for line in lines if line]
