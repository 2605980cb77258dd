"""The same questions, samples and reflections through the product and through what people would use instead.

    python -m benchmarks.peers [--only product,script] [--rounds 5] [--questions 96] [--state runs/peers]

Each contender is written as its own documentation shows, one module each, in an environment of its own where pins
disagree (made on first use in a folder; ours with a few packages more). The product exports what is asked; a
contender reads that, and its rows are checked before a rate counts: all samples there, graded alike, other texts for
other samples, reflections on each graded one, verdicts parsed. Rounds are taken in turn, so that what drifts on the
machine reaches all alike; ratios are within a round. What is done is kept in the state folder, a file a contender and
round, and not done again. Prints the table of all rounds so far; no rate for whoever lost rows or ran out of time.

"Generation" is from when an engine may be asked to its last row, of several engines the sum; "whole" is the command;
"first token" is from the command's start. Others' seconds are of processes that are not its own: on a quiet machine
few. Linux only. Nothing else should run.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import plugin
from benchmarks.peers.contenders import CONTENDERS, Contender
from benchmarks.peers.environments import python_of
from benchmarks.peers.export import command_of, export
from benchmarks.peers.measure import Watched, first_token, spent, stages, watch
from benchmarks.peers.rows import faults, read_rows, tokens_of
from benchmarks.peers.table import Round, markdown
from benchmarks.peers.work import JOB, PROMPTS, Job, read_job
from cluster.jobs.run_directory import versions

ROOT = Path(__file__).parents[2]
_QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def main(argv: Sequence[str] | None = None) -> None:
    given = _parse(argv)
    state: Path = given.state.resolve()
    folder = state / f"job-{given.questions}"
    _export(given.questions, folder)
    plugin.install(state / "plugin")
    job = read_job(folder)
    for number in range(1, given.rounds + 1):
        for name in given.only:
            done = folder / f"round-{number}" / f"{name}.json"
            if not done.exists():
                told = _run(name, done.with_suffix(""), job, given)
                done.write_text(json.dumps(told, indent=1), encoding="utf-8")
                said = told["failure"] or f"{told['rate']:,.0f} tokens/s, whole {told['whole_rate']:,.0f}"
                print(f"round {number}: {name}: {said}", flush=True)
    rounds = sorted(folder.glob("round-*"), key=lambda path: int(path.name.partition("-")[2]))
    known = [{path.stem: json.loads(path.read_text()) for path in one.glob("*.json")} for one in rounds]
    if any(known):
        print(_of_what(given.questions, job, known), markdown(known), sep="\n\n")


def _of_what(questions: int, job: Job, known: Sequence[Round]) -> str:
    """Return what the table is of."""
    of_all = [one for told in known for one in told.values()]
    made_by = sorted({f"{name} {version}" for one in of_all for name, version in one["versions"].items()})
    commits = sorted({one["commit"] for one in of_all})
    first, last = min(one["at"] for one in of_all), max(one["at"] for one in of_all)
    asked = f"{questions} questions, {len(job.by_id()):,} samples"
    return f"{asked}; {first} to {last}, commit {', '.join(commits)}; {', '.join(made_by)}"


def _export(questions: int, folder: Path) -> None:
    """Write the job, or find it as it is. Exits with 2 where the product would ask or set something else by now."""
    if not folder.exists():
        export(questions, folder)
    with tempfile.TemporaryDirectory() as now:
        export(questions, Path(now))
        _, other, missing = filecmp.cmpfiles(folder, now, [JOB, PROMPTS], shallow=False)
    if other or missing:
        print(f"{folder} holds another job, by {(other + missing)[0]}: give another --state", file=sys.stderr)
        sys.exit(2)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_names, default=list(CONTENDERS), help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--rounds", type=int, default=5, help="0 prints what is known")
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--state", type=Path, default=Path("runs/peers"), help="what is done, and rows and logs")
    parser.add_argument("--environments", type=Path, default=Path(".venv-peers"))
    parser.add_argument("--limit", type=float, default=900, help="seconds that a command may take")
    return parser.parse_args(argv)


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in CONTENDERS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(CONTENDERS)}")
    return [name for name in CONTENDERS if name in names]


def _run(name: str, out: Path, job: Job, given: argparse.Namespace) -> dict[str, Any]:
    """Run a contender; return what is known of it."""
    contender = CONTENDERS[name]
    python = python_of(contender.environment, given.environments)
    shutil.rmtree(out, ignore_errors=True)  # of a start that was broken off
    out.mkdir(parents=True)
    path = {"PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": f"{ROOT}:{given.state.resolve() / 'plugin'}"}
    environment = {**_QUIET, **path, **_settings(contender, job)}
    command = [str(python), "-m", *_words(contender, out, given)]
    ended = watch(command, environment, out.with_suffix(".log"), given.limit)
    made = {"at": time.strftime("%Y-%m-%d %H:%M"), "commit": _commit(), "versions": versions()}
    return told_of(ended, out, job, given.limit) | made


def _settings(contender: Contender, job: Job) -> Mapping[str, str]:
    """Return the environment variables that set vLLM."""
    if contender.ours:
        return job.environment
    # By itself vLLM takes 92% of a machine's memory for its cache, and does not start where a tenth is in use.
    as_ours = str(job.arguments.get("kv_cache_memory_bytes", 0) >> 30)
    return {"VLLM_CPU_KVCACHE_SPACE": as_ours} if contender.module and not job.gpu else {}


def _words(contender: Contender, out: Path, given: argparse.Namespace) -> list[str]:
    if not contender.module:
        return command_of(given.questions, out)
    after = [str(out.parent / contender.after)] if contender.after else []
    return [f"benchmarks.peers.{contender.module}", str(out.parents[1]), str(out), *after, *contender.flags]


def told_of(ended: Watched, out: Path, job: Job, limit_s: float) -> dict[str, Any]:
    """Return the figures of a command that has ended, and why they do not count, if they do not."""
    parts = stages(ended.marks)
    generation = sum(end - start for start, end in parts)
    whole = [(ended.began, ended.began + ended.seconds)]
    of_all, token = spent(ended, whole), first_token(ended.marks)
    told: dict[str, Any] = {
        "failure": None,
        "seconds": round(ended.seconds, 2),
        "generation": round(generation, 2),
        "first_token": round(token - ended.began, 2) if token else None,
        "memory_mib": ended.memory >> 20,
        "processor": round(sum(seconds for kind, seconds in of_all.items() if kind != "others"), 1),
        "others": of_all.get("others", 0.0),
        "spent": of_all,
        "generation_spent": spent(ended, parts),
        "left": ended.left,
    }
    if ended.code is None:
        return told | {"failure": f"not done after {limit_s:,.0f} s"}
    try:
        rows = read_rows(out, job)
        wrong = faults(rows, job)
    except (OSError, KeyError, ValueError) as error:
        rows, wrong = [], [f"its rows cannot be read: {type(error).__name__}: {error}"]
    if ended.code:
        wrong.insert(0, f"exit code {ended.code}")
    if not generation:
        wrong.append("no engine was asked, or no rows came")
    if wrong:
        return told | {"failure": "; ".join(wrong), "rows": len(rows)}
    tokens = tokens_of(rows)
    rates = {"rate": round(tokens / generation, 1), "whole_rate": round(tokens / ended.seconds, 1)}
    return told | rates | {"tokens": tokens, "rows": len(rows)}


def _commit() -> str:
    ended = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, check=False)
    return ended.stdout.decode().strip()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a contender's processes are ended, too
    main()
