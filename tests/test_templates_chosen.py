"""Templates that are chosen: by name, from a file, the plain one; their variables; what a run keeps of it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assembly.settings import load_tokenizer
from cluster.inference.engine import Sampling
from cluster.inference.models import find
from generation.plan import describe
from reflection.added.plan import AdditionSettings, look_at_samples, plan_additions
from tests.assembly_rows import published_row, write_parquet
from tests.template_models import Changed, changed_in, chatml, first_prompt, look

THINKS = chatml("{{ 'Thinks.' if enable_thinking is not defined or enable_thinking else 'Thinks not.' }}")


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changed:
    monkeypatch.chdir(tmp_path)
    return changed_in(tmp_path / "mine")


NAMED = {"default": chatml("By default. "), "rag": chatml("With documents. ")}
AS_LIST = [{"name": name, "template": text} for name, text in NAMED.items()]


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config__json": {"chat_template": AS_LIST}},
        {"chat_template__json": {"chat_template": NAMED}},
        {"chat_template__jinja": NAMED["default"], "additional_chat_templates___rag__jinja": NAMED["rag"]},
        {
            "tokenizer_config__json": {"chat_template": NAMED["default"]},
            "additional_chat_templates___rag__jinja": NAMED["rag"],
        },
        {
            "tokenizer_config__json": {"chat_template": "a file goes before it"},
            "chat_template__jinja": NAMED["default"],
            "chat_template__json": {"chat_template": NAMED},
        },
    ],
)
def test_templates_have_names(changed: Changed, files: dict[str, Any]) -> None:
    folder = changed(**files)
    assert find(folder).templates == NAMED
    plan, chat = look(folder)
    assert first_prompt(plan, chat).startswith("By default. <|im_start|>system")
    assert (plan.notes, "chat" in plan.configuration) == ((), False)
    assert look(folder, chat_template="default")[0] == plan
    other, chat = look(folder, chat_template="rag")
    assert first_prompt(other, chat).startswith("With documents. <|im_start|>system")
    assert other.notes == ("prompts are written by the model's chat template 'rag'",)
    assert str(other.configuration["chat"]["template"]).startswith("rag ")  # type: ignore[index,call-overload]
    assert chat.encode([{"role": "user", "content": "2"}]) != look(folder)[1].encode([{"role": "user", "content": "2"}])


def test_only_one_of_another_name_is_meant(changed: Changed) -> None:
    plan, chat = look(changed(tokenizer_config__json={"chat_template": AS_LIST[1:]}))
    assert first_prompt(plan, chat).startswith("With documents. ")
    assert "chat" not in plan.configuration


def test_a_template_of_one_s_own(changed: Changed, tmp_path: Path) -> None:
    """Where its file lies is no part of the configuration, what it says is."""
    folder = changed(chatml())
    (tmp_path / "mine.jinja").write_text(NAMED["rag"])
    plan, chat = look(folder, chat_template="mine.jinja")
    assert first_prompt(plan, chat).startswith("With documents. ")
    assert plan.notes == ("prompts are written by the chat template of mine.jinja",)
    (tmp_path / "mine.jinja").rename(tmp_path / "other.jinja")
    moved, _ = look(folder, chat_template=str(tmp_path / "other.jinja"))
    assert moved.configuration == plan.configuration
    (tmp_path / "other.jinja").write_text(NAMED["default"])
    assert look(folder, chat_template="other.jinja")[0].configuration != plan.configuration
    (tmp_path / "other.jinja").write_text(chatml())
    assert look(folder, chat_template="other.jinja")[0] == look(folder)[0], "the same as the model's"


def test_a_base_model_is_asked_in_plain_text(changed: Changed, tmp_path: Path) -> None:
    folder = changed()
    plan, chat = look(folder, chat_template="plain")
    variant, question = plan.rollout.variants[0], plan.questions[0]
    asked = f"{variant.system}\n\nUser: {question.text}\n\n{variant.user}\n\nAssistant:"
    assert first_prompt(plan, chat) == asked
    assert len(plan.notes) == 1
    assert "an answer ends where the model begins another turn" in plan.notes[0]
    stop = ["\nUser:", "\nAssistant:"]
    assert plan.sampling.more == plan.rollout.sampling.more == {"stop": stop}
    assert plan.configuration["sampling"]["stop"] == stop  # type: ignore[index,call-overload]
    assert 'stop ["\\nUser:", "\\nAssistant:"]' in describe(plan)
    other = look(
        folder,
        chat_template="plain",
        sampling={"stop": "END"},
        reflection_sampling={"stop": ["THE END"]},
        reflections=1,
    )[0]
    assert other.sampling.more == {"stop": ["END", *stop]}
    assert other.rollout.reflection_sampling is not None
    assert other.rollout.reflection_sampling.more == {"stop": ["THE END", *stop]}
    turns = [("user", "2 + 2?"), ("assistant", "4"), ("user", "3 + 3?")]
    shots = chat.render([{"role": role, "content": text} for role, text in turns])
    assert shots == "User: 2 + 2?\n\nAssistant: 4\n\nUser: 3 + 3?\n\nAssistant:"
    raw = write_parquet(tmp_path / "raw.parquet", [published_row("q", "<answer>7</answer>", True)])
    with pytest.raises(ValueError, match="give --chat_template plain"):
        plan_additions(AdditionSettings(raw=str(raw), model=folder, out="new"))
    given = AdditionSettings(raw=str(raw), model=folder, out="new", chat_template="plain")
    assert look_at_samples(plan_additions(given)).work.sampling.more == {"stop": stop}
    load_tokenizer.cache_clear()  # other tests have a model of this name too
    with pytest.raises(ValueError, match="--model mine cannot write a conversation: model mine has no chat temp"):
        load_tokenizer("mine")


def test_stops_are_added_to_those_asked_for() -> None:
    assert Sampling(more={"stop": "a", "min_p": 0.1}).stopping(["b"]).more == {"stop": ["a", "b"], "min_p": 0.1}
    assert Sampling(more={"stop": ["a", "b"]}).stopping(["b", "c"]).more == {"stop": ["a", "b", "c"]}
    assert Sampling().stopping([]) == Sampling()


@pytest.mark.parametrize(
    ("kwargs", "begins", "told"),
    [
        ({}, "Thinks.", ""),
        ({"enable_thinking": False}, "Thinks not.", ""),
        (
            {"enable_thinkin": False},
            "Thinks.",
            "'enable_thinkin' of --chat_kwargs, which changes nothing; did you mean",
        ),
        ({"zz": [1, {"a": None}]}, "Thinks.", "the chat template never mentions 'zz' of --chat_kwargs"),
    ],
)
def test_variables_reach_the_template(changed: Changed, kwargs: dict[str, Any], begins: str, told: str) -> None:
    plan, chat = look(changed(THINKS), chat_kwargs=kwargs)
    assert first_prompt(plan, chat).startswith(f"{begins}<|im_start|>")
    assert told in "".join(plan.notes)
    assert len(plan.notes) == bool(told)
    assert plan.configuration.get("chat", {}).get("kwargs", {}) == kwargs  # type: ignore[union-attr]
    if "enable_thinkin" in kwargs:
        assert plan.notes[0].endswith("did you mean enable_thinking?")
