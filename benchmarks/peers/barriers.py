"""A plain script as people write it: sample all, grade all, reflect on all, write parquet.

`--ours` gives it the product's arguments of vLLM, `--reload` loads the engine again for the second stage.
"""

from __future__ import annotations

import gc
from typing import Any

from benchmarks.peers.work import END, READY, Answer, mark, read_arguments, read_job, row, write_rows


def main() -> None:
    from vllm import LLM, SamplingParams  # not above: it takes ten seconds, which who only reads this need not wait

    given = read_arguments(__doc__, "--ours", "--reload")
    job = read_job(given.job)
    arguments = dict(job.arguments) if given.ours else {"model": job.model}
    llm: Any = LLM(**arguments)
    mark(READY)

    each = len(job.prompts[0].samples)
    outputs = llm.chat([prompt.messages for prompt in job.prompts], SamplingParams(**job.sampling, n=each))
    samples = [
        (prompt, sample, Answer(one.text, len(one.token_ids), len(output.prompt_token_ids)), one.finish_reason)
        for prompt, output in zip(job.prompts, outputs, strict=True)
        for sample, one in zip(prompt.samples, output.outputs, strict=True)
    ]
    graded = [
        (prompt, sample, answer, prompt.outcome(answer.text, reason)) for prompt, sample, answer, reason in samples
    ]
    asked = [
        (sample.id, job.look(prompt, look, answer.text))
        for prompt, sample, answer, outcome in graded
        if outcome != "unknown"
        for look in sample.looks
    ]
    if given.reload:
        mark(END)
        del llm
        gc.collect()
        llm = LLM(**arguments)
        mark(READY)
    outputs = llm.chat([messages for _, messages in asked], SamplingParams(**job.reflection_sampling))
    looks: dict[int, list[Answer]] = {}
    for (number, _), output in zip(asked, outputs, strict=True):
        one = output.outputs[0]
        looks.setdefault(number, []).append(Answer(one.text, len(one.token_ids), len(output.prompt_token_ids)))
    rows = [row(sample, answer, outcome, looks.get(sample.id, ())) for _, sample, answer, outcome in graded]
    write_rows(given.out, rows)


if __name__ == "__main__":
    main()
