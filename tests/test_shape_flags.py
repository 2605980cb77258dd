"""Which flags each command has: a new one must be written down here."""

from __future__ import annotations

import dataclasses

from assembly.check import Config as Check
from assembly.report import Config as Report
from assembly.run import Config
from cluster.slurm import Options
from cluster.status import Config as Status
from generation.evaluation.settings import EvaluateSettings
from generation.regrade import Config as Regrade
from generation.settings import Settings
from reflection.added.plan import AdditionSettings

OF_EVERY_JOB = [
    "model",
    "revision",
    "adapter",
    "run_model_code",
    "chat_template",
    "chat_kwargs",
    "examples",
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "max_tokens",
    "sampling",
    "seed",
    "engines",
    "tensor_parallel",
    "engine_args",
    "silence",
    "address",
    "server",
    "api_key_env",
    "concurrency",
    "out",
    "dry_run",
    "push_to",
    "public",
    "license",
    "log_to",
    "retry_failed",
    "accept_version",
    "grace_s",
]

OF_QUESTIONS = [
    "task",
    "list_tasks",
    "questions",
    "grader",
    "question_column",
    "answer_column",
    "split",
    "inputs",
    "targets",
    "answer_in",
]


def test_flags_of_the_whole_job_are_frozen() -> None:
    """A new flag must be added here, and to the README, and earn its place."""
    assert [field.name for field in dataclasses.fields(Settings)] == [
        *OF_EVERY_JOB,
        *OF_QUESTIONS,
        "rl_questions",
        "rl_samples",
        "variants",
        "samples",
        "reflections",
        "reflection_prompts",
        "retries",
        "prompts",
        "write_prompts",
        "reflection_sampling",
        "formats",
        "attempts",
        "enough",
        "traces",
        "export_traces",
        "rl_layout",
        "rl_pass_rate",
        "probe",
        "like",
        "preview",
    ]


def test_flags_of_an_evaluation_are_frozen() -> None:
    """Those that it shares with the whole job have the same types there."""
    fields = dataclasses.fields(EvaluateSettings)
    own = ["samples", "variants", "prompts", "apart_from", "force_to", "force_at", "trigger", "compare", "arm"]
    assert [field.name for field in fields] == [*OF_EVERY_JOB, *OF_QUESTIONS, *own]
    whole = {field.name: field.type for field in dataclasses.fields(Settings)}
    assert [one.name for one in fields if one.name not in own and whole[one.name] != one.type] == []


def test_flags_of_more_reflections_are_frozen() -> None:
    """All but the first are flags of the whole job too, with the same types and defaults."""
    fields = dataclasses.fields(AdditionSettings)
    assert [field.name for field in fields] == [*OF_EVERY_JOB, "raw", "reflections", "reflection_prompts", "prompts"]
    whole = {field.name: (field.default, field.type) for field in dataclasses.fields(Settings)}
    assert [f.name for f in fields if whole.get(f.name) != (f.default, f.type)] == ["raw"]


def test_flags_of_the_assembly_are_frozen() -> None:
    assert [field.name for field in dataclasses.fields(Config)] == [
        "raw",
        "formats",
        "attempts",
        "seed",
        "repeats",
        "variants",
        "unique_variants",
        "max_similarity",
        "drop_cut",
        "keep_unanswered",
        "inner_attempts",
        "thoughts",
        "true_arithmetic",
        "drop_faults",
        "layout",
        "frame",
        "model",
        "chat_kwargs",
        "max_trace_tokens",
        "subsample",
        "prompts",
        "reflection_prompts",
        "pass_rate",
        "exclude",
        "weights",
        "cap",
        "validation",
        "system",
        "pairs",
        "out",
        "processes",
        "license",
        "rl_layout",
        "export_traces",
    ]


def test_flags_of_the_check_are_frozen() -> None:
    names = [field.name for field in dataclasses.fields(Check)]
    assert names == ["sft", "model", "trainer", "config", "python", "rows", "chat_kwargs", "json", "html"]


def test_flags_of_the_report_are_frozen() -> None:
    assert [field.name for field in dataclasses.fields(Report)] == ["data", "out"]


def test_flags_of_grading_again_are_frozen() -> None:
    names = [field.name for field in dataclasses.fields(Regrade)]
    assert names == ["out", "raw", "eval", "grader", "task", "answer_in", "processes", "license"]


def test_flags_of_the_slurm_launcher_are_frozen() -> None:
    assert [field.name for field in dataclasses.fields(Options)] == [
        "nodes",
        "time",
        "gpus_per_node",
        "partition",
        "account",
        "qos",
        "constraint",
        "cpus_per_task",
        "mem",
        "sbatch_args",
        "container",
        "container_mounts",
        "env_setup",
        "job_name",
        "wait_s",
        "notice_s",
        "max_requeues",
        "submit",
    ]


def test_flags_of_the_status_are_frozen() -> None:
    assert [field.name for field in dataclasses.fields(Status)] == ["run", "watch", "json"]


COMMANDS = (Settings, EvaluateSettings, AdditionSettings, Config, Options, Regrade, Report, Status)


def test_each_flag_has_a_line_of_help() -> None:
    fields = [field for command in COMMANDS for field in dataclasses.fields(command)]
    told = {field.name: field.metadata["help"] for field in fields}
    assert [name for name, words in told.items() if not words.strip() or "\n" in words] == []
