"""How fast a script of the published shape assembles: `python -m benchmarks.published_shape RAW_DATA`.

A stand-in of our own, written to be compared with. As the published script it is a client of the hub both
ways, so rows come by `datasets.load_dataset` and go by `Dataset.from_list`; between them everything is in
one pandas frame, with `groupby` over questions, `iterrows` over rows, one `*C_full` trace for each length. As
published it takes identical responses for one, drops reflections that hold "idea" or "fast", and draws phrases.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, load_dataset

_RESPONSE = "model_responses__mutated_prompts"
_GLUE = {
    True: [f"That seems right, but let me look once more ({number})." for number in range(25)],
    False: [f"Let me try this again ({number})." for number in range(25)],
}
_ENDINGS = [f"Here it is ({number})." for number in range(7)]


def _verdict(text: str) -> str:
    return text.split("<verdict>")[-1].split("</verdict>")[0].lower().strip()


def _usable(group: pd.DataFrame) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    correct, incorrect = [], []
    seen = set()
    for _, row in group.iterrows():
        if row[_RESPONSE][0] in seen:
            continue
        seen.add(row[_RESPONSE][0])
        right = bool(row[f"{_RESPONSE}__eval_is_correct"][0])
        wanted = "correct" if right else "incorrect"
        kept = [text for text in row[f"{_RESPONSE}_reflection"] if _verdict(text) == wanted]
        kept = [text for text in kept if "idea" not in text and "fast" not in text]
        if kept:
            answer = row[f"{_RESPONSE}__eval_extracted_answers"][0]
            (correct if right else incorrect).append(
                {"response": row[_RESPONSE][0], "reflections": kept, "answer": answer, "right": right}
            )
    return correct, incorrect


def _trace(picked: list[dict[str, Any]]) -> str:
    text = "<think>\n"
    for place, attempt in enumerate(picked):
        reflection = random.choice(attempt["reflections"])
        text += f"<sample>\n{attempt['response']}\n</sample>\n<reflect>\n{reflection}\n</reflect>\n"
        text += f"{random.choice(_GLUE[attempt['right']])}\n" if place + 1 < len(picked) else ""
    return f"{text}</think>\n\n\n{random.choice(_ENDINGS)}\n\n<answer>\n{picked[-1]['answer']}\n</answer>"


def assemble(raw: Path, out: Path, attempts: int = 5) -> int:
    """Traces written to `out`; how many rows were read."""
    with tempfile.TemporaryDirectory() as cache:
        return _assemble(load_dataset(str(raw), split="train", cache_dir=cache).to_pandas(), out, attempts)


def _assemble(frame: pd.DataFrame, out: Path, attempts: int) -> int:
    traces = []
    for question, group in frame.groupby("question"):
        correct, incorrect = _usable(group)
        if not correct or len(correct) + len(incorrect) < attempts:
            continue
        for count in range(1, attempts + 1):
            last = random.choice(correct)
            others = [attempt for attempt in correct + incorrect if attempt is not last]
            text = _trace([*random.sample(others, count - 1), last])
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
            traces.append({"conversations": turns, "sft_template_type_idx": f"{count}C"})
    Dataset.from_list(traces).to_parquet(out)
    return len(frame)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--out", type=Path, default=Path("published_shape.parquet"))
    given = parser.parse_args()
    started = time.monotonic()
    rows = assemble(given.raw, given.out)
    seconds = time.monotonic() - started
    print(f"{rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s")


if __name__ == "__main__":
    main()
