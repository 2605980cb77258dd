"""Print or submit an sbatch script that starts Ray on the nodes of a Slurm job and runs a command there.

`python -m cluster.slurm --nodes 4 --gpus_per_node 8 --time 04:00:00 -- python -m generation.run --out runs/one`.
The options stand quoted at the top of the script; the rest, slurm.sh, is always the same. It runs any command that
takes --address, --grace_s and --out, ends on SIGUSR1, and exits with 75 while work is left; the flags of our own
commands are checked before anything is queued.
"""

import importlib.util
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

from assembly.job import check_flags
from cluster import COMMANDS, PACKAGES, PYTHON, python_module
from cluster.flags import fail, flag, page, parse
from cluster.jobs.atomic import atomic_write_text, make_folder
from cluster.jobs.plan import JobSettings, check_bounds
from cluster.paths import expanded, folder, local
from cluster.texts import nearest
from generation.evaluation.settings import EvaluateSettings
from generation.settings import Settings
from reflection.added.plan import AdditionSettings

_LOGS = Path("logs", "slurm")  # relative to the run directory
_CORES_OF_A_GPU = 8
_CORES = f"cores of each node (default: {_CORES_OF_A_GPU} a GPU; no GPU: all)"
_WAIT = "longest wait for all nodes to join; then it starts with those that did"
_WORDS = ("job_name", "partition", "account", "qos", "constraint")
# What sbatch accepts on an #SBATCH line without quotes, escapes or comments.
_WORD = re.compile(r"[A-Za-z0-9_.,:@%+=&|*()\[\]/-]+")
_OPTION = re.compile(r"--(?P<name>[a-z][a-z-]*)(=.+)?")
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")
_SHELL = re.compile(r"[\s;&|<>$`(){}]")
_FIXED = "array chdir error no-kill no-requeue ntasks-per-node open-mode output signal wrap"
_OWN = (*_WORDS, "nodes", "time", "cpus_per_task", "gpus_per_node", "mem")
_RESERVED = dict.fromkeys(_FIXED.split(), "leave it out") | {name.replace("_", "-"): f"give --{name}" for name in _OWN}
"""Options of sbatch that are not for --sbatch_args, and what to do instead."""
_RUNS: dict[str, type[JobSettings]] = {  # our commands that a job can run
    "generation.run": Settings,
    "generation.evaluate": EvaluateSettings,
    "reflection.run": AdditionSettings,
}


