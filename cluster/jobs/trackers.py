"""Experiment trackers: reads what a run directory tells, and logs it. Run as a process by `tracking`.

The only user of wandb and mlflow.
"""

import json
import math
import os
import re
import secrets
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.run_directory import LOGS, code_version, read_record
from cluster.jobs.status import Status, read_status
from cluster.jobs.tracking import Tell
from cluster.texts import first_line, shortened

TRACKERS_FILE = "trackers.json"  # by name, the id of the tracker's run
PROJECT = "skillfactory"  # wandb's project and mlflow's experiment, unless their own variables name another
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # meant for the run
_PARAMETERS, _METRICS = 100, 1000  # of one request to mlflow
_PASSWORD = re.compile(r"//[^/@\s]*@")  # of a URL
_EXIT_CODES = {"done": 0, "stopped": 75}
_OUTCOMES = {"done": "FINISHED", "failed": "FAILED"}


class Tracker(Protocol):
    """A run at a tracker, begun or gone on with when this is made. Its methods raise whatever the library raises."""

    where: str  # the user finds it there

    def __init__(self, run: Path, record: Mapping[str, Any]) -> None: ...

    def log(self, status: Status) -> None:
        """Add the figures of this moment."""

    def close(self, state: str, counts: Mapping[str, float]) -> None:
        """End the tracker's run with the state in run.json and the final counts."""


def figures(status: Status) -> dict[str, float]:
    """Return a status as flat figures, those that are not known left out; a section's cells as `title/row/column`.

    `done` counts the units of the whole run, with those that failed at an earlier start; all else is of this start.
    """
    told: dict[str, Any] = {
        "done": status.before + status.done,
        "failed": status.failed,
        "total": status.total,
        "output_tokens": status.output_tokens,
        "prompt_tokens": status.prompt_tokens,
        "cached_tokens": status.cached_tokens,
        "cached_share": status.cached_tokens / status.prompt_tokens if status.prompt_tokens else None,
        "tokens_per_second": status.recent,
        "tokens_per_second_average": status.average,
        "seconds_left": status.left_s and status.left_s[1],
        "engines/ready": sum(engine.state == "ready" for engine in status.engines),
        "engines/lost": sum(engine.lost for engine in status.engines),
        "requests/running": sum(engine.running for engine in status.engines),
        "requests/waiting": sum(engine.waiting for engine in status.engines),
    }
    for section in status.sections:
        for row in section.table.rows:
            for column, cell in zip(section.table.head[1:], row[1:], strict=False):
                name = "/".join(map(_word, (section.title, str(row[0]), column)))
                told.setdefault(name, cell)
    return {name: float(value) for name, value in told.items() if _is_figure(value)}


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _word(text: str) -> str:
    """Return a part of a name as every tracker takes it."""
    return re.sub(r"[^\w.-]+", "_", text)[:60].strip("._") or "none"


def leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield what is in nested mappings, as `outer/inner`; a list is one value, as JSON."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}/{_word(str(key))}" if name else _word(str(key)))
    else:
        yield name, json.dumps(value) if isinstance(value, list | tuple) else value


def final_counts(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the counts of a run.json, and those of its last start, by name."""
    told = dict(leaves({"counts": record.get("counts", {}), "start": dict((record.get("starts") or [{}])[-1])}))
    return {name: float(value) for name, value in told.items() if _is_figure(value)}  # type: ignore[arg-type]


def _facts(run: Path) -> dict[str, Any]:
    return {"folder": str(run), **code_version()}


def known_id(run: Path, name: str) -> str | None:
    """Return the id of the tracker's run that this run directory has, if any."""
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads((run / TRACKERS_FILE).read_text(encoding="utf-8")).get(name)
        return found if isinstance(found, str) else None
    return None


def _keep_id(run: Path, name: str, value: str) -> None:
    ids: dict[str, str] = {}
    with suppress(OSError, ValueError):
        ids = json.loads((run / TRACKERS_FILE).read_text(encoding="utf-8"))
    atomic_write_text(run / TRACKERS_FILE, json.dumps({**ids, name: value}) + "\n")


class Wandb:
    """A run at Weights & Biases, or in logs/wandb with WANDB_MODE=offline."""

    def __init__(self, run: Path, record: Mapping[str, Any]) -> None:
        import wandb

        if (known := known_id(run, "wandb")) is None:
            known = secrets.token_hex(8)
            _keep_id(run, "wandb", known)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=os.environ.get("WANDB_NAME") or run.name,
            id=known,
            resume="allow",
            config={**record["configuration"], "run": _facts(run)},
            dir=os.environ.get("WANDB_DIR") or run / LOGS,
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )
        self.where = f"offline, for `wandb sync {Path(self._run.dir).parent}`" if self._run.offline else self._run.url

    @staticmethod
    def check() -> None:
        import wandb

        if wandb.setup().settings.mode not in ("offline", "dryrun", "disabled"):
            wandb.login()

    def log(self, status: Status) -> None:
        self._run.log(figures(status))

    def close(self, state: str, counts: Mapping[str, float]) -> None:
        self._run.summary.update({"state": state, **counts})
        if state == "stopped":
            self._run.mark_preempting()  # else it would count as failed
        self._run.finish(exit_code=_EXIT_CODES.get(state, 1))


