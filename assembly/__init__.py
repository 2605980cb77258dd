"""From RAW_DATA to training sets."""

import cluster  # noqa: F401  checks how Python was started
