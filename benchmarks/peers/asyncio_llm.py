"""asyncio over vLLM's AsyncLLM: a coroutine a sample, a request at a time, each with its seed, no barrier."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

from benchmarks.peers.work import READY, Answer, Job, Prompt, Sample, mark, read_job, row, write_rows


class Asking:
    """An engine and what asks it."""

    def __init__(self, job: Job) -> None:
        from transformers import AutoTokenizer
        from vllm import SamplingParams
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.async_llm import AsyncLLM

        self._job = job
        self._params = partial(SamplingParams, output_kind=RequestOutputKind.FINAL_ONLY)
        self.engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**job.arguments))
        self._tokenizer = AutoTokenizer.from_pretrained(job.model)

    async def _ask(self, name: str, messages: list[dict[str, str]], sampling: dict[str, Any], seed: int) -> Any:
        apply = self._tokenizer.apply_chat_template
        ids = apply(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        params = self._params(**sampling, seed=seed)
        async for output in self.engine.generate({"prompt_token_ids": ids}, params, name):
            one = output.outputs[0]
        return Answer(one.text, len(one.token_ids), len(ids), seed), one.finish_reason

    async def attempt(self, prompt: Prompt, sample: Sample) -> dict[str, Any]:
        """Return a row: sample, grade, reflect."""
        job, number = self._job, str(sample.id)
        answer, reason = await self._ask(number, prompt.messages, dict(job.sampling), sample.seed)
        outcome = prompt.outcome(answer.text, reason)
        asked = [
            self._ask(
                f"{number}/{place}",
                job.look(prompt, look, answer.text),
                dict(job.reflection_sampling),
                look.seed,
            )
            for place, look in enumerate(sample.looks if outcome != "unknown" else ())
        ]
        return row(sample, answer, outcome, [look for look, _ in await asyncio.gather(*asked)])


async def main(folder: str, out: str) -> None:
    job = read_job(folder)
    asking = Asking(job)
    mark(READY)
    wanted = [asking.attempt(prompt, sample) for prompt in job.prompts for sample in prompt.samples]
    write_rows(out, await asyncio.gather(*wanted))
    asking.engine.shutdown()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
