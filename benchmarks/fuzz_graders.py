"""A million inputs for the graders, and what must hold for each of them.

    python -m benchmarks.fuzz_graders [COUNT] [SEED]      hypothesis draws them, by default 1,000,000
    python -m benchmarks.fuzz_graders --atheris [COUNT] [SEED]   atheris does, guided by what our code covers

Never an exception, an outcome and a reason that belong together, an answer that stands in the response, the
same grade again, and at most 50 ms of CPU time (of two tries). Mathematics is compared by its workers, so of
it there is one input in a thousand. Prints counts and the slowest; ends with 1 at the first that fails.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from types import FunctionType

from hypothesis import HealthCheck, Phase, given, seed, settings

from generation.grading import grade
from generation.grading.word import is_word
from generation.records import Grade, Question
from tests.test_grading_hostile import hostile_texts
from tests.test_grading_hostile_graders import QUESTIONS, SHAPES

LIMIT_S = 0.05
MATH_SHARE = 1000
BATCH = 5_000
FAST = sorted(set(QUESTIONS) - {"math", "gym"})


class Broken(AssertionError):
    """What must hold does not."""


class Tally:
    """What was seen."""

    def __init__(self) -> None:
        self.count = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.slowest = (0.0, "", "")

    def take(self, name: str, text: str) -> None:
        response = text if self.count % 8 == 0 else f"<answer>{text}</answer>"
        seconds, outcome = check(QUESTIONS[name], response)
        self.count += 1
        self.outcomes[name, outcome] += 1
        self.slowest = max(self.slowest, (seconds, name, text[:60]))

    def report(self, started: float) -> None:
        print(f"{self.count:,} inputs in {time.monotonic() - started:,.0f} s", flush=True)
        for (name, outcome), count in sorted(self.outcomes.items()):
            print(f"  {name:10} {outcome:8} {count:>9,}")
        print(f"  slowest {self.slowest[0] * 1000:.1f} ms: {self.slowest[1]}, {self.slowest[2]!r}", flush=True)


def check(question: Question, response: str) -> tuple[float, str]:
    """Raises Broken; the CPU seconds of this process for one grade, the least of several, and its outcome.

    Two are asked for, up to six while none was in time: a machine whose cores are not its own counts time taken away.
    """
    times: list[float] = []
    grades: list[Grade] = []
    while len(times) < 2 or (min(times) > LIMIT_S and len(times) < 6):
        started = time.process_time()
        grades.append(grade(response, question, "stop"))
        times.append(time.process_time() - started)
    first = grades[0]
    timed_out = "the grader ran out of time" in (grades[0].reason, grades[1].reason)
    holds = {
        "the same grade again": grades[0] == grades[1] or timed_out,
        "a known outcome": first.outcome in ("right", "wrong", "unknown"),
        "a reason unless it is right": (first.reason == "") == (first.outcome == "right"),
        "a short reason": len(first.reason) <= 80 and "\n" not in first.reason,
        "an answer of the response": first.extracted is None or first.extracted in response,
        "in time": min(times) <= LIMIT_S,
    }
    if broken := [name for name, held in holds.items() if not held]:
        raise Broken(f"{question.grader}: not {', '.join(broken)}: {response[:2000]!r}")
    return min(times), first.outcome


def names(rng: random.Random) -> Iterator[str]:
    while True:
        yield "math" if rng.randrange(MATH_SHARE) == 0 else rng.choice(FAST)


def by_hypothesis(count: int, first_seed: int) -> None:
    tally, started, chosen = Tally(), time.monotonic(), names(random.Random(first_seed))
    for text in SHAPES.values():
        for name in FAST:
            tally.take(name, text)
    batch = 0
    while tally.count < count:

        @seed(first_seed * 1_000_003 + batch)
        @settings(
            max_examples=min(BATCH, count - tally.count),
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(hostile_texts())
        def run(text: str) -> None:
            tally.take(next(chosen), text)

        run()
        batch += 1
        if batch % 10 == 0:
            tally.report(started)
    tally.report(started)


def by_atheris(count: int, first_seed: int) -> None:
    """Needs atheris, which comes with [dev] where there is a wheel of it."""
    import atheris

    tally, started, chosen = Tally(), time.monotonic(), names(random.Random(first_seed))

    def target(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        tally.take(next(chosen), provider.ConsumeUnicode(4096))
        if tally.count % 50_000 == 0 or tally.count == count:
            tally.report(started)

    for module in [module for name, module in sys.modules.items() if name.startswith("generation.grading.")]:
        for name, function in list(vars(module).items()):
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                setattr(module, name, atheris.instrument_func(function))
    atheris.Setup([sys.argv[0], f"-runs={count}", "-max_len=4096", "-timeout=30", f"-seed={first_seed + 1}"], target)
    atheris.Fuzz()


def main(arguments: list[str]) -> None:
    is_word("word")  # the lists are read once
    numbers = [int(argument.replace(",", "")) for argument in arguments if not argument.startswith("-")]
    count = numbers[0] if numbers else 1_000_000
    first_seed = numbers[1] if len(numbers) > 1 else 0
    if "--atheris" in arguments:
        by_atheris(count, first_seed)
    else:
        by_hypothesis(count, first_seed)


if __name__ == "__main__":
    main(sys.argv[1:])
