"""Turns RAW_DATA into training sets."""

import cluster  # noqa: F401  checks how Python was started
