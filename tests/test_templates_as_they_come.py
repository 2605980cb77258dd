"""Templates as models bring them: what a prompt becomes, what is said of it, what a run keeps of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import mistral_common
import pytest

from assembly.settings import load_tokenizer
from cluster.inference.chat_templates import choose_chat
from cluster.inference.engine import Completion, Request, without_system
from cluster.inference.models import find
from cluster.inference.tokenizer import ChatFormat, ChatTokenizer
from cluster.inference.vllm_settings import VllmSettings
from cluster.jobs.run_directory import hold_run, read_record
from cluster.session import Node, Resources
from generation.builtin import MODEL
from generation.placement import place
from generation.settings import Settings
from generation.variants import VARIANTS
from reflection.added.plan import AdditionSettings, look_at_samples, plan_additions
from tests import drive_job
from tests.assembly_rows import published_row, write_parquet
from tests.raw_rows import rows_of
from tests.template_models import Changed, changed_in, chatml, first_prompt, look

REFUSES = chatml("{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system turn here') }}{% endif %}")
DROPS = chatml(turn="m['role'] != 'system'")
CUTS = chatml(content="(m['content'] if m['role'] != 'system' else m['content'][:300])")
DATED = chatml("{{ 'Today: ' + strftime_now('%d %b %Y') + '\n' }}")
DEFAULT_DATED = chatml(
    "{%- if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{{ 'Today: ' + date_string + '\n' }}"
)
IN_MACRO = chatml("{% macro head() %}{{ 'Today: ' + strftime_now('%d %b %Y') + '\n' }}{% endmacro %}{{ head() }}")
PARTS = chatml(content="m['content'][0]['text']")
PARTS_LOOPED = chatml(content="m['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join")
BOTH = chatml(content="(m['content'] if m['content'] is string else m['content'][0]['text'])")
PARTS_NO_SYSTEM = PARTS.replace("{% if m['role'] != '' %}", "{% if m['role'] != 'system' %}")
BOS = "{{ bos_token }}"


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changed:
    monkeypatch.chdir(tmp_path)
    return changed_in(tmp_path / "mine")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (REFUSES, "No system turn here"),
        (DROPS, "leaves out the system text"),
        (CUTS, "leaves out or changes part of the system text"),
        (PARTS_NO_SYSTEM, "leaves out the system text"),
    ],
)
def test_a_system_text_stands_before_the_user_s_where_there_is_no_turn_for_it(
    changed: Changed, template: str, why: str
) -> None:
    plan, chat = look(changed(template))
    variant, question = plan.rollout.variants[0], plan.questions[0]
    user = f"{variant.system}\n\n{question.text}\n\n{variant.user}"
    assert first_prompt(plan, chat) == f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    told = plan.notes[0]
    assert told.startswith("the chat template takes no system turn (")
    assert told.endswith("): the system text stands before the user's text")
    assert why in told
    assert "chat" not in plan.configuration, "it follows from the model's files"


def test_rows_hold_the_messages_as_the_model_was_given_them(changed: Changed, tmp_path: Path) -> None:
    argv = ["--model", changed(REFUSES), "--questions=2", "--rl_questions=0", "--samples=2", "--reflections=1"]
    drive_job.main([*argv, "--out=run"], lambda request: f"{[one['role'] for one in request.messages]}")
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 16
    for row in rows:
        (message,) = cast("list[dict[str, str]]", row["prompt"])
        assert message["role"] == "user"
        system = VARIANTS[str(row["prompt_variant"])].system
        assert message["content"].startswith(f"{system}\n\n"), "what makes variants differ"
        assert row["model_responses__mutated_prompts"] == ["['user']"]


def test_where_system_texts_go() -> None:
    def chat(*turns: tuple[str, str]) -> Any:
        return tuple({"role": role, "content": text} for role, text in turns)

    for before, after in (
        (chat(("system", "S"), ("user", "U")), chat(("user", "S\n\nU"))),
        (chat(("user", "U")), chat(("user", "U"))),
        (
            chat(("system", "S"), ("user", "U"), ("assistant", "A"), ("user", "V")),
            chat(("user", "S\n\nU"), ("assistant", "A"), ("user", "V")),
        ),
        (chat(("system", "S"), ("assistant", "A")), chat(("system", "S"), ("assistant", "A"))),
        (chat(("system", "S")), chat(("system", "S"))),
    ):
        assert without_system(before) == after


@pytest.mark.parametrize(
    ("template", "parts", "notes"), [(PARTS, True, 1), (PARTS_LOOPED, True, 1), (BOTH, False, 0), (chatml(), False, 0)]
)
def test_texts_are_given_as_parts_where_nothing_else_is_taken(
    changed: Changed, template: str, parts: bool, notes: int, tmp_path: Path
) -> None:
    folder = changed(template)
    plan, chat = look(folder)
    system, user = plan.rollout.sample_request(plan.questions[0], plan.rollout.variants[0], 0).messages
    shown = f"<|im_start|>system\n{system['content']}<|im_end|>\n<|im_start|>user\n{user['content']}<|im_end|>\n"
    assert first_prompt(plan, chat) == f"{shown}<|im_start|>assistant\n"
    assert (plan.chat.parts, len(plan.notes)) == (parts, notes)
    assert all(note.startswith("the chat template takes no plain texts (") for note in plan.notes)
    raw = write_parquet(tmp_path / "raw.parquet", [published_row("q", "<answer>7</answer>", True)])
    added = look_at_samples(plan_additions(AdditionSettings(raw=str(raw), model=folder, out="new")))
    assert (added.chat.parts, len(added.notes)) == (parts, notes)
    assert load_tokenizer(folder).format.parts == parts


def always(completion: Completion) -> Callable[[Request], Completion]:
    return lambda _: completion


@pytest.mark.parametrize("template", [DATED, DEFAULT_DATED, IN_MACRO])
def test_a_run_that_goes_on_the_next_day_has_the_same_prompts(
    changed: Changed, template: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    argv = ["--model", changed(template), "--questions=2", "--rl_questions=0", "--samples=2", "--reflections=1"]
    failing, prompts = Completion("", "error", error="busy"), []
    for day, answer, code in (
        ("2026-02-28T23:59:59+00:00", failing, 1),
        ("2026-03-01T00:00:01+00:00", Completion("It is <answer>7</answer>", "stop"), 1),
    ):
        monkeypatch.setattr("generation.model_plan.now", partial(str, day))
        plan, chat = look(argv[1], rl_questions=0)
        prompts.append(first_prompt(plan, chat))
        assert "it is told 2026-02-28 on whatever day" in "".join(plan.notes)
        assert drive_job.main([*argv, "--out=run", "--retry_failed"], always(answer)) == code
        engine = place(plan, Settings(model=argv[1]), Resources((Node(gpus=0, cores=2, memory=8 << 30),))).settings
        assert cast("VllmSettings", engine).chat == plan.chat
    assert prompts[0] == prompts[1]
    assert prompts[0].startswith("Today: 28 Feb 2026\n<|im_start|>system\n")
    assert read_record(tmp_path / "run")["configuration"]["chat"] == {"date": "2026-02-28"}
    assert len(rows_of(tmp_path / "run")) == 16, "all were asked on the second day"
    assert look(argv[1], out="another")[0].chat.date == "2026-03-01"


def test_a_run_begun_before_dates_were_kept_goes_on(changed: Changed) -> None:
    model = changed(DATED)
    configuration = dict(look(model)[0].configuration)
    assert configuration.pop("chat")
    with hold_run(Path("run"), configuration):
        pass
    plan, _ = look(model)
    assert (plan.configuration, plan.chat.date) == (configuration, "")
    assert "the chat template may write the day's date" in plan.notes[0]


@pytest.mark.parametrize(
    ("template", "bos", "given", "first", "told"),
    [
        (chatml(BOS), True, {}, [0, 1], ""),
        (chatml(BOS), False, {}, [0, 1], ""),
        (chatml(), True, {}, [1], "does not begin with the BOS token that the tokenizer puts before texts"),
        (chatml(), False, {}, [1], ""),
        (chatml(BOS + BOS), True, {}, [0, 0, 1], "begins with the BOS token twice"),
        (chatml(BOS), True, {"chat_kwargs": {"bos_token": ""}}, [1], "does not begin with the BOS token"),
        (chatml(BOS), True, {"chat_template": "plain"}, [0], ""),
        (chatml(BOS), False, {"chat_template": "plain"}, [], ""),
    ],
)
def test_a_prompt_begins_with_one_bos_token(
    changed: Changed, template: str, bos: bool, given: dict[str, Any], first: list[int], told: str
) -> None:
    plan, chat = look(changed(template, bos=bos), **given)
    ids = chat.encode(plan.rollout.sample_request(plan.questions[0], plan.rollout.variants[0], 0).messages)
    count = next(number for number, one in enumerate(ids) if one not in (0, 1))
    assert ids[:count] == first
    assert (told or "BOS") in "\n".join(plan.notes) if told else "BOS" not in "\n".join(plan.notes)


def test_a_tokenizer_of_mistral_s_own_writes_chats_itself(changed: Changed, tmp_path: Path) -> None:
    """Its control tokens are read as plain text where they stand in one."""
    folder = Path(changed(config__json={"model_type": "mistral", "architectures": ["MistralForCausalLM"]}))
    folder.joinpath("config.json").write_text(
        json.dumps(json.loads((MODEL / "config.json").read_text()) | {"model_type": "mistral"})
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    shutil.copy(Path(mistral_common.__file__).parent / "data" / "tekken_240911.json", folder / "tekken.json")
    model = find(str(folder))
    assert choose_chat(model, None, {}, {}, "2026-01-01").format == ChatFormat()
    chat = ChatTokenizer(model.path)
    asked: Any = [{"role": "system", "content": "S"}, {"role": "user", "content": "2?"}]
    ids = chat.encode(asked)
    assert ids[:2] == [1, 3]  # <s>, [INST]
    assert ids[-1] == 4  # [/INST]
    assert chat.lengths([asked, asked[1:]]) == [len(ids), len(chat.encode(asked[1:]))]
    plain = ChatTokenizer(model.path, None, choose_chat(model, "plain", {}, {}, "").format)
    assert plain.render(asked) == "S\n\nUser: 2?\n\nAssistant:"
    assert plain.tokenize(["[INST]"]) == [[3]]
