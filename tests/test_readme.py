"""Every command of README.md and docs/, as it is written there, in a new shell and a working copy of its own.

Where one needs a GPU, a hub or hours it gets `--dry_run` and a hub on this machine. WAYS says how each is tried; a
command that none of its rows fits fails the first test.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs.run_directory import fingerprint, write_record
from generation.builtin import MODEL
from generation.run import main
from tests.assembly_rows import write_parquet
from tests.hub_server import serving
from tests.hub_user import User
from tests.readme import NO_COMMANDS, ROOT, Reader, can_be_installed, commands, typed, working_copy
from tests.readme_hub import RAW, REPLIES, ROWS, SUMS, readers_hub
from tests.scripted import reply

README = ROOT / "README.md"
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in (README, *sorted((ROOT / "docs").glob("*.md"))))
COMMANDS = commands(TEXT)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with serving(readers_hub()) as hub:
        folder = working_copy(tmp_path / "skillfactory")
        for name, question, answer in (("my_questions", "question", "answer"), ("sums", "problem", "solution")):
            lines = [json.dumps({question: text, answer: gold}) for text, gold in SUMS]
            (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        (folder / "my-model").symlink_to(MODEL)
        (folder / "build").mkdir()
        (folder / "build" / "SmolLM2-135M-Instruct").symlink_to(MODEL)
        environment = User(hub, tmp_path).environment
        # A new shell: nothing of this one's environment leads to the project or to its Python.
        for name in ("PYTHONPATH", "VIRTUAL_ENV"):
            environment.pop(name, None)
        environment["PATH"] = os.defpath
        yield Reader(folder, environment)


# ---- the ways to try a command


def as_written(reader: Reader, command: str) -> None:
    assert reader.types(command)


def on_a_run(reader: Reader, command: str) -> None:
    """What the commands before it have made is there."""
    for run in ("more", f"runs/{RAW}", "runs/countdown_3arg-skillfactory-tiny-3m"):
        write_parquet(reader.folder / run / "RAW_DATA" / "data" / "train-00000-of-00001.parquet", ROWS)
    as_written(reader, command)


def in_own_words(reader: Reader, command: str) -> None:
    """With the folder that the page makes before: ours, and what it adds to two of the files."""
    reader.types("python -m generation.run --write_prompts mine")
    for name, start in (("variants", "[variants.short]"), ("formats", "[plainly]")):
        (added,) = (block for block in TEXT.split("```\n")[1::2] if block.startswith(start))
        path = reader.folder / "mine" / f"{name}.toml"
        path.write_text(path.read_text(encoding="utf-8") + added, encoding="utf-8")
    if command.startswith("python -m assembly"):
        write_parquet(reader.folder / "runs" / RAW / "RAW_DATA" / "data" / "train-00000-of-00001.parquet", ROWS)
        as_written(reader, command)
    else:
        planned(reader, command)


def on_my_own_run(reader: Reader, command: str) -> None:
    """With the run of docs/own.md, made by an engine that is scripted."""
    flags = ["--config=examples/own/run.toml", f"--out={reader.folder / 'runs' / 'own'}"]
    assert main(flags, fleet=Fleet(ScriptedSettings(reply))) == 0
    as_written(reader, command)


def on_a_finished_run(reader: Reader, command: str) -> None:
    run = reader.folder / re.findall(r"status (\S+)", command)[0]
    run.mkdir(parents=True)
    write_record(run, {"configuration": {}, "fingerprint": fingerprint({}), "state": "done"})
    assert "done" in reader.types(command)


def on_a_set(reader: Reader, command: str) -> None:
    """The template alone; the trainer is in no environment here, and what is said of it is that."""
    run = reader.folder / re.findall(r"--sft (\S+)", command)[0]
    write_parquet(run / "RAW_DATA" / "data" / "train-00000-of-00001.parquet", ROWS)
    reader.types(f"python -m assembly.run --raw {run} --attempts 1")
    template, asks, trainer = command.partition(" --trainer")
    assert "every trace is trained whole" in reader.types(template)
    if asks:
        (reader.folder / "sft.yaml").write_text("max_length: 4096\n")
        ended = typed(f"{template}{asks}{trainer}", reader.folder, reader.environment)
        assert (ended.returncode, "cannot be asked" in ended.stderr) == (2, True), ended.stderr


def planned_on_a_run(reader: Reader, command: str) -> None:
    if f"--raw runs/{RAW}" in command:
        write_parquet(reader.folder / "runs" / RAW / "RAW_DATA" / "data" / "train-00000-of-00001.parquet", ROWS)
    planned(reader, command)


def planned(reader: Reader, command: str) -> None:
    """With `--dry_run`: everything that can be wrong is found, and nothing is asked of a model."""
    said = reader.types(f"{command.removesuffix(' --dry_run')} --dry_run")
    assert "--- first prompt" in said
    for name in re.findall(r"--model (\S+)", command):
        assert Path(name).name in said or (reader.folder / name).is_symlink()


def like_a_run(reader: Reader, command: str) -> None:
    """What it is like is there, made by an engine that is scripted."""
    run = reader.folder / re.findall(r"--like (\S+)", command)[0]
    assert main([f"--out={run}", "--questions=8"], fleet=Fleet(ScriptedSettings(reply))) == 0
    assert "90% range" in reader.types(command)


def of_a_file(reader: Reader, command: str) -> None:
    """With the flags of a run that is there, made by an engine that is scripted."""
    run = reader.folder / re.findall(r"--config (\S+)/run.toml", command)[0]
    assert main([f"--out={run}", "--questions=8"], fleet=Fleet(ScriptedSettings(reply))) == 0
    assert f"run         {run.relative_to(reader.folder)}" in reader.types(f"{command} --dry_run")


def forced(reader: Reader, command: str) -> None:
    """Within the context of the model that is there."""
    planned(reader, command.replace(" 8192", " 800"))


def on_a_cluster(reader: Reader, command: str) -> None:
    """As a plan, without the address of a cluster that is not here."""
    planned(reader, command.replace(" --address auto", ""))


def make_would(reader: Reader, command: str) -> None:
    """`make` knows how, and begins with nothing that is there already, save an environment of another kind."""
    steps = reader.types(f"{command} --dry-run")
    assert steps
    assert ("pip install" in steps) == any(word in command for word in ("gpu", "consumers", "test-all"))


def goes_into_the_environment(reader: Reader, command: str) -> None:
    assert reader.types(f"{command} && command -v python").strip() == f"{_venv(reader)}/bin/python"


def _venv(reader: Reader) -> str:
    return reader.types("echo $VIRTUAL_ENV").strip()


def on_evaluations(reader: Reader, command: str) -> None:
    lay_evaluations(reader, command)
    assert "10 in both" in reader.types(command)


def lay_evaluations(reader: Reader, command: str) -> None:
    """What the commands before it have made is there."""
    for run in re.findall(r"evals/\w+", command.partition(" --out")[0]):
        rows = [{"question": text, "answer": gold, **REPLIES} for text, gold in SUMS]
        write_parquet(reader.folder / run / "EVAL_DATA" / "data" / "test-00000-of-00001.parquet", rows)


def shown_beside_each_other(reader: Reader, command: str) -> None:
    lay_evaluations(reader, command)
    as_written(reader, command)


def of_ray(reader: Reader, command: str) -> None:
    """Ray's own command takes these flags, and the command behind `--` is a plan that works."""
    before, _, ours = command.partition(" -- ")
    flags = re.findall(r" (--[\w-]+)", before)
    told = reader.types(f"{' '.join(command.split()[:3])} --help")
    assert [flag for flag in flags if flag not in told] == []
    if ours:
        # The root of this machine is nobody's to write in.
        on_a_cluster(reader, ours.replace("/shared/", "shared/"))


