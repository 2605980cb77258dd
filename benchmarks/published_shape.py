"""How fast a script of the published shape assembles: `python -m benchmarks.published_shape RAW_DATA`.

A stand-in of our own, written to be compared with: the published script's steps in the same order with the same
means, in our words. Rows come by `datasets.load_dataset`, are filtered by variant row by row, become one pandas
frame, are grouped by question; each row and each reflection becomes an object; a reflection's verdict is split out of
its text, and those that hold "idea" or "fast" are dropped; each trace leaves its last attempt out of all others by
comparing objects, draws the rest and the phrases, and fills a template; rows go by `Dataset.from_dict`. It makes the
traces of `*C_full`.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset

_RESPONSE = "model_responses__mutated_prompts"
_VARIANTS = ["original", "plan_and_execute", "alternatively", "rephrase"]
_GLUE = {
    True: [f"That seems right, but let me look once more ({number})." for number in range(21)],
    False: [f"Let me try this again ({number})." for number in range(24)],
}
_ENDINGS = [f"Here it is ({number})." for number in range(7)]


@dataclass
class _Look:
    text: str
    verdict: bool | None


@dataclass
class _Sample:
    text: str
    right: bool
    answer: str
    variant: str
    looks: list[_Look]


def _verdict(text: str) -> bool | None:
    if "<verdict>" not in text or "</verdict>" not in text:
        return None
    word = text.split("<verdict>")[1].split("</verdict>")[0].lower().strip()
    return {"correct": True, "incorrect": False}.get(word)


def _usable(group: Any) -> list[_Sample]:
    columns = [_RESPONSE, f"{_RESPONSE}__eval_is_correct", f"{_RESPONSE}__eval_extracted_answers"]
    columns += [f"{_RESPONSE}_reflection", "prompt_variant"]
    found = []
    for texts, right, answers, reflections, variant in zip(*(group[name] for name in columns), strict=True):
        looks = [_Look(text, _verdict(text)) for text in reflections]
        looks = [look for look in looks if look.verdict is not None and look.verdict == right[0]]
        looks = [look for look in looks if "idea" not in look.text.lower() and "fast" not in look.text.lower()]
        if looks:
            found.append(_Sample(texts[0], bool(right[0]), answers[0], variant, looks))
    return found


def _template(attempts: int) -> str:
    parts = ["<think>"]
    for number in range(attempts):
        parts += [f"<sample>\n{{text_{number}}}\n</sample>", f"<reflect>\n{{look_{number}}}\n</reflect>"]
        if number + 1 < attempts:
            parts.append(f"{{glue_{number}}}")
    return "\n".join([*parts, "</think>", "\n\n{ending}\n\n<answer>\n{answer}\n</answer>"])


def _trace(samples: list[_Sample], correct: list[_Sample], attempts: int) -> str:
    last = random.choice(correct)
    others = [sample for sample in samples if sample != last]
    picked = [*random.sample(others, attempts - 1), last]
    filled = {"answer": last.answer, "ending": random.choice(_ENDINGS)}
    for number, sample in enumerate(picked):
        filled[f"text_{number}"] = sample.text
        filled[f"look_{number}"] = random.choice(sample.looks).text
        if number + 1 < attempts:
            filled[f"glue_{number}"] = random.choice(_GLUE[sample.right])
    return _template(attempts).format(**filled)


def assemble(raw: Path, out: Path, attempts: int = 5) -> int:
    """Traces written to `out`; how many rows were read."""
    with tempfile.TemporaryDirectory() as cache:
        rows = load_dataset(str(raw), cache_dir=cache)["train"]
        read = len(rows)
        rows = rows.filter(lambda row: row["prompt_variant"] in _VARIANTS)
        questions = [(question, _usable(group)) for question, group in rows.to_pandas().groupby("question")]
    made: dict[str, list[Any]] = {"conversations": [], "sft_template_type_idx": []}
    for question, samples in questions:
        correct = [sample for sample in samples if sample.right]
        if not correct or len(samples) < attempts:
            continue
        for count in range(1, attempts + 1):
            turns = [{"role": "user", "content": question}]
            turns.append({"role": "assistant", "content": _trace(samples, correct, count)})
            made["conversations"].append(turns)
            made["sft_template_type_idx"].append(f"{count}C")
    Dataset.from_dict(made).to_parquet(out)
    return read


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
