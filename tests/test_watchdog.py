"""Replicas: one that dies or answers nothing is replaced, one that is merely idle or slow is not.

The same promises for those in this process and those of Ray; what only a process of its own can show is Ray's.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError

from cluster.errors import EngineDiedError, EngineMemoryError, EngineStartError
from cluster.inference.engine import Engine, EngineSettings, ScriptedSettings
from cluster.inference.pool import Done, Failed, Finished, Loading, Lost, Pool, Started
from cluster.inference.ray_replicas import RayReplicas
from cluster.inference.replica import Replica, Work
from cluster.inference.replicas import Fleet, LocalReplicas, Placement, ReplicaSet
from tests.stuck import Hopeless, Item, Narrow, Roomy, ask, obey, outcome, reply

SILENCE_S = 2.0
KINDS = ["local", pytest.param("ray", marks=pytest.mark.ray)]
Open = Callable[..., ReplicaSet]


@pytest.fixture(params=KINDS)
def open_replicas(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Replicas of either kind: OPEN(work, engines=…)."""
    if request.param == "ray":
        request.getfixturevalue("ray_session")
    kind = {"local": LocalReplicas, "ray": RayReplicas}[request.param]

    def open_replicas(work: Work, **given: Any) -> ReplicaSet:
        placement = Placement(**{"settings": ScriptedSettings(reply), "logs": tmp_path, "in_flight": 4, **given})
        return kind(placement, work)

    return open_replicas


def run(replicas: ReplicaSet, items: Iterable[Any]) -> list[object]:
    with Pool[Any, Any](replicas, in_flight=4) as pool:
        return list(pool.run(items))


def done(events: Iterable[object]) -> Counter[Any]:
    return Counter(event.result for event in events if isinstance(event, Done))


def lost(events: Iterable[object]) -> list[Lost]:
    return [event for event in events if isinstance(event, Lost)]


async def double(engine: Engine, item: int) -> int:
    return 2 * int(await ask(engine, Item(item)))


async def fail(engine: Engine, item: int) -> int:
    if item % 2 == 0:
        return item
    raise ZeroDivisionError("a defect in the work itself")


@pytest.mark.parametrize("engines", [1, 2])
def test_every_item_comes_back_once(open_replicas: Open, engines: int) -> None:
    events = run(open_replicas(double, engines=engines), range(50))
    assert done(events) == Counter(2 * item for item in range(50))
    loading, started = ({event.number for event in events if isinstance(event, kind)} for kind in (Loading, Started))
    assert loading >= started >= {0}
    assert not lost(events)


def test_what_an_engine_held_that_tells_its_death_is_dealt_again(open_replicas: Open, tmp_path: Path) -> None:
    bait = tmp_path / "bait"
    bait.touch()
    items = [Item(number, "death" if number == 5 else "", str(bait)) for number in range(40)]
    events = run(open_replicas(ask, engines=2), items)
    (one,) = lost(events)
    assert one.reason == "told to"
    assert 1 <= one.again <= 4
    assert done(events) == Counter(range(40))


def test_a_defect_in_the_work_is_not_taken_for_a_death(open_replicas: Open) -> None:
    events = run(open_replicas(fail), range(6))
    assert not lost(events)
    failed = {event.item: event for event in events if isinstance(event, Failed)}
    assert sorted(failed) == [1, 3, 5]
    assert failed[1].reason == "ZeroDivisionError: a defect in the work itself (3 times)"
    assert "in fail" in failed[1].story, "where it happened"
    assert done(events) == Counter([0, 2, 4])


@pytest.mark.parametrize("way", ["reply", "grader"])  # no request comes back; the engine is idle, but the work hangs
def test_an_engine_that_answers_nothing_is_replaced(open_replicas: Open, tmp_path: Path, way: str) -> None:
    check_replaced(open_replicas, tmp_path, way, "it answered nothing for")


