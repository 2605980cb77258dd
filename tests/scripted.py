"""A scripted model that behaves like one: right and wrong attempts in style, true and false verdicts.

Everything it says is a function of the request alone, so that rows do not depend on who made them.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.inference.engine import Completion, Request
from examples.builtin_model.curriculum import whole_solution
from examples.builtin_model.reflections import reflect, retried
from examples.builtin_model.styles import Try, answer_block, operations, write
from generation.records import Question
from generation.tasks import countdown
from generation.variants import VARIANTS

_EXPRESSION = re.compile(r"<answer>\s*([\d+\-*/() ]+?)\s*</answer>")


def reply(request: Request) -> str:
    """One attempt, reflection or retry; one in eight attempts gives no answer, one in eight no verdict."""
    rng = random.Random(request.seed)
    said = request.messages[-1]["content"]
    facts = countdown.facts_of(said)
    assert facts is not None
    question = Question(said, "", "", "", "countdown", "equation", facts)
    if rng.random() < 1 / 8:
        return "I do not know."
    if "# Your check" in said:
        attempt = _tried(question, rng)
        return f"{retried(question, attempt, rng)}\n{answer_block(attempt.expression, rng)}"
    if "# Your attempt" in said:
        found = _EXPRESSION.findall(said.split("# Your attempt")[1])
        attempt = Try(found[-1], operations(found[-1]))
        text = reflect("recompute", question, attempt, rng)
        lies = rng.random() < 1 / 8
        return text.replace("<verdict>C", "<verdict>Inc").replace("Incc", "c") if lies else text
    return _attempt(question, request.messages[0]["content"], rng)


def _attempt(question: Question, system: str, rng: random.Random) -> str:
    variant = next((name for name, known in VARIANTS.items() if known.system == system), "original")
    return write(variant, question, _tried(question, rng), rng)


def _tried(question: Question, rng: random.Random) -> Try:
    numbers = question.facts["numbers"]
    attempt = Try(f"{numbers[0]} + {numbers[1]}", operations(f"{numbers[0]} + {numbers[1]}"))
    for _ in range(rng.choice((1, 200))):
        found = whole_solution(rng.sample(numbers, len(numbers)), rng)
        if found is not None and found.value < 1000:
            attempt = Try.of(found)
        if attempt.value == question.facts["target"]:
            break
    return attempt


def knowing(questions: Sequence[Question]) -> Callable[[Request], str]:
    """As `reply`, and for questions of other tasks: the gold answer or another one, verdicts mostly true."""

    def answer(request: Request) -> str:
        said = request.messages[-1]["content"]
        question = next(question for question in questions if question.text in said)
        if question.task == "countdown_3arg":
            return reply(request)
        rng = random.Random(request.seed)
        if rng.random() < 1 / 8:
            return "I do not know."
        if "# Your attempt" in said and "# Your check" not in said:
            right = f"<answer>\n{question.answer}\n</answer>" in said.split("# Your attempt")[1]
            verdict = "Correct" if right is (rng.random() < 7 / 8) else "Incorrect"
            return f"I looked at it once more.\n<verdict>{verdict}</verdict>"
        return f"Let me see.\n<answer>\n{question.answer if rng.random() < 1 / 2 else '-77'}\n</answer>"

    return answer


async def slow_reply(request: Request) -> str:
    """As `reply`, after up to 40 ms drawn from the request."""
    await asyncio.sleep(random.Random(f"delay/{request.seed}").random() * 0.04)
    return reply(request)


async def dying_reply(request: Request) -> str:
    """As `slow_reply`, but kills its own process once, where the file of this name was put."""
    bait = os.environ.get("SKILLFACTORY_TEST_BAIT")
    if bait and random.Random(f"death/{request.seed}").random() < 0.1:
        try:
            Path(bait).unlink()
        except FileNotFoundError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return await slow_reply(request)


async def refusing_reply(request: Request) -> str | Completion:
    """As `slow_reply`, but refuses every question whose target is in the file of this name."""
    named = os.environ.get("SKILLFACTORY_TEST_REFUSED")
    if named and Path(named).exists():
        facts = countdown.facts_of(request.messages[-1]["content"])
        assert facts is not None
        if str(facts["target"]) in Path(named).read_text().split():
            return Completion("", "error", 7, error=f"no answer to {facts['target']}")
    return await slow_reply(request)
