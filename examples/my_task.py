"""A task of your own, in one file: how many days lie between two dates.

    python -m generation.run --task examples/my_task.py --questions 100

`draw` makes one problem from a random generator; questions that come twice are asked once, a fifth of all that
there can be is kept for RL, and the same seed makes the same questions. The grader is one of ours: `number`
here, which takes "98", "98 days" and "\\boxed{98}" alike.
"""

from __future__ import annotations

import random
from datetime import date, timedelta

from generation.tasks.task import HEADER, Drawn, Problem


def draw(rng: random.Random) -> Problem:
    first = date(1990, 1, 1) + timedelta(days=rng.randrange(20_000))
    days = rng.randint(30, 400)
    text = f"How many days after {first:%d %B %Y} is {first + timedelta(days=days):%d %B %Y}?"
    return Problem(HEADER + text, str(days), {"first": first.isoformat()})


TASK = Drawn(
    name="days_between",
    line="the days between two dates",
    grader="number",
    answer_type="number of days",  # "give your resulting number of days", "a correct number of days is 98"
    draw=draw,
)
