"""A RAW_DATA of any number of rows, for measuring the assembly: `python benchmarks/big_raw_data.py OUT --rows 1000000`.

The columns are those of a real run, all of them filled. Texts are as long as a small model's: a sample
of about 150 words, four reflections of about 60, in countdown's words, some of them equations, so that
they compress and read as real ones do.
"""

from __future__ import annotations

import argparse
import random
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from generation.raw.schema import PREFIX, REFLECTIONS, SCHEMA, SCHEMA_VERSION
from generation.variants import PLAIN, VARIANTS
from reflection.prompts import PROMPTS

SAMPLES = 64
"""Of each question, dealt over the four plain variants."""
_ROWS_PER_FILE = 100_000
_QUESTIONS_PER_GROUP = 16
_WORDS = [
    "first",
    "then",
    "we",
    "take",
    "add",
    "subtract",
    "multiply",
    "divide",
    "so",
    "that",
    "gives",
    "which",
    "leaves",
    "and",
    "now",
    "next",
    "total",
    "numbers",
]
_SYSTEM = VARIANTS[PLAIN[0]].system
_QUESTION = "Using the numbers in the list {}, create an equation that equals {}. Each number can only be used once."


@cache
def _phrases() -> tuple[str, ...]:
    """Ten words each, some of them numbers."""
    rng = random.Random("phrases")
    words = [*_WORDS, *map(str, range(1, 10))]
    return tuple(" ".join([*rng.choices(words, k=4), "so", *_equation(rng)]) for _ in range(20_000))


def _equation(rng: random.Random) -> tuple[str, ...]:
    """Five words; one in three is an equation, one in thirty a false one."""
    one, other = rng.randint(1, 99), rng.randint(1, 99)
    total = one + other + (rng.random() < 1 / 10)
    equal = "=" if rng.random() < 1 / 3 else "and"
    return str(one), "+", str(other), equal, f"{total}."


def _words(rng: random.Random, count: int) -> str:
    return "\n".join(rng.choices(_phrases(), k=count // 10))


def _reflection(rng: random.Random, verdict: bool) -> str:
    return f"{_words(rng, 60)}.\n<verdict>{'Correct' if verdict else 'Incorrect'}</verdict>"


def rows_of(number: int, seed: int) -> list[dict[str, Any]]:
    """The rows of one question; reflections are right four times in five."""
    rng = random.Random(f"{seed}/{number}")
    question = _QUESTION.format([rng.randint(1, 99) for _ in range(4)], number)
    return [_row(question, number, place, rng) for place in range(SAMPLES)]


def _row(question: str, number: int, place: int, rng: random.Random) -> dict[str, Any]:
    right = rng.random() < 0.4
    answer = f"{rng.randint(1, 99)} + {rng.randint(1, 99)}"
    return {
        "question": question,
        "answer": "1 + 2",
        "prompt_variant": PLAIN[place % len(PLAIN)],
        PREFIX: [f"{_words(rng, 150)}\n<answer>{answer}</answer>"],
        f"{PREFIX}__eval_is_correct": [right],
        f"{PREFIX}__eval_extracted_answers": [answer],
        f"{PREFIX}__finish_reason_length_flags": [False],
        REFLECTIONS: [_reflection(rng, right == (rng.random() < 0.8)) for _ in range(4)],
        "question_key": f"{number:016x}",
        "question_index": number,
        "sample_index": place // len(PLAIN),
        "outcome": "right" if right else "wrong",
        "outcome_reason": "" if right else "does not reach the target",
        "mentions_hint": False,
        "prompt": [{"content": _SYSTEM, "role": "system"}, {"content": question, "role": "user"}],
        "task": "countdown_4arg",
        "task_config": '{"inputs": [1, 99], "seed": 0, "targets": [10, 1000]}',
        "task_source": "made by generation.tasks.countdown, seed 0",
        "metadata": '{"answer_type": "equation", "facts": {"numbers": [1, 2, 3], "target": 6}, "grader": "countdown"}',
        "sample__provenance": _request(rng),
        "reflections__provenance": [
            {"prompt_name": name, "verdict": "Correct", "valid": True, **_request(rng)} for name in list(PROMPTS)[:4]
        ],
        "model": "Qwen/Qwen2.5-1.5B-Instruct",
        "model_revision": "0123456789abcdef",
        "engine": "vllm",
        "engine_version": "0.32.0",
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 4096},
        "schema_version": SCHEMA_VERSION,
    }


def _request(rng: random.Random) -> dict[str, Any]:
    return {
        "seed": rng.getrandbits(63),
        "finish_reason": "stop",
        "prompt_tokens": 90,
        "output_tokens": 150,
        "cached_tokens": 64,
        "error": None,
    }


def make(out: Path, rows: int, seed: int = 0) -> None:
    """`rows` rows, all those of a question together, in files as a run writes them."""
    (out / "data").mkdir(parents=True, exist_ok=True)
    questions = -(-rows // SAMPLES)
    per_file = _ROWS_PER_FILE // SAMPLES
    files = -(-questions // per_file)
    for file in range(files):
        path = out / "data" / f"train-{file:05}-of-{files:05}.parquet"
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            numbers = range(file * per_file, min((file + 1) * per_file, questions))
            for first in range(0, len(numbers), _QUESTIONS_PER_GROUP):
                group = numbers[first : first + _QUESTIONS_PER_GROUP]
                made = [row for number in group for row in rows_of(number, seed)]
                writer.write_table(pa.Table.from_pylist(made, schema=SCHEMA))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    make(given.out, given.rows)


if __name__ == "__main__":
    main()