def of_the_hub(reader: Reader, command: str) -> None:
    assert "usage" in reader.types(f"{command} --help").lower()


def of_another_package(reader: Reader, command: str) -> None:
    """Not installed here (`make consumers` runs it): the file that it is given is there, and read by its kind."""
    (name,) = re.findall(r"examples/\S+", command)
    assert (reader.folder / name).is_file()
    if name.endswith(".sh"):
        assert set(re.findall(r"([A-Z]+)=", command)) <= set(re.findall(r"\$\{([A-Z]+):-", (ROOT / name).read_text()))
        subprocess.run(["bash", "-n", ROOT / name], check=True)


def of_the_tests(reader: Reader, command: str) -> None:
    """Not run inside a run of tests: what it names is collected."""
    assert "tests/" in reader.types(f"{command} --collect-only")


def on_results(reader: Reader, command: str) -> None:
    """With a result that is in the repository, as if it were of both machines."""
    result = (ROOT / "benchmarks" / "proof" / "results" / "quick-seed-0.json").read_text(encoding="utf-8")
    for name in re.findall(r"\S+\.json", command):
        path = reader.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(result, encoding="utf-8")
    assert "C - A >= 5 points" in reader.types(command)


def is_there(reader: Reader, command: str) -> None:
    """It takes an hour of engines: here it is only found."""
    module = command.split()[2]
    assert reader.types(f"python -c 'import importlib.util as u; print(u.find_spec(\"{module}\").origin)'")