@dataclass(frozen=True)
class Options:
    """Print the sbatch script of a job that runs a command on a Ray cluster of its own; --submit submits it.

    The command stands after --, such as -- python -m generation.run --model Qwen2.5-7B-Instruct --out runs/one
    """

    nodes: int = flag(MISSING, "how many", bounds=(1, 10_000))
    time: str = flag(MISSING, "limit of one start, as Slurm takes it: 04:00:00, 1-00, 90")
    gpus_per_node: int = flag(0, "0: engines on the CPU, whole nodes", bounds=(0, 64))
    partition: str | None = flag(None, "of the site")
    account: str | None = flag(None, "who pays")
    qos: str | None = flag(None, "quality of service")
    constraint: str | None = flag(None, "features that the nodes must have")
    cpus_per_task: int | None = flag(None, _CORES, bounds=(1, 10_000))
    mem: str | None = flag(None, "memory of each node, such as 200G (default: the site's; no GPU: all)")
    sbatch_args: tuple[str, ...] = flag((), "comma list of further options of sbatch: --exclude=n1,n2,--mail-type=END")
    container: str | None = flag(None, "image for Slurm's pyxis plugin, in which everything then runs", expanded)
    container_mounts: tuple[str, ...] = flag((), "comma list of FROM:TO, besides the working folder and /tmp", expanded)
    env_setup: str | None = flag(None, "a file to source first, such as .venv/bin/activate", local)
    job_name: str = flag("skillfactory", "as squeue shows it")
    wait_s: int = flag(600, _WAIT, bounds=(10, 86_400))
    notice_s: int = flag(300, "how long before the limit it drains; at most half of --time", bounds=(1, 65_535))
    max_requeues: int = flag(100, "how often it queues itself again while work is left", bounds=(0, 10_000))
    submit: bool = flag(False, "submit it, and keep it with its logs in the run directory")

    def __post_init__(self) -> None:
        check_bounds(self)
        if seconds(self.time) < 120:
            raise ValueError(f"--time {self.time} is too short: Ray alone takes a minute; give two or more")
        if self.mem is not None and not re.fullmatch(r"\d+[KMGT]?", self.mem, re.ASCII):
            raise ValueError(f"--mem must be a number with K, M, G or T behind it, such as 200G, not {self.mem!r}")
        words = [(name, getattr(self, name)) for name in _WORDS] + [("sbatch_args", one) for one in self.sbatch_options]
        for name, word in words:
            if word is not None and not _WORD.fullmatch(word):
                raise ValueError(f"--{name} {word!r} holds a character that an #SBATCH line cannot: leave it out")
        for option in self.sbatch_options:
            if (found := _OPTION.fullmatch(option)) is None:
                raise ValueError(f"--sbatch_args takes long options such as --reservation=x, not {option!r}")
            for name, remedy in _RESERVED.items():
                if name.startswith(found["name"]):  # sbatch accepts abbreviated names
                    raise ValueError(f"--sbatch_args: the script cannot do with {option}; {remedy}")
        if self.container_mounts and self.container is None:
            raise ValueError("--container_mounts is for --container: give both or neither")
        # A script that is only printed may be for another machine.
        setup = self.env_setup or ""
        if (_SHELL.search(setup) or (setup and self.submit)) and not os.path.isfile(setup):
            raise ValueError(f"--env_setup {setup!r} is no file: put the commands into one, which the job sources")

    @property
    def sbatch_options(self) -> list[str]:
        """Return the options of --sbatch_args. A comma separates them only before a hyphen, else it is in a value."""
        return [option for option in re.split(",(?=-)", ",".join(self.sbatch_args)) if option]

    @property
    def notice(self) -> int:
        """Return --notice_s, or half of the time limit if that is less."""
        return min(self.notice_s, seconds(self.time) // 2)


def seconds(time: str) -> int:
    """Return the seconds of a time limit in any of Slurm's formats. Raises ValueError."""
    if (found := _TIME.fullmatch(time)) is None:
        raise ValueError(f"--time must be as Slurm takes it, such as 04:00:00, 1-12:00 or 90 (minutes), not {time!r}")
    parts = found["parts"].split(":")
    if found["days"] is None and len(parts) < 3:  # M and M:S; D-H, D-H:M and H:M:S begin with hours
        parts = ["0", *parts]
    hours, minutes, rest = map(int, (*parts, 0, 0)[:3])
    return ((int(found["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + rest


def check_command(command: list[str], default: str) -> str:
    """Return the command's --out, adding the default if it has none. Raises ValueError, or SystemExit 2 for a flag."""
    if not command:
        raise ValueError("nothing to run: end with -- python -m generation.run and its flags")
    run = None
    for before, word, after in zip(["python", *command], command, [*command[1:], ""], strict=False):
        if not word.isprintable():
            raise ValueError(f"the command's word {word!r} holds a control character: leave it out")
        if word in COMMANDS and PYTHON.fullmatch(before):
            raise ValueError(f"the command {word} is a module: write python -m {word}")
        name, equals, value = word.partition("=")
        if name in ("--address", "--grace_s", "--grace-s"):
            raise ValueError(f"the command's {name} is given by the job: leave it out")
        if name == "--out" and not (run := value if equals else after):
            raise ValueError("the command's --out names no folder")
    if run is None:
        run = default
        command += ["--out", run]
    try:
        run = folder(run)
    except ValueError as error:
        raise ValueError(f"the command's --out {error}") from None
    module, *flags = python_module(command) or [""]
    package, near = module.partition(".")[0], nearest(module, COMMANDS, cutoff=0.85)
    if module in _RUNS:
        settings = parse(_RUNS[module], flags)
        if isinstance(settings, Settings):
            check_flags(settings)
        if isinstance(settings, EvaluateSettings) and settings.compare:
            raise ValueError("--compare asks no engine: run it as it is")
    elif module in COMMANDS:
        raise ValueError(f"{module} needs no Ray cluster: run it as it is, or by sbatch --wrap")
    elif package in PACKAGES or (near and package.isidentifier() and importlib.util.find_spec(package) is None):
        hint = f"did you mean {near[0]}?" if near else f"it can run {' and '.join(_RUNS)}"
        raise ValueError(f"the command's module {module!r} is none that a job can run; {hint}")
    return run


def script(options: Options, command: Sequence[str], run: str) -> str:
    """Return the sbatch script of a job that runs the command in the run directory `run`."""
    whole = not options.gpus_per_node and options.cpus_per_task is None
    asked = {name.replace("_", "-"): getattr(options, name) for name in (*_WORDS, "nodes")} | {
        "ntasks-per-node": 1,
        "gpus-per-node": options.gpus_per_node or None,
        "cpus-per-task": options.cpus_per_task or _CORES_OF_A_GPU * options.gpus_per_node or None,
        "mem": options.mem or (0 if whole else None),
        "time": options.time,
        "signal": f"B:USR1@{options.notice}",
        "open-mode": "append",
    }
    lines = [f"--{name}={value}" for name, value in asked.items() if value is not None]
    # A lost node does not end the job. An engine on the CPU takes every core it finds, so nodes are not shared.
    lines += ["--requeue", "--no-kill", *(["--exclusive"] if whole else []), *options.sbatch_options]
    directives = "\n".join(f"#SBATCH {line}" for line in lines)
    # The driver's grace period is half of the notice; the rest is for stopping engines and writing.
    return f"""#!/bin/bash
{directives}

# Made by python -m cluster.slurm. Submit it with sbatch from the folder in which the command is to run: all
# nodes must see that folder and the Python environment.
# shellcheck disable=SC2317  # functions are called by traps and on other nodes

run={shlex.quote(run)}
env_setup={shlex.quote(options.env_setup or "")}
container={shlex.quote(options.container or "")}
container_mounts={shlex.quote(",".join(options.container_mounts))}
gpus_per_node={options.gpus_per_node}
wait_s={options.wait_s}
max_requeues={options.max_requeues}
grace_s={options.notice // 2}
command=({shlex.join(command)})

{resources.files("cluster").joinpath("slurm.sh").read_text(encoding="utf-8")}"""


def submit(text: str, run: Path) -> str:
    """Write the script to the run directory, submit it and return the job's id. Raises ValueError if that fails."""
    logs = run / _LOGS
    path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
    if shutil.which("sbatch", path=path) is None:
        raise ValueError("there is no sbatch here: submit where Slurm is, or print the script")
    # Slurm replaces patterns that begin with % in file names.
    output = f"{str(logs.resolve()).replace('%', '%%')}/%j.out"
    asked = ["sbatch", "--parsable", f"--output={output}", str(logs / "job.sh")]
    try:
        make_folder(logs)
        atomic_write_text(logs / "job.sh", text)
        done = subprocess.run(asked, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    except OSError as error:
        problem = f"{error.filename or logs} cannot be used: {error.strerror}"
        raise ValueError(f"{problem}; give another --out, or print the script") from error
    if done.returncode:
        raise ValueError(f"sbatch refuses: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code, 0; exit with 2 for invalid input."""
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    if cut == len(words) and any(word in COMMANDS for word in words):
        fail("the command stands behind --, such as -- python -m generation.run --out runs/one")
    options, command = parse(Options, words[:cut]), words[cut + 1 :]
    try:
        run = check_command(command, f"runs/{options.job_name}")
        text = script(options, command, run)
        if options.submit:
            print(f"job {submit(text, Path(run))}; its script and logs are in {Path(run) / _LOGS}")
        else:
            page(text.removesuffix("\n"))
    except ValueError as error:
        fail(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
