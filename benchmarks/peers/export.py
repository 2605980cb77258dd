"""A job of the product, written down for everyone: `python -m benchmarks.peers` does it once for a state folder."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peers.work import JOB, PROMPTS
from cluster.inference.tokenizer import ChatTokenizer
from cluster.inference.vllm_settings import VllmSettings
from cluster.session import local_resources
from generation.placement import place
from generation.plan import Plan, look_at_prompts, make_plan
from generation.records import Question, request_seed
from generation.settings import Settings
from generation.variants import Variant
from reflection import prompts


def command_of(questions: int, out: Path) -> list[str]:
    """Return the product's command: the built-in model, and nothing held out, since nobody else does."""
    return ["generation.run", "--questions", str(questions), "--rl_questions", "0", "--out", str(out)]


def export(questions: int, folder: Path) -> None:
    """Write the job of so many questions: what that command asks, and how it sets vLLM."""
    settings = Settings(questions=questions, rl_questions=0, out=str(folder / "nowhere"))
    plan = look_at_prompts(make_plan(settings))
    placement = place(plan, settings, local_resources())
    engine = placement.settings
    assert isinstance(engine, VllmSettings)
    told = {
        "model": plan.model.path,
        "context": plan.context,
        "sampling": plan.sampling.parameters(),
        "reflection_sampling": plan.rollout.of_reflections.parameters(),
        "arguments": engine.arguments(),
        "environment": dict(placement.environment),
        "reflections": prompts.PROMPTS,
        "gpu": engine.gpu,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / PROMPTS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in _prompts(plan))
    (folder / JOB).write_text(json.dumps(told, indent=1), encoding="utf-8")


def _prompts(plan: Plan) -> Iterator[dict[str, Any]]:
    roll, first = plan.rollout, 0
    chat = ChatTokenizer(plan.model.path, plan.model.hub_revision, plan.chat)
    for question in plan.questions:
        for variant in roll.variants:
            messages = roll.sample_request(question, variant, 0).messages
            yield {
                "question": asdict(question),
                "messages": list(messages),
                "tokens": len(chat.encode(messages)),
                "samples": [_sample(plan, question, variant, index, first + index) for index in range(roll.samples)],
            }
            first += roll.samples


def _sample(plan: Plan, question: Question, variant: Variant, index: int, number: int) -> dict[str, Any]:
    """Return a sample with the reflection prompts and seeds that the product draws, as its rollout does."""
    roll = plan.rollout
    request = roll.sample_request(question, variant, index)
    names = prompts.draw(roll.reflections, random.Random(f"{roll.seed}/{question.key}/{variant.name}/{index}"))
    looks = [(name, request_seed(roll.seed, request.key, place)) for place, name in enumerate(names)]
    return {"id": number, "seed": request.seed, "looks": looks}