WAYS: list[tuple[str, Callable[[Reader, str], None]]] = [
    (r"make .*", make_would),
    (r"source \.venv/bin/activate", goes_into_the_environment),
    (r"python -m generation\.run (--list_tasks|--write_prompts mine)", as_written),
    (r"python -m \w+\.\w+ .*--prompts mine.*", in_own_words),
    (r"python -m assembly\.(run --raw|report) runs/own .*", on_my_own_run),
    (r"python -m generation\.run .*--address auto", on_a_cluster),
    (r"python -m generation\.run .*--like .*", like_a_run),
    (r"python -m generation\.run --config runs/.*", of_a_file),
    (r"python -m generation\.run (--probe|--preview \d)", as_written),
    (r"python -m generation\.run .*", planned),
    (r"python -m generation\.evaluate .*--compare .*", on_evaluations),
    (r"python -m generation\.evaluate .*--force_to .*", forced),
    (r"python -m generation\.evaluate .*", planned),
    (r"python -m generation\.regrade .*", on_a_run),
    (r"python -m reflection\.run .*", planned_on_a_run),
    (r"python -m assembly\.check .*", on_a_set),
    (r"python -m assembly\.report evals.*", shown_beside_each_other),
    (r"python -m assembly\.(run|report) .*", on_a_run),
    (r"python -m cluster\.slurm .*", as_written),
    (r"python -m cluster\.status .*", on_a_finished_run),
    (r"python -m benchmarks\.proof\.table .*", on_results),
    (r"python -m (benchmarks|examples\.\w+)\.\w+( \S+)?", is_there),
    (r"python -m pytest .*", of_the_tests),
    (r"pip install .*", can_be_installed),
    (r"ray (job|metrics|start) .*", of_ray),
    (r"hf auth login", of_the_hub),
    (r"(FORCE_TORCHRUN=1 )?llamafactory-cli train .*", of_another_package),
    (r"(axolotl train|swift sft|accelerate launch) .*", of_another_package),
    (r"MODEL=… RUN=runs/… bash .*", of_another_package),
]


def way(command: str) -> Callable[[Reader, str], None] | None:
    return next((how for pattern, how in WAYS if re.fullmatch(pattern, command)), None)


def test_no_command_is_left_out() -> None:
    assert [command for command in COMMANDS if way(command) is None] == []
    tried = {way(command) for command in COMMANDS}
    assert [how.__name__ for _, how in WAYS if how not in tried] == [], "ways that nothing is tried in"
    blocks = TEXT.split("```")[1::2]
    shown = [block for block in blocks if block.split()[0].startswith(NO_COMMANDS)]
    assert len(shown) == len(NO_COMMANDS), "a block that is neither commands nor one of those known"
    assert len(COMMANDS) > 25
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_as_written(reader: Reader, command: str) -> None:
    how = way(command)
    assert how is not None
    how(reader, command)


def test_the_set_up_says_how_to_go_on(reader: Reader) -> None:
    assert reader.types("make setup").splitlines()[-1].startswith("set-up: source .venv/bin/activate")


@pytest.mark.parametrize(
    "module", ["generation.run", "generation.regrade", "reflection.run", "assembly.run", "cluster.slurm", "generation"]
)
def test_without_the_environment_the_line_that_brings_it_is_told(module: str, tmp_path: Path) -> None:
    """In a shell where it is not active: a Python that has none of the packages."""
    ended = subprocess.run(
        [sys.executable, "-S", "-m", module, "--help"],
        cwd=working_copy(tmp_path / "skillfactory"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "source .venv/bin/activate" in ended.stderr
    assert ended.stderr.count("\n") == 1
