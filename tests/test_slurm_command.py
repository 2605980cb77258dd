"""The command behind --: ours are judged by their own parser before a job is queued, all others pass as they are."""

from __future__ import annotations

import os

import pytest

from cluster.slurm import main
from tests.test_slurm_script import RUN, chosen

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
