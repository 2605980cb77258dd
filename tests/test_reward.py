"""The reward that RL training gets: our grades as numbers, whatever a model writes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.reward import compute_score, compute_score_batch, replies_of, reward, truth_of
from assembly.reward import score as slime_score
from generation.grading import GRADERS, grade
from generation.records import Question
from tests.test_grading_hostile import ANSWERS, RESPONSES

COUNTDOWN = Question(
    "?", "3 * 7 + 4", "countdown_3arg", "made", "countdown", "equation", {"numbers": [3, 7, 4], "target": 25}
)
OWN = Question("?", "1,000", "sums", "a file", "answer", "number")

NUMBER = Question("?", "1000", "gsm8k", "a hub", "number", "number")
CHOICE = Question("?", "B", "quiz", "a file", "choice", "letter", {"choices": {"A": "Rome", "B": "Paris"}})
EXACT = Question("?", "Paris", "capitals", "a file", "exact", "text")
WORD = Question(
    "?", "star", "acronym_4o", "made", "word", "word", {"letters": "stxar", "min_length": 4, "in_order": True}
)
MATH = Question("?", r"\frac{x+1}{2}", "math500", "a hub", "math", "expression")
_SUM = {"question": "1 + 2?", "answer": "3", "metadata": {}}
GYM = Question("?", "3", "gym", "made", "gym", "answer", {"generator": "chain_sum", "entry": _SUM})

CASES = [
    (NUMBER, "<answer>$1,000.00</answer>", 1.0),
    (NUMBER, "<answer>1000 or 1001</answer>", 0.0),
    (CHOICE, "<answer>(b) Paris</answer>", 1.0),
    (CHOICE, "<answer>Rome</answer>", 0.0),
    (EXACT, "<answer>**paris**</answer>", 1.0),
    (EXACT, "<answer>Rome</answer>", 0.0),
    (WORD, "<answer>STAR</answer>", 1.0),
    (WORD, "<answer>rats</answer>", 0.0),
    (MATH, "<answer>$0.5 + x/2$</answer>", 1.0),
    (MATH, "<answer>$0.5 + x$</answer>", 0.0),
    (GYM, "<answer>3</answer>", 1.0),
    (GYM, "<answer>4</answer>", 0.0),
    (COUNTDOWN, "<answer>3 * 7 + 4</answer>", 1.0),
    (COUNTDOWN, "<answer>4 + 7 * 3 = 25</answer>", 1.0),
    (COUNTDOWN, "<think><answer>3 + 7</answer></think>\n<answer>\n(3 * 7) + 4\n</answer>", 1.0),
    (COUNTDOWN, "<think><answer>3 * 7 + 4</answer></think>\n<answer>3 + 7</answer>", 0.0),
    (COUNTDOWN, "<think><sample><answer>3 * 7 + 4</answer></sample>", 0.0),  # cut in its thought: a run finds no answer
    (COUNTDOWN, "<think><answer>3 * 7 + 4</answer></think>", 0.0),
    (COUNTDOWN, "<answer>3 + 7</answer></think><answer>3 * 7 + 4</answer>", 1.0),  # opened by the template
    (COUNTDOWN, "<answer>(3 * 7) + 4</answer> no: <answer>3 + 7</answer>", 0.0),
    (COUNTDOWN, "<answer>25</answer>", 0.0),
    (COUNTDOWN, "<answer>what is asked for</answer>", 0.0),
    (COUNTDOWN, "<answer></answer>", 0.0),
    (COUNTDOWN, "3 * 7 + 4", 0.0),
    (COUNTDOWN, "<answer>3 * 7 + 4", 0.0),
    (COUNTDOWN, "", 0.0),
    (OWN, "<answer>1000</answer>", 1.0),
    (OWN, "<answer>**1,000.0**</answer>", 1.0),
    (OWN, "<answer>1001</answer>", 0.0),
    (OWN, "1000", 0.0),
]
HOSTILE = [*RESPONSES.values(), *(f"<answer>{answer}</answer>" for answer in ANSWERS.values())]


@pytest.mark.parametrize(("question", "response", "score"), CASES)
def test_one_where_the_answer_is_right_else_zero(question: Question, response: str, score: float) -> None:
    assert compute_score(question.task, response, truth_of(question)) == score
    assert (
        compute_score(question.task, response, truth_of(question), {"index": 3, "rollout_reward_scores": {}}) == score
    )


def test_what_cannot_be_compared_in_time_scores_zero() -> None:
    assert compute_score("?", "<answer>9^{9^{9^{9}}}</answer>", truth_of(MATH)) == 0.0


def test_every_grader_can_reward() -> None:
    assert {question.grader for question, _, score in CASES if score} == set(GRADERS)


def test_a_batch_is_scored_in_its_order_from_what_verl_passes() -> None:
    """Its batch manager passes a list of responses beside numpy arrays of objects."""
    tasks = np.array([question.task for question, _, _ in CASES], dtype=object)
    extras = np.array([{"index": index} for index in range(len(CASES))], dtype=object)
    scores = compute_score_batch(
        data_sources=tasks,
        solution_strs=[response for _, response, _ in CASES],
        ground_truths=[truth_of(question) for question, _, _ in CASES],
        extra_infos=extras,
    )
    assert scores == [score for _, _, score in CASES]
    assert all(type(score) is float for score in scores)
    assert compute_score_batch([], [], []) == []


def test_completions_may_be_texts_or_turns_and_truths_a_column_or_in_one() -> None:
    texts, truths = [response for _, response, _ in CASES], [truth_of(question) for question, _, _ in CASES]
    turns = [[{"role": "assistant", "content": text}] for text in texts]
    whole = [{"style": "rule", "ground_truth": truth} for truth in truths]
    scores = [score for _, _, score in CASES]
    assert reward(texts, ground_truth=truths, trainer_state=None) == scores
    assert reward(turns, reward_model=whole, data_source=["x"] * len(whole)) == scores
    assert reward(completions=texts, reward_model=truths) == scores
    with pytest.raises(ValueError, match="2 completions and 0 truths: the rows need a column ground_truth"):
        reward(texts[:2], solution=truths[:2])


def test_samples_of_slime() -> None:
    samples = [SimpleNamespace(response=response, label=truth_of(question)) for question, response, _ in CASES]
    scores = [score for _, _, score in CASES]
    assert asyncio.run(slime_score(None, samples)) == scores
    assert [asyncio.run(slime_score(None, one, evaluation=True)) for one in samples] == scores
    samples[0].label = {"style": "rule", "ground_truth": samples[0].label}
    assert asyncio.run(slime_score(None, samples[0])) == scores[0]


def test_what_was_written_after_a_prompt() -> None:
    prompt = "<|im_start|>user\nSay <answer>1</answer>.<|im_end|>\n<|im_start|>assistant\n"
    for reply in ("<answer>7</answer>", f"{prompt}<answer>7</answer>", ""):
        assert replies_of([f"{prompt}{reply}<|im_end|>\n"], [prompt]) == [reply]
    long = "x" * 500 + prompt
    assert replies_of([long[100:] + "It is 7"], [long]) == ["It is 7"], "the prompt was cut"
    with pytest.raises(ValueError, match="does not begin with its prompt"):
        replies_of(["another"], [prompt])


def test_a_batch_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compute_score_batch(["a", "a"], ["", ""], [truth_of(OWN)])


@pytest.mark.parametrize(
    "question", [COUNTDOWN, OWN, NUMBER, CHOICE, EXACT, WORD], ids=lambda question: question.grader
)
def test_hostile_responses_score_zero_and_soon(question: Question) -> None:
    started = time.process_time()
    scores = compute_score_batch(["?"] * len(HOSTILE), HOSTILE, [truth_of(question)] * len(HOSTILE))
    assert scores == [0.0] * len(HOSTILE)
    assert time.process_time() - started < 0.05 * len(HOSTILE)


@given(st.text() | st.text("0123456789+-*/()=. \n").map(lambda text: f"<answer>{text}</answer>"))
def test_any_text_is_scored_as_it_is_graded(response: str) -> None:
    for question in (COUNTDOWN, OWN):
        right = grade(response, question, "stop").outcome == "right"
        assert compute_score("", response, truth_of(question)) == float(right)


@given(st.text("abcxyzäß漢ﷺ0123456789 ", min_size=1).filter(str.strip))
def test_any_gold_answer_gets_its_reward(answer: str) -> None:
    question = replace(OWN, answer=answer)
    assert compute_score(question.task, f"So it is <answer>{answer}</answer>.", truth_of(question)) == 1.0


@pytest.mark.parametrize(
    "truth",
    [
        "3 * 7 + 4",
        "",
        "[]",
        "null",
        '"text"',
        "{}",
        json.dumps({"answer": "1", "facts": {}}),
        json.dumps({"answer": "1", "facts": {}, "grader": "another"}),
        json.dumps({"answer": "1", "facts": {}, "grader": ["countdown"]}),
        json.dumps({"answer": "1", "facts": {"target": 25}, "grader": "countdown"}),
        json.dumps({"answer": "1", "facts": None, "grader": "countdown"}),
        *(json.dumps({"answer": 1, "facts": {}, "grader": grader}) for grader in sorted(GRADERS)),
        json.dumps({"answer": "star", "facts": {"letters": "star"}, "grader": "word"}),
        json.dumps({"answer": "B", "facts": {"choices": ["Rome", "Paris"]}, "grader": "choice"}),
    ],
)
def test_a_ground_truth_of_another_dataset_is_refused(truth: str) -> None:
    """Zeros for all would look like a model that learns nothing."""
    with pytest.raises(ValueError, match="not from an RL_DATA of this project"):
        compute_score("countdown_3arg", "<answer>3 * 7 + 4</answer>", truth)


def test_scores_are_the_same_in_threads() -> None:
    """verl's reward loop asks from the threads of an executor, where no alarm can be set."""
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(compute_score, "", response, truth_of(question)) for question, response, _ in CASES * 20]
    assert [answer.result() for answer in asked] == [score for _, _, score in CASES * 20]


def test_only_the_standard_library_is_needed() -> None:
    """Whoever trains installs this without its dependencies. multiprocessing calls the main module by a second name."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import assembly.reward\n"
        "ours = {'assembly', 'cluster', 'generation', 'reflection', '__main__', '__mp_main__'}\n"
        "print({name.split('.')[0] for name in sys.modules} - ours - sys.stdlib_module_names)"
    )
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, root], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.returncode) == ("set()\n", 0), done.stderr
