"""An executor for vLLM that computes nothing: everything of vLLM's is real but the model, whose tokens are made up.

A request that may have n tokens gets n: lines of a countdown answer with numbers of its own, an answer if n is SAMPLE
or more and a verdict if less, and the end of turn. A step takes as long as on a GPU, STEP_S.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import Future
from typing import Any

import torch
from transformers import AutoTokenizer
from vllm.v1.executor.abstract import Executor
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.outputs import ModelRunnerOutput

SAMPLE = 600
STEP_S = (0.004, 12e-6)  # an H100's, as speed.md reckons it for Qwen2.5-1.5B: fixed, and for each sequence


class StandIn(Executor):
    """Answers what the engine core asks its workers."""

    def _init_executor(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(self.model_config.tokenizer)
        self.written: dict[str, list[int]] = {}  # reversed: what is still to come
        self.due = time.monotonic()

    def collective_rpc(self, method: Any, *_: Any, non_block: bool = False, **__: Any) -> Any:
        block = self.cache_config.block_size
        spec = FullAttentionSpec(block_size=block, num_kv_heads=1, head_size=64, dtype=torch.float32)
        answers: dict[str, Any] = {
            "get_kv_cache_spec": {"layer": spec},
            "get_supported_kv_cache_layouts": ["NHD"],
            "determine_available_memory": 1 << 32,
            "get_supported_tasks": ("generate",),
        }
        return [answers.get(method)]

    def compile_or_warm_up_model(self) -> None:
        """Has nothing to compile."""

    def execute_model(self, scheduled: Any, non_block: bool = False) -> Any:
        for one in scheduled.scheduled_new_reqs:
            self.written[one.req_id] = self._write(one.req_id, one.sampling_params.max_tokens)
        for name in scheduled.finished_req_ids:
            self.written.pop(name, None)
        names = list(scheduled.num_scheduled_tokens)
        output = ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: place for place, name in enumerate(names)},
            sampled_token_ids=[[self.written[name].pop()] for name in names],
        )
        now = time.monotonic()
        self.due = max(now, self.due + STEP_S[0] + STEP_S[1] * len(names))
        time.sleep(self.due - now)
        if not non_block:
            return output
        future = Future[Any]()
        future.set_result(output)
        return future

    def _write(self, name: str, tokens: int) -> list[int]:
        rng = random.Random(name)
        lines = list[str]()
        while len(lines) * 12 < tokens:
            a, b, c = (rng.randrange(2, 99) for _ in range(3))
            lines.append(
                rng.choice(
                    (f"Let's try {a} + {b} = {a + b}, and then {a + b} - {c} = {a + b - c}", f"That is {a}, not {b}.")
                )
            )
        end = f"\n<answer>\n{rng.randrange(99)}\n</answer>" if tokens >= SAMPLE else "\n<verdict>Correct</verdict>"
        last = [*self.tokenizer(end)["input_ids"], self.tokenizer.eos_token_id]
        first = self.tokenizer("\n".join(lines))["input_ids"][: tokens - len(last)]
        return [*first, *last][::-1]

    def check_health(self) -> None:
        """Is never ill."""
