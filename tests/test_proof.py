"""`benchmarks.proof`: what a step of training is, what counts as proven, and that the whole runs, killed on its way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.proof.__main__ import main
from benchmarks.proof.grpo import Group, Plan, State, Training, figures, order, questions_in
from benchmarks.proof.plan import ARMS, CLAIMS, SMOKE, TRAINED_TASK
from benchmarks.proof.policy import Policy, Row, cosine, save_weights, warmed
from benchmarks.proof.questions import write_questions
from benchmarks.proof.results import joined, judged, result_of
from benchmarks.proof.sampler import Asked, opened
from benchmarks.proof.sft import batches
from benchmarks.proof.table import draw, markdown
from cluster.inference.engine import Completion, Message
from generation.builtin import EVALUATION_QUESTIONS, MODEL
from generation.records import Question
from generation.tasks.countdown import facts_of, identity
from tests.assembly_rows import write_parquet

ROOT = Path(__file__).parents[1]
GRADED = {"data_source": "skillfactory/countdown", "reward_model": {"style": "rule", "ground_truth": "{}"}}


def sample(*ids: int, thought: str | None = None) -> Completion:
    return Completion("", "stop", 3, len(ids), thought=thought, ids=ids)


def test_advantages_are_of_the_group_and_a_group_without_contrast_is_dropped() -> None:
    group = Group([1, 2], [sample(5), sample(6, 7), sample(8), sample(9)], [1.0, 0.0, 0.0, 0.0])
    rows = group.rows()
    assert [row.ids for row in rows] == [[1, 2, 5], [1, 2, 6, 7], [1, 2, 8], [1, 2, 9]]
    assert {row.start for row in rows} == {2}
    assert [round(row.weight, 3) for row in rows] == [1.732, -0.577, -0.577, -0.577]
    assert Group([1], [sample(5), sample(6)], [1.0, 1.0]).rows() == []


def test_a_step_is_told_by_what_its_samples_were_like() -> None:
    trace = "<sample>\n1\n</sample>\n<reflect>\nno\n</reflect>\n<sample>\n2\n</sample>\n"
    told = figures([Group([1], [sample(5, 6, thought=trace), sample(7)], [1.0, 0.0]), Group([1], [sample(5)], [1.0])])
    assert told == {
        "reward": pytest.approx(2 / 3),
        "contrast": 0.5,
        "traces": pytest.approx(1 / 3),
        "attempts": 2,
        "cut": 0,
        "length": pytest.approx(4 / 3),
    }


def test_all_questions_are_asked_before_any_is_asked_again() -> None:
    asked = [place for first in range(0, 30, 3) for place in order(10, first, 3, seed=1)]
    assert [sorted(asked[at : at + 10]) for at in (0, 10, 20)] == [list(range(10))] * 3
    assert asked[:10] != asked[10:20]
    assert asked[:10] != order(10, 0, 10, seed=2)


def test_the_learning_rate_rises_and_falls() -> None:
    assert [warmed(step, 5) for step in range(7)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])
    assert [cosine(share, 1.0, 0.2) for share in (0, 0.5, 1, 1.1)] == pytest.approx([1, 0.6, 0.2, 0.2])


def test_the_loss_is_each_tokens_weight_times_what_the_model_itself_says_of_it() -> None:
    policy = Policy(MODEL, 1e-3)
    rows = [Row([3, 5, 7, 9, 11], 2, 0.5), Row([4, 6, 8], 1, -0.25)]
    wanted = 0.0
    with torch.no_grad():
        for row in rows:
            said = policy.model(torch.tensor([[*row.ids]])).logits[0].log_softmax(-1)
            wanted += sum(-row.weight * said[at - 1, row.ids[at]].item() for at in range(row.start, len(row.ids)))
    assert policy.step(rows, 1e-3) == pytest.approx(wanted, rel=1e-4)


def test_a_step_makes_likely_what_has_a_positive_weight_and_unlikely_what_has_a_negative_one() -> None:
    policy = Policy(MODEL, 1e-3)
    good, bad = Row([3, 5, 7, 9], 1, 1 / 3), Row([3, 6, 8, 10], 1, -1 / 3)

    def likely(row: Row) -> float:
        with torch.no_grad():
            said = policy.model(torch.tensor([[*row.ids]])).logits[0].log_softmax(-1)
        return float(said[[0, 1, 2], row.ids[1:]].sum())

    before = likely(good), likely(bad)
    policy.step([good, bad], 1e-3)
    assert likely(good) > before[0]
    assert likely(bad) < before[1]


def test_each_token_of_a_batch_of_sft_weighs_the_same() -> None:
    rows = [Row([1] * (4 + n), 2, 1.0) for n in range(5)]
    made = list(batches(rows, 2, epochs=2, seed=0))
    assert [len(batch) for batch in made] == [2, 2, 1, 2, 2, 1]
    for batch in made:
        assert sum(row.weight * (len(row.ids) - row.start) for row in batch) == pytest.approx(1)
    assert [row.ids for batch in made[:3] for row in batch] != [row.ids for batch in made[3:] for row in batch]


def test_fresh_questions_are_those_that_nothing_was_trained_on(tmp_path: Path) -> None:
    write_questions(tmp_path, 300, {TRAINED_TASK: EVALUATION_QUESTIONS, "countdown_2arg": 10})

    def asked(name: str) -> list[tuple[object, ...]]:
        lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line)["question"] for line in lines]
        return [identity(Question(text, "", "", "", "", "", facts_of(text) or {})) for text in texts]

    pool, fresh = asked("pool.jsonl"), asked("fresh.jsonl")
    assert len({*pool}) == 300
    assert len(fresh) == EVALUATION_QUESTIONS + 10
    assert not {*pool} & {*fresh}
    tasks = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    assert sorted({*tasks.values()}) == ["countdown_2arg", TRAINED_TASK]
    with pytest.raises(ValueError, match="apart from those"):
        write_questions(tmp_path, 3000, {TRAINED_TASK: 5})


def result(seed: int, *, points: float, low: float | None) -> dict[str, Any]:
    cell = {"pass@1": [0.6, 0.55, 0.65], "traces": [0.94, 0.9, 0.97], "incorrect_f1": [0.95, 0.9, 0.99]}
    curve = [{"step": step, "sampled": 1000 * step, "reward": step / 10} for step in range(1, 6)]
    return {
        "seed": seed,
        "evaluations": {"base": {TRAINED_TASK: cell}, "C-steps": {TRAINED_TASK: cell}},
        "differences": {"C-A steps": {TRAINED_TASK: [points, low, 0.2]}},
        "curves": {"C": curve},
    }


def test_a_threshold_holds_where_the_figure_is_high_enough_and_the_interval_above_zero() -> None:
    results = [result(0, points=0.1, low=0.02), result(1, points=0.1, low=-0.01), result(2, points=0.04, low=0.02)]
    results.append(result(3, points=0.1, low=None))
    above, _, _, traces, verdicts = CLAIMS
    assert [holds for _, holds in judged(above, results, TRAINED_TASK)] == [True, False, False, False]
    assert [holds for _, holds in judged(traces, results, TRAINED_TASK)] == [False] * 4
    assert [holds for _, holds in judged(verdicts, results, TRAINED_TASK)] == [True] * 4
    assert judged(above, results, "countdown_4arg") == []


def test_the_table_says_what_holds_what_fails_and_what_was_not_measured(tmp_path: Path) -> None:
    results = [result(0, points=0.1, low=0.02), result(1, points=0.1, low=-0.01)]
    text = markdown(results)
    assert "+10.0 [+2.0, +20.0] holds; +10.0 [-1.0, +20.0] FAILS" in text
    assert "| C - B >= 3 points, interval above zero | `countdown_3arg` | not measured |" in text
    assert "| C: SkillFactory, after RL | 60.0, 60.0 | 94.0, 94.0 |" in text
    draw(results, tmp_path / "curves.svg")
    assert ARMS["C"].what in (tmp_path / "curves.svg").read_text(encoding="utf-8")


def measured(seed: int, **right: list[float | None]) -> dict[str, Any]:
    """Return what was measured of some arms of a seed: shares of right replies to three questions."""
    shares = {name.replace("_", "-"): {TRAINED_TASK: some} for name, some in right.items()}
    cells = {name: {TRAINED_TASK: {"pass@1": [0.5, 0.4, 0.6]}} for name in shares}
    told = {"size": "full", "questions": "abc", "seed": seed, "dates": [f"2026-12-0{len(right)}"]}
    return {**told, "evaluations": cells, "right": shares, "differences": {}, "curves": {}, "seconds": {}}


def test_arms_of_a_seed_that_were_measured_apart_are_compared() -> None:
    first, other = measured(1, C_steps=[1, 0.5, 0.25], base=[0, 0, 0]), measured(1, D_steps=[0, None, 0.25])
    one, two = joined([first, measured(2, C_steps=[0, 0, 0]), other])
    assert [one["seed"], two["seed"]] == [1, 2]
    assert [*one["evaluations"]] == ["D-steps", "C-steps", "base"]
    assert one["dates"] == ["2026-12-02", "2026-12-01"]
    value, low, high = one["differences"]["C-D steps"][TRAINED_TASK]  # of the two questions that both replied to
    assert (low, value, high) == (0, 0.5, 1)
    assert two["differences"] == {}
    assert first["differences"] == {}
    with pytest.raises(ValueError, match="each needs a table"):
        joined([first, {**other, "size": "quick"}])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--arms", "C,X"], "no arm 'X'"),
        (["--seeds", "one"], "no comma list of numbers"),
        (["--quick", "--smoke"], "not allowed with"),
    ],
)
def test_a_wrong_flag_is_refused(flags: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_state_of_another_size_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "proof.json").write_text('{"size": "other"}', encoding="utf-8")
    assert main(["--smoke", "--state", str(tmp_path)]) == 2
    assert "give another --state" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")  # torch, as it compiles
def test_training_that_was_killed_goes_on_from_its_state(tmp_path: Path) -> None:
    data, plan = tmp_path / "RL_DATA", Plan(MODEL, tmp_path / "RL_DATA", tmp_path / "out", steps=20)
    write_parquet(data / "train.parquet", [{"prompt": [{"role": "user", "content": "?"}], **GRADED}])
    (data / "reward.py").write_text("from assembly.reward import compute_score\n", encoding="utf-8")
    plan.out.mkdir()
    first = Training(plan)
    first.policy.step([Row([3, 5, 7], 1, 0.5)], 1e-3)
    for step in range(1, 14):
        first.state = State(step, 100 * step)
        first._keep({"step": step})
        if step == 10:
            kept = {name: value.clone() for name, value in first.policy.model.state_dict().items()}
            first.policy.step([Row([3, 5, 7], 1, 0.5)], 1e-3)
    again = Training(plan)
    assert again.state == State(10, 1000)
    assert [json.loads(line)["step"] for line in again.log.read_text().splitlines()] == list(range(1, 11))
    assert all(torch.equal(value, kept[name]) for name, value in again.policy.model.state_dict().items())
    assert again.done == 0.5


@pytest.mark.filterwarnings("default")  # vLLM and torch warn of themselves
@pytest.mark.engine
def test_the_engine_writes_with_the_weights_that_it_was_given_last(tmp_path: Path) -> None:
    policy, folder = Policy(MODEL, 1e-3), tmp_path / "now"
    save_weights(policy, MODEL, folder)
    # Several blocks of the prefix cache long, which the engine must not take from the former weights.
    asked = [Asked((Message(role="user", content=f"{n} + 1 is what? " * 20),), n) for n in range(4)]

    async def written() -> list[list[tuple[int, ...]]]:
        found = []
        async with opened(folder, 24) as sampler:
            found.append([one.ids for one in await sampler.sample(asked, 0)])
            with torch.no_grad():
                for weights in policy.model.parameters():
                    weights.add_(0.02 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)))
            save_weights(policy, MODEL, folder)
            await sampler.renew(folder)
            found.append([one.ids for one in await sampler.sample(asked, 1)])
            save_weights(Policy(MODEL, 1e-3), MODEL, folder)
            await sampler.renew(folder)
            found.append([one.ids for one in await sampler.sample(asked, 2)])
        return found

    first, other, again = asyncio.run(written())
    assert all(ids and len(ids) <= 24 for ids in first)
    assert first != other
    assert first == again


@pytest.mark.ray  # for its time: it is whole minutes of engines and training
@pytest.mark.engine
def test_the_whole_proof_in_its_smallest_form_killed_on_its_way(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "benchmarks.proof", "--smoke", "--arms", "A,C", "--state", str(state)]
    log, seed = tmp_path / "log", state / "seed-0"
    with log.open("w") as file:
        first = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)
        limit = time.monotonic() + 1200
        while not (seed / "rl-C-steps" / "log.jsonl").exists():
            assert first.poll() is None, log.read_text()
            assert time.monotonic() < limit, log.read_text()
            time.sleep(0.2)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1800)
    assert ended.returncode == 0, ended.stderr
    assert "seed 0: sft-C, made before" in ended.stdout
    told = json.loads((state / "seed-0.json").read_text(encoding="utf-8"))
    assert told["size"] == "smoke"
    assert {*told["evaluations"]} == {"base", "C-sft", "C-steps", "A-steps", "A-tokens"}
    assert {*told["differences"]} == {"C-A steps", "C-A tokens", "C by RL", "A by RL"}
    curve = told["curves"]["C"]
    assert [step["step"] for step in curve] == list(range(1, SMOKE.steps + 1))
    # The others go on until they have sampled as many tokens.
    assert told["curves"]["A"][-1]["sampled"] >= curve[-1]["sampled"]
    assert "not measured" in ended.stdout  # of arm D
    assert len(questions_in(seed / "data" / "RL_DATA")) == SMOKE.rl_questions
    assert questions_in(seed / "data" / "RL_DATA", "original")[0].chat[0]["role"] == "system"
    tasks = json.loads((state / "questions" / "tasks.json").read_text(encoding="utf-8"))
    again = result_of(seed, tasks)
    assert again == {name: told[name] for name in again}
