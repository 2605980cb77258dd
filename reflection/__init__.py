"""What is asked of the model about its own answer. Knows texts, not tasks."""

import cluster  # noqa: F401  checks how Python was started
