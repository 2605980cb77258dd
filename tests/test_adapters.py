"""LoRA adapters: which are refused before an engine starts, what plan and rows say of one, and that it works."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from cluster.inference.adapters import find_adapter
from cluster.inference.engine import Completion, Message, Request, Sampling
from cluster.inference.engine_arguments import argument_types
from cluster.inference.tokenizer import ChatTokenizer
from cluster.inference.vllm_settings import VllmSettings
from cluster.session import Node, Resources
from generation.builtin import MODEL, NAME
from generation.placement import cpu_environment, place
from generation.plan import describe, make_plan
from generation.settings import Settings
from tests.forked_engines import forking
from tests.lora import write_lora

BASE = str(MODEL.resolve())
OTHER = "base_model.model.model.layers.0.self_attn.z_proj.lora_A.weight"
EMBEDDING = "base_model.model.model.embed_tokens.base_layer.weight"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"peft_type": "IA3"}, "says peft_type 'IA3', and vLLM runs LORA alone; merge it"),
        ({"peft_type": None}, "says peft_type None"),
        ({"modules_to_save": ["lm_head"]}, "it replaces whole modules (modules_to_save ['lm_head'])"),
        ({"trainable_token_indices": [5]}, "it has new embeddings"),
        ({"use_dora": True}, "it is a DoRA"),
        ({"bias": "all"}, "it has biases (bias 'all')"),
        ({"init_lora_weights": "pissa"}, "it was made on changed weights of the model"),
        ({"layer_replication": [[0, 4]]}, "it repeats layers"),
        ({"r": 0}, "must say its rank as r, a whole number above 0, not 0"),
        ({"r": None}, "must say its rank as r"),
        ({"r": True}, "must say its rank as r"),
        ({"r": 513}, "its rank is 513, and vLLM takes 512 at most"),
        ({"rank_pattern": {"q_proj": 1024}}, "its rank is 1024, and vLLM takes 512 at most"),
        ({"width": 1}, "where the adapter's part has"),
        ({"more": (OTHER,)}, "which has no model.layers.0.self_attn.z_proj"),
        ({"more": (EMBEDDING,)}, f"holds more than a LoRA, {EMBEDDING}"),
    ],
)
def test_what_vllm_cannot_use_is_told(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    folder = write_lora(tmp_path / "mine", **changes)
    with pytest.raises(ValueError, match=r"^adapter folder .*mine ") as raised:
        find_adapter(str(folder), {}, BASE)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "adapter_model.safetensors is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "adapter_model.safetensors is a pointer of Git LFS"),
        (None, "adapter_model.safetensors is no safetensors file, or cut off"),
    ],
)
def test_weights_are_looked_at(tmp_path: Path, content: bytes | None, told: str) -> None:
    folder = write_lora(tmp_path / "mine")
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError, match="cannot be used: ") as raised:
        find_adapter(str(folder), {}, BASE)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "rank"),
    [
        ({}, 8),
        ({"r": 9}, 16),
        ({"r": 512}, 512),
        ({"rank_pattern": {"q_proj": 30}}, 32),
        ({"init_lora_weights": "gaussian", "modules_to_save": [], "rank_pattern": {}, "use_rslora": True}, 8),
    ],
)
def test_what_it_can_use_is_found(tmp_path: Path, changes: dict[str, Any], rank: int) -> None:
    found = find_adapter(str(write_lora(tmp_path / "mine", **changes)), {}, BASE)
    assert (found.name, found.path, found.hub_revision) == ("mine", str(tmp_path / "mine"), None)
    assert found.rank == rank
    assert found.rank in argument_types()["max_lora_rank"].choices
    assert found.on_this_machine() == found.path


def test_its_revision_is_of_its_contents(tmp_path: Path) -> None:
    found = find_adapter(str(write_lora(tmp_path / "mine")), {}, BASE)
    again = find_adapter(str(write_lora(tmp_path / "other" / "mine")), {}, BASE)
    changed = find_adapter(str(write_lora(tmp_path / "third" / "mine", lora_alpha=32)), {}, BASE)
    assert found.revision == again.revision != changed.revision


def test_a_plan_with_an_adapter(tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "mine", base_model_name_or_path="someone/else")
    (folder / "chat_template.jinja").write_text("x")
    plain = make_plan(Settings(questions=2))
    settings = Settings(questions=2, adapter=str(folder), engines=1)
    plan = make_plan(settings)
    revision = find_adapter(str(folder), {}, BASE).revision
    assert plan.configuration == {**plain.configuration, "adapter": "mine", "adapter_revision": revision}
    assert plan.out == Path(f"runs/countdown_3arg-{NAME}-mine")
    assert plan.name == f"countdown_3arg-{NAME}-mine"
    assert f"model       {NAME}+mine (revision {plan.model.revision}+{revision}" in describe(plan)
    assert plan.notes == (
        f"the adapter mine was made for someone/else by its own word, and runs on {NAME}",
        f"the chat template beside the adapter mine is not used, but that of {NAME}",
    )
    engine = place(plan, settings, Resources((Node(0, 8, 1 << 36),))).settings
    assert isinstance(engine, VllmSettings)
    assert (engine.name, engine.known_revision) == (f"{NAME}+mine", f"{plan.model.revision}+{revision}")
    lora = {name: value for name, value in engine.arguments().items() if "lora" in name}
    assert lora == {"enable_lora": True, "max_loras": 1, "max_lora_rank": 8}


@pytest.mark.ray
@pytest.mark.engine
def test_it_changes_what_the_model_writes_and_every_end_counts(tmp_path: Path) -> None:
    """On the real engine: the same requests with a large random adapter and without, and a second token that ends."""
    shutil.copytree(MODEL, tmp_path / "model")
    adapter = write_lora(tmp_path / "mine")
    command = [sys.executable, "-m", "tests.test_adapters", str(tmp_path / "model"), str(adapter)]
    ended_well = subprocess.run(
        command, env=os.environ | cpu_environment(1), capture_output=True, text=True, check=True
    )
    said, plain, ended = json.loads(ended_well.stdout.splitlines()[-1])
    assert [one["error"] for one in (*said, *plain, *ended)] == [None] * 6
    assert all(one["text"] != other["text"] for one, other in zip(said, plain, strict=True))
    for one, whole in zip(ended, plain, strict=True):
        assert one["finish_reason"] == "stop"
        assert one["output_tokens"] < whole["output_tokens"]
        assert whole["text"].startswith(one["text"])


def main(folder: str, path: str) -> None:
    """Print the replies of `_ask` as JSON, in the last line."""
    adapter = find_adapter(path, {}, folder)
    settings = VllmSettings(
        folder, None, "m", "", 256, gpu=False, max_sequences=8, cache_bytes=1 << 27, adapter=adapter
    )
    with forking():
        replies = asyncio.run(_ask(settings, Path(folder), Sampling(temperature=0, max_tokens=24)))
    print(json.dumps([[asdict(one) for one in some] for some in replies]))


async def _ask(
    settings: VllmSettings, folder: Path, sampling: Sampling
) -> tuple[list[Completion], list[Completion], list[Completion]]:
    """Return the replies with the adapter, without, and without it by a model that ends at one more token."""
    chats = [(Message(role="user", content=f"Make {number} from [7, 6, 2]."),) for number in (26, 19)]

    async def ask(settings: VllmSettings) -> list[Completion]:
        engine = await settings.start()
        try:
            asked = (engine.generate(Request(str(n), chat, sampling, n)) for n, chat in enumerate(chats))
            return list(await asyncio.gather(*asked))
        finally:
            await engine.close()

    said = await ask(settings)
    settings = replace(settings, adapter=None)
    plain = await ask(settings)
    generation = json.loads((folder / "generation_config.json").read_text())
    inside = {ChatTokenizer(str(folder)).tokenize([one.text])[0][3] for one in plain}
    generation["eos_token_id"] = [generation["eos_token_id"], *inside]
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return said, plain, await ask(settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
