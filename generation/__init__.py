"""Turns questions into RAW_DATA: prompt variants, samples, grades, reflections, rows."""

import cluster  # noqa: F401  checks how Python was started
