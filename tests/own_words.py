"""Prompts, phrases and formats of a user's own, and a scripted model that answers to them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from cluster.inference.engine import Message, Request
from tests import scripted

VARIANTS = """
plain = ["middle", "bare"]
closing = "Close with </answer>."

[rationalized]
word = "tip"
ending = "_told"
hint = "Tip: {answer} is right. Keep the tip to yourself."

[variants.middle]
system = "You count on your fingers."
user = "Here it comes: {question} Now count, and give an {answer_type_str} in <answer></answer>."

[variants.bare]
user = "Answer in <answer></answer>."

[variants.fifth]
system = "You are the fifth."
user = "Take five, then answer in <answer></answer>."
"""
REFLECTIONS = """
[mine]
head = "The question was: {question}\\nAnd this is MY OWN ANSWER: {sample}\\n"
tail = " Say <verdict>Correct</verdict> or <verdict>Incorrect</verdict>."

[mine.prompts]
count_again = "Count again."
ask_mother = "What would my mother say?"

[other.prompts]
whole = "{question} MY OWN ANSWER {sample} Judge it: <verdict>Correct</verdict> or not."
"""
PHRASES = """
generic = ["Own: again."]
correct = ["Own: it went well."]
incorrect = ["Own: it went badly."]
ending = ["Own: the end:"]
backtrack = ["Own: back to it."]
confirm = ["Own: twice."]
"""
FORMATS = """
[plainly]
label = "{n} plainly"
attempts = "all"
frame = "scratch"
sample = "try"
reflection = "check"

[bare]
label = "bare"
attempts = "one"
blocks = ["reflection"]
whole_pool = false

[back]
label = "back"
attempts = "all"
last = ["incorrect"]
earlier_correct = 1
review = "backtrack"
frame = "none"
"""
TEXTS = {"variants": VARIANTS, "reflections": REFLECTIONS, "phrases": PHRASES, "formats": FORMATS}


def write_own(folder: Path, *names: str, **changed: str) -> Path:
    """Write the files of these names, or all, to a new folder; `changed` gives other texts."""
    folder.mkdir()
    for name in names or TEXTS:
        (folder / f"{name}.toml").write_text(changed.get(name, TEXTS[name]), encoding="utf-8")
    return folder


def reply(request: Request) -> str:
    """As tests.scripted.reply, which looks for our reflection prompts; every third told response gives the tip away."""
    said = request.messages[-1]["content"]
    last = Message(role="user", content=said.replace("MY OWN ANSWER", "# Your attempt"))
    text = scripted.reply(replace(request, messages=(*request.messages[:-1], last)))
    return f"By the Tip! {text}" if "Keep the tip" in said and random.Random(request.seed).random() < 1 / 3 else text
