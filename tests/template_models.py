"""Folders of models with other chat templates, and what the plan of a run makes of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.inference.tokenizer import ChatTokenizer
from generation.plan import Plan, describe, look_at_prompts, make_plan
from generation.settings import Settings
from tests.bad_inputs import make_model

Changed = Callable[..., str]
_OPENING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def chatml(before: str = "", content: str = "m['content']", turn: str = "m['role'] != ''") -> str:
    body = "{{ '<|im_start|>' + m['role'] + '\n' + " + content + " + '<|im_end|>\n' }}"
    return before + "{% for m in messages %}{% if " + turn + " %}" + body + "{% endif %}{% endfor %}" + _OPENING


def changed_in(folder: Path) -> Changed:
    """Return what makes the folder of the built-in model with other files, each time anew.

    Its tokenizer puts a BOS token before texts, if asked. In names of files `__` stands for a dot, `___` for a slash.
    """

    def changed(template: str | None = None, *, bos: bool = False, **files: Any) -> str:
        shutil.rmtree(folder, ignore_errors=True)
        make_model(folder, {"chat_template.jinja": template, "tokenizer_config.json": {"bos_token": "<|endoftext|>"}})
        for name, text in files.items():
            path = folder / name.replace("___", "/").replace("__", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text if isinstance(text, str) else json.dumps(text))
        if bos:
            path = folder / "tokenizer.json"
            special = {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}}
            single = [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
            after = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special}
            path.write_text(json.dumps(json.loads(path.read_text()) | {"post_processor": after}))
        return str(folder)

    return changed


def look(model: str, **given: Any) -> tuple[Plan, ChatTokenizer]:
    """The plan as a run has it, which the dry run shows, and its tokenizer."""
    some = {"questions": 2, "variants": ("original",), "reflections": 0, "out": "run", **given}
    plan = look_at_prompts(make_plan(Settings(model=model, **some)))
    assert all(f"note        {note}\n" in describe(plan) for note in plan.notes)
    return plan, ChatTokenizer(plan.model.path, None, plan.chat)


def first_prompt(plan: Plan, chat: ChatTokenizer) -> str:
    request = plan.rollout.sample_request(plan.questions[0], plan.rollout.variants[0], 0)
    prompt = chat.render(request.messages)
    assert f"--- first prompt of variant original --------------------\n{prompt}" in describe(plan)
    return prompt
