"""A process that takes the figures of a run to an experiment tracker, beside the command, whom it costs nothing.

Whatever becomes of a tracker, its network and its library, the run neither ends nor waits for it, and says it once.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from cluster import reaper
from cluster.jobs.run_directory import LOGS
from cluster.texts import shortened

TrackerName = Literal["wandb", "mlflow"]
Tell = Callable[[str], None]
EVERY_S = 10.0
_MODULE = "cluster.jobs.trackers"
_GOODBYE_S = 30.0  # how long the last figures may take
_CHECK_S = 120.0
_ROOT = Path(__file__).parents[2]
_NO_TELEMETRY = {"WANDB_ERROR_REPORTING": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}  # DO_NOT_TRACK=1 is not heard


def check_library(name: str | None) -> None:
    """Raise ValueError if the library of this tracker is not installed."""
    if name and importlib.util.find_spec(name) is None:
        raise ValueError(f"--log_to {name} needs its library: pip install -e '.[{name}]'")


def check_tracker(name: str | None) -> None:
    """Raise ValueError if the library cannot be imported, or has nobody's key where it needs one."""
    if name is None:
        return
    command = [sys.executable, "-m", _MODULE, name]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), timeout=_CHECK_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"--log_to {name}: its library was not ready within {_CHECK_S:.0f} s") from None
    if ended.returncode:
        lines = ended.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {ended.returncode}"]
        raise ValueError(f"--log_to {name}: {shortened(lines[-1], 300)}")


@contextmanager
def tracking(
    run: Path, name: str | None, tell: Tell, *, python: str = sys.executable, every_s: float = EVERY_S
) -> Iterator[None]:
    """Let a tracker follow this run directory for the block, and `tell` where, or that it cannot.

    At the end it takes the state and counts in run.json, for half a minute at most.
    """
    if name is None:
        yield
        return
    try:
        (run / LOGS).mkdir(exist_ok=True)
        with (run / LOGS / "tracker.log").open("ab") as log:
            process = subprocess.Popen(
                [python, "-m", _MODULE, name, str(run.resolve()), str(every_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )
    except OSError as error:
        tell(f"{name} is not told of this run: {error}")
        yield
        return
    assert process.stdin is not None
    # The tracker ends when this closes, which a forked child would keep open.
    os.register_at_fork(after_in_child=process.stdin.close)
    closing = threading.Event()
    teller = threading.Thread(target=_pass_on, args=(process, name, tell, closing), name="tracker", daemon=True)
    teller.start()
    try:
        yield
    finally:
        closing.set()
        process.stdin.close()
        try:
            process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            tell(f"{name} did not take the last figures within {_GOODBYE_S:.0f} s, see {run / LOGS / 'tracker.log'}")
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it may have started, too
        process.wait()
        teller.join(1)


def _environment() -> dict[str, str]:
    """Return the environment of a tracker's process, which no reaper kills and which finds these modules."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return {**reaper.unmarked(), **_NO_TELEMETRY, "PYTHONPATH": path}


def _pass_on(process: subprocess.Popen[bytes], name: str, tell: Tell, closing: threading.Event) -> None:
    """Tell what the tracker's process says, and if it ends too early."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            tell(line.decode(errors="replace").strip())
    if (code := process.wait()) and not closing.is_set():
        tell(f"{name} is told nothing more: its process ended with exit code {code}; the run goes on")
