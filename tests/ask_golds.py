"""The gold answers of hub datasets, as JSON: `python -m tests.ask_golds DATASET…`, all in one process.

The hub's client reads its environment when it is imported.
"""

from __future__ import annotations

import json
import sys

from generation.tasks.custom_facts import Reading
from tests.custom_questions import load

if __name__ == "__main__":
    print(json.dumps([[question.answer for question in load(given, Reading("exact"))] for given in sys.argv[1:]]))
