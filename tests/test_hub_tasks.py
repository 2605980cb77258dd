"""Tasks of the hub: small datasets of the same shape as the real ones, through the real client and `datasets`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from generation.grading.text import boxed
from generation.tasks.loaded import HUB_TASKS
from generation.tasks.task import Dropped
from tests import hub_datasets
from tests.hub_datasets import BY_NAME, ROWS, parquet, put, thought
from tests.hub_state import Fault, Hub, Repository
from tests.hub_user import User
from tests.rows import check_rows

SEVEN = ("gsm8k", "commonsenseQA", "math500", "aime25", "amc23", "gpqa", "openthoughts")
MIXTURE = "--task=" + ",".join(f"{name}:6" for name in SEVEN)


def asked(user: User, *flags: str, **environment: str) -> dict[str, Any]:
    done = user.run("tests.ask_task", *flags, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def refused(user: User, *flags: str, **environment: str) -> str:
    done = user.run("tests.ask_task", *flags, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def full(hub: Hub) -> Hub:
    for make in hub_datasets.ALL.values():
        make(hub)
    return hub


def test_the_seven_are_there_each_at_a_commit() -> None:
    assert tuple(BY_NAME) == SEVEN == tuple(hub_datasets.ALL)
    for loaded in HUB_TASKS:
        assert loaded.place.revision is not None
        assert len(bytes.fromhex(loaded.place.revision)) == 20


def test_every_task_of_the_hub_with_and_then_without_the_hub(full: Hub, user: User) -> None:
    said = asked(user, MIXTURE)
    assert said["name"].startswith("mix-of-7-"), "short enough for the hub"
    for name in SEVEN:
        check(name, said)
    notes = "\n".join(said["notes"])
    assert "gsm8k: 1 of 10 rows give no question: no answer after #### (1)" in notes
    assert "gpqa: 1 of 11 rows give no question: two choices that are the same (1)" in notes
    assert asked(user, MIXTURE) == said
    assert asked(user, MIXTURE, HF_HUB_OFFLINE="1") == said
    full.repositories.clear()
    assert "gsm8k" in refused(user, MIXTURE)


GRADERS = {"gsm8k": "number", "commonsenseQA": "choice", "gpqa": "choice", "aime25": "number", "amc23": "number"}


def check(name: str, said: dict[str, Any]) -> None:
    """Six questions for SFT and one for RL, each with the gold answer that its row gives."""
    sft, rl = ([question for question in said[kind] if question["task"] == name] for kind in ("sft", "rl"))
    assert (len(sft), len(rl)) == (6, 1), name
    assert len({question["key"] for question in (*sft, *rl)}) == 7
    place = BY_NAME[name].place
    config = said["config"]["tasks"][name]
    assert (config["dataset"], config["revision"]) == (place.repository, place.revision)
    assert (config["questions"], config["rl_questions"]) == (6, 1)
    for question in (*sft, *rl):
        assert question["grader"] == GRADERS.get(name, "math")
        assert question["source"] == place.repository
        problem = question["text"].split("# Problem\n")[1]
        assert gold(name, problem, question["facts"]) == question["answer"], (name, question)


def gold(name: str, problem: str, facts: dict[str, Any]) -> str:
    """The right answer by the question's own text: the made-up rows say it."""
    number = next((int(word) for word in problem.replace(".", " ").replace("$", " ").split() if word.isdigit()), -1)
    if name in ("commonsenseQA", "gpqa"):
        listed = {line[0]: line[3:] for line in problem.splitlines() if line[1:2] == ")"}
        assert facts == {"choices": listed}
        assert problem.endswith("\n\nAnswer with the letter of the right choice.")
        if name == "commonsenseQA":
            return "ABCDE"[int(problem.split("thing ")[1].split("?")[0]) % 5]
        (right,) = (letter for letter, text in listed.items() if text.startswith("right"))
        return right
    assert facts == {}
    return {
        "gsm8k": f"{1000 + number}",
        "math500": rf"\left( {problem[12:].split(')')[0]}, \frac{{\pi}}{{2}} \right)",
        "aime25": f"{60 + number}",
        "amc23": f"{number}",
        "openthoughts": "0" if "all ask" in problem else rf"\frac{{{number}}}{{2}}",
    }[name]


def test_a_small_dataset_is_asked_whole_and_a_fifth_held_out(full: Hub, user: User) -> None:
    said = asked(user, "--task=aime25")
    assert (len(said["sft"]), len(said["rl"]), said["name"]) == (8, 2, "aime25")
    other = asked(user, "--task=aime25", "--questions=5", "--rl_questions=2", "--seed=9")
    assert [question["key"] for question in other["rl"]] == [question["key"] for question in said["rl"]]
    assert {question["key"] for question in other["sft"]} < {question["key"] for question in said["sft"]}
    for count in ("9", "11"):
        told = refused(user, "--task=aime25", f"--questions={count}", "--rl_questions=2")
        assert f"aime25 (dataset math-ai/aime25) has {ROWS} questions: {count} for SFT and 2 for RL are more" in told


