"""The hub that a reader of README.md and docs/ reaches, with what the commands there name."""

from __future__ import annotations

from generation.builtin import MODEL
from tests.assembly_rows import published_row
from tests.hub_datasets import card, jsonl, parquet, put
from tests.hub_state import Hub, Repository
from tests.regraded import evaluated_row

MODELS = ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-7B-Instruct")
RAW = "countdown_3arg-Qwen2.5-1.5B-Instruct"
ROWS = [published_row(f"question {n}", f"{n} {s}", s % 2 == 0) for n in range(4) for s in range(12)]
REPLIES = {
    "model_responses": ["<answer>2</answer>", "<answer>4</answer>"],
    "model_responses__eval_is_correct": [True, False],
    "model_responses__eval_extracted_answers": ["2", "4"],
}
SUMS = [(f"{n} + {n}?", str(2 * n)) for n in range(10)]


def readers_hub() -> Hub:
    hub = Hub()
    files = {path.name: path.read_bytes() for path in MODEL.iterdir() if path.is_file()}
    for name in MODELS:
        hub.repositories[name] = Repository(private=False, files=dict(files))
    many = [{"question": f"Tom has {n} apples. How many?", "answer": f"#### {n}"} for n in range(2000)]
    files = {f"main/{split}-00000-of-00001.parquet": parquet(many) for split in ("train", "test")}
    splits = card(("main", {"train": "main/train-*", "test": "main/test-*"}))
    put(hub, "gsm8k", {"README.md": splits, **files})
    raw = {"data/train-00000-of-00001.parquet": parquet(ROWS)}
    hub.repositories["NAMESPACE/RAW_DATA-countdown3args-Qwen2.5-1.5B-Instruct"] = Repository(False, files=raw)
    replies = {"data/test-00000-of-00001.parquet": parquet([evaluated_row(question, gold) for question, gold in SUMS])}
    hub.repositories["NAMESPACE/EVAL-cd3args-Qwen2.5-1.5B-Instruct"] = Repository(False, files=replies)
    questions = jsonl([{"question": text, "answer": gold} for text, gold in SUMS])
    told = card(("configuration", {"test": "test.jsonl"}))
    hub.repositories["owner/name"] = Repository(
        False, files={"README.md": told, "test.jsonl": questions}, commits=["revision"]
    )
    return hub
