"""Does the data teach what it should? The whole method at the size of the built-in model, on a CPU.

    python -m benchmarks.proof [--arms A,B,C] [--seeds 0,1,2] [--quick] [--state runs/proof-full]

Every arm begins with the built-in model: A is RL alone, B STaR and RL, C SkillFactory and RL; D has traces without
reflections, E attempts in random order; F is what the assembly can do beyond the paper, G stops at the first correct
attempt. Data is made by generation.run and assembly.run, SFT is plain torch, RL is GRPO with RL_DATA's own reward and
this project's engine, and all are measured by generation.evaluate on the same fresh questions. The thresholds were
fixed before the first run (plan.py). Each part is a command that is done once and logged in the state folder: what was
killed or stopped goes on with the same command. --quick is one seed of A, B and C in a smaller form, which shows the
direction.

Exit codes: 0 done, whatever the thresholds say; 2 a flag is wrong; 75 stopped by Ctrl-C; 1 a part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.proof.parts import PartFailedError, Seed
from benchmarks.proof.plan import ARMS, FULL, QUICK, SMOKE, Size
from benchmarks.proof.questions import write_questions
from benchmarks.proof.results import result_of
from benchmarks.proof.table import draw, markdown
from cluster.inference.models import find
from cluster.jobs.atomic import atomic_write_text, take_lock
from cluster.machine import installed, only_cpu
from generation.builtin import MODEL


def main(argv: Sequence[str] | None = None) -> int:
    given = _parse(argv)
    size: Size = given.size
    state: Path = (given.state or Path("runs", f"proof-{size.name}")).resolve()
    try:
        _begin(state, size)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for number in given.seeds:
        seed = Seed(state, size, number)
        for part in seed.parts(given.arms):
            try:
                seconds = seed.make(part)
            except (PartFailedError, ValueError) as error:
                print(f"error: {error}", file=sys.stderr)
                return 1 if isinstance(error, PartFailedError) else 2
            except KeyboardInterrupt:
                print(f"stopped in {part.name}: the same command goes on", file=sys.stderr)
                return 75
            told = "made before" if seconds is None else f"{seconds / 60:.1f} min"
            print(f"seed {number}: {part.name}, {told}", flush=True)
            if part.name.startswith("evals/") and (seconds is not None or not seed.result.exists()):
                _write_result(state, seed)
    known = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(state.glob("seed-*.json"))]
    draw(known, state / "curves.png")
    print(f"\n{markdown(known)}\n\ncurves      {state / 'curves.png'}")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.proof", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", type=_names, default=None, help=f"of {', '.join(ARMS)} (default: all; --quick A,B,C)")
    parser.add_argument("--seeds", type=_numbers, default=None, help="comma list (default: 0,1,2; --quick 0)")
    small = parser.add_mutually_exclusive_group()
    small.add_argument(
        "--quick", dest="size", action="store_const", const=QUICK, help="one seed of A, B and C, half an hour"
    )
    small.add_argument(
        "--smoke",
        dest="size",
        action="store_const",
        const=SMOKE,
        help="a few steps: runs to its end, figures say nothing",
    )
    parser.add_argument("--state", type=Path, help="folder of all that is made (default: runs/proof-SIZE)")
    parser.set_defaults(size=FULL)
    given = parser.parse_args(argv)
    whole = given.size is FULL
    given.arms = given.arms or ([*ARMS] if whole else ["A", "B", "C"])
    given.seeds = given.seeds if given.seeds is not None else ([0, 1, 2] if whole else [0])
    if not only_cpu(installed()):
        parser.error("runs on the CPU build of vLLM, and another one is installed here: make setup EXTRA=cpu")
    return given


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in ARMS]:
        raise argparse.ArgumentTypeError(f"no arm {unknown[0]!r}: take some of {', '.join(ARMS)}")
    return list(dict.fromkeys(names))


def _numbers(text: str) -> list[int]:
    if not all(part.isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is no comma list of numbers")
    return list(dict.fromkeys(map(int, text.split(","))))


def _begin(state: Path, size: Size) -> None:
    """Lock the state folder, and make its questions. Raises ValueError if it is held, or of another size or model."""
    wanted: dict[str, object] = {"size": asdict(size), "model": find(str(MODEL)).full_revision}
    record = state / "proof.json"
    state.mkdir(parents=True, exist_ok=True)
    take_lock(os.open(state, os.O_RDONLY), state)
    if not record.exists():
        write_questions(state / "questions", size.sft_questions + size.rl_questions, size.fresh)
        atomic_write_text(record, json.dumps(wanted))
    elif json.loads(record.read_text(encoding="utf-8")) != wanted:
        raise ValueError(f"{state} holds a proof of another size or model: give another --state")


def _write_result(state: Path, seed: Seed) -> None:
    """Write what the seed has shown so far, whose figures these are, and where they were made."""
    tasks = json.loads((state / "questions" / "tasks.json").read_text(encoding="utf-8"))
    machine = {"cores": len(os.sched_getaffinity(0)), "machine": platform.machine()}
    told = {"size": seed.size.name, "seed": seed.number, **machine, **result_of(seed.folder, tasks)}
    atomic_write_text(seed.result, json.dumps(told))


if __name__ == "__main__":
    sys.exit(main())
