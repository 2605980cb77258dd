"""How many answers a second are graded: countdown on one core, mathematics by two workers.

    python -m benchmarks.grading_rate [SECONDS]

Three runs of SECONDS (5) each, the median counts. Countdown answers are made up as in the tests (right, wrong
and torn). Mathematics is pairs of formulas, asked from four threads after the workers have come up: sixteen answers
to a question, as one variant of a run has, and once one answer to each, so that nothing is read before.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from generation.grading import grade
from generation.grading.mathematics import WORKER
from generation.grading.workers import pool_of, pool_size
from generation.records import Question
from tests.countdown_oracle import made_up

RUNS = 3
THREADS = 4
Case = tuple[str, Question]


def countdown_cases() -> list[Case]:
    rng = random.Random("countdown answers")
    cases = []
    for _ in range(20_000):
        answer, numbers, target = made_up(rng)
        facts = {"numbers": numbers, "target": target}
        response = f"So far so good, and the answer is:\n<answer>\n{answer}\n</answer>"
        cases.append((response, Question("?", "?", "countdown", "made", "countdown", "equation", facts)))
    return cases


def math_cases(each: int) -> list[Case]:
    """Answers of the kinds of a competition's, so many to each question."""
    rng = random.Random("mathematical answers")
    forms = [
        (r"\frac{{{a}x+{b}}}{{{c}}}", r"\frac{{{b}+{a}x}}{{{c}}}"),
        (r"{a}\sqrt{{{b}}}", r"\sqrt{{{b}}}\cdot {a}"),
        ("({a},{b})", "({a}, {c})"),
        ("{a}x^2+{b}x+{c}", "{c}+{b}x+{a}x^2"),
        (r"\frac{{{a}\pi}}{{{b}}}", r"\frac{{{a}}}{{{b}}}\pi"),
        (r"{a}\pi", r"{b}\pi"),
        (r"\{{{a},{b}\}}", "{b}, {a}"),
        ("[{a},{a}{b}]", "[{a},{a}{c}]"),
        ("{a}+{b}i", "{b}i+{a}"),
        ("{a}^{{{b}}}", "{c}^{{{b}}}"),
    ]
    cases = []
    for number in range(4_000):
        gold, answer = forms[number // each % len(forms)]
        if number % each == 0:
            asked = {name: rng.randint(2, 99) for name in "abc"}
        # A model's answers differ, and some are right.
        values = asked if rng.random() < 0.5 else {name: rng.randint(2, 99) for name in "abc"}
        question = Question("?", gold.format(**asked), "math", "made", "math", "expression")
        cases.append((f"<answer>${answer.format(**values)}$</answer>", question))
    return cases


def _one(case: Case) -> str:
    return grade(*case, "stop").outcome


def on_one_core(cases: list[Case], seconds: float) -> float:
    """Answers a second of CPU time."""
    graded, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        for case in cases[graded % len(cases) :][:500]:
            _one(case)
            graded += 1
    return graded / (time.process_time() - started)


def by_workers(cases: list[Case], seconds: float) -> float:
    """Answers a second of the clock."""
    graded, started = 0, time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        while time.perf_counter() - started < seconds:
            graded += len(list(threads.map(_one, islice(cases, graded % len(cases), graded % len(cases) + 100))))
    return graded / (time.perf_counter() - started)


def _worker_cpu_s() -> float:
    used = 0
    for pid in pool_of(WORKER).pids():
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            used += sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
    return used / os.sysconf("SC_CLK_TCK")


def _report(what: str, rate: Callable[[list[Case], float], float], cases: list[Case], seconds: float) -> None:
    rates = sorted(rate(cases, seconds) for _ in range(RUNS))
    shown = ", ".join(f"{one:,.0f}" for one in rates)
    print(f"{what}: {statistics.median(rates):,.0f} answers/s (of {shown}), load {os.getloadavg()[0]:.1f}", flush=True)


def main(seconds: float) -> None:
    _report("countdown, one core of CPU time", on_one_core, countdown_cases(), seconds)
    started = time.perf_counter()
    _one(math_cases(1)[0])
    print(f"first answer of a worker after {time.perf_counter() - started:.2f} s", flush=True)
    for each in (16, 1):
        cases = math_cases(each)
        by_workers(cases, 2.0)
        before, clock = _worker_cpu_s(), time.perf_counter()
        _report(f"math, {each} answers a question, {pool_size()} workers", by_workers, cases, seconds)
        share = (_worker_cpu_s() - before) / (time.perf_counter() - clock)
        print(f"the workers had {share:.2f} cores meanwhile", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
