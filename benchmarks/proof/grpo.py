"""GRPO on an RL_DATA with its own reward.py, groups sampled by the project's vLLM engine, the loss in plain torch.

python -m benchmarks.proof.grpo --model WEIGHTS --data RUN/RL_DATA --out FOLDER (--steps 100 | --tokens 1000000)

Binary reward, advantages as in arXiv 2402.03300 (less the group's mean, over its deviation), loss over tokens as in
arXiv 2503.14476, no KL, one update a step, so that nothing is off policy; groups without contrast are dropped.
It ends after so many steps, or when so many tokens are sampled. Killed, it goes on from its last state.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import random
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch

from benchmarks.proof.policy import Policy, Row, compiled, cosine, save_weights, warmed
from benchmarks.proof.sampler import Asked, Sampler, opened, seed_of
from cluster.inference.engine import Completion, Message
from cluster.inference.tokenizer import ChatTokenizer
from cluster.jobs.atomic import atomic_write_text, take_lock
from generation.records import Question
from generation.variants import BARE, VARIANTS, messages
from reflection.inner import attempts_in

_KEEP_EVERY = 10  # steps between two states to go on from
_LEAST_DEVIATION = 1e-6
_WARM = 5  # steps


@dataclass(frozen=True)
class Plan:
    """All that the weights depend on."""

    model: Path
    data: Path
    out: Path
    steps: int = 0  # after which it ends; 0 if `tokens` say when
    tokens: int = 0  # sampled, after which it ends
    questions: int = 16  # a step
    group: int = 8  # samples of each
    learning_rate: float = 5e-5
    last_learning_rate: float = 1e-5
    max_tokens: int = 900
    seed: int = 0
    variant: str = BARE.name  # how the questions are asked


class Asking(NamedTuple):
    """A question of an RL_DATA."""

    chat: tuple[Message, ...]
    source: str
    truth: str


class Group(NamedTuple):
    """A question's samples of one step, with their rewards."""

    prompt: Sequence[int]
    samples: Sequence[Completion]
    rewards: Sequence[float]

    def rows(self) -> list[Row]:
        """Return the samples with their advantages; none if all rewards are the same."""
        spread = statistics.pstdev(self.rewards)
        if spread < _LEAST_DEVIATION:
            return []
        mean = statistics.fmean(self.rewards)
        return [
            Row([*self.prompt, *sample.ids], len(self.prompt), (reward - mean) / spread)
            for sample, reward in zip(self.samples, self.rewards, strict=True)
        ]


class State(NamedTuple):
    """How far it is."""

    step: int = 0
    sampled: int = 0


class Training:
    """The loop, with what is kept of it in the folder `out`."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.log = plan, plan.out / "log.jsonl"
        self.questions = questions_in(plan.data, plan.variant)
        self.score = reward_in(plan.data)
        self.chat = ChatTokenizer(str(plan.model))
        self.policy = Policy(plan.model, plan.learning_rate)
        self.state = self._resume()
        save_weights(self.policy, plan.model, self.weights)
        compiled(self.policy)

    @property
    def weights(self) -> Path:
        return self.plan.out / "now"

    async def run(self) -> None:
        async with opened(self.weights, self.plan.max_tokens) as sampler:
            while self.done < 1:
                await self._step(sampler)
        save_weights(self.policy, self.plan.model, self.plan.out / "weights")

    @property
    def done(self) -> float:
        """Return the share of the training that is done."""
        return self.state.sampled / self.plan.tokens if self.plan.tokens else self.state.step / self.plan.steps

    async def _step(self, sampler: Sampler) -> None:
        began, before = time.monotonic(), self.state
        groups = await self._groups(sampler)
        sampled = time.monotonic()
        rows = [row for group in groups for row in group.rows()]
        written = sum(len(row.ids) - row.start for row in rows)
        rate = cosine(self.done, self.plan.learning_rate, self.plan.last_learning_rate) * warmed(before.step, _WARM)
        if rows:
            self.policy.step([row._replace(weight=row.weight / written) for row in rows], rate)
        tokens = sum(one.output_tokens for group in groups for one in group.samples)
        self.state = State(before.step + 1, before.sampled + tokens)
        save_weights(self.policy, self.plan.model, self.weights)
        await sampler.renew(self.weights)
        seconds = {"sampling_s": round(sampled - began, 2), "training_s": round(time.monotonic() - sampled, 2)}
        told = {**self.state._asdict(), **figures(groups), "trained_tokens": written, "learning_rate": rate, **seconds}
        self._keep(told)

    async def _groups(self, sampler: Sampler) -> list[Group]:
        step, count = self.state.step, self.plan.questions
        chosen = order(len(self.questions), step * count, count, self.plan.seed)
        asked = [
            # By its number in the step: between two rounds a question may be in it twice.
            Asked(self.questions[place].chat, seed_of(self.plan.seed, step, number, sample))
            for number, place in enumerate(chosen)
            for sample in range(self.plan.group)
        ]
        found = await sampler.sample(asked, step)
        groups = []
        for number, place in enumerate(chosen):
            question = self.questions[place]
            samples = found[number * self.plan.group : (number + 1) * self.plan.group]
            rewards = [self.score(question.source, one.written, question.truth) for one in samples]
            groups.append(Group(self.chat.encode(question.chat), samples, rewards))
        return groups

    def _keep(self, told: dict[str, Any]) -> None:
        """Note the step, and keep the state where that is due."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
        print(json.dumps(told), flush=True)
        if self.state.step % _KEEP_EVERY == 0:
            kept = self.plan.out / "state.pt.new"
            torch.save({"state": [*self.state], **self.policy.state()}, kept)
            kept.rename(self.plan.out / "state.pt")

    def _resume(self) -> State:
        kept = self.plan.out / "state.pt"
        if not kept.exists():
            self.log.unlink(missing_ok=True)
            return State()
        known = torch.load(kept, weights_only=True)
        state = State(*known.pop("state"))
        self.policy.take(known)
        lines = self.log.read_text(encoding="utf-8").splitlines()[: state.step]
        atomic_write_text(self.log, "".join(f"{line}\n" for line in lines))
        return state


