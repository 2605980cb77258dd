"""--sampling, --reflection_sampling and what generation_config.json sets beside the five: checked, passed on, kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from cluster.inference.engine import Completion, EngineInfo, Request, Sampling, ScriptedEngine
from cluster.inference.sampling import FIELDS, changed, check_stops, read_sampling, recommended, unusual
from generation.builtin import RANGES
from generation.plan import describe, make_plan
from generation.raw.schema import to_table
from generation.rollout import Rollout, Work
from generation.settings import Settings
from generation.variants import parse_names
from tests.countdown_questions import make
from tests.scripted import reply

TAKEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"min_p": 0}, {"min_p": 0.0}),
    ({"min_p": 1}, {"min_p": 1.0}),
    ({"stop": "###"}, {"stop": ["###"]}),
    (
        {"stop": ["a", "b"], "include_stop_str_in_output": True},
        {"stop": ["a", "b"], "include_stop_str_in_output": True},
    ),
    ({"presence_penalty": -2, "frequency_penalty": 2}, {"presence_penalty": -2.0, "frequency_penalty": 2.0}),
    ({"logit_bias": {"14": -100, "3": 2.5}}, {"logit_bias": {"14": -100, "3": 2.5}}),
    ({"stop_token_ids": [0, 7]}, {"stop_token_ids": [0, 7]}),
    ({"allowed_token_ids": [1]}, {"allowed_token_ids": [1]}),
    (
        {"min_tokens": 4, "ignore_eos": True, "bad_words": "no"},
        {"min_tokens": 4, "ignore_eos": True, "bad_words": ["no"]},
    ),
    ({"temperature": 1, "top_k": 5.0, "max_tokens": 7}, {"temperature": 1.0, "top_k": 5, "max_tokens": 7}),
]


@pytest.mark.parametrize(("given", "expected"), TAKEN)
def test_what_is_taken_has_one_form(given: dict[str, Any], expected: dict[str, Any]) -> None:
    read = read_sampling(given, "--sampling")
    assert read == expected
    assert {name: type(value) for name, value in read.items()} == {n: type(v) for n, v in expected.items()}
    assert read_sampling(read, "--sampling") == read
    assert json.loads(json.dumps(read)) == read


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"min_p": 1.5}, "min_p must be a number between 0 and 1, not 1.5"),
        ({"min_p": "0.1"}, "min_p must be a number between 0 and 1, not '0.1'"),
        ({"min_p": True}, "min_p must be a number"),
        ({"min_p": None}, "min_p must be a number"),
        ({"presence_penalty": 2.1}, "between -2 and 2"),
        ({"stop": []}, "stop must be a text or a list of texts, none of them empty, not []"),
        ({"stop": ["a", ""]}, "none of them empty"),
        ({"stop": ""}, "none of them empty"),
        ({"stop": [1]}, "none of them empty"),
        ({"stop_token_ids": [1.0]}, "stop_token_ids must be a list of token ids"),
        ({"stop_token_ids": [-1]}, "a list of token ids"),
        ({"allowed_token_ids": []}, "a list of token ids"),
        ({"logit_bias": {"a": 1}}, "an object of token ids and numbers"),
        ({"logit_bias": {"1": 101}}, "between -100 and 100"),
        ({"logit_bias": {"-1": 1}}, "an object of token ids and numbers"),
        ({"logit_bias": {"²": 1}}, "an object of token ids and numbers"),
        ({"min_tokens": 2.5}, "min_tokens must be a whole number"),
        ({"ignore_eos": 1}, "ignore_eos must be true or false"),
        ({"temperature": "0"}, "temperature must be a number, not '0'"),
        ({"temperature": 3}, "temperature must be between 0 and 2"),
        ({"temperature": 0.001}, "temperature must be 0, or between 0.01 and 2"),
        ({"top_k": 2.5}, "top_k must be a whole number"),
        ({"max_tokens": 0}, "max_tokens must be a whole number between 1"),
        ({"n": 4}, "n is not taken: --samples and --reflections say how many"),
        ({"seed": 1}, "seed is not taken: --seed"),
        ({"logprobs": 1}, "logprobs is not taken: rows have no column for it"),
        ({"min_P": 0.1}, "min_P is no field of vLLM's SamplingParams; did you mean min_p"),
        ({"max_new_tokens": 5}, "did you mean max_tokens"),
        ({"presence": 1}, "did you mean presence_penalty"),
        ({"zzzz": 1}, "it takes temperature, top_p, "),
    ],
)
@pytest.mark.parametrize("flag", ["sampling", "reflection_sampling"])
def test_what_is_not_is_told_when_it_is_set(flag: str, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"^--{flag}: ") as raised:
        Settings(**{flag: given})  # type: ignore[arg-type]
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_field_is_one_of_vllm() -> None:
    from vllm import SamplingParams

    known = {one.name for one in msgspec.structs.fields(SamplingParams)}
    assert {*FIELDS["taken"], *FIELDS["refused"]} <= known
    ours = {"temperature", "top_p", "top_k", "repetition_penalty", "max_tokens"}
    internal = {"output_text_buffer_length"}
    left = {name for name in known if not name.startswith("_")} - ours - internal
    assert left == {*FIELDS["taken"], *FIELDS["refused"]}, "each has its place"
    for given, _ in TAKEN:
        params = changed(Sampling(), read_sampling(given, "--sampling")).parameters()
        if "logit_bias" in params:
            params["logit_bias"] = {int(token): bias for token, bias in params["logit_bias"].items()}
        SamplingParams(**params)


def test_the_same_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="--temperature and temperature in --sampling: give one of them"):
        Settings(temperature=0.5, sampling={"temperature": 0.5})
    assert make_plan(Settings(sampling={"temperature": 0.5}, questions=2)).sampling.temperature == 0.5


def test_replies_are_no_shorter_than_their_limit() -> None:
    with pytest.raises(ValueError, match="min_tokens 300 is more than --max_tokens 256"):
        make_plan(Settings(sampling={"min_tokens": 300}, questions=2))


@pytest.mark.parametrize(
    ("generation", "given", "expected"),
    [
        ({"min_p": 0.05}, {}, {"min_p": 0.05}),
        ({"min_p": 0.0, "min_new_tokens": 0, "stop_strings": None, "presence_penalty": 0}, {}, {}),
        ({"min_p": 0.05}, {"min_p": 0.0}, {}),
        ({"min_new_tokens": 4}, {}, {"min_tokens": 4}),
        ({"stop_strings": "X"}, {}, {"stop": ["X"], "include_stop_str_in_output": True}),
        ({"stop_strings": ["X"]}, {"stop": ["Y"]}, {}),
        ({"presence_penalty": 1.5, "typical_p": 0.5}, {}, {"presence_penalty": 1.5}),
        ({"min_p": 7}, {"min_p": 0.1}, {}),  # not used, so not checked
    ],
)
def test_what_a_model_recommends_is_passed_on(
    generation: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert recommended(unusual(generation), given, "m") == expected


def test_reflections_may_be_drawn_otherwise() -> None:
    plain = make_plan(Settings(questions=2))
    given = {"temperature": 0, "max_tokens": 64, "stop": "###"}
    plan = make_plan(Settings(questions=2, reflection_sampling=given))
    looking = replace(plan.sampling, temperature=0.0, max_tokens=64, more={"stop": ["###"]})
    assert plan.rollout.of_reflections == looking
    assert plan.configuration == {**plain.configuration, "reflection_sampling": looking.parameters()}
    assert 'reflections temperature 0, top_p 0.95, top_k 50, repetition_penalty 1, max_tokens 64, stop ["###"]' in (
        describe(plan)
    )
    for same in ({}, {"temperature": plan.sampling.temperature}):
        assert make_plan(Settings(questions=2, reflection_sampling=same)).configuration == plain.configuration
    with pytest.raises(ValueError, match="--reflection_sampling: max_tokens 5000 leaves no room"):
        make_plan(Settings(questions=2, reflection_sampling={"max_tokens": 5000}))


def test_rows_tell_how_both_were_drawn() -> None:
    import asyncio

    asked: list[Request] = []

    def answer(request: Request) -> str | Completion:
        asked.append(request)
        return reply(request)

    sampling = Sampling(max_tokens=512, more={"min_p": 0.1})
    looking = replace(sampling, temperature=0.0, more={})
    question = make("countdown_3arg", 1, rl=False, seed=0, ranges=RANGES)[0]
    rollout = Rollout(parse_names(("plain",)), samples=1, reflections=1, sampling=sampling, seed=0)
    for one, expected in ((rollout, sampling), (replace(rollout, reflection_sampling=looking), looking)):
        asked.clear()
        (row, *_) = asyncio.run(Work(one, "{}")(ScriptedEngine(answer), question)).table.to_pylist()
        assert {request.sampling == sampling for request in asked if request.key.endswith("/sample")} == {True}
        assert all(request.sampling == expected for request in asked if not request.key.endswith("/sample"))
        more = json.loads(row["sampling"]["more"])
        assert more == {"min_p": 0.1} | ({"reflections": looking.parameters()} if expected == looking else {})
        assert row["sampling"]["temperature"] == 1.0
    assert to_table((), EngineInfo("e", "1", "m", "", 9), sampling, "{}").num_rows == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stop": "</answer>"}, 'before its <answer> is closed: add "include_stop_str_in_output": true'),
        ({"stop": ["x", "answer>"]}, "include_stop_str_in_output"),
        ({"stop": "<answer>"}, "take another"),
        ({"stop": "</answer", "include_stop_str_in_output": True}, "take another"),
        ({"stop": "</answer>", "include_stop_str_in_output": True}, ""),
        ({"stop": ["###", "</verdict>", "\n"]}, ""),
        ({}, ""),
    ],
)
def test_a_stop_text_that_no_answer_would_outlive_is_told(given: dict[str, Any], told: str) -> None:
    sampling = changed(Sampling(), read_sampling(given, "--sampling"))
    if not told:
        check_stops(sampling, "answer", "sample")
    else:
        with pytest.raises(ValueError, match=told):
            check_stops(sampling, "answer", "sample")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sampling": {"stop": "</answer>"}}, "ends each sample"),
        ({"sampling": {"stop": "</answer>"}, "answer_in": "boxed"}, ""),
        ({"reflection_sampling": {"stop": "</answer>"}}, ""),
        ({"reflection_sampling": {"stop": "</verdict>"}}, "ends each reflection"),
        ({"sampling": {"stop": "</verdict>"}, "reflections": 0, "formats": ("star",)}, ""),
    ],
)
def test_stop_texts_are_looked_at_for_what_they_end(given: dict[str, Any], told: str) -> None:
    settings = Settings(questions=2, **given)
    if not told:
        make_plan(settings)
    else:
        with pytest.raises(ValueError, match=told):
            make_plan(settings)
