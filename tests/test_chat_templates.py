"""Chat templates: those that people use serve as they are; what another one does to a prompt is told before a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from assembly.settings import load_tokenizer
from cluster.inference.chat import Prompt, check_template, load_chat, probe
from cluster.inference.models import find
from tests.bad_inputs import make_model

_CHATML = "{{'<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n'}}"
_OPENING = "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
REAL = {
    path.stem: path.read_text(encoding="utf-8")
    for path in (Path(__file__).parent / "tables" / "chat_templates").iterdir()
}
"""Written from memory, and shortened: tools, pictures and calls are left out."""
GEMMA2 = REAL.pop("gemma2")


def look(folder: Path, template: str, roles: tuple[str, ...] = ("system", "user")) -> list[str]:
    make_model(folder, {"chat_template.jinja": template, "tokenizer_config.json": {"bos_token": "<s>"}})
    model = find(str(folder))
    chats = [Prompt("", probe(roles)), Prompt("", probe(("user",)))]
    return check_template(model, load_chat(model), chats)


@pytest.mark.parametrize("name", sorted(REAL))
def test_templates_that_people_use_serve_and_nothing_is_said(name: str, tmp_path: Path) -> None:
    assert look(tmp_path / name, REAL[name]) == []
    load_tokenizer(str(tmp_path / name))


def test_gemma_2_takes_the_user_turn_alone(tmp_path: Path) -> None:
    assert look(tmp_path / "alone", GEMMA2, ("user",)) == []
    with pytest.raises(ValueError, match="takes no system text"):
        look(tmp_path / "both", GEMMA2)


@pytest.mark.parametrize(
    ("turn", "ending", "told"),
    [
        (_CHATML.replace("m.content", "m.content + ' ' + m.content"), _OPENING, ["system text more", "user text more"]),
        (_CHATML, "", ["does not open the assistant's turn"]),
        ("{{m.content}}", "", ["does not open the assistant's turn"]),
        (
            "{% if loop.first %}" + "{% for m in messages|reverse %}" + _CHATML + "{% endfor %}{% endif %}",
            _OPENING,
            ["does not keep the order of turns: system before user"],
        ),
    ],
)
def test_what_is_odd_is_noted(turn: str, ending: str, told: list[str], tmp_path: Path) -> None:
    notes = look(tmp_path / "mine", "{% for m in messages %}" + turn + "{% endfor %}" + ending)
    assert len(notes) == len(told)
    assert all(words in note for words, note in zip(told, notes, strict=True)), notes


@pytest.mark.parametrize(
    "written",
    [
        *("m.content[:200]", "m.content|truncate(30)", "m.content|e", "m.content|tojson", "m.content|lower"),
        *("m.content[:20000]", "m.content|striptags", "m.content|replace('{', '(')", "m.content[-50:]"),
        "m.content.encode('ascii', 'ignore').decode()",
    ],
)
def test_a_template_that_changes_a_text_is_refused(written: str, tmp_path: Path) -> None:
    turn = _CHATML.replace("m.content", f"({written})|string")
    with pytest.raises(ValueError, match="leaves out"):
        look(tmp_path / "mine", "{% for m in messages %}" + turn + "{% endfor %}" + _OPENING)


def test_a_template_may_trim_and_wrap(tmp_path: Path) -> None:
    turn = _CHATML.replace("m.content", "m.content|trim|wordwrap(40)")
    assert look(tmp_path / "mine", "{% for m in messages %}" + turn + "{% endfor %}" + _OPENING) == []


def test_a_template_that_draws_is_refused(tmp_path: Path) -> None:
    drawn = "{{ range(2)|random }}"
    with pytest.raises(ValueError, match="writes another prompt each time"):
        look(tmp_path / "mine", drawn + "{% for m in messages %}" + _CHATML + "{% endfor %}" + _OPENING)
