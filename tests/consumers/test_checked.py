"""assembly.check finds what real trainers do to traces: `make checked`, in their environments.

Templates are those that TRL ships; the built-in model's tokenizer stands for every model's, so that what is seen is a
template's and a trainer's doing. Every damage here was first seen on the trainer without this project.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from assembly.check import main
from assembly.run import main as assemble
from generation.builtin import MODEL

pytestmark = pytest.mark.consumers
RUN = Path("runs/countdown_3arg-skillfactory-tiny-3m")
ROWS = 40
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


SWIFT: dict[str, object] = {"model_type": "qwen2"}
"""What ms-swift knows a real model by its name for."""
WHOLE = [
    Case("llamafactory", "qwen2_5", "sharegpt"),
    Case("llamafactory", "qwen2_5", "prompt_completion"),
    Case("llamafactory", "qwen3", "prompt_completion"),
    Case("llamafactory", "deepseek_r1_distill", "prompt_completion"),
    Case("ms-swift", "qwen2_5", "sharegpt", settings={**SWIFT, "template": "qwen2_5"}),
    Case("ms-swift", "qwen3", "messages", settings={**SWIFT, "template": "qwen3"}),
    Case("ms-swift", "deepseek_r1_distill", "prompt_completion", settings=SWIFT),
    Case("trl", "qwen2_5", "messages"),
    Case("trl", "qwen3", "prompt_completion"),
    Case("trl", "deepseek_r1_distill", "prompt_completion"),
    Case("trl", "qwen3_5_nothink", "prompt_completion", chat_kwargs='{"enable_thinking": true}'),
    Case("trl", "qwen3_8", "tokens"),
    Case("trl", "glm4moe", "tokens"),
    Case("verl", "qwen2_5", "sharegpt"),
    Case("verl", "qwen3", "tokens"),
]
HURT = [
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
    Case("trl", "qwen3", "messages", ("spaces",)),
    Case("trl", "deepseekv3", "messages", ("lost",)),
    Case("trl", "qwen3_8", "messages", ("added",)),
    Case("trl", "qwen3_5_nothink", "messages", ("spaces", "prompt")),
    Case("verl", "qwen3", "sharegpt", ("refused",)),
    Case("verl", "deepseek_r1_distill", "sharegpt", ("lost",)),
    Case("verl", "qwen3_5_nothink", "sharegpt", ("late",)),
    Case("verl", "qwen2_5", "sharegpt", ("refused",), {"max_length": 300}),
    Case("verl", "qwen2_5", "sharegpt", ("cut",), {"max_length": 300, "truncation": "right"}),
]


def found(case: Case, folder: Path) -> dict[str, int]:
    """Return how many traces show each damage."""
    model = folder / "model"
    shutil.copytree(MODEL, model)
    template = TEMPLATES / f"{case.template}.jinja"
    (model / "chat_template.jinja").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    sft, config, told = folder / "SFT_DATA", folder / "config.yaml", folder / "found.json"
    chat = ["--model", str(model), "--chat_kwargs", case.chat_kwargs]
    flags = ["--layout", case.layout, "--formats", case.formats, "--subsample", str(ROWS)]
    assemble(["--raw", str(RUN), "--out", str(sft), *flags, *chat])
    # Longer than any of these rows, where the case does not say otherwise.
    limit = {"llamafactory": "cutoff_len"}.get(case.trainer, "max_length")
    config.write_text(yaml.safe_dump({limit: 4096} | case.settings), encoding="utf-8")
    python = Path(f".venv-{case.trainer}/bin/python").absolute()
    asked = ["--trainer", case.trainer, "--python", str(python), "--config", str(config), "--json", str(told)]
    code = main(["--sft", str(sft), *chat, *asked])
    damage: dict[str, int] = json.loads(told.read_text(encoding="utf-8"))["damage"]
    assert code == bool(damage)
    return damage


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: "-".join(case[:3]))
def test_it_is_trained_whole(case: Case, tmp_path: Path) -> None:
    assert found(case, tmp_path) == {}


@pytest.mark.parametrize("case", HURT, ids=lambda case: "-".join([*case[:3], *case.damage]))
def test_what_befalls_it(case: Case, tmp_path: Path) -> None:
    assert {*case.damage} <= found(case, tmp_path).keys()