def test_only_as_many_files_as_are_needed_are_fetched(full: Hub, user: User) -> None:
    asked(user, "--task=openthoughts:3")
    few = full.count(r"GET /datasets/open-thoughts/.*\.parquet")
    assert 0 < few < 20
    done = user.run("tests.ask_few", "3", "30")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"has only \d SFT questions of the 30 wanted: ask for fewer with --questions\n$", done.stderr)


def test_what_the_hub_does_not_hold_is_told_in_one_line(hub: Hub, user: User) -> None:
    told = refused(user, "--task=gsm8k")
    assert "--task gsm8k: dataset openai/gsm8k:main is not here, and the hub has none of this name" in told
    hub_datasets.gsm8k(hub)
    repository = hub.repositories["openai/gsm8k"]
    repository.commits = ["1" * 40]
    assert "openai/gsm8k:main is not here, and the hub says" in refused(user, "--task=gsm8k")
    repository.commits = [BY_NAME["gsm8k"].place.revision or ""]
    del repository.files["README.md"]
    assert "has no configuration 'main', only default" in refused(user, "--task=gsm8k")
    put(hub, "aime25", {"test.jsonl": b'{"Problem": "1?", "Answer": "1"}\n'})
    assert "has no column 'problem', only Problem, Answer: is it another version?" in refused(user, "--task=aime25")
    put(hub, "amc23", {"test.parquet": parquet([{"question": "", "answer": None}])})
    told = refused(user, "--task=amc23")
    assert "gives no questions: 1 of 1 rows give no question: no question or answer text (1)" in told


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(user: User) -> None:
    told = refused(user, "--task=gsm8k", HF_ENDPOINT="http://127.0.0.1:9")
    assert "--task gsm8k: dataset openai/gsm8k:main is not here, and the hub cannot be reached" in told
    assert "HF_HUB_OFFLINE keeps us" in refused(user, "--task=openthoughts", HF_HUB_OFFLINE="1")
    assert "is not in the hub's cache of this machine" in refused(user, "--task=gsm8k", HF_HUB_OFFLINE="1")


def test_terms_that_were_not_accepted_are_told(hub: Hub, user: User) -> None:
    """Of such a repository everyone sees what it is; its files are kept back."""
    hub_datasets.gpqa(hub)
    hub.faults.append(Fault("/Idavidrein/gpqa/resolve/", status=403, headers={"X-Error-Code": "GatedRepo"}))
    told = refused(user, "--task=gpqa")
    assert "Visit the dataset page" in told
    assert "Idavidrein/gpqa" in told


def test_a_cache_of_another_commit_does_not_count(hub: Hub, user: User) -> None:
    hub_datasets.aime25(hub)
    held = hub.repositories["math-ai/aime25"]
    held.commits = ["2" * 40]
    asked(user, "--questions=math-ai/aime25", "--question_column=problem", "--split=test")
    told = refused(user, "--task=aime25", HF_HUB_OFFLINE="1")
    assert f"the cache on this machine holds {'2' * 40} alone" in told


# ---- your own dataset on the hub


def test_your_own_hub_dataset_is_read_at_a_commit(hub: Hub, user: User) -> None:
    rows = [{"q": f"{n} + {n}?", "gold": 2 * n} for n in range(10)]
    files = {f"{name}/{split}.parquet": parquet(rows) for name in ("small", "large") for split in ("train", "dev")}
    named = [(name, {split: f"{name}/{split}.parquet" for split in ("train", "dev")}) for name in ("small", "large")]
    files["README.md"] = hub_datasets.card(*named)
    hub.repositories["me/sums"] = Repository(private=False, files=files, commits=["3" * 40])
    columns = ("--question_column=q", "--answer_column=gold", "--grader=number")
    said = asked(user, "--questions=me/sums:small", "--split=dev", *columns)
    assert (len(said["sft"]), len(said["rl"]), said["name"]) == (8, 2, "me_sums")
    assert {question["text"]: question["answer"] for question in said["sft"]}.items() <= {
        f"{n} + {n}?": str(2 * n) for n in range(10)
    }.items()
    assert said["sft"][0]["grader"] == "number"
    expected = {"questions": "me/sums:small", "split": "dev", "revision": "3" * 40, "grader": "number"}
    assert said["config"] == {**expected, "question_column": "q", "answer_column": "gold"}
    assert asked(user, "--questions=me/sums:small", "--split=dev", *columns, HF_HUB_OFFLINE="1") == said
    pinned = asked(user, f"--questions=me/sums:small@{'3' * 40}", "--split=dev", *columns)
    assert pinned["config"]["revision"] == "3" * 40
    assert "column 'question': name the right one with --question_column, of q, gold" in refused(
        user, "--questions=me/sums:small"
    )
    assert "has no split 'test': give one of train, dev with --split" in refused(
        user, "--questions=me/sums:small", "--split=test"
    )
    assert "is not here" in refused(user, f"--questions=me/sums:small@{'4' * 40}", *columns)


