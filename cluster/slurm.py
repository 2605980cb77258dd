"""A sbatch script that brings Ray up on the nodes of a Slurm job and runs a command there; printed or submitted.

`python -m cluster.slurm --nodes 4 --gpus_per_node 8 --time 04:00:00 -- python -m generation.run --out runs/one`.
What is chosen stands quoted at the script's top; the rest, slurm.sh, is the same in every script. Knows of
the command that it takes --address, --grace_s and --out, ends on SIGUSR1, and says by exit code 75 that work
is left.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from importlib import resources
from pathlib import Path

from cluster.commands import COMMANDS
from cluster.flag_values import flag
from cluster.flags import fail, page, parse
from cluster.jobs.atomic import atomic_write_text, make_folder
from cluster.paths import folder, image, local, mount
from cluster.slurm_command import check_command

LOGS = Path("logs", "slurm")
"""Under the run directory."""
_CORES_OF_A_GPU = 8
_SHORTEST_NOTICE_S = 60
# What sbatch takes on its lines without quotes, escapes or comments.
_WORD = re.compile(r"[A-Za-z0-9_.,:@%+=&|*()\[\]/-]+")
_OPTION = re.compile(r"--[a-z][a-z-]*(=.+)?")
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")
_MEMORY = re.compile(r"\d+[KMGT]?")
_SHELL = re.compile(r"[\s;&|<>$`(){}]")

_HEAD = (
    "# Made by python -m cluster.slurm. Submit it with sbatch from the folder in which the command is to run: that",
    "# folder, and the Python environment, are seen by all nodes.",
    "# shellcheck disable=SC2317  # functions are called by traps and on other nodes",
    "",
)


@dataclass(frozen=True)
class Options:
    """Print the sbatch script of a job that runs a command on a Ray cluster of its own; --submit submits it.

    The command stands after --, such as -- python -m generation.run --model Qwen2.5-7B-Instruct --out runs/one
    """

    nodes: int = flag(MISSING, "how many")
    time: str = flag(MISSING, "limit of one start, as Slurm takes it: 04:00:00, 1-00, 90")
    gpus_per_node: int = flag(0, "0: engines on the CPU, whole nodes")
    partition: str | None = flag(None, "of the site")
    account: str | None = flag(None, "who pays")
    qos: str | None = flag(None, "quality of service")
    constraint: str | None = flag(None, "features that the nodes must have")
    cpus_per_task: int | None = flag(None, f"cores of each node (default: {_CORES_OF_A_GPU} a GPU; no GPU: all)")
    mem: str | None = flag(None, "memory of each node, such as 200G (default: the site's; no GPU: all)")
    sbatch_args: tuple[str, ...] = flag((), "comma list of further options of sbatch: --exclude=n1,n2,--mail-type=END")
    container: str | None = flag(None, "image for Slurm's pyxis plugin, in which all of it then runs", image)
    container_mounts: tuple[str, ...] = flag((), "comma list of FROM:TO, besides the working folder and /tmp", mount)
    env_setup: str | None = flag(None, "a file to source first, such as .venv/bin/activate", local)
    job_name: str = flag("skillfactory", "as squeue shows it")
    wait_s: int = flag(600, "longest wait for all nodes to join; then it begins with those that did")
    notice_s: int = flag(300, "how long before the limit it drains; at most half of --time")
    max_requeues: int = flag(100, "how often it queues itself again while work is left")
    submit: bool = flag(False, "submit it, and keep it with its logs in the run directory")

    def __post_init__(self) -> None:
        for name, low, high in (
            ("nodes", 1, 10_000),
            ("gpus_per_node", 0, 64),
            ("cpus_per_task", 1, 10_000),
            ("wait_s", 10, 86_400),
            ("notice_s", 1, 65_535),
            ("max_requeues", 0, 10_000),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"--{name} must be between {low} and {high:,}, not {value}")
        if seconds(self.time) < 2 * _SHORTEST_NOTICE_S:
            raise ValueError(f"--time {self.time} is too short: Ray alone takes a minute; give two or more")
        if self.mem is not None and not _MEMORY.fullmatch(self.mem):
            raise ValueError(f"--mem must be a number with K, M, G or T behind it, such as 200G, not {self.mem!r}")
        for name in ("partition", "account", "qos", "constraint", "job_name"):
            _check_word(f"--{name}", getattr(self, name))
        for option in self.sbatch_options:
            _check_word("--sbatch_args", option)
            if not _OPTION.fullmatch(option):
                raise ValueError(f"--sbatch_args takes long options such as --reservation=x, not {option!r}")
            if option.startswith(("--array", "--wrap", "--no-requeue")):
                raise ValueError(f"--sbatch_args: the script cannot do with {option}; leave it out")
        if self.container_mounts and self.container is None:
            raise ValueError("--container_mounts is for --container: give both or neither")
        _check_text("--container", self.container or "")
        for one in self.container_mounts:
            _check_text("--container_mounts", one)
        _check_env_setup(self.env_setup)

    @property
    def sbatch_options(self) -> list[str]:
        """As sbatch takes them: what does not begin as an option belongs to the one before, whose value has a comma."""
        whole: list[str] = []
        for item in self.sbatch_args:
            if whole and not item.startswith("-"):
                whole[-1] += f",{item}"
            else:
                whole.append(item)
        return whole

    @property
    def notice(self) -> int:
        """Seconds before the limit, never more than half of it."""
        return min(self.notice_s, seconds(self.time) // 2)


def seconds(time: str) -> int:
    """A time limit in seconds, from Slurm's own ways to write it. Raises ValueError."""
    found = _TIME.fullmatch(time)
    if found is None:
        raise ValueError(f"--time must be as Slurm takes it, such as 04:00:00, 1-12:00 or 90 (minutes), not {time!r}")
    parts = [int(part) for part in found["parts"].split(":")]
    # D-H, D-H:M, D-H:M:S and H:M:S begin with hours, M and M:S with minutes.
    first = 0 if found["days"] is not None or len(parts) == 3 else 1
    return int(found["days"] or 0) * 86_400 + sum(
        part * unit for part, unit in zip(parts, (3600, 60, 1)[first:], strict=False)
    )