@pytest.mark.ray
@pytest.mark.parametrize("way", ["loop", "stop"])  # the event loop is blocked; the whole process was stopped
@pytest.mark.parametrize("open_replicas", ["ray"], indirect=True)
def test_an_engine_without_a_sign_of_life_is_replaced(open_replicas: Open, tmp_path: Path, way: str) -> None:
    check_replaced(open_replicas, tmp_path, way, "it gave no sign of life for")


@pytest.mark.parametrize("open_replicas", ["local"], indirect=True)
def test_one_in_this_process_comes_back_once_its_loop_is_free(open_replicas: Open, tmp_path: Path) -> None:
    check_replaced(open_replicas, tmp_path, "pause", "it gave no sign of life for")


def check_replaced(open_replicas: Open, folder: Path, way: str, told: str) -> None:
    bait = folder / "bait"
    bait.touch()
    # Alone, so that no other answer of its engine hides the silence.
    items = [Item(number, way if number == 9 else "", str(bait)) for number in range(10)]
    events = run(open_replicas(ask, silence_s=SILENCE_S), items)
    (one,) = lost(events)
    assert told in one.reason
    assert one.again >= 1
    assert done(events) == Counter(range(10))
    assert sum(isinstance(event, Started) for event in events) == 2


def test_an_idle_engine_and_a_slow_one_are_left_alone(open_replicas: Open) -> None:
    """One long item keeps answering; the other engine has nothing to do meanwhile."""
    events = run(open_replicas(_long, engines=2, silence_s=1.0), [0])
    assert not lost(events)
    assert done(events) == Counter([0])


async def _long(engine: Engine, item: int) -> int:
    for _ in range(150):
        await ask(engine, Item(0))
    return item


@pytest.mark.ray
@pytest.mark.parametrize("open_replicas", ["ray"], indirect=True)
def test_an_item_that_kills_every_engine_s_process_is_given_up_and_no_other_suffers(open_replicas: Open) -> None:
    items = [Item(number, "kill" if number == 5 else "") for number in range(30)]
    events = run(open_replicas(ask, engines=2, silence_s=60.0), items)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.item.number == 5
    assert "engines died over it, 4 times" in failed.reason
    assert done(events) == Counter(set(range(30)) - {5})


def test_an_engine_short_of_memory_comes_back_smaller(open_replicas: Open, tmp_path: Path) -> None:
    """At its start, and in mid-run."""
    bait = tmp_path / "bait"
    bait.touch()
    items = [Item(number, "memory" if number == 5 else "", str(bait)) for number in range(10)]
    events = run(open_replicas(ask, settings=Roomy(reply, 32)), items)
    assert [event.reason for event in lost(events) if "room" in event.reason] == [
        "no room for 32; it comes back with a limit of 16",
        "no room for 16; it comes back with a limit of 8",
        "no room for keys and values; it comes back with a limit of 4",
    ]
    assert done(events) == Counter(range(10))


def test_what_ray_s_memory_monitor_kills_was_short_of_memory() -> None:
    """What it makes of a killed actor's calls is no RayActorError."""
    replicas = RayReplicas(Placement(ScriptedSettings(reply)), double)
    error = replicas.own_error(OutOfMemoryError("the node ran low on memory"))  # type: ignore[no-untyped-call]
    assert isinstance(error, EngineMemoryError)
    assert str(error) == "OutOfMemoryError: the node ran low on memory"


def test_an_engine_that_has_no_room_at_all_ends_the_run(open_replicas: Open) -> None:
    replicas = open_replicas(ask, settings=Narrow(reply, 32))
    # What is in this process has no log of its own.
    log = "; see .*engine-0.log" if isinstance(replicas, RayReplicas) else ""
    told = f"engine 0 did not start 3 times in a row: no room for 8{log}$"
    with pytest.raises(EngineStartError, match=told):
        run(replicas, [Item(0)])


