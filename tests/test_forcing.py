"""Budget forcing: where a reply is cut, by its own form, and how an answer is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.inference.engine import Completion, Message, Sampling
from cluster.inference.prompts import PromptEncoder
from cluster.inference.thoughts import part
from cluster.inference.tokenizer import ChatFormat, ChatTokenizer
from generation.builtin import MODEL
from generation.evaluation.forcing import ANSWER_TOKENS, Forcing, ask_for_answer, cut

TEMPLATES = Path(__file__).parent / "tables" / "chat_templates"
FORCING = Forcing(4096, 8192)
TRACE = "<think>\n<sample>\nI try.\n</sample>\n<reflect>\nNo.\n</reflect>\n</think>\n\n<answer>\n1\n</answer>"


def written(text: str) -> Completion:
    parted = part(text)
    return Completion(parted.reply, "stop", thought=parted.thought, written=text, spans=parted.spans)


@pytest.mark.parametrize(
    ("text", "kept", "trigger"),
    [
        (TRACE, TRACE.partition("</think>")[0], "<sample>\n"),
        # cut at the limit, in a sample
        (TRACE[:28], "<think>\n<sample>\nI try.\n</sa\n", "<sample>\n"),
        # a trace without a frame
        (TRACE.replace("<think>\n", "").replace("</think>\n\n", ""), TRACE[8:].partition("</think>")[0], "<sample>\n"),
        ("<think>\nIt is 7.\n</think>\n\n7", "<think>\nIt is 7.\n", "Wait"),
        ("<think>\nIt is", "<think>\nIt is\n", "Wait"),
        ("It is <answer>7</answer>", "It is <answer>7</answer>\n", "Wait"),
        ("", "", "Wait"),
    ],
)
def test_the_form_of_a_reply_decides(text: str, kept: str, trigger: str) -> None:
    found = cut(written(text), FORCING)
    assert (found.kept, found.trigger) == (kept, trigger)
    assert found.begun == kept + trigger


@pytest.mark.parametrize("template", ["qwen3", "deepseek-r1", "qwen2.5", "llama3"])
def test_nothing_stands_between_a_prompt_and_what_was_begun(template: str) -> None:
    """Templates that are told of a begun thought as of a turn put an empty one before it (findings/)."""
    source = (TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8")
    chat = ChatTokenizer(str(MODEL), None, ChatFormat(source))
    asked = (Message(role="user", content="2 + 2?"),)
    begun = cut(written("<think>\nIt is"), FORCING).begun
    encoded = PromptEncoder(chat).encode(asked, begun)
    assert chat.decode(encoded.ids) == chat.reread(chat.render(asked)) + begun
    assert encoded.ids[: len(chat.encode(asked))] == chat.encode(asked)


def test_the_users_trigger_and_the_models_mark() -> None:
    assert cut(written(TRACE), FORCING._replace(trigger="Hold on,")).trigger == "Hold on,"
    marked = FORCING._replace(mark="<think>")
    assert cut(written("It is 7."), marked).begun == "It is 7.\n<think>\n"
    assert cut(written("<think>\nIt is 7.\n</think>\n\n7"), marked).trigger == "Wait"


@pytest.mark.parametrize(
    ("text", "places", "begun"),
    [
        ("I do not know.", ("tag",), "I do not know.\n\n<answer>\n"),
        ("<think>\nIt is", ("tag",), "<think>\nIt is\n</think>\n\n<answer>\n"),
        (TRACE[:28], ("boxed", "tag"), "<think>\n<sample>\nI try.\n</sa\n</think>\n\n\\boxed{"),
        ("So.", ("last_line",), "So.\n\nThe answer is "),
        ("", ("tag",), "<answer>\n"),
    ],
)
def test_an_answer_is_asked_for_where_answers_stand(text: str, places: tuple[str, ...], begun: str) -> None:
    asked = ask_for_answer(written(text), places, Sampling(max_tokens=8192, more={"min_tokens": 500}), "")
    assert asked is not None
    assert asked[0] == begun
    assert asked[1].max_tokens == ANSWER_TOKENS
    assert "min_tokens" not in asked[1].more


def test_no_answer_is_asked_for_where_that_is_impossible() -> None:
    assert ask_for_answer(written("x"), (r"= (\d+)",), Sampling(), "") is None
    other = Completion("", "length", thought="It", written="[THINK]It", spans=((0, 10),))
    assert ask_for_answer(other, ("tag",), Sampling(), "") is None
    assert ask_for_answer(other, ("tag",), Sampling(), "<think>") is not None