def _check_word(flag: str, value: str | None) -> None:
    if value is not None and not _WORD.fullmatch(value):
        raise ValueError(f"{flag} {value!r} holds a character that an #SBATCH line cannot: leave it out")


def _check_text(flag: str, value: str) -> None:
    if not value.isprintable():
        raise ValueError(f"{flag} {value!r} holds a control character: leave it out")


def _check_env_setup(path: str | None) -> None:
    if path is None:
        return
    _check_text("--env_setup", path)
    if _SHELL.search(path) and not Path(path).is_file():
        raise ValueError(f"--env_setup {path!r} is no file: put the commands into one, which the job sources")


def run_directory(command: Sequence[str]) -> str | None:
    """What the command's --out says; None where it has none. Raises ValueError for what cannot be run here."""
    if not command:
        raise ValueError("nothing to run: end with -- python -m generation.run and its flags")
    found = None
    for place, word in enumerate(command):
        _check_text("the command's word", word)
        name, equals, value = word.partition("=")
        if name in ("--address", "--grace_s", "--grace-s"):
            raise ValueError(f"the command's {name} is given by the job: leave it out")
        if name == "--out":
            found = value if equals else "".join(command[place + 1 : place + 2])
            if not found:
                raise ValueError("the command's --out names no folder")
    return found and _out(found)


def _out(text: str) -> str:
    try:
        return folder(text)
    except ValueError as error:
        raise ValueError(f"the command's --out {error}") from None


def directed(options: Options, command: Sequence[str]) -> tuple[str, list[str]]:
    """Return the run directory, and the command with it. Raises ValueError if a job cannot run the command."""
    run = run_directory(command)
    if run is not None:
        return run, list(command)
    run = f"runs/{options.job_name}"
    return run, [*command, "--out", run]


def script(options: Options, command: Sequence[str]) -> str:
    """Write the whole script. Raises ValueError if a job cannot run the command."""
    run, command = directed(options, command)
    chosen = {
        "run": shlex.quote(run),
        "env_setup": shlex.quote(options.env_setup or ""),
        "container": shlex.quote(options.container or ""),
        "container_mounts": shlex.quote(",".join(options.container_mounts)),
        "gpus_per_node": str(options.gpus_per_node),
        "wait_s": str(options.wait_s),
        "max_requeues": str(options.max_requeues),
        # What is left of the notice is for ending the engines and writing.
        "grace_s": str(options.notice // 2),
        "command": _array(command),
    }
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in _sbatch(options)), "", *_HEAD]
    lines += [f"{name}={value}" for name, value in chosen.items()]
    body = resources.files("cluster").joinpath("slurm.sh").read_text(encoding="utf-8")
    return "\n".join(lines) + "\n\n" + body


def _sbatch(options: Options) -> list[str]:
    whole = not options.gpus_per_node and options.cpus_per_task is None
    told = {
        "job-name": options.job_name,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "nodes": options.nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": options.gpus_per_node or None,
        "cpus-per-task": options.cpus_per_task or _CORES_OF_A_GPU * options.gpus_per_node or None,
        "mem": options.mem or (0 if whole else None),
        "time": options.time,
        "signal": f"B:USR1@{options.notice}",
        "open-mode": "append",
    }
    lines = [f"--{name}={value}" for name, value in told.items() if value is not None]
    # A lost node does not end the job. An engine on the CPU takes every core it finds: nobody else is let in.
    return [*lines, "--requeue", "--no-kill", *(["--exclusive"] if whole else []), *options.sbatch_options]


def _array(words: Sequence[str]) -> str:
    return f"({' '.join(shlex.quote(word) for word in words)})"


def submit(text: str, run: Path) -> str:
    """Keep the script in the run directory and submit it; what sbatch says. Raises ValueError when it refuses."""
    logs = run / LOGS
    kept = logs / "job.sh"
    path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
    if shutil.which("sbatch", path=path) is None:
        raise ValueError("there is no sbatch here: submit where Slurm is, or print the script")
    try:
        make_folder(logs)
        atomic_write_text(kept, text)
    except OSError as error:
        raise ValueError(f"{logs} cannot be written: {error.strerror}; give another --out") from error
    # In a file name for Slurm % begins a pattern.
    output = f"{str(logs.resolve()).replace('%', '%%')}/%j.out"
    try:
        done = subprocess.run(
            ["sbatch", "--parsable", f"--output={output}", str(kept)],
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ValueError(
            f"sbatch cannot be run ({error.strerror}): submit where Slurm is, or print the script"
        ) from error
    if done.returncode:
        raise ValueError(f"sbatch refuses: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 2 wrong input."""
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    if cut == len(words) and any(word in COMMANDS for word in words):
        fail("the command stands behind --, such as -- python -m generation.run --out runs/one")
    options = parse(Options, words[:cut])
    try:
        run, command = directed(options, words[cut + 1 :])
        text = script(options, command)
        check_command(command)
        if not options.submit:
            page(text.removesuffix("\n"))
            return 0
        job = submit(text, Path(run))
    except ValueError as error:
        fail(str(error))
    print(f"job {job}; its script and logs are in {Path(run) / LOGS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
