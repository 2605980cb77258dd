"""One measurement of `benchmarks.gpu`, in a process of its own: `python -m benchmarks.gpu_engine SPEC` (JSON).

Every figure goes to a file as soon as it is known, so that whoever ends this process keeps what was measured.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import gpu_model
from benchmarks.gpu_table import BENCH, DEFAULT_LENGTHS, JOB, VERY_REQUESTS
from cluster.flags import parse
from cluster.inference.engine import Message, Sampling
from cluster.inference.tokenizer import ChatTokenizer
from cluster.inference.vllm_settings import VllmSettings
from cluster.jobs.atomic import atomic_write_text
from cluster.session import local_resources
from generation.placement import place
from generation.plan import Plan, make_plan
from generation.raw.schema import PREFIX
from generation.settings import Settings
from reflection import prompts

_PER_QUESTION = 64 * 290 + 256 * 150  # tokens; speed.md: samples lognormal with a mean of 290, reflections 150
_PROMPT, _LOOK, _SHARED = 197, 460, 425
"""Tokens of a sample's prompt, of a reflection's (171 and its sample, in Qwen's vocabulary), and what its 4 share."""
_JOB_S = 75  # of a whole job, what is no generation: start, checks, merge, traces
_STOP_S = 25
_FIRST_GUESS = 12_000.0  # tokens/s, for the size of the job where no rate is known


@dataclass(frozen=True)
class Spec:
    """What to measure; see `benchmarks.gpu`."""

    kind: str  # model, cells, job, bare
    figures: str  # the file
    limit_s: float
    work: str
    results: str  # of the measurements before
    stand_in: bool
    arguments: dict[str, Any] = field(default_factory=dict)  # vLLM's, over the product's own
    environment: dict[str, str] = field(default_factory=dict)  # over the product's own
    rounds: int = 0
    lengths: bool = False

    @property
    def model(self) -> Path:
        return Path(self.work, "model")

    @property
    def run(self) -> Path:
        return Path(self.work, "run")

    @property
    def sequences(self) -> tuple[int, ...]:
        return (16, 64) if self.stand_in else (256, 1024)

    @property
    def smaller(self) -> int:
        """How many times shorter texts are than on a GPU."""
        return 8 if self.stand_in else 1


class Figures:
    """Rates and times by name, in order, with facts beside them; in a file from the first on."""

    def __init__(self, spec: Spec) -> None:
        self._path, self._end = Path(spec.figures), time.monotonic() + spec.limit_s
        self.values, self._facts = dict[str, dict[str, Any]](), dict[str, Any]()

    def add(self, what: str, unit: str, value: float) -> None:
        self.values.setdefault(what, {"unit": unit, "values": []})["values"].append(round(value, 3))
        self._write()

    def note(self, **facts: Any) -> None:
        self._facts |= facts
        self._write()

    def _write(self) -> None:
        atomic_write_text(self._path, json.dumps({"figures": self.values, "facts": self._facts}))

    @property
    def left_s(self) -> float:
        return self._end - time.monotonic()


def flags(spec: Spec, questions: int) -> list[str]:
    """Return the flags of the whole job: the default one, save that a drawn model must be told how long its texts are.

    It stops after about 60 tokens from these on.
    """
    common = ["--questions", str(questions), "--rl_questions", "0", "--engines", "1", "--out", str(spec.run)]
    if spec.stand_in:
        return common
    lengths = ["--max_tokens", "1024", "--sampling", '{"min_tokens": 235}']
    model = ["--model", str(spec.model), *lengths, "--reflection_sampling", '{"min_tokens": 95}']
    if importlib.util.find_spec("flashinfer") is None:
        model += ["--engine_args", '{"attention_backend": "FLASH_ATTN"}']
    return [*common, *model]


def start(spec: Spec, figures: Figures) -> tuple[Any, Plan]:
    """Start vLLM's `LLM` with the arguments and the environment that the product gives its engine here."""
    settings = parse(Settings, flags(spec, 1))
    plan = make_plan(settings)
    placed = place(plan, settings, local_resources())
    assert isinstance(placed.settings, VllmSettings)
    os.environ.update({**placed.environment, **spec.environment})
    arguments = placed.settings.arguments() | spec.arguments
    cached = any(path.is_file() for path in Path(os.environ["VLLM_CACHE_ROOT"]).rglob("*"))
    figures.note(arguments=json.loads(json.dumps(arguments, default=str)), environment=spec.environment)
    began = time.monotonic()
    import vllm

    figures.add("import vllm", "s", time.monotonic() - began)
    began = time.monotonic()
    llm = vllm.LLM(**arguments)
    generate(llm, [[1] * 8], [fixed(plan.sampling, 1)])
    cache = "of the engines before" if cached else "empty"
    figures.add(f"start to first token, compile cache {cache}", "s", time.monotonic() - began)
    config = llm.llm_engine.vllm_config
    new = getattr(config, "use_v2_model_runner", None)
    figures.note(
        vllm=vllm.__version__,
        runner="not told" if new is None else "new" if new else "old",
        graphs_up_to=config.compilation_config.max_cudagraph_capture_size,
        sequences=config.scheduler_config.max_num_seqs,
        cache_tokens=(config.cache_config.num_gpu_blocks or 0) * config.cache_config.block_size,
    )
    return llm, plan


def fixed(sampling: Sampling, tokens: int, seed: int | None = None, least: int = 0) -> dict[str, Any]:
    """Return vLLM's parameters for exactly so many tokens; `least` is what is asked besides, and costs time."""
    asked = {"ignore_eos": True, "max_tokens": tokens, "min_tokens": min(least, tokens), "seed": seed}
    return sampling.parameters() | asked


def generate(llm: Any, ids: Sequence[Sequence[int]], params: Sequence[Mapping[str, Any]]) -> float:
    """Ask for all at once; return the tokens that were written a second."""
    from vllm import SamplingParams

    asked: list[Any] = [{"prompt_token_ids": list(one)} for one in ids]
    drawn = [SamplingParams(**one) for one in params]
    llm.reset_prefix_cache()
    began = time.monotonic()
    outputs = llm.generate(asked, drawn, use_tqdm=False)
    return sum(len(output.outputs[0].token_ids) for output in outputs) / (time.monotonic() - began)


def cells(spec: Spec, figures: Figures) -> None:
    """Seeded and unseeded in turn, on each number of sequences: as many requests, of one length, so all run to the end.

    One round before any counts compiles what only then is compiled; the default job's lengths come after the first.
    """
    llm, plan = start(spec, figures)
    rng, tokens = random.Random(0), 192 // spec.smaller
    for turn in range(-1 if spec.rounds else 0, spec.rounds):
        for sequences in spec.sequences:
            for seeded in (True, False) if turn % 2 else (False, True):
                if turn > 0 and figures.left_s < 15:
                    return
                ids = [drawn(rng, 64) for _ in range(sequences)]
                params = [fixed(plan.sampling, tokens, number if seeded else None) for number in range(sequences)]
                rate = generate(llm, ids, params)
                if turn >= 0:
                    figures.add(f"{'seeded' if seeded else 'unseeded'}, {sequences} sequences", "tokens/s", rate)
        if spec.lengths and turn == 0:
            default_lengths(llm, plan.sampling, spec, figures)


def default_lengths(llm: Any, sampling: Sampling, spec: Spec, figures: Figures) -> None:
    """Requests as long as the default job's, all known at once, for about 20 s."""
    rate = figures.values[f"seeded, {spec.sequences[-1]} sequences"]["values"][-1]
    seconds = min(20.0, figures.left_s / 2)
    questions = 1 if spec.stand_in else max(4, round(rate * seconds / _PER_QUESTION))
    asked = list(default_requests(random.Random(0), questions, spec.smaller))
    params = [fixed(sampling, length, seed) for seed, (_, length) in enumerate(asked)]
    figures.note(requests_of_default_lengths=len(asked))
    figures.add(DEFAULT_LENGTHS, "tokens/s", generate(llm, [prompt for prompt, _ in asked], params))


def drawn(rng: random.Random, tokens: int) -> list[int]:
    """Return a prompt; each vocabulary that is used here has as many tokens."""
    return [rng.randrange(256, 2500) for _ in range(tokens)]


def default_requests(rng: random.Random, questions: int, smaller: int) -> Iterator[tuple[list[int], int]]:
    """Yield prompt and length of each request of the default job: 4 prompts a question, 16 samples of each, 4 looks."""
    for _ in range(questions):
        for _ in range(4):
            prompt = drawn(rng, _PROMPT // smaller)
            for _ in range(16 // smaller):
                yield prompt, max(1, min(4096, round(rng.lognormvariate(5.49, 0.6)))) // smaller + 1
                shared = drawn(rng, _SHARED // smaller)
                for _ in range(4):
                    yield shared + drawn(rng, (_LOOK - _SHARED) // smaller), 150 // smaller


def job(spec: Spec, figures: Figures) -> None:
    """The whole job as a user runs it, on as many questions as there is time for."""
    before = json.loads(Path(spec.results).read_text(encoding="utf-8"))["measurements"]
    rates = [one["figures"][DEFAULT_LENGTHS]["values"] for one in before if DEFAULT_LENGTHS in one.get("figures", {})]
    rate = 0.8 * max(map(max, rates)) if rates else _FIRST_GUESS
    questions = 8 if spec.stand_in else max(8, round(rate * max(20, figures.left_s - _JOB_S) / _PER_QUESTION))
    figures.note(command=(flags_ := flags(spec, questions)), questions=questions)
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "generation.run", *flags_])
    try:
        process.wait(figures.left_s - _STOP_S)
    except subprocess.TimeoutExpired:
        figures.note(stopped="by the time limit: what it had finished counts")
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
    figures.add("whole command", "s", time.monotonic() - began)
    record = json.loads((spec.run / "run.json").read_text(encoding="utf-8"))
    said = record["starts"][-1]
    # 1 is the code of a run without traces: words that were drawn give no right answer.
    figures.note(ended=process.returncode, state=said["state"], output_tokens=said.get("output_tokens", 0))
    if not said.get("seconds"):
        raise RuntimeError(f"the job came to no generation: it ended with {process.returncode}, {said['state']}")
    figures.add(JOB, "tokens/s", said["output_tokens"] / said["seconds"])
    figures.add("generation, from the first engine's start", "s", said["seconds"])
    rows = rows_of(spec.run)
    samples = [row["sample__provenance"]["output_tokens"] for row in rows]
    looks = [look["output_tokens"] for row in rows for look in row["reflections__provenance"]]
    for what, lengths in (("sample", samples), ("reflection", looks)):
        figures.add(f"tokens of a {what}, mean", "tokens", sum(lengths) / max(1, len(lengths)))
    figures.note(samples=len(samples), reflections=len(looks))


def rows_of(run: Path) -> list[dict[str, Any]]:
    """Return all finished rows of a run, whether it came to its end or not."""
    paths = sorted(run.glob("RAW_DATA/data/*.parquet")) or sorted(run.glob("shards/*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def bare(spec: Spec, figures: Figures) -> None:
    """vLLM's own `LLM.generate` on what the job asked: first the very requests, then others of the same lengths."""
    llm, plan = start(spec, figures)
    chat, rollout = ChatTokenizer(plan.model.path), plan.rollout
    ids, params = list[list[int]](), list[dict[str, Any]]()

    def ask(messages: Sequence[Message], sampling: Sampling, told: Mapping[str, Any]) -> None:
        ids.append(chat.encode(messages))
        params.append(fixed(sampling, told["output_tokens"], told["seed"], sampling.more.get("min_tokens", 0)))

    for row in rows_of(spec.run):
        ask(row["prompt"], rollout.sampling, row["sample__provenance"])
        for look in row["reflections__provenance"]:
            messages = prompts.messages(look["prompt_name"], row["question"], row[PREFIX][0])
            ask(messages, rollout.of_reflections, look)
    figures.note(requests=len(ids), prompt_tokens=sum(map(len, ids)))
    figures.add(VERY_REQUESTS, "tokens/s", generate(llm, ids, params))
    rng, plain = random.Random(0), Sampling()
    ids = [drawn(rng, len(one)) for one in ids]
    figures.add(BENCH, "tokens/s", generate(llm, ids, [fixed(plain, one["max_tokens"]) for one in params]))


def model(spec: Spec, figures: Figures) -> None:
    began = time.monotonic()
    figures.note(**gpu_model.make(spec.model))
    figures.add("written", "s", time.monotonic() - began)


KINDS = {"model": model, "cells": cells, "job": job, "bare": bare}


def main(text: str) -> None:
    spec = Spec(**json.loads(text))
    os.environ.update(spec.environment)
    KINDS[spec.kind](spec, Figures(spec))


if __name__ == "__main__":
    main(sys.argv[1])
