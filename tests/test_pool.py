"""The pool: every item once, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import OutOfMemoryError

from cluster.inference.engine import Engine, EngineDiedError, Request, ScriptedEngine, ScriptedSettings
from cluster.inference.pool import (
    Done,
    EngineStartError,
    Failed,
    ItemFailedError,
    Lost,
    Placement,
    Pool,
    Started,
    fill,
    next_engine,
)
from cluster.inference.replicas import Engines
from cluster.session import Resources

pytestmark = pytest.mark.ray


def _echo(request: Request) -> str:
    return request.key


async def _double(engine: Engine, item: int) -> int:
    await asyncio.sleep(0.01)
    return 2 * item


async def _die_once(engine: Engine, item: tuple[int, str, str]) -> int:
    """Dies in the way it is told, once: while the bait is there."""
    number, way, bait = item
    await asyncio.sleep(0.01)
    if number == 5 and os.path.exists(bait):
        os.unlink(bait)
        if way == "process":
            os.kill(os.getpid(), signal.SIGKILL)
        raise EngineDiedError("told to")
    return number


async def _fail(engine: Engine, item: int) -> int:
    if item % 2 == 0:
        return item
    raise ZeroDivisionError("a defect in the work itself")


async def _die_on_the_first_engine(engine: Engine, item: int) -> int:
    """As on a broken GPU; an engine is known by its log."""
    await asyncio.sleep(0.05)
    if "engine-0" in os.readlink("/proc/self/fd/1"):
        raise EngineDiedError("a broken GPU")
    return item


async def _refuse_in_one_process(engine: Engine, item: tuple[int, str]) -> int:
    """The process that is asked first refuses everything; -1 is refused by all."""
    number, claim = item
    await asyncio.sleep(0.01)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(descriptor, str(os.getpid()).encode())
        os.close(descriptor)
    if number == -1 or Path(claim).read_text(encoding="ascii") == str(os.getpid()):
        raise ItemFailedError("refused")
    return number


class _Shrinking(ScriptedSettings):
    """Twice as large as need be, the first time."""

    def smaller(self) -> _Shrinking:
        return _Shrinking(self.reply, context=self.context // 2)

    def limits(self) -> str:
        return f"a context of {self.context}"


class _NoStart(ScriptedSettings):
    async def start(self) -> ScriptedEngine:
        raise MemoryError("no room for the weights")


@pytest.mark.parametrize(
    ("loads", "limit", "expected"),
    [
        ({}, 4, None),  # none has started
        ({0: 4, 1: 4}, 4, None),  # all are full
        ({0: 3, 1: 2}, 4, 1),
        ({1: 2, 0: 2}, 4, 0),  # a draw goes to the lower number
    ],
)
def test_the_least_loaded_engine_is_next(loads: Mapping[int, int], limit: int, expected: int | None) -> None:
    assert next_engine(loads, limit) == expected


@pytest.mark.parametrize(
    ("max_sequences", "per_item", "expected"),
    [
        (256, 8, 48),
        (1024, 64, 24),
        (128, 4096, 2),  # one question alone overfills it: still one more is ready
    ],
)
def test_enough_items_to_fill_an_engine(max_sequences: int, per_item: int, expected: int) -> None:
    assert fill(max_sequences, per_item) == expected


@pytest.mark.parametrize("engines", [1, 2])
def test_every_item_comes_back_once(ray_session: Resources, tmp_path: Path, engines: int) -> None:
    placement = Placement(engines, in_flight=4, logs=tmp_path)
    with Pool[int, int](ScriptedSettings(_echo), _double, placement) as pool:
        events = list(pool.run(range(50)))
    done = {event.item: event.result for event in events if isinstance(event, Done)}
    assert done == {item: 2 * item for item in range(50)}
    assert sum(isinstance(event, Done) for event in events) == 50
    assert any(isinstance(event, Started) for event in events)


@pytest.mark.parametrize("way", ["process", "engine"])
def test_what_a_dead_engine_held_is_dealt_again(ray_session: Resources, tmp_path: Path, way: str) -> None:
    bait = tmp_path / "bait"
    bait.touch()
    items = [(number, way, str(bait)) for number in range(40)]
    placement = Placement(2, in_flight=4, logs=tmp_path)
    with Pool[tuple[int, str, str], int](ScriptedSettings(_echo), _die_once, placement) as pool:
        events = list(pool.run(items))
    lost = [event for event in events if isinstance(event, Lost)]
    assert len(lost) == 1
    assert 1 <= lost[0].again <= 4
    assert Counter(event.result for event in events if isinstance(event, Done)) == Counter(range(40))


def test_a_defect_in_the_work_is_not_taken_for_a_death(ray_session: Resources, tmp_path: Path) -> None:
    with Pool[int, int](ScriptedSettings(_echo), _fail, Placement(1, logs=tmp_path)) as pool:
        events = list(pool.run(range(6)))
    assert not any(isinstance(event, Lost) for event in events)
    failed = {event.item: event for event in events if isinstance(event, Failed)}
    assert sorted(failed) == [1, 3, 5]
    assert failed[1].reason == "ZeroDivisionError: a defect in the work itself (3 times)"
    assert "in _fail" in failed[1].story, "where it happened"
    assert sorted(event.item for event in events if isinstance(event, Done)) == [0, 2, 4]


def test_what_one_engine_refuses_another_is_asked(ray_session: Resources, tmp_path: Path) -> None:
    placement = Placement(2, in_flight=4, logs=tmp_path)
    items = [(number, str(tmp_path / "claim")) for number in range(-1, 20)]
    with Pool(ScriptedSettings(_echo), _refuse_in_one_process, placement) as pool:
        while len(pool._engines.loads()) < 2:  # both are ready
            for ref in pool._ready():
                list(pool._collect(ref))
        events = list(pool.run(items))
    assert sorted(event.result for event in events if isinstance(event, Done)) == list(range(20))
    assert [(event.item[0], event.reason) for event in events if isinstance(event, Failed)] == [(-1, "refused")]


def test_an_engine_that_only_dies_is_left_out_and_no_item_suffers(ray_session: Resources, tmp_path: Path) -> None:
    with Pool(ScriptedSettings(_echo), _die_on_the_first_engine, Placement(2, in_flight=2, logs=tmp_path)) as pool:
        events: list[object] = []

        def items() -> Iterator[int]:
            """Until it is left out."""
            while not [event for event in events if isinstance(event, Lost) and "left out" in event.reason]:
                yield len(asked)
                asked.append(len(asked))

        asked: list[int] = []
        for event in pool.run(items()):
            events.append(event)
    done = [event.item for event in events if isinstance(event, Done)]
    assert sorted(done) == list(range(len(asked)))
    reasons = [event.reason for event in events if isinstance(event, Lost)]
    assert len(reasons) == 6
    assert reasons[-1].endswith("a broken GPU; it is left out from now on")


def test_an_engine_left_out_is_tried_again_where_there_is_no_room_for_another(
    ray_session: Resources, tmp_path: Path
) -> None:
    engines = Engines(ScriptedSettings(_echo), _double, Placement(2, logs=tmp_path, room=lambda: 1))
    engines._left_out.add(0)
    try:
        assert not list(engines.tend())
        assert len(engines.awaited()) == 1
    finally:
        engines.close()


def test_an_engine_that_ray_ends_for_memory_comes_back_smaller(
    ray_session: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ray's memory monitor makes of a killed actor's calls is no RayActorError."""
    get = ray.get
    killed: list[Any] = []

    def get_once_killed(ref: Any) -> Any:
        if not killed and ref in pool._held:
            killed.append(ref)
            raise OutOfMemoryError("the node ran low on memory")  # type: ignore[no-untyped-call]
        return get(ref)

    monkeypatch.setattr("cluster.inference.pool.ray.get", get_once_killed)
    with Pool(_Shrinking(_echo, context=64), _double, Placement(1, in_flight=2, logs=tmp_path)) as pool:
        events = list(pool.run(range(6)))
    assert sorted(event.result for event in events if isinstance(event, Done)) == [2 * number for number in range(6)]
    (lost,) = [event for event in events if isinstance(event, Lost)]
    assert "low on memory" in lost.reason
    assert "it comes back with a context of 32" in lost.reason


def test_an_engine_that_never_starts_ends_the_run_in_its_own_words(ray_session: Resources, tmp_path: Path) -> None:
    with (
        Pool[int, int](_NoStart(_echo), _double, Placement(1, logs=tmp_path)) as pool,
        pytest.raises(EngineStartError, match="MemoryError: no room for the weights"),
    ):
        list(pool.run(range(3)))


def test_a_stop_lets_what_is_in_flight_finish_and_deals_no_more(ray_session: Resources, tmp_path: Path) -> None:
    with Pool[int, int](ScriptedSettings(_echo), _double, Placement(1, in_flight=4, logs=tmp_path)) as pool:
        done = []
        for event in pool.run(range(1000)):
            if isinstance(event, Done):
                done.append(event.item)
                if len(done) == 10:
                    pool.stop(10)
    assert 10 <= len(done) <= 14
    assert len(set(done)) == len(done)
