"""The bare engine on the very requests of a finished run, all known at once, so that nothing waits for a grade.

Same prompts, seeds, sampling and engine settings. The run is the product's of the same round.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.rows import read_product
from benchmarks.peers.work import READY, Answer, mark, read_job, row, write_rows


def _answer(output: Any, seed: int) -> Answer:
    one = output.outputs[0]
    return Answer(one.text, len(one.token_ids), len(output.prompt_token_ids), seed)


def main(folder: str, out: str, run: str) -> None:
    from vllm import LLM, SamplingParams

    job = read_job(folder)
    known = {one["id"]: one for one in read_product(Path(run), job)}
    chats, params, wanted = [], [], []
    for prompt, sample in job.by_id().values():
        looks = sample.looks[: len(known[sample.id]["looks"])]
        chats += [prompt.messages, *(job.look(prompt, look, known[sample.id]["text"]) for look in looks)]
        params.append(SamplingParams(**job.sampling, seed=sample.seed))
        params += [SamplingParams(**job.reflection_sampling, seed=look.seed) for look in looks]
        wanted.append((sample, [sample.seed, *(look.seed for look in looks)]))
    llm = LLM(**job.arguments)
    mark(READY)
    outputs = iter(llm.chat(chats, params))
    rows = []
    for sample, seeds in wanted:
        first, *answers = [_answer(next(outputs), seed) for seed in seeds]
        # The reflections are on the product's sample, from which the engine's own may differ in another batch.
        shown = {"shown": known[sample.id]["text"], "outcome": known[sample.id]["outcome"]}
        rows.append(row(sample, first, "", answers) | shown)
    write_rows(out, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
