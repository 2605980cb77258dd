"""From RAW_DATA to training sets."""

from cluster.commands import need_environment

need_environment()
