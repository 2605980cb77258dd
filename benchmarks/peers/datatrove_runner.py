"""datatrove's inference runner: a rollout function a question, over the `vllm serve` that it starts, into JSON Lines.

`--ours`: the product's arguments of vLLM, seeds, and as many documents at once as fill the engine.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter

from benchmarks.peers.work import END, Answer, Job, Prompt, Sample, mark, read_arguments, read_job, row

_GIVEN = {"model", "revision", "tokenizer_revision", "max_model_len", "tensor_parallel_size", "trust_remote_code"}
_DOCUMENTS, _REQUESTS = 16, 192


def config_of(job: Job, *, ours: bool) -> InferenceConfig:
    """Return the runner's configuration: its defaults, or tuned."""
    told: dict[str, Any] = {}
    if ours:
        engine = {name.replace("_", "-"): value for name, value in job.arguments.items() if name not in _GIVEN}
        told = {"model_kwargs": engine, "max_concurrent_documents": _DOCUMENTS, "max_concurrent_generations": _REQUESTS}
    return InferenceConfig(
        server_type="vllm", model_name_or_path=job.model, model_max_context=job.context, metric_interval=120, **told
    )


class Rollout:
    """What datatrove calls for each document, which is a question."""

    def __init__(self, job: Job, *, seeded: bool) -> None:
        self._job, self._seeded = job, seeded
        self._asked: dict[str, list[Prompt]] = defaultdict(list)
        for prompt in job.prompts:
            self._asked[prompt.question.key].append(prompt)

    def documents(self) -> list[Document]:
        """Return the questions."""
        return [Document(text=asked[0].question.text, id=key) for key, asked in self._asked.items()]

    async def __call__(self, document: Document, generate: Any) -> dict[str, Any]:
        attempts = [
            self._attempt(generate, prompt, sample) for prompt in self._asked[document.id] for sample in prompt.samples
        ]
        return {"rows": await asyncio.gather(*attempts)}

    async def _ask(self, generate: Any, messages: list[dict[str, str]], sampling: Any, seed: int) -> Any:
        result = await generate({"messages": messages, **sampling, **({"seed": seed} if self._seeded else {})})
        used = result.usage["completion_tokens"], result.usage["prompt_tokens"]
        return Answer(result.text, *used, seed if self._seeded else None), result.finish_reason

    async def _attempt(self, generate: Any, prompt: Prompt, sample: Sample) -> dict[str, Any]:
        job = self._job
        answer, reason = await self._ask(generate, prompt.messages, job.sampling, sample.seed)
        outcome = prompt.outcome(answer.text, reason)
        asked = [
            self._ask(generate, job.look(prompt, look, answer.text), job.reflection_sampling, look.seed)
            for look in (sample.looks if outcome != "unknown" else ())
        ]
        return row(sample, answer, outcome, [look for look, _ in await asyncio.gather(*asked)])


class Writer(JsonlWriter):
    """As it is, but for the moment at which the last file is closed."""

    def close(self) -> None:
        super().close()
        mark(END)


def main() -> None:
    given = read_arguments(__doc__, "--ours")
    job = read_job(given.job)
    rollout = Rollout(job, seeded=given.ours)
    runner = InferenceRunner(
        rollout_fn=rollout, config=config_of(job, ours=given.ours), output_writer=Writer(given.out, compression=None)
    )
    LocalPipelineExecutor(pipeline=[rollout.documents(), runner], logging_dir=f"{given.out}/logs", tasks=1).run()


if __name__ == "__main__":
    main()
