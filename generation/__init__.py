"""From questions to RAW_DATA: prompt variants, samples, grades, reflections, rows."""

from cluster.commands import need_environment

need_environment()
