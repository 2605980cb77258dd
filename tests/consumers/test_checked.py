"""assembly.check finds what real trainers do to traces: `make checked`, in their environments.

Templates are those that TRL ships; the built-in model's tokenizer stands for every model's, so that what is seen is a
template's and a trainer's doing. Every damage here was first seen on the trainer without this project.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from assembly.check import main
from assembly.inspection import Found, Wanted, inspect
from assembly.run import main as assemble
from assembly.trainers import TRAINERS
from benchmarks.trainers import stand_in
from generation.builtin import MODEL

pytestmark = pytest.mark.consumers
RUN = Path("runs/consumers")
ROWS = 40
BOS = "<|endoftext|>"
TEMPLATES = next(Path(".venv-trl").glob("lib/python*/site-packages/trl/chat_templates"), Path("missing"))


class Case(NamedTuple):
    """A set under a trainer, and what befalls it."""

    trainer: str
    template: str
    layout: str
    damage: tuple[str, ...] = ()
    settings: dict[str, object] = {}  # noqa: RUF012
    formats: str = "*C_full"
    chat_kwargs: str = "{}"
    bos: bool = False  # the tokenizer puts a BOS token before every text
    frame: str = "think"


def of_entry(**options: object) -> dict[str, object]:
    """Return axolotl's settings for a set of turns, whose own path is no matter."""
    entry = {"path": "any", "type": "chat_template", "field_messages": "conversations"}
    return {"datasets": [entry | options]}


