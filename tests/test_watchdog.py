"""An engine that answers nothing is taken for dead and replaced; one that is merely idle or slow is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from cluster.inference.engine import Engine, ScriptedSettings
from cluster.inference.pool import Done, EngineStartError, Failed, Lost, Placement, Pool, Started
from cluster.inference.replicas import Engines
from cluster.session import Resources
from tests.stuck import Item, Narrow, Roomy, ask, reply

pytestmark = pytest.mark.ray

SILENCE_S = 2.0


def run(items: Iterable[Item], logs: Path, *, engines: int = 2, silence_s: float = SILENCE_S) -> list[object]:
    placement = Placement(engines, in_flight=4, logs=logs, silence_s=silence_s)
    with Pool[Item, int](ScriptedSettings(reply), ask, placement) as pool:
        return list(pool.run(items))


def done(events: Iterable[object]) -> Counter[int]:
    return Counter(event.result for event in events if isinstance(event, Done))


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("reply", "it answered nothing for"),  # the event loop lives, no request comes back
        ("loop", "it gave no sign of life for"),  # the event loop is blocked
        ("stop", "it gave no sign of life for"),  # the whole process was stopped
        ("grader", "it answered nothing for"),  # the engine is idle, but the work hangs
    ],
)
def test_a_stuck_engine_is_replaced(ray_session: Resources, tmp_path: Path, way: str, told: str) -> None:
    bait = tmp_path / "bait"
    bait.touch()
    # Alone, so that no other answer of its engine hides the silence.
    events = run([Item(number, way if number == 9 else "", str(bait)) for number in range(10)], tmp_path, engines=1)
    (lost,) = [event for event in events if isinstance(event, Lost)]
    assert told in lost.reason
    assert lost.again >= 1
    assert done(events) == Counter(range(10))
    assert sum(isinstance(event, Started) for event in events) == 2


def test_an_idle_engine_and_a_slow_one_are_left_alone(ray_session: Resources, tmp_path: Path) -> None:
    """One long item keeps answering; the other engine has nothing to do meanwhile."""
    placement = Placement(2, in_flight=4, logs=tmp_path, silence_s=1.0)
    with Pool[int, int](ScriptedSettings(reply), _long, placement) as pool:
        events = list(pool.run([0]))
    assert not any(isinstance(event, Lost) for event in events)
    assert sum(isinstance(event, Done) for event in events) == 1


async def _long(engine: Engine, item: int) -> int:
    for _ in range(150):
        await ask(engine, Item(0))
    return item


def test_an_item_that_kills_every_engine_is_given_up_and_no_other_suffers(
    ray_session: Resources, tmp_path: Path
) -> None:
    events = run([Item(number, "kill" if number == 5 else "") for number in range(30)], tmp_path, silence_s=60)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.item.number == 5
    assert "engines died over it, 4 times" in failed.reason
    assert done(events) == Counter(set(range(30)) - {5})


def test_engines_that_die_over_everything_end_the_run(ray_session: Resources, tmp_path: Path) -> None:
    """Whoever dies again and again over one item after the other has more than a bad item."""
    engines = Engines(ScriptedSettings(reply), ask, Placement(1, logs=tmp_path))
    list(engines.tend())

    def die() -> None:
        engines._members[0].placed, engines._members[0].ready = (
            1.0,
            True,
        )  # as if it had started: its process need not come up for this
        engines.lose(0, RuntimeError("gone"))
        list(engines.tend())

    try:
        for _ in range(5):
            die()
        engines.do(0, Item(0))
        engines.done(0)  # it did something: counted anew
        for _ in range(5):
            die()
        with pytest.raises(EngineStartError, match=r"engine 0 died 6 times in a row and finished nothing: .*gone"):
            die()
    finally:
        engines.close(polite=False)


def test_an_engine_short_of_memory_comes_back_smaller(ray_session: Resources, tmp_path: Path) -> None:
    """At its start, and in mid-run."""
    bait = tmp_path / "bait"
    bait.touch()
    items = [Item(number, "memory" if number == 5 else "", str(bait)) for number in range(10)]
    with Pool[Item, int](Roomy(reply, 32), ask, Placement(1, in_flight=4, logs=tmp_path)) as pool:
        events = list(pool.run(items))
    assert [event.reason for event in events if isinstance(event, Lost) and "room" in event.reason] == [
        "no room for 32; it comes back with a limit of 16",
        "no room for 16; it comes back with a limit of 8",
        "no room for keys and values; it comes back with a limit of 4",
    ]
    assert done(events) == Counter(range(10))


def test_an_engine_that_has_no_room_at_all_ends_the_run(ray_session: Resources, tmp_path: Path) -> None:
    told = "engine 0 did not start 3 times in a row: no room for 8; see .*engine-0.log"
    with (
        Pool[Item, int](Narrow(reply, 32), ask, Placement(1, logs=tmp_path)) as pool,
        pytest.raises(EngineStartError, match=told),
    ):
        list(pool.run([Item(0)]))
