"""Graders as users write them, well and badly, and questions that carry them."""

from __future__ import annotations

from pathlib import Path

from generation.grading.own import load
from generation.records import Question

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "my_grader.py"
LISTS = ROOT / "examples" / "lists.jsonl"
ODD = '''"""Does what the answer says."""

import os
import subprocess
import sys
import time


def grade(answer, facts):
    """The gold answer."""
    print("a line on stdout", flush=True)
    os.write(2, b"and one on stderr")
    if answer in facts:
        return facts[answer]
    if answer == "loop":
        while True:
            pass
    if answer == "leave a process":
        print(subprocess.Popen(["sleep", "987"]).pid, file=open(facts["file"], "w"), flush=True)
        os._exit(0)
    if answer == "exit":
        sys.exit("enough")
    if answer == "die":
        os._exit(3)
    if answer == "abort":
        os.abort()
    if answer == "raise":
        raise LookupError("of which nobody\\nshould count the words")
    if answer == "memory":
        return bytearray(10**11)
    if answer == "deep":
        return grade(answer, facts)
    if answer == "read":
        return input()
    if answer == "numpy":
        import numpy

        return numpy.float64(1) == 1
    if answer == "set":
        return {"right"}
    if answer == "none":
        return None
    if answer == "call me":
        return "right", len
    return answer == facts["answer"], "  another\\n  one "
'''
SAYING = 'def grade(answer, facts):\n    """Whatever it says."""\n    return {}\n'


def question(path: Path, gold: str = "42", **facts: object) -> Question:
    """A question with this gold answer that is graded by the file."""
    own = load(str(path))
    return Question("6 * 7?", gold, "sums", "a file", own.name, own.answer_type, facts, program=own.source)
