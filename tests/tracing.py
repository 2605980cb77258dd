"""A scripted model that was trained on our traces: it answers with one, rendered by the assembly's own code."""

from __future__ import annotations

import random
from dataclasses import replace

from assembly.phrases import PHRASES
from assembly.rendering import Trace, TraceStep, render
from cluster.inference.engine import Request
from generation.grading import find_answer
from reflection import prompts
from tests import scripted


def reply(request: Request) -> str:
    """Mostly a trace of one to four attempts, some right; one in eight is torn, one has tags missing, one is none."""
    rng, kind = random.Random(f"trace/{request.seed}"), random.Random(f"kind/{request.seed}").random()
    if "# Your attempt" in request.messages[-1]["content"] or kind < 1 / 8:
        return scripted.reply(request)
    steps = [_step(request, rng) for _ in range(rng.randint(1, 4))]
    answers = [answer for step in steps if (answer := find_answer(step.response))]
    if not answers:
        return scripted.reply(request)
    glue = tuple(rng.choice(PHRASES["generic"]) for _ in steps[1:])
    final = rng.choice(answers) if rng.random() < 1 / 4 else answers[-1]
    text = render(Trace(tuple(steps), glue, rng.choice(PHRASES["ending"]), final))
    if kind < 2 / 8:
        return text[: rng.randrange(len(text))]
    return text.replace("</sample>", "") if kind < 3 / 8 else text


def _step(request: Request, rng: random.Random) -> TraceStep:
    attempt = scripted.reply(replace(request, seed=rng.getrandbits(48)))
    if find_answer(attempt) is None:
        return TraceStep(attempt, None)
    asked = prompts.messages("work_again", request.messages[-1]["content"], attempt)
    return TraceStep(attempt, scripted.reply(replace(request, messages=asked, seed=rng.getrandbits(48))))
