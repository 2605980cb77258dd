"""What the dry run shows of a template's prompt is what the job asks: the whole command, twice."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from cluster.inference.engine import Message
from generation import run
from generation.variants import VARIANTS
from tests import drive_job
from tests.raw_rows import rows_of
from tests.template_models import changed_in, look

_TURN = "{{ '<start_of_turn>' + m['role'] + '\n' + m['content'] + '<end_of_turn>\n' }}"
_OPENING = "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
_TURNS = "{% for m in messages %}" + _TURN + "{% endfor %}" + _OPENING
_BOS = "{{ bos_token }}"
_REFUSED = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system turn here') }}{% endif %}"
_FOLDED = "takes no system turn ({}): the system text stands before the user's text"


@pytest.mark.parametrize(
    ("template", "begins", "told"),
    [
        (_BOS + _REFUSED + _TURNS, "<start_of_turn>user\n{}\n\n", _FOLDED.format("No system turn here")),
        (
            _BOS + _TURNS.replace(_TURN, "{% if m['role'] != 'system' %}" + _TURN + "{% endif %}"),
            "<start_of_turn>user\n{}\n\n",
            _FOLDED.format("leaves out the system text"),
        ),
        (
            "{{ bos_token + 'Today: ' + strftime_now('%d %b %Y') + '\n' }}" + _TURNS,
            "Today: 28 Feb 2026\n<start_of_turn>system\n{}<end_of_turn>\n",
            "may write the date: it is told 2026-02-28 on whatever day the run goes on",
        ),
    ],
)
def test_what_is_shown_is_asked(
    template: str,
    begins: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("generation.model_plan.now", lambda: "2026-02-28T23:59:59+00:00")
    folder = changed_in(tmp_path / "mine")(template)
    argv = ["--model", folder, "--questions=2", "--rl_questions=0", "--variants=original", "--samples=2", "--out=run"]
    assert run.main([*argv, "--attempts=2", "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert not Path("run").exists()
    assert shown.count(told) == 1
    # No sample is right, so there is no trace.
    assert drive_job.main([*argv, "--attempts=2"], lambda _: "It is <answer>7</answer>") == 1
    assert capsys.readouterr().out.count(told.partition("(")[0]) == 1
    _, chat = look(folder, out="run")
    prompts = {chat.render(cast("list[Message]", row["prompt"])) for row in rows_of(tmp_path / "run")}
    assert len(prompts) == 2, "one for each question"
    for prompt in prompts:
        assert prompt.startswith(f"<|endoftext|>{begins.format(VARIANTS['original'].system)}")
        assert prompt.endswith("<start_of_turn>model\n")
    assert sum(prompt in shown for prompt in prompts) == 1, "the first"
