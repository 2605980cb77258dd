"""The command line of the launcher. Behind --, ours are judged by their own parser, all others pass as they are."""

from __future__ import annotations

import os

import pytest

from cluster.slurm import main
from tests.test_slurm_script import RUN, chosen, refused

OTHERS = [
    ["python", "train.py", "--modle", "x"],
    ["bash", "x.sh", "--samples", "four"],
    ["torchrun", "--nproc_per_node", "8", "-m", "generation.runn"],
    ["python", "-m", "torch.distributed.run", "train.py"],
    ["python", "-c", "import generation.run"],
    ["python", "-m", "general.run"],
    ["python", "-m"],
    ["env", "A=1", "python", "-m", "my_package.run", "--modle", "x"],
    ["echo", "generation.runn"],
]
OURS = [
    [*RUN, "--model", "x", "--dry-run"],
    ["python3.12", "-u", "-W", "ignore", "-m", "reflection.run", "--raw", "x"],
    ["env", "A=1", "nice", ".venv/bin/python", "-mgeneration.run", "--samples", "3"],
]


@pytest.mark.parametrize("command", [*OTHERS, *OURS], ids=" ".join)
def test_a_command_that_can_be_right_passes_as_it_is(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Others whatever they say, ours where their own parser takes the flags; see tables/bad_inputs for the rest."""
    assert main(["--nodes=1", "--time=10", "--", *command, "--out", "runs/x"]) == 0
    assert chosen(capsys.readouterr().out, "command") == [*command, "--out", "runs/x"]


def test_the_home_in_a_run_directory_is_expanded(capsys: pytest.CaptureFixture[str]) -> None:
    """Behind = a shell leaves it alone; where the script makes its logs it stands in quotes."""
    given = ["--env_setup=~/env.sh", "--container=~/image", "--container_mounts=~/a:/a,/b:/b"]
    assert main(["--nodes=1", "--time=10", *given, "--", *RUN, "--out=~/runs/x"]) == 0
    text = capsys.readouterr().out
    home = os.path.expanduser("~")
    assert chosen(text, "run") == [f"{home}/runs/x"]
    assert chosen(text, "env_setup") == [f"{home}/env.sh"]
    assert chosen(text, "container") == [f"{home}/image"]
    assert chosen(text, "container_mounts") == [f"{home}/a:/a,/b:/b"]


def test_an_image_may_lie_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nodes=1", "--time=10", "--container=docker://org/image:24", "--", *RUN]) == 0
    assert chosen(capsys.readouterr().out, "container") == ["docker://org/image:24"]


WRONG: list[tuple[list[str], str]] = [
    ([], "nothing to run"),
    (["--", *RUN, "--address", "auto"], "--address"),
    (["--", *RUN, "--grace_s=9"], "--grace_s"),
    (["--", *RUN, "--out"], "--out"),
    (["--nodes=0", "--", *RUN], "--nodes must be between 1"),
    (["--gpus_per_node=-1", "--", *RUN], "--gpus_per_node"),
    (["--time=1", "--", *RUN], "too short"),
    (["--time=soon", "--", *RUN], "--time must be"),
    (["--mem=lots", "--", *RUN], "--mem must be"),
    (["--node=2", "--", *RUN], "did you mean --nodes"),
    (["--sbatch_args=--array=1-4", "--", *RUN], "--sbatch_args"),
    (["--sbatch_args=reservation=x", "--", *RUN], "--sbatch_args"),
    (["--sbatch_args=--hold,comment=x", "--", *RUN], "not '--hold,comment=x'"),
    (["--sbatch_args=--exclude=n1,--array=1-4", "--", *RUN], "cannot do with --array=1-4"),
    (["--sbatch_args=--exclude=n1,-p,gpu", "--", *RUN], "not '-p,gpu'"),
    (["--sbatch_args=--no-req", "--", *RUN], "cannot do with --no-req; leave it out"),
    (["--sbatch_args=--signal=TERM", "--", *RUN], "cannot do with --signal=TERM; leave it out"),
    (["--sbatch_args=--output=x", "--", *RUN], "cannot do with --output=x; leave it out"),
    (["--sbatch_args=--chdir=/tmp", "--", *RUN], "cannot do with --chdir=/tmp; leave it out"),
    (["--sbatch_args=--ntasks=4", "--", *RUN], "cannot do with --ntasks=4; leave it out"),
    (["--sbatch_args=--nodes=3", "--", *RUN], "cannot do with --nodes=3; give --nodes"),
    (["--sbatch_args=--gpus=3", "--", *RUN], "cannot do with --gpus=3; give --gpus_per_node"),
    (["--sbatch_args=--hold,--mem=3G", "--", *RUN], "cannot do with --mem=3G; give --mem"),
    (["--container_mounts=/a:/a", "--", *RUN], "--container"),
    (["--env_setup=source .venv/bin/activate", "--", *RUN], "is no file"),
    (["--env_setup=nowhere.sh", "--submit", "--", *RUN], "--env_setup 'nowhere.sh' is no file"),
    (["--notice_s=0", "--", *RUN], "--notice_s"),
]


def test_wrong_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    taken = []
    for words, told in WRONG:
        needed = [f"--{name}=10" for name in ("nodes", "time") if not [w for w in words if w.startswith(f"--{name}=")]]
        try:
            refused([*needed, *words], told, capsys)
        except (AssertionError, pytest.fail.Exception) as error:
            taken.append((words, str(error)))
    assert taken == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "runs/skillfactory"),
        (["--out", "runs/a b"], "runs/a b"),
        (["--out=runs/x"], "runs/x"),
        (["--output=x"], "runs/skillfactory"),
    ],
)
def test_the_run_directory_is_the_commands(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nodes=1", "--time=10", "--", "python", "train.py", *words]) == 0
    assert chosen(capsys.readouterr().out, "run") == [expected]


def test_a_command_without_a_run_directory_gets_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nodes=1", "--time=10", "--job_name=mine", "--", *RUN]) == 0
    text = capsys.readouterr().out
    assert chosen(text, "command") == [*RUN, "--out", "runs/mine"]
    assert chosen(text, "run") == ["runs/mine"]