# ---- how a row is read


def problem(name: str, row: dict[str, Any]) -> tuple[str, str]:
    read = BY_NAME[name].read(row)
    return read.text.split("# Problem\n")[1], read.answer


def test_the_last_boxed_answer_after_the_thought() -> None:
    def check(response: str, answer: str) -> None:
        assert problem("openthoughts", thought("How many?", response)) == ("How many?", answer)

    check_rows(
        check,
        [
            (r"<think>\boxed{1}</think>So \boxed{2}.", "2"),
            (r"<think></think>\boxed{ 3 } and once more \boxed{3}", "3"),
            (r"<think></think>$\boxed{\frac{1}{2}}$ = \boxed{\frac{1} {2}}", r"\frac{1} {2}"),
            (r"</think>\boxed{4}</think>\boxed{5}", "5"),
            (r"</think>\boxed {\{6\}}", r"\{6\}"),
            (r"</think>\boxed{\text{a \boxed{7}}}", r"\text{a \boxed{7}}"),
            (r"</think>\boxed{8} and \boxed{", "8"),
            (r"</think>\boxed{} and \boxed{9}", "9"),
        ],
    )


def test_a_row_that_gives_no_question() -> None:
    def check(name: str, row: dict[str, Any], reason: str) -> None:
        with pytest.raises(Dropped, match=f"^{re.escape(reason)}$"):
            problem(name, row)

    check_rows(
        check,
        [
            ("openthoughts", thought("?", r"\boxed{1}"), "no </think>"),
            ("openthoughts", thought("?", r"<think>\boxed{1}</think>done"), r"no \boxed{} after </think>"),
            ("openthoughts", thought("?", r"</think>\boxed{}"), r"no \boxed{} after </think>"),
            ("openthoughts", thought("?", r"</think>\boxed{1} or \boxed{2}"), r"several different \boxed{}"),
            ("openthoughts", thought("", r"</think>\boxed{1}"), "no question or answer text"),
            ("openthoughts", {"conversations": []}, "no </think>"),
            ("gsm8k", {"question": "?", "answer": "7"}, "no answer after ####"),
            ("gsm8k", {"question": "?", "answer": "#### "}, "no question or answer text"),
            ("gsm8k", {"question": None, "answer": "#### 1"}, "no question or answer text"),
            (
                "commonsenseQA",
                {"question": "?", "choices": {"label": ["A"], "text": ["a"]}, "answerKey": ""},
                "no answerKey",
            ),
            (
                "commonsenseQA",
                {"question": "?", "choices": {"label": ["A", "B"], "text": ["a", " "]}, "answerKey": "A"},
                "an empty choice",
            ),
        ],
    )


def test_the_gold_answer() -> None:
    def check(name: str, row: dict[str, Any], answer: str) -> None:
        assert problem(name, row) == ("?", answer)

    check_rows(
        check,
        [
            ("gsm8k", {"question": "?", "answer": "a #### b\n#### 1,234"}, "1234"),
            ("gsm8k", {"question": "?", "answer": "#### -3.50"}, "-3.50"),
            ("amc23", {"question": "?", "answer": 27.0}, "27"),
            ("amc23", {"question": "?", "answer": "-27.0"}, "-27"),
            ("aime25", {"problem": "?", "answer": 70}, "70"),
            ("math500", {"problem": "?", "answer": r"\text{Evelyn}"}, r"\text{Evelyn}"),
        ],
    )


def test_the_options_of_gpqa_are_shuffled_the_same_way_each_time() -> None:
    places = set()
    for number in range(40):
        row = {"Question": f"Q{number}?", "Correct Answer": "yes"}
        row |= {f"Incorrect Answer {place}": f"no {place}" for place in (1, 2, 3)}
        read = BY_NAME["gpqa"].read(row)
        assert read == BY_NAME["gpqa"].read(row)
        assert read.facts["choices"][read.answer] == "yes"
        places.add(read.answer)
    assert places == set("ABCD")


def test_both_forms_of_the_options_of_commonsense() -> None:
    listed = [{"label": "A", "text": "sun"}, {"label": "B", "text": "moon"}]
    columns = {"label": ["A", "B"], "text": ["sun", "moon"]}
    one, other = (
        problem("commonsenseQA", {"question": "What shines?", "choices": given, "answerKey": "B"})
        for given in (listed, columns)
    )
    assert one == other == ("What shines?\n\nA) sun\nB) moon\n\nAnswer with the letter of the right choice.", "B")


def test_a_box_in_time_that_grows_with_the_text_alone() -> None:
    assert boxed(r"\boxed{" * 100_000) == []
    assert boxed(r"\boxed{1}" * 1000) == ["1"] * 1000
    assert boxed("{" * 100_000 + "}" * 100_000) == []
