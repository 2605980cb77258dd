"""ray.data.llm: one processor for the samples, one for the reflections, the second after the first has ended.

It keeps one of n samples, so that each sample is a row of its own. Without a GPU it is given a bundle that asks for
none. `--ours`: the product's arguments of vLLM, seeds, batches that fill the engine, and no metrics.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.data.llm import build_processor, vLLMEngineProcessorConfig

from benchmarks.peers.work import END, Answer, Job, mark, read_arguments, read_job, row, write_rows


def config_of(job: Job, *, ours: bool) -> vLLMEngineProcessorConfig:
    """Return the processor's configuration: the documentation's, or tuned."""
    told: dict[str, Any] = {"model_source": job.model, "concurrency": 1}
    if not job.gpu:
        told["placement_group_config"] = {"bundle_per_worker": {"CPU": 1}}
    if ours:
        engine = {name: value for name, value in job.arguments.items() if name not in ("model", "revision")}
        told |= {"engine_kwargs": engine, "batch_size": 16, "max_concurrent_batches": 16, "log_engine_metrics": False}
    return vLLMEngineProcessorConfig(**told)


def ask(config: Any, rows: Any, sampling: dict[str, Any], *, seeded: bool) -> Any:
    """Return the rows with their texts and counts of tokens, all of them made."""
    processor = build_processor(
        config,
        preprocess=lambda row: {
            "messages": row["messages"],
            "sampling_params": {**sampling, **({"seed": row["seed"]} if seeded else {})},
        },
        postprocess=lambda row: {
            "id": row["id"],
            "seed": row["seed"],
            "text": row["generated_text"],
            "tokens": row["num_generated_tokens"],
            "prompt_tokens": row["num_input_tokens"],
        },
    )
    made = processor(rows).take_all()
    mark(END)
    return made


def main() -> None:
    given = read_arguments(__doc__, "--ours")
    job = read_job(given.job)
    wanted, config = job.by_id(), config_of(job, ours=given.ours)
    ray.init()

    def answer(made: dict[str, Any]) -> Answer:
        return Answer(made["text"], made["tokens"], made["prompt_tokens"], made["seed"] if given.ours else None)

    asked = [
        {"id": number, "seed": sample.seed, "messages": prompt.messages} for number, (prompt, sample) in wanted.items()
    ]
    samples = ask(config, ray.data.from_items(asked), dict(job.sampling), seeded=given.ours)
    outcomes = {made["id"]: wanted[made["id"]][0].outcome(made["text"]) for made in samples}
    asked = [
        {"id": made["id"], "seed": look.seed, "messages": job.look(wanted[made["id"]][0], look, made["text"])}
        for made in samples
        if outcomes[made["id"]] != "unknown"
        for look in wanted[made["id"]][1].looks
    ]
    looks: dict[int, list[Answer]] = {}
    for made in ask(config, ray.data.from_items(asked), dict(job.reflection_sampling), seeded=given.ours):
        looks.setdefault(made["id"], []).append(answer(made))
    rows = [
        row(wanted[made["id"]][1], answer(made), outcomes[made["id"]], looks.get(made["id"], ())) for made in samples
    ]
    write_rows(given.out, rows)


if __name__ == "__main__":
    main()