class Mlflow:
    """A run at the MLflow server or store that MLFLOW_TRACKING_URI names, by default mlflow.db in this folder."""

    def __init__(self, run: Path, record: Mapping[str, Any]) -> None:
        import mlflow
        from mlflow.exceptions import MlflowException

        if not (os.environ.get("MLFLOW_EXPERIMENT_NAME") or os.environ.get("MLFLOW_EXPERIMENT_ID")):
            mlflow.set_experiment(PROJECT)
        begun, known = mlflow.active_run(), known_id(run, "mlflow")
        if begun is None and known:
            with suppress(MlflowException):  # deleted, or of another server
                begun = mlflow.start_run(run_id=known)
        if begun is None:
            begun = mlflow.start_run(run_name=run.name)
        if begun.info.run_id != known:
            _keep_id(run, "mlflow", begun.info.run_id)
        mlflow.set_tags(dict(leaves(_facts(run))))  # unlike parameters they may change
        told = leaves(record["configuration"])
        while some := dict(islice(told, _PARAMETERS)):
            mlflow.log_params(some)
        self.where = f"run {begun.info.run_id} at {mlflow.get_tracking_uri()}"
        self._mlflow, self._step = mlflow, 0

    @staticmethod
    def check() -> None:
        import mlflow  # noqa: F401 - it must be there whole

    def log(self, status: Status) -> None:
        self._step = status.before + status.done + status.failed
        self._log(figures(status))

    def _log(self, told: Mapping[str, float]) -> None:
        rest = iter(told.items())
        while some := dict(islice(rest, _METRICS)):
            self._mlflow.log_metrics(some, step=self._step)

    def close(self, state: str, counts: Mapping[str, float]) -> None:
        self._log(counts)
        self._mlflow.set_tag("state", state)
        self._mlflow.end_run(_OUTCOMES.get(state, "KILLED"))


TRACKERS: dict[str, Any] = {"wandb": Wandb, "mlflow": Mlflow}


def _is_since(time: str, other: str) -> bool:
    return datetime.fromisoformat(time) >= datetime.fromisoformat(other)


class _Follower:
    """Follows one run. What fails is tried again the next time, and told once."""

    def __init__(self, name: str, run: Path, tell: Tell) -> None:
        self._name, self._run, self._tell = name, run, tell
        self._tracker: Tracker | None = None
        self._latest: Status | None = None
        self._failed = False

    def attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            # Also what is no fault of ours, network or quota: the run goes on, and so does this.
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            if not self._failed:
                why = shortened(first_line(error), 200)
                self._tell(f"{self._name} does not take the figures ({why}); the run goes on, and they are tried again")
            self._failed = True

    def log(self) -> None:
        """Log the run's status if it has changed. Raises whatever the library raises."""
        record, status = read_record(self._run), read_status(self._run)
        if self._tracker is None:
            self._tracker = TRACKERS[self._name](self._run, record)
            self._tell(f"{self._name}, {self._tracker.where}")
        # An earlier start's last status has been logged by that.
        begun = record["starts"][-1]["begun"]
        if status is not None and status != self._latest and _is_since(status.updated, begun):
            self._tracker.log(status)
            self._latest = status

    def close(self) -> None:
        """Log how the run ended. Raises whatever the library raises."""
        if self._tracker is not None:
            record = read_record(self._run)
            self._tracker.close(record["starts"][-1].get("state", ""), final_counts(record))


def follow(name: str, run: Path, tell: Tell, every_s: float) -> None:
    """Log the status of a run whenever it has changed, until standard input ends; then how the run ended."""
    follower = _Follower(name, run, tell)
    follower.attempt(follower.log)
    while not select.select([sys.stdin], [], [], every_s)[0]:
        follower.attempt(follower.log)
    follower.attempt(follower.log)
    follower.attempt(follower.close)


def main(argv: list[str]) -> None:
    """Check the tracker of this name, or let it follow a run directory, with so many seconds between its figures."""
    name, *followed = argv
    if not followed:
        TRACKERS[name].check()
        return
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    # What the libraries print goes to the log with standard error.
    said = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)
    run, every_s = followed

    def tell(words: str) -> None:
        with suppress(OSError):  # the command may be gone
            print(_PASSWORD.sub("//", " ".join(words.split())), file=said, flush=True)

    follow(name, Path(run), tell, float(every_s))


if __name__ == "__main__":
    main(sys.argv[1:])