SWIFT: dict[str, object] = {"model_type": "qwen2"}
"""What ms-swift knows a real model by its name for."""
# Beside what the table of docs/training.md recommends, which test_trainers_table.py tries.
WHOLE = [
    Case("trl", "qwen2_5", "messages"),
    Case("trl", "glm4moe", "tokens"),
    Case("trl", "qwen3_8", "reasoning"),
    # What a training has beside its data is no matter of it.
    Case(
        "trl",
        "qwen2_5",
        "tokens",
        settings={"report_to": "wandb", "push_to_hub": True, "eval_strategy": "steps", "dataset_train_split": "train"},
    ),
    # Traces without a thought.
    Case("llamafactory", "qwen3", "sharegpt", settings={"template": "qwen3_nothink"}, formats="star"),
    Case(
        "ms-swift",
        "qwen3",
        "sharegpt",
        settings={**SWIFT, "template": "qwen3", "add_non_thinking_prefix": False},
        formats="star",
    ),
    Case("llamafactory", "qwen2_5", "sharegpt", settings={"val_size": 0.1, "eval_strategy": "steps"}),
    Case("axolotl", "qwen3", "sharegpt", settings=of_entry(chat_template="chatml")),
    Case("axolotl", "qwen3_8", "reasoning"),
    Case("axolotl", "glm4moe", "prompt_completion", settings={"sample_packing": True, "attn_implementation": "sdpa"}),
    Case(
        "openrlhf",
        "llama3_1",
        "prompt_completion",
        (),
        {"data": {"max_len": 4096, "input_template": f"{BOS}{{}}"}},
        bos=True,
    ),
]
HURT = [
    Case("llamafactory", "llama3_1", "sharegpt", ("prompt",), bos=True),
    Case("verl", "qwen3", "sharegpt", ("lost",), {"ignore_input_ids_mismatch": True}),
    Case("llamafactory", "qwen2_5", "sharegpt", ("end", "prompt"), {"split_special_tokens": True}),
    Case("verl", "qwen2_5", "sharegpt", ("cut",), {"data": {"max_length": 300, "truncation": "right"}}),
    Case("llamafactory", "qwen2_5", "sharegpt", ("cut", "mixed"), {"cutoff_len": 500, "packing": True}),
    Case("llamafactory", "qwen3", "sharegpt", ("lost",), {"enable_thinking": False}),
    Case("llamafactory", "qwen3", "sharegpt", ("added",), formats="star"),
    Case("llamafactory", "qwen2_5", "sharegpt", ("question",), {"train_on_prompt": True}),
    Case("ms-swift", "qwen2_5", "sharegpt", ("dropped",), {**SWIFT, "template": "qwen2_5", "max_length": 300}),
    Case("ms-swift", "qwen2_5", "sharegpt", ("question",), {**SWIFT, "template": "qwen2_5", "loss_scale": "all"}),
    Case("ms-swift", "qwen3", "sharegpt", ("prompt",), {**SWIFT, "template": "qwen3"}, formats="star"),
    Case(
        "ms-swift",
        "qwen3",
        "sharegpt",
        ("added",),
        {**SWIFT, "template": "qwen3", "disable_ignore_empty_think": True},
        formats="star",
    ),
    Case("ms-swift", "qwen3", "reasoning", ("lost",), {**SWIFT, "template": "qwen3"}),
    Case("ms-swift", "qwen3", "tokens", ("refused",), SWIFT),
    Case(
        "ms-swift",
        "qwen3",
        "messages",
        ("spaces", "question"),
        {**SWIFT, "template": "qwen3", "template_backend": "jinja"},
    ),
    Case("ms-swift", "qwen2_5", "messages", ("prompt",), {**SWIFT, "template": "qwen3_nothinking"}),
    Case("trl", "qwen2_5", "sharegpt", ("refused",)),
    Case("trl", "llama3_1", "messages", ("refused",)),
    Case("trl", "qwen2_5", "messages", ("cut",), {"max_length": 300}),
    Case("trl", "qwen2_5", "messages", ("question",), {"assistant_only_loss": False}),
    Case("trl", "qwen2_5", "messages", ("cut",), {"max_length": 300, "packing": True}),
    Case(
        "trl", "qwen2_5", "messages", ("torn",), {"max_length": 300, "packing": True, "packing_strategy": "bfd_split"}
    ),
    Case("trl", "deepseek_r1_distill", "messages", ("lost",), {"assistant_only_loss": False}),
    Case("trl", "glm4moe", "messages", ("spaces", "end")),
    Case("llamafactory", "gptoss", "sharegpt", ("added",)),
    Case("llamafactory", "gemma3", "sharegpt", ("refused",), {"template": "gemma3"}),
    Case("trl", "qwen3", "messages", ("spaces",)),
    Case("trl", "deepseekv3", "messages", ("lost",)),
    # Another frame is not taken away, but the prompt opens a thought.
    Case("trl", "deepseekv3", "messages", ("prompt",), frame="thought"),
    Case("trl", "qwen3_8", "messages", ("added",)),
    Case("trl", "qwen3_5_nothink", "messages", ("spaces", "prompt")),
    Case("verl", "qwen3", "sharegpt", ("refused",)),
    Case("verl", "deepseek_r1_distill", "sharegpt", ("lost",)),
    Case("verl", "qwen3_5_nothink", "sharegpt", ("late",)),
    Case("verl", "qwen2_5", "sharegpt", ("refused",), {"max_length": 300}),
    Case("verl", "qwen2_5", "sharegpt", ("cut",), {"max_length": 300, "truncation": "right"}),
    Case("axolotl", "qwen3", "sharegpt", ("spaces", "late")),
    Case("axolotl", "qwen3", "sharegpt", ("late",), of_entry(split_thinking=True)),
    Case("axolotl", "qwen3", "reasoning", ("late",)),
    Case("axolotl", "qwen3_5_nothink", "sharegpt", ("late", "prompt")),
    Case("axolotl", "deepseek_r1_distill", "sharegpt", ("lost",)),
    Case("axolotl", "glm4moe", "sharegpt", ("spaces", "late")),
    Case("axolotl", "qwen3_8", "sharegpt", ("prompt",)),
    Case("axolotl", "llama3_1", "sharegpt", ("end",)),
    Case("axolotl", "qwen2_5", "sharegpt", ("refused",), {"datasets": [{"path": "any", "type": "chat_template"}]}),
    Case("axolotl", "qwen2_5", "sharegpt", ("dropped",), {"sequence_len": 500}),
    Case("axolotl", "qwen2_5", "sharegpt", ("cut",), {"sequence_len": 500, "excess_length_strategy": "truncate"}),
    Case("axolotl", "qwen2_5", "sharegpt", ("mixed",), {"sample_packing": True}),
    Case("axolotl", "qwen2_5", "tokens", ("refused",), {"sample_packing": True, "attn_implementation": "sdpa"}),
    Case("axolotl", "qwen2_5", "sharegpt", ("question",), {"train_on_inputs": True}),
    Case("openrlhf", "qwen2_5", "sharegpt", ("cut",), {"max_len": 300}),
    Case("openrlhf", "qwen2_5", "sharegpt", ("dropped",), {"data": {"max_len": 50}}),
    Case("openrlhf", "qwen2_5", "sharegpt", ("dropped",), {"data.apply_chat_template": False}),
    Case("openrlhf", "qwen2_5", "sharegpt", ("refused",), {"max_length": 300}),
    Case("openrlhf", "qwen2_5", "prompt_completion", ("prompt",), {"input_template": "User: {}\nAssistant: "}),
    Case("openrlhf", "qwen2_5", "prompt_completion", ("question",), {"model.pretrain_mode_enable": True}),
    Case("openrlhf", "llama3_1", "prompt_completion", ("prompt",), bos=True),
    Case("openrlhf", "qwen2_5", "tokens", ("refused",)),
    Case("openrlhf", "qwen3", "sharegpt", ("spaces",)),
    Case("openrlhf", "deepseek_r1_distill", "sharegpt", ("lost",)),
    Case("openrlhf", "qwen3_5_nothink", "sharegpt", ("lost", "added")),
    Case("openrlhf", "qwen3_8", "sharegpt", ("added",)),
]


