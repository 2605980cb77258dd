"""The sbatch script: what it asks Slurm for, and that nothing a flag holds is ever run by the shell.

That it works is shown on a real Slurm (tests/slurm).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.slurm import Options, main, script, seconds

ROOT = Path(__file__).parent.parent
RUN = ["python", "-m", "generation.run"]
GPUS = [
    *("--nodes=4", "--gpus_per_node=8", "--time=04:00:00", "--partition=gpu", "--account=my-project"),
    *("--env_setup=.venv/bin/activate", "--job_name=qwen-7b", "--"),
    *(*RUN, "--model", "Qwen2.5-7B-Instruct", "--task", "countdown_4arg", "--out", "runs/qwen-7b"),
]
CONTAINER = [
    *("--nodes=2", "--gpus_per_node=4", "--time=1-00", "--qos=long", "--constraint=h100|h200", "--mem=400G"),
    *("--container=/shared/images/skillfactory.sqsh", "--container_mounts=/shared:/shared", "--"),
    *(*RUN, "--model", "/shared/models/my model", "--tensor_parallel", "2", "--out", "/shared/runs/mine"),
]
EXAMPLES = {"slurm_gpus.sh": GPUS, "slurm_container.sh": CONTAINER}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_what_the_command_prints(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(EXAMPLES[name]) == 0
    assert capsys.readouterr().out == (ROOT / "examples" / name).read_text(encoding="utf-8")


def lines(options: Options) -> list[str]:
    return [
        line.removeprefix("#SBATCH ")
        for line in script(options, RUN, "runs/x").splitlines()
        if line.startswith("#SBATCH ")
    ]


def test_what_slurm_is_asked_for() -> None:
    assert lines(Options(nodes=2, time="02:00:00", gpus_per_node=4, qos="long", sbatch_args=("--reservation=x",))) == [
        "--job-name=skillfactory",
        "--qos=long",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--gpus-per-node=4",
        "--cpus-per-task=32",
        "--time=02:00:00",
        "--signal=B:USR1@300",
        "--open-mode=append",
        "--requeue",
        "--no-kill",
        "--reservation=x",
    ]


def test_without_gpus_whole_nodes_unless_cores_are_named() -> None:
    whole = lines(Options(nodes=1, time="10"))
    assert {"--exclusive", "--mem=0"} <= set(whole)
    assert not [line for line in whole if "gpu" in line or "cpus" in line]
    part = lines(Options(nodes=1, time="10", cpus_per_task=3))
    assert "--cpus-per-task=3" in part
    assert not {"--exclusive", "--mem=0"} & set(part)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("04:00:00", 14_400),
        ("1-00", 86_400),
        ("1-12:30", 131_400),
        ("2-01:02:03", 176_523),
    ],
)
def test_times_are_read_as_slurm_does(time: str, expected: int) -> None:
    assert seconds(time) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--exclude=n1,n2", ["--exclude=n1,n2"]),
        ("--hold,--mail-type=END,FAIL,--comment=x", ["--hold", "--mail-type=END,FAIL", "--comment=x"]),
        ("--exclude=n1, n[2-3], --hold", ["--exclude=n1,n[2-3]", "--hold"]),
    ],
)
def test_an_option_of_sbatch_may_hold_commas(
    given: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--nodes=1", "--time=10", f"--sbatch_args={given}", "--", *RUN]) == 0
    asked = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#SBATCH ")]
    assert asked[-len(expected) :] == [f"#SBATCH {option}" for option in expected]


@pytest.mark.parametrize(("time", "told"), [("2", 60), ("00:08:00", 240), ("10", 300), ("1-00", 300)])
def test_the_notice_is_never_more_than_half(time: str, told: int) -> None:
    assert Options(nodes=1, time=time).notice == told


NASTY = [
    "$(touch INJECTED)",
    "`touch INJECTED`",
    "'; touch INJECTED; '",
    '"; touch INJECTED; "',
    "') ; touch INJECTED; (",
    "x & touch INJECTED",
    "x | touch INJECTED",
    "x > INJECTED",
    "${IFS}touch${IFS}INJECTED",
    "\\'; touch INJECTED #",
    "!touch",
    "a b",
    "# no comment",
    "--wrap=touch INJECTED",
]
BROKEN = ["x\ntouch INJECTED", "x\n#SBATCH --uid=0", "x\r", "\x00", "\x1b[2J", "x\u2028touch", "caf\udce9"]


def run_script(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The script in a shell that is no job: it sets what was chosen, and stops where it would begin."""
    path = folder / "job.sh"
    path.write_text(text, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    subprocess.run(["bash", "-n", path], check=True)
    return subprocess.run(
        ["bash", path], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=20
    )


def chosen(text: str, name: str) -> list[str]:
    """What bash makes of a variable of the script."""
    head = text[: text.index("# From here on")]
    shown = subprocess.run(
        ["bash", "-c", f'{head}\nprintf "%s\\0" "${{{name}[@]}}"'], capture_output=True, text=True, check=True
    )
    return shown.stdout.split("\0")[:-1]


_SLURM = {
    "scontrol": "echo n1",
    "srun": "env >asked; exit 1",  # so that Ray starts nowhere, and the job gives up
    "scancel": "",
    "sleep": "",
}


def run_as_job(folder: Path, output: Path) -> dict[str, str]:
    """The script in a Slurm that only looks like one, its lines in `output`; the environment of its steps."""
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in _SLURM.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "job.sh").write_text(
        script(Options(nodes=1, time="10"), [*RUN, "--out", "my run"], "my run"), encoding="utf-8"
    )
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n1"}
    with output.open("ab") as log:
        # As sbatch --export=NONE leaves it.
        environment["SLURM_EXPORT_ENV"] = "NONE"
        ended = subprocess.run(
            ["bash", "job.sh"], cwd=folder, env=environment, stdout=log, stderr=log, check=False, timeout=60
        )
    assert ended.returncode == 1, output.read_text()
    return dict(line.split("=", 1) for line in (folder / "asked").read_text().splitlines() if "=" in line)


