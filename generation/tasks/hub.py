"""Tasks whose questions lie on the hub: where, at which commit, and how a row becomes a question.

The commits are those that public work pins for these repositories. GPQA is behind terms that are accepted on
its page; a login is the hub client's own affair.
"""

import random
import re
from typing import Any

from generation.grading.text import boxed
from generation.records import stable_hash
from generation.tasks.hub_rows import Place
from generation.tasks.loaded import Loaded, Row, lettered, with_choices
from generation.tasks.task import HEADER, Dropped, Problem

_WHOLE = re.compile(r"(-?[0-9]+)\.0+")
_TURNS = "conversations"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Dropped("no question or answer text")
    return value.strip()


def _problem(question: Any, answer: Any) -> Problem:
    """Take both as texts; a whole number that the file keeps as a float, without its point."""
    gold = "" if answer is None else str(answer).strip()
    whole = _WHOLE.fullmatch(gold)
    return Problem(HEADER + _text(question), _text(whole[1] if whole else gold))


def _gsm8k(row: Row) -> Problem:
    _, mark, gold = _text(row["answer"]).rpartition("####")
    if not mark:
        raise Dropped("no answer after ####")
    return _problem(row["question"], gold.replace(",", ""))


def _commonsense(row: Row) -> Problem:
    listed = row["choices"]
    if isinstance(listed, list):  # rows of label and text, as some readers give them
        listed = {name: [one[name] for one in listed] for name in ("label", "text")}
    labels = list(listed["label"])
    if row["answerKey"] not in labels:  # of the test split, which keeps its answers back
        raise Dropped("no answerKey")
    return _choice(_text(row["question"]), list(listed["text"]), labels.index(row["answerKey"]))


def _gpqa(row: Row) -> Problem:
    """Shuffle the options, of which the right one comes first in the file, the same way in every run."""
    question = _text(row["Question"])
    texts = [_text(row[name]) for name in ("Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))]
    order = list(range(len(texts)))
    random.Random(stable_hash("gpqa", question)).shuffle(order)
    return _choice(question, [texts[place] for place in order], order.index(0))


def _choice(question: str, texts: list[str], right: int) -> Problem:
    try:
        found = lettered(texts)
    except ValueError as error:
        raise Dropped(str(error)) from error
    return Problem(HEADER + with_choices(question, found), list(found)[right], {"choices": found})


def _openthoughts(row: Row) -> Problem:
    turns = [(turn.get("from") or turn.get("role"), turn.get("value") or turn.get("content")) for turn in row[_TURNS]]
    asked = next((text for speaker, text in turns if speaker in ("human", "user")), "")
    responses = [text for speaker, text in turns if speaker in ("gpt", "assistant")]
    _, thought, after = (responses[-1] if responses else "").rpartition("</think>")
    if not thought:
        raise Dropped("no </think>")
    found = [answer for answer in boxed(after) if answer]
    if not found:
        raise Dropped(r"no \boxed{} after </think>")
    if len({"".join(answer.split()) for answer in found}) > 1:
        raise Dropped(r"several different \boxed{}")
    return _problem(asked, found[-1])


LOADED = (
    Loaded(
        name="gsm8k",
        line="grade-school arithmetic in words",
        grader="number",
        answer_type="value",
        place=Place("openai/gsm8k", "main", "train", "740312add88f781978c0658806c59bc2815b9866"),
        columns=("question", "answer"),
        read=_gsm8k,
        sample={
            "question": "A box holds 12 pens. How many pens do 3 boxes hold?",
            "answer": "Each box holds 12 pens, so 3 boxes hold 3 * 12 = <<3*12=36>>36 pens.\n#### 36",
        },
    ),
    Loaded(
        name="commonsenseQA",
        line="everyday knowledge, five choices",
        grader="choice",
        answer_type="choice",
        place=Place("tau/commonsense_qa", None, "train", "94630fe30dad47192a8546eb75f094926d47e155"),
        columns=("question", "choices", "answerKey"),
        read=_commonsense,
        sample={
            "question": "Where would you keep milk cold?",
            "choices": {"label": list("ABCDE"), "text": ["oven", "refrigerator", "shelf", "cupboard", "car"]},
            "answerKey": "B",
        },
    ),
    Loaded(
        name="math500",
        line="500 competition problems of MATH",
        grader="math",
        answer_type="value or expression",
        place=Place("HuggingFaceH4/MATH-500", None, "test", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"),
        columns=("problem", "answer"),
        read=lambda row: _problem(row["problem"], row["answer"]),
        sample={"problem": r"Write $\frac{6}{8}$ in lowest terms.", "answer": r"\frac{3}{4}"},
    ),
    Loaded(
        name="aime25",
        line="the 30 problems of AIME 2025",
        grader="number",
        answer_type="value",
        place=Place("math-ai/aime25", None, "test", "563bb8404243c5f09de6ec262f2db674fe5bce9b"),
        columns=("problem", "answer"),
        read=lambda row: _problem(row["problem"], row["answer"]),
        sample={"problem": "Find the number of positive divisors of $360$.", "answer": "24"},
    ),
    Loaded(
        name="amc23",
        line="40 problems of AMC 12, 2023",
        grader="number",
        answer_type="value",
        place=Place("math-ai/amc23", None, "test", "80815d37005feb82cd7f8fbc6901d5d3eff43057"),
        columns=("question", "answer"),
        read=lambda row: _problem(row["question"], row["answer"]),
        sample={"question": "What is the sum of the first 10 odd numbers?", "answer": "100"},
    ),
    Loaded(
        name="gpqa",
        line="198 graduate questions of science, four choices",
        grader="choice",
        answer_type="choice",
        place=Place("Idavidrein/gpqa", "gpqa_diamond", "train", "633f5ee89ab8ad4522a9f850766b73f62147ffdd"),
        columns=("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
        read=_gpqa,
        sample={
            "Question": "Which particle carries the electromagnetic force?",
            "Correct Answer": "the photon",
            "Incorrect Answer 1": "the gluon",
            "Incorrect Answer 2": "the W boson",
            "Incorrect Answer 3": "the neutrino",
        },
    ),
    Loaded(
        name="openthoughts",
        line="problems of OpenThoughts3 with a boxed answer",
        grader="math",
        answer_type="value or expression",
        place=Place("open-thoughts/OpenThoughts3-1.2M", None, "train", "61bcf9d4eb38b30295efc2021227a63cc5bb34c8"),
        columns=(_TURNS,),
        read=_openthoughts,
        sample={
            _TURNS: [
                {"from": "human", "value": "Solve $2x + 3 = 10$ for $x$."},
                {"from": "gpt", "value": r"<think>2x is 7.</think>So $x = \boxed{\frac{7}{2}}$."},
            ]
        },
        # 28 GB in all: only as many files as the questions need are fetched
        files=tuple(f"data/train-{number:05}-of-00120.parquet" for number in range(120)),
        usual=10_000,
    ),
)