def questions_in(data: Path, variant: str = BARE.name) -> list[Asking]:
    """Return the questions of an RL_DATA in verl's layout, both its splits, asked under a variant."""
    found = []
    for path in sorted(data.glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            text, truth = row["prompt"][-1]["content"], row["reward_model"]["ground_truth"]
            question = Question(text, "", "", "", "countdown", "equation", {})
            found.append(Asking(messages(VARIANTS.get(variant, BARE), question), row["data_source"], truth))
    return found


def reward_in(data: Path) -> Any:
    """Return compute_score of the reward.py in an RL_DATA."""
    spec = importlib.util.spec_from_file_location("reward", data / "reward.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.compute_score


def order(total: int, first: int, count: int, seed: int) -> list[int]:
    """Return the places of `count` of `total` questions, from the one asked as number `first` on.

    All are asked once, in an order drawn anew, before any is asked again.
    """
    places: dict[int, list[int]] = {}
    for number in range(first, first + count):
        epoch = number // total
        if epoch not in places:
            places[epoch] = random.Random(f"{seed}/{epoch}").sample(range(total), total)
    return [places[number // total][number % total] for number in range(first, first + count)]


def figures(groups: Sequence[Group]) -> dict[str, Any]:
    """Return what the samples of a step were like."""
    samples = [one for group in groups for one in group.samples]
    attempts = [len(attempts_in(one.thought or "")) for one in samples]
    traces = [count for count in attempts if count]
    return {
        "reward": statistics.fmean(reward for group in groups for reward in group.rewards),
        "contrast": sum(len({*group.rewards}) > 1 for group in groups) / len(groups),
        "traces": len(traces) / len(samples),
        "attempts": statistics.fmean(traces) if traces else None,
        "cut": sum(one.finish_reason == "length" for one in samples) / len(samples),
        "length": statistics.fmean(one.output_tokens for one in samples),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    until = parser.add_mutually_exclusive_group(required=True)
    for name in ("steps", "tokens"):
        until.add_argument(f"--{name}", type=int, default=getattr(Plan, name))
    for name in ("questions", "group", "max_tokens", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan, name))
    parser.add_argument("--variant", choices=(BARE.name, *VARIANTS), default=BARE.name)
    for name in ("learning_rate", "last_learning_rate"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Plan, name))
    plan = Plan(**vars(parser.parse_args(argv)))
    plan.out.mkdir(parents=True, exist_ok=True)
    take_lock(os.open(plan.out, os.O_RDONLY), plan.out)
    training = Training(plan)
    asyncio.run(training.run())
    shutil.rmtree(training.weights)
    told = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(plan).items()}
    atomic_write_text(plan.out / "done.json", json.dumps({**told, **training.state._asdict()}))


if __name__ == "__main__":
    main()
