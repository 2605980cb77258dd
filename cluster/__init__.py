"""How text is produced, where work runs, where rows are kept. Knows nothing of questions."""

import os

from cluster.commands import check_start

QUIET = {
    # A stop that does not wait leaves calls of actors behind; Ray would print a traceback for each.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Nothing phones home: usage statistics of Ray, vLLM and the hub client are off."""

# Set at import, since the libraries read it at theirs.
os.environ.update(QUIET)

check_start()
