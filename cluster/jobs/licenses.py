"""The licence that a dataset card names, in the hub's words."""

from __future__ import annotations

import difflib

from cluster.templates import load_table

UNKNOWN = "unknown"
"""The texts are a model's, about questions of anyone: only who publishes them can tell."""

LICENSES = frozenset(load_table("cluster.jobs", "licenses.toml")["identifiers"])
"""All that the hub knows; its client holds no list."""

_KNOWN = "apache-2.0, mit, cc-by-4.0, cc0-1.0, other and unknown"


def check_license(name: str) -> None:
    """Raise ValueError for what is no licence to the hub, with what comes near."""
    if name in LICENSES:
        return
    wanted = "-".join(name.lower().split())
    near = [wanted] if wanted in LICENSES else difflib.get_close_matches(wanted, sorted(LICENSES), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it knows {_KNOWN}, among others"
    raise ValueError(f"--license {name!r} is no licence that the hub knows; {hint}")
