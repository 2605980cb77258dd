"""The scheduler: every item once, whatever dies. On replicas that do what they are told; see test_replicas."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from cluster.errors import ClusterLostError, EngineDiedError, ItemFailedError
from cluster.inference.engine import ScriptedEngine
from cluster.inference.pool import (
    Done,
    Failed,
    Finished,
    Loading,
    Lost,
    Pool,
    Started,
    Vacant,
    items_begun_early,
    items_in_flight,
    next_engine,
)
from tests.fake_replicas import FakeReplicas, Later

Event = object


def run(replicas: FakeReplicas, items: Iterable[Any], in_flight: int = 4) -> list[Event]:
    with Pool[Any, Any](replicas, in_flight) as pool:
        events: list[Event] = list(pool.run(items))
    assert replicas.closed
    return events


def done(events: Iterable[Event]) -> list[Any]:
    return [event.result for event in events if isinstance(event, Done)]


def double(number: int, item: int) -> int:
    return 2 * item


def test_the_engine_with_the_most_room_is_next() -> None:
    for vacant, avoided, expected in (
        ({}, None, None),  # none has started
        ({0: 0, 1: -64}, None, None),  # all are full
        ({0: 64, 1: 65}, None, 1),
        ({1: 64, 0: 64}, None, 0),  # a draw goes to the lower number
        ({0: 64, 1: 8}, 0, 1),  # 0 has refused it
        ({0: 64, 1: 0}, 0, None),  # and waits for the other
        ({0: 64}, 0, 0),  # there is no other
    ):
        assert next_engine(vacant, avoided) == expected, vacant


def test_an_engine_holds_at_most_eight_times_what_fills_it() -> None:
    for max_sequences, per_item, most, early in (
        (256, 8, 256, 64),
        (1024, 64, 128, 32),
        (128, 4096, 2, 1),  # one question alone overfills it: still one more is ready
    ):
        assert items_in_flight(max_sequences, per_item) == most
        assert items_begun_early(max_sequences, per_item) == early


@pytest.mark.parametrize("engines", [1, 2])
def test_every_item_comes_back_once(engines: int) -> None:
    replicas = FakeReplicas(engines, double)
    assert done(run(replicas, range(50))) == [2 * item for item in range(50)]
    assert {number for number, _ in replicas.dealt} == set(range(engines))


def test_items_are_taken_as_engines_have_room_for_them() -> None:
    taken = itertools.count()
    with Pool[int, int](FakeReplicas(2, double), in_flight=3) as pool:
        assert isinstance(next(pool.run(taken)), Done)
    assert next(taken) == 6, "as many as both hold"


def test_engines_get_items_until_they_have_no_room_for_their_requests() -> None:
    for full, per_item, in_flight, expected in (
        (10, 4, 100, 3),  # the last one may overfill it
        (8, 4, 100, 2),
        (1, 64, 100, 1),
        (1000, 4, 5, 5),  # no more than it may hold
    ):
        replicas = FakeReplicas(2, double, full)
        with Pool[int, int](replicas, in_flight, per_item) as pool:
            next(pool.run(itertools.count()))
        assert Counter(number for number, _ in replicas.dealt) == {0: expected, 1: expected}, (full, per_item)


def test_the_last_items_begin_early() -> None:
    for count, early, expected in (
        (10, 3, [False] * 7 + [True] * 3),  # it is asked after each item, with so many left to deal
        (2, 3, [True] * 2),
        (math.inf, 3, [False] * 10),  # nobody knows that they are the last
        (10, 0, [False] * 10),
    ):
        replicas = FakeReplicas(1, double, full=1)
        with Pool[int, int](replicas, 4, early=early) as pool:
            assert len(done(pool.run(range(int(min(count, 10))), count))) == min(count, 10)
        assert [one for _, one in replicas.watched][: len(expected)] == expected, count


def test_nothing_begins_early_while_another_engine_loads() -> None:
    class Loads(FakeReplicas):
        def poll(self, timeout_s: float) -> Iterator[Loading | Started | Lost | Finished | Vacant]:
            if len(self.dealt) == 4:
                yield Started(1, ScriptedEngine(str).info)
            elif not self.dealt:
                yield Loading(1)
            yield from super().poll(timeout_s)

    replicas = Loads(1, double, full=1)
    with Pool[int, int](replicas, 4, early=10) as pool:
        assert len(done(pool.run(range(10), 10))) == 10
    # The first is asked before anyone loads.
    assert [early for _, early in replicas.watched][:10] == [True] + [False] * 4 + [True] * 5


def test_an_engine_that_waits_for_room_is_asked_anew_when_the_last_items_come() -> None:
    def work(number: int, item: int) -> int:
        if number == 0 and len(replicas.dealt) < 10:
            raise Later
        return item

    replicas = FakeReplicas(2, work, full=1)
    with Pool[int, int](replicas, 4, early=2) as pool:
        assert sorted(done(pool.run(range(10), 10))) == [*range(10)]
    assert [early for number, early in replicas.watched if number == 0][:3] == [False, False, True]


def test_engines_for_which_nothing_is_left_are_given_back_save_two() -> None:
    """One of which takes what another loses."""

    def work(number: int, item: int) -> int:
        if item == 0 and len(replicas.released) < 3:
            raise Later
        if number == 0:
            raise EngineDiedError("late")
        return item

    replicas = FakeReplicas(5, work)
    with Pool[int, int](replicas, 1) as pool:
        events: list[Event] = list(pool.run(range(5)))
    assert sorted(done(events)) == [*range(5)]
    assert sum(isinstance(event, Lost) for event in events) == 1
    assert replicas.released == [1, 2, 3]
    assert replicas.dealt[-1] == (4, 0)


def test_an_engine_that_comes_back_after_it_was_given_back_begins_with_nothing() -> None:
    """Else what it was given before would count as still to begin, and it would get no more."""

    class Back(FakeReplicas):
        """The others stay away once they have died."""

        def ready(self) -> list[int]:
            return [number for number in super().ready() if number not in lost] or [2]

        def watch(self, number: int, items: int, per_item: int, early: bool) -> None:
            super().watch(number, items, per_item, early)
            sent[number].append(items)

    def work(number: int, item: int) -> int:
        if number != 2 and not replicas.released:
            raise Later
        if number != 2:
            lost.add(number)
            raise EngineDiedError("gone with its node")
        return item

    lost, sent = set[int](), defaultdict[int, list[int]](list)
    replicas = Back(3, work)
    with Pool[int, int](replicas, 1) as pool:
        assert sorted(done(pool.run(range(3), 3))) == [0, 1, 2]
    assert replicas.released == [2]
    assert sent[2] == [0, 0]


def test_what_a_dead_engine_held_is_dealt_again() -> None:
    dead: list[int] = []

    def die_once(number: int, item: int) -> int:
        if item == 5 and not dead:
            dead.append(number)
            raise EngineDiedError("told to")
        return item

    events = run(FakeReplicas(2, die_once), range(40))
    (lost,) = [event for event in events if isinstance(event, Lost)]
    assert (lost.number, lost.reason) == (dead[0], "told to")
    assert 1 <= lost.again <= 4
    assert Counter(done(events)) == Counter(range(40))


def test_a_defect_in_the_work_is_not_taken_for_a_death() -> None:
    def fail(number: int, item: int) -> int:
        if item % 2 == 0:
            return item
        raise ZeroDivisionError("a defect in the work itself")

    replicas = FakeReplicas(1, fail)
    events = run(replicas, range(6))
    assert not any(isinstance(event, Lost) for event in events)
    failed = {event.item: event for event in events if isinstance(event, Failed)}
    assert sorted(failed) == [1, 3, 5]
    assert failed[1].reason == "ZeroDivisionError: a defect in the work itself (3 times)"
    assert "in fail" in failed[1].story, "where it happened"
    assert done(events) == [0, 2, 4]
    assert Counter(item for _, item in replicas.dealt) == {0: 1, 2: 1, 4: 1, 1: 3, 3: 3, 5: 3}


def test_what_one_engine_refuses_another_is_asked() -> None:
    """Once: -1 is refused by both."""

    def refuse_on_the_first(number: int, item: int) -> int:
        if number == 0 or item == -1:
            raise ItemFailedError("refused")
        return item

    replicas = FakeReplicas(2, refuse_on_the_first)
    events = run(replicas, range(-1, 20))
    assert sorted(done(events)) == list(range(20))
    assert [(event.item, event.reason) for event in events if isinstance(event, Failed)] == [(-1, "refused")]
    assert Counter(replicas.dealt).most_common(1)[0][1] == 1, "no engine is asked twice"


def test_what_the_only_engine_refuses_has_failed() -> None:
    def refuse(number: int, item: int) -> int:
        raise ItemFailedError("refused")

    (failed,) = run(FakeReplicas(1, refuse), [0])
    assert isinstance(failed, Failed)


def killing(*items: int) -> Callable[[int, int], int]:
    def work(number: int, item: int) -> int:
        if item in items:
            raise EngineDiedError(f"over {item}")
        return item

    return work


@pytest.mark.parametrize("engines", [1, 2])
def test_an_item_that_kills_every_engine_is_quarantined_and_given_up(engines: int) -> None:
    events = run(FakeReplicas(engines, killing(5)), range(30))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert (failed.item, failed.reason) == (5, "engines died over it, 4 times: over 5")
    assert Counter(done(events)) == Counter(set(range(30)) - {5}), "no other suffers"


def test_the_quarantine_empties_an_engine_and_the_others_go_on() -> None:
    def work(number: int, item: int) -> int:
        if item == 5:
            beside.append([held for held in replicas.running(number) if held != 5])
        return killing(5)(number, item)

    beside: list[list[int]] = []
    replicas = FakeReplicas(2, work)
    run(replicas, range(60))
    assert [len(others) > 0 for others in beside] == [True, True, False, False]
    deaths = [place for place, (_, item) in enumerate(replicas.dealt) if item == 5]
    assert any(deaths[1] < place < deaths[2] for place in range(len(replicas.dealt))), "others were dealt meanwhile"
    numbers = [replicas.dealt[place][0] for place in deaths]
    assert numbers[2] != numbers[1], "it may be the fault of the engine that died"


def test_a_stop_lets_what_is_in_flight_finish_and_deals_no_more() -> None:
    with Pool[int, int](FakeReplicas(1, double), in_flight=4) as pool:
        ended = []
        for event in pool.run(range(1000)):
            if isinstance(event, Done):
                ended.append(event.item)
                if len(ended) == 10:
                    pool.stop(10)
    assert 10 <= len(ended) <= 14
    assert len(set(ended)) == len(ended)


def test_without_a_cluster_nobody_is_said_goodbye_to() -> None:
    replicas = FakeReplicas(1, double)
    with pytest.raises(ClusterLostError), Pool[int, int](replicas, 4):
        raise ClusterLostError("gone")
    assert not replicas.closed
