"""Which flags each command has: a new one must be written down here."""

from __future__ import annotations

import dataclasses

from assembly.run import Config
from cluster.slurm import Options
from generation.settings import Settings


def test_flags_of_the_whole_job_are_frozen() -> None:
    """A new flag must be added here, and to the README, and earn its place."""
    assert [field.name for field in dataclasses.fields(Settings)] == [
        "model",
        "task",
        "list_tasks",
        "questions",
        "grader",
        "question_column",
        "answer_column",
        "split",
        "rl_questions",
        "inputs",
        "targets",
        "variants",
        "samples",
        "reflections",
        "temperature",
        "top_p",
        "top_k",
        "repetition_penalty",
        "max_tokens",
        "seed",
        "formats",
        "attempts",
        "engines",
        "tensor_parallel",
        "silence",
        "retry_failed",
        "address",
        "grace_s",
        "out",
        "push_to",
        "public",
        "license",
        "dry_run",
    ]


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
        "true_arithmetic",
        "tokenizer",
        "max_trace_tokens",
        "subsample",
        "license",
        "processes",
        "out",
    ]


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


COMMANDS = (Settings, Config, Options)


def test_each_flag_has_a_line_of_help() -> None:
    told = {f.name: f.metadata["help"].strip() for command in COMMANDS for f in dataclasses.fields(command)}
    assert [name for name, text in told.items() if not text or "\n" in text] == []
