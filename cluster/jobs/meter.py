"""What the engines of a start are doing, kept up to date by the events of the pool."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cluster.inference.pool import Event, Load, Loading, Lost, Released, Started
from cluster.inference.replica import Report
from cluster.jobs.status import EngineStatus

_COUNTED = ("prompt_tokens", "cached_tokens", "output_tokens")
_NOTHING = Report(0.0, 0, 0, 0, 0, 0)


class Meter:
    """The engines by number, and the tokens of all together: those of lost engines and of items done again too."""

    def __init__(self, engines: int) -> None:
        self.tokens = Counter[str]()  # by _COUNTED
        self.lost = 0
        self._engines = {number: EngineStatus(number, "placing") for number in range(engines)}
        self._reports: dict[int, Report] = {}  # the last of each engine that runs

    @property
    def engines(self) -> Sequence[EngineStatus]:
        return [self._engines[number] for number in sorted(self._engines)]

    @property
    def ready(self) -> int:
        return sum(one.state == "ready" for one in self._engines.values())

    def take(self, event: Event[Any, Any]) -> None:
        """Take an event; those that concern no engine change nothing."""
        if not isinstance(event, Loading | Started | Load | Lost | Released):
            return
        number = event.number
        engine = self._engines.get(number, EngineStatus(number, "placing"))
        match event:
            case Loading():
                engine = replace(engine, state="loading")
            case Started():
                engine = replace(engine, state="ready", starts=engine.starts + 1, output_tokens=0)
            case Load(_, report, items):
                before = self._reports.get(number, _NOTHING)
                self.tokens.update({name: getattr(report, name) - getattr(before, name) for name in _COUNTED})
                self._reports[number] = report
                engine = replace(engine, items=items, running=report.running, waiting=report.waiting)
                engine = replace(engine, output_tokens=report.output_tokens)
            case Lost():
                self.lost += 1
                self._reports.pop(number, None)
                engine = replace(engine, state="lost", lost=engine.lost + 1, items=0, running=0, waiting=0)
            case Released():
                self._reports.pop(number, None)
                self._engines.pop(number, None)
                return
        self._engines[number] = engine