def test_an_engine_that_no_limits_would_help_is_not_tried_again(open_replicas: Open) -> None:
    replicas = open_replicas(ask, settings=Hopeless(reply, 32))
    with pytest.raises(EngineStartError, match="engine 0 did not start: no room for 32; ask for less"):
        run(replicas, [Item(0)])


def test_an_engine_that_never_starts_ends_the_run_in_its_own_words(open_replicas: Open) -> None:
    with pytest.raises(EngineStartError, match="MemoryError: no room for the weights"):
        run(open_replicas(double, settings=NoStart(reply)), range(3))


class NoStart(ScriptedSettings):
    async def start(self) -> Any:
        raise MemoryError("no room for the weights")


def test_a_stop_lets_what_is_in_flight_finish_and_deals_no_more(open_replicas: Open) -> None:
    with Pool[int, int](open_replicas(double), in_flight=4) as pool:
        ended = []
        for event in pool.run(range(1000)):
            if isinstance(event, Done):
                ended.append(event.item)
                if len(ended) == 10:
                    pool.stop(10)
    assert 10 <= len(ended) <= 14
    assert len(set(ended)) == len(ended)


def test_a_stop_waits_no_longer_than_its_grace() -> None:
    async def hang(engine: Engine, item: int) -> int:
        return await ask(engine, Item(item, "grader"))

    with Fleet(ScriptedSettings(reply)).open(hang) as pool:
        began = time.monotonic()
        for event in pool.run(range(10)):
            if isinstance(event, Started):
                pool.stop(0.2)
        assert time.monotonic() - began < 5


class Numbered(LocalReplicas):
    """An engine tells its number as its context."""

    def launch(self, number: int, settings: EngineSettings) -> Replica:
        assert isinstance(settings, ScriptedSettings)
        return super().launch(number, replace(settings, context=1000 + number))


async def die_on_the_first(engine: Engine, item: int) -> int:
    """As on a broken GPU."""
    if engine.info.context == 1000:
        raise EngineDiedError("a broken GPU")
    return item


def test_an_engine_that_only_dies_is_left_out_and_no_item_suffers() -> None:
    events: list[object] = []
    asked = itertools.takewhile(
        lambda _: not [event for event in lost(events) if "left out" in event.reason], itertools.count()
    )
    with Pool[int, int](Numbered(Placement(ScriptedSettings(reply), 2), die_on_the_first), in_flight=2) as pool:
        for event in pool.run(asked):
            events.append(event)
    assert done(events) == Counter(range(len(done(events))))
    reasons = [event.reason for event in lost(events)]
    assert len(reasons) == 6
    assert reasons[-1].endswith("a broken GPU; it is left out from now on")


def test_one_left_out_is_tried_again_where_there_is_no_room_for_another() -> None:
    room = [2]
    replicas = LocalReplicas(Placement(ScriptedSettings(reply), room=lambda: room[0]), obey)
    try:
        outcome(replicas, 1, "well")
        told = [outcome(replicas, 0, "die") for _ in range(6)][-1]
        assert isinstance(told, Lost)
        assert "it is left out" in told.reason
        room[0] = 1
        outcome(replicas, 1, "die")
        assert isinstance(outcome(replicas, 0, "well"), Finished)
    finally:
        replicas.close()


def test_engines_that_die_over_everything_end_the_run() -> None:
    """Whoever dies again and again over one item after the other has more than a bad item."""
    replicas = LocalReplicas(Placement(ScriptedSettings(reply)), obey)
    try:
        for _ in range(5):
            outcome(replicas, 0, "die")
        outcome(replicas, 0, "well")  # it did something: counted anew
        for _ in range(5):
            outcome(replicas, 0, "die")
        with pytest.raises(EngineStartError, match=r"engine 0 died 6 times in a row and finished nothing: gone"):
            outcome(replicas, 0, "die")
    finally:
        replicas.close()