def asked_of(case: Case, folder: Path) -> Wanted:
    """Make the case's set, model and configuration."""
    model = folder / "model"
    shutil.copytree(MODEL, model)
    template = TEMPLATES / f"{case.template}.jinja"
    (model / "chat_template.jinja").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    if case.bos:
        stand_in(model, "", BOS)
    sft, config = folder / "SFT_DATA", folder / "config.yaml"
    chat = ["--model", str(model), "--chat_kwargs", case.chat_kwargs]
    flags = ["--layout", case.layout, "--formats", case.formats, "--frame", case.frame, "--subsample", str(ROWS)]
    assemble(["--raw", str(RUN), "--out", str(sft), *flags, *chat])
    # Longer than any of these rows, where the case does not say otherwise.
    config.write_text(
        yaml.safe_dump({TRAINERS[case.trainer]["limit"]: 4096} | case.settings, sort_keys=False), encoding="utf-8"
    )
    python = Path(f".venv-{case.trainer}/bin/python").absolute()
    return Wanted(sft, str(model), case.trainer, config, python, chat_kwargs=json.loads(case.chat_kwargs))


@pytest.fixture(scope="module")
def found_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Found]:
    """Return what gives the findings of a case; a trainer, which takes long to start, is asked about all at once."""
    known: dict[int, Found] = {}

    def find(case: Case) -> Found:
        if id(case) not in known:
            of_trainer = [one for one in (*WHOLE, *HURT) if one.trainer == case.trainer]
            folders = [tmp_path_factory.mktemp(case.trainer) for _ in of_trainer]
            found = inspect([asked_of(*one) for one in zip(of_trainer, folders, strict=True)])
            known.update(zip(map(id, of_trainer), found, strict=True))
        return known[id(case)]

    return find


def params(cases: Iterable[Case]) -> list[object]:
    """Return the cases, those of a trainer in one process."""
    marks = pytest.mark.xdist_group
    return [pytest.param(one, marks=marks(one.trainer), id="-".join([*one[:3], *one.damage])) for one in cases]


@pytest.mark.parametrize("case", params(WHOLE))
def test_it_is_trained_whole(case: Case, found_in: Callable[[Case], Found]) -> None:
    assert found_in(case).damage == {}


@pytest.mark.parametrize("case", params(HURT))
def test_what_befalls_it(case: Case, found_in: Callable[[Case], Found]) -> None:
    found = found_in(case)
    assert {*case.damage} <= found.damage.keys()
    assert found.remedies.keys() & found.damage.keys()


@pytest.mark.xdist_group("trl")
def test_a_layout_that_it_does_not_take_is_named(found_in: Callable[[Case], Found]) -> None:
    (case,) = [one for one in HURT if one[:3] == ("trl", "qwen2_5", "sharegpt")]
    assert "--layout messages or reasoning" in found_in(case).remedies["refused"]


@pytest.mark.xdist_group("trl")
@pytest.mark.parametrize(("damage", "code"), [((), 0), (("cut",), 1)])
def test_the_command_says_so(damage: tuple[str, ...], code: int, tmp_path: Path) -> None:
    (case, *_) = [one for one in (*WHOLE, *HURT) if one.trainer == "trl" and one.damage == damage]
    asked, told = asked_of(case, tmp_path), tmp_path / "found.json"
    trainer = ["--trainer", "trl", "--python", str(asked.python), "--config", str(asked.config)]
    assert main(["--sft", str(asked.sft), "--model", asked.model, *trainer, "--json", str(told)]) == code
    assert {*json.loads(told.read_text(encoding="utf-8"))["damage"]} == {*damage}