def test_steps_get_the_environment_even_where_the_job_got_none(tmp_path: Path) -> None:
    asked = run_as_job(tmp_path, tmp_path / "slurm-77.out")
    assert asked["SLURM_EXPORT_ENV"] == "ALL"
    assert asked["RAY_AUTH_MODE"] == "token"


def test_the_log_lies_in_the_run_however_the_job_was_submitted(tmp_path: Path) -> None:
    by_hand, log = tmp_path / "slurm-77.out", tmp_path / "my run" / "logs" / "slurm" / "77.out"
    run_as_job(tmp_path, by_hand)
    assert by_hand.read_text().split("launcher: ")[1:] == ["everything is logged in my run/logs/slurm/77.out\n"]
    first = log.read_text()
    assert "job 77, start 1, on n1" in first
    assert "Ray did not start on n1" in first
    run_as_job(tmp_path, log)  # as --submit asks sbatch to write it
    assert log.read_text().startswith(first)
    assert log.read_text().count("job 77, start 1, on n1") == 2
    assert "everything is logged" not in log.read_text()


def test_a_text_reaches_its_place_unchanged_and_runs_nothing(tmp_path: Path) -> None:
    changed = []
    for number, value in enumerate(NASTY):
        options = Options(nodes=1, time="10", container=value, container_mounts=(value, value))
        command = [*RUN, "--model", value, "--out", value]
        text = script(options, command, value)
        (tmp_path / str(number)).mkdir()
        ended = run_script(text, tmp_path / str(number))
        assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "this is a script for sbatch\n")
        names = ("command", "run", "container", "container_mounts")
        got = {name: chosen(text, name) for name in names}
        if got != dict(zip(names, (command, [value], [value], [f"{value},{value}"]), strict=True)):
            changed.append((value, got))
    assert changed == []
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"job.sh"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), max_size=30), max_size=4))
def test_any_command_reaches_bash_unchanged(words: list[str]) -> None:
    command = [*RUN, *(f"--x={word}" for word in words), "--out", "runs/x"]
    assert chosen(script(Options(nodes=1, time="10"), command, "runs/x"), "command") == command


WORDS = ("partition", "account", "qos", "constraint", "job_name", "mem", "time")


def test_what_the_script_cannot_hold_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """On lines for sbatch only words without quotes, blanks and comments; elsewhere no control character."""
    cases: list[tuple[dict[str, str], list[str], str]] = [
        ({name: value}, [], name) for name in WORDS for value in (*NASTY, *BROKEN)
    ]
    cases += [({name: value}, [], name) for name in ("container", "env_setup") for value in BROKEN]
    cases += [({}, [f"--model={value}"], "command") for value in BROKEN]
    taken = []
    for changed, words, told in cases:
        flags = {"nodes": "1", "time": "10"} | changed
        line = [*(f"--{name}={text}" for name, text in flags.items()), "--", *RUN, *words]
        try:
            refused(line, told, capsys)
        except (AssertionError, pytest.fail.Exception) as error:
            taken.append((line, str(error)))
    assert taken == []


def refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


def test_without_slurm_submitting_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cluster.slurm", "--nodes=1", "--time=10", "--submit", "--", *RUN]
    ended = subprocess.run(
        [*command, "--out", str(tmp_path / "run")],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "there is no sbatch here" in ended.stderr
    assert list(tmp_path.iterdir()) == []
    assert ended.stderr.count("\n") == 1
