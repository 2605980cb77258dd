"""Reflection prompts: what the model is asked about an answer. Knows texts, not tasks."""

import cluster  # noqa: F401  checks how Python was started
