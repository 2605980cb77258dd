"""Has a trainer's own code make its examples of training sets, and writes what they are, decoded.

Runs in the trainer's environment, as PYTHON trainer_probe.py JOBS. JOBS, JSON: {"trainer", "jobs": [{"data": the set's
folder, "model": its folder or hub id, "settings": the trainer's own, "out": a file}, ...]}. Each "out", JSON in lines:
{"versions", "setting": the name of the limit of a row, "longest": that limit in tokens}; for each example {"pieces":
[[text, trained], ...], "apart"}, false where its rows see each other; or, at any time, {"versions", "refused"}.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import pkgutil
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

IGNORED = -100
Made = Iterator[tuple[Sequence[int], Sequence[bool], bool]]
"""The tokens of each example, whether they carry loss, and whether its rows are kept apart."""


class Examples(NamedTuple):
    """What a trainer makes of a set."""

    tokenizer: Any
    limit: int | None
    made: Made


class Trainer(NamedTuple):
    """A trainer's package, its name for the limit of a row in tokens, and how its own code makes its examples."""

    package: str
    limit: str
    examples: Callable[[dict[str, Any], str], Examples]
    module: str  # what takes long to import


def main(jobs_file: str) -> None:
    told = json.loads(Path(jobs_file).read_text(encoding="utf-8"))
    trainer, jobs = TRAINERS[told["trainer"]], told["jobs"]
    if len(jobs) == 1:
        answer(trainer, jobs[0])
        return
    # A process for each, as one alone would have: trainers keep what they are told in modules. Once for all of them:
    # what takes long to import.
    pkgutil.resolve_name(trainer.module)
    for job in jobs:
        if not (child := os.fork()):
            code = 1
            try:
                answer(trainer, job)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        if os.waitpid(child, 0)[1]:
            sys.exit(1)


def answer(trainer: Trainer, job: dict[str, Any]) -> None:
    versions = {name: importlib.metadata.version(name) for name in (trainer.package, "transformers")}
    with open(job["out"], "w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as work:

        def tell(**said: Any) -> None:
            out.write(json.dumps(said) + "\n")

        try:
            found = trainer.examples(job, work)
            tell(versions=versions, setting=trainer.limit, longest=found.limit)
            for ids, trained, apart in found.made:
                tell(pieces=pieces(found.tokenizer, ids, trained), apart=apart)
        except ImportError:
            # Its environment is not whole, which is no matter of the set.
            raise
        except Exception as error:
            # Whatever it raises, training would end with it.
            traceback.print_exc()
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            # The first may only count what was found wrong.
            tell(versions=versions, refused=f"{type(error).__name__}: {' '.join(lines[:3])}"[:500])


def pieces(tokenizer: Any, ids: Sequence[int], trained: Iterable[bool]) -> list[tuple[str, bool]]:
    """Return the text of the tokens in pieces, each with whether it carries loss."""
    found, start, end, text = list[tuple[str, bool]](), 0, 0, decode(tokenizer, ids)
    for carries, run in groupby(trained):
        end += len(list(run))
        # Decoded from the start: a tokenizer may write the first token of a text otherwise than inside it.
        place = len(text) if end == len(ids) else len(decode(tokenizer, ids[:end]).rstrip("\ufffd"))
        found.append((text[start:place], bool(carries)))
        start = max(start, place)
    return found


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def chosen(settings: dict[str, Any], *left_out: str) -> dict[str, Any]:
    """Return the settings without those that need a GPU, or are no matter of data."""
    machine = {"bf16", "fp16", "tf32", "deepspeed", "fsdp", "fsdp_config", "resume_from_checkpoint", "output_dir"}
    return {name: value for name, value in settings.items() if name not in machine.union(left_out)}


def llamafactory(job: dict[str, Any], work: str) -> Examples:
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    given = chosen(job["settings"], "pure_bf16", "flash_attn", "tokenized_path")
    given |= {"model_name_or_path": job["model"], "dataset_dir": job["data"], "output_dir": work, "stage": "sft"}
    given |= {"do_train": True, "use_cpu": True, "report_to": "none", "overwrite_cache": True}
    model, data, training, _, _ = get_train_args(given)
    module = load_tokenizer(model)
    tokenizer = module["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data)
    rows = get_dataset(template, model, data, training, stage="sft", **module)["train_dataset"]

    def made() -> Made:
        for row in rows:
            ids, labels, end = row["input_ids"], row["labels"], len(row["input_ids"])
            while data.packing and end and labels[end - 1] == IGNORED and ids[end - 1] == tokenizer.pad_token_id:
                end -= 1
            apart = not data.packing or len({*row["attention_mask"][:end]}) > 1
            yield ids[:end], [label != IGNORED for label in labels[:end]], apart

    return Examples(tokenizer, data.cutoff_len, made())


def trl(job: dict[str, Any], work: str) -> Examples:
    from datasets import load_dataset
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
    from trl import SFTConfig, SFTTrainer

    of_script = ("model_name_or_path", "dataset_name", "dtype", "attn_implementation", "use_peft", "use_liger_kernel")
    given = {name: value for name, value in chosen(job["settings"], *of_script).items() if "lora" not in name}
    args = SFTConfig(output_dir=work, use_cpu=True, bf16=False, report_to="none", **given)
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    # A model is needed to begin with, and none of its weights is looked at.
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = Qwen2Config(vocab_size=len(tokenizer) + 64, num_key_value_heads=1, **small)
    rows = load_dataset(job["data"], split="train", cache_dir=work)
    trainer = SFTTrainer(Qwen2ForCausalLM(config), args=args, train_dataset=rows, processing_class=tokenizer)
    apart = not args.packing or args.packing_strategy != "wrapped"

    def made() -> Made:
        for row in trainer.train_dataset:
            yield row["input_ids"], [label != IGNORED for label in row["labels"]], apart

    return Examples(tokenizer, args.max_length, made())


def verl(job: dict[str, Any], _: str) -> Examples:
    from omegaconf import OmegaConf
    from verl.utils import hf_tokenizer
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset
    from verl.utils.import_utils import load_extern_object

    tokenizer = hf_tokenizer(job["model"])
    settings = {"max_length": 1024, "custom_cls": {"path": None}, **job["settings"], "pad_mode": "no_padding"}
    config = OmegaConf.create(settings)
    files = sorted(str(path) for path in Path(job["data"], "data").glob("*.parquet"))
    # As its trainer chooses, which itself needs a dozen packages more.
    place, own = config.custom_cls.path, str(Path(job["data"], ""))
    place = place and re.sub(r"^(?:.*/)?SFT_DATA(?=/)", lambda _: own, place)
    other = place and load_extern_object(place, config.custom_cls.name)
    rows = (other or MultiTurnSFTDataset)(parquet_files=files, tokenizer=tokenizer, config=config)

    def made() -> Made:
        for place in range(len(rows)):
            row = rows[place]
            yield row["input_ids"].tolist(), [bool(mask) for mask in row["loss_mask"].tolist()], True

    return Examples(tokenizer, config.max_length, made())


def axolotl(job: dict[str, Any], work: str) -> Examples:
    import datasets
    import yaml
    from axolotl.cli.config import load_cfg
    from axolotl.common.datasets import load_datasets
    from axolotl.loaders import load_tokenizer
    from axolotl.utils.collators.batching import BatchSamplerDataCollatorForSeq2Seq
    from axolotl.utils.data import sft
    from axolotl.utils.samplers import MultipackBatchSampler, get_dataset_lengths

    datasets.config.HF_DATASETS_CACHE = Path(work)
    # What it makes is taken as it is: to save it would only start processes.
    sft.save_preprocessed_dataset = lambda *_: None
    # All rows of this set and no others; and nothing leaves this machine.
    given = chosen(job["settings"], "val_set_size", "test_datasets", "pretraining_dataset", "push_dataset_to_hub")
    where = ("data_files", "ds_type", "name", "split", "revision")
    (entry,) = given["datasets"]
    given["datasets"] = [{name: value for name, value in entry.items() if name not in where} | {"path": job["data"]}]
    given |= {"base_model": job["model"], "output_dir": work, "dataset_prepared_path": work, "dataset_num_proc": 0}
    config_file = Path(work, "config.yaml")
    config_file.write_text(yaml.safe_dump({"learning_rate": 1e-6, "bf16": False} | given), encoding="utf-8")
    config = load_cfg(str(config_file), is_preprocess=True)
    rows, tokenizer, most = load_datasets(cfg=config).train_dataset, load_tokenizer(config), config.sequence_len

    def made() -> Made:
        if not config.sample_packing:
            for row in rows:
                yield row["input_ids"], [label != IGNORED for label in row["labels"]], True
            return
        # As its trainer packs, which itself needs a model.
        packs = MultipackBatchSampler(range(len(rows)), 1, most, get_dataset_lengths(rows), most, drop_last=False)
        collate = BatchSamplerDataCollatorForSeq2Seq(tokenizer)
        for (pack,) in packs:
            batch = collate([rows[place] for place in pack])
            ids, labels = (batch[name][0].tolist() for name in ("input_ids", "labels"))
            yield ids, [label != IGNORED for label in labels], bool(config.attn_decontaminates_packing)

    return Examples(tokenizer, most, made())


def openrlhf(job: dict[str, Any], work: str) -> Examples:
    import datasets
    from openrlhf.datasets import SFTDataset
    from openrlhf.datasets.utils import blending_datasets
    from openrlhf.utils import get_tokenizer

    # Its reader takes no folder for what it keeps.
    datasets.config.HF_DATASETS_CACHE = work
    source = {"model.model_name_or_path": job["model"], "data.dataset": job["data"]}
    args = openrlhf_arguments({**job["settings"], **source})
    strategy = SimpleNamespace(args=args, print=print, is_rank_0=lambda: True)
    fast = not args.data.disable_fast_tokenizer
    tokenizer = get_tokenizer(args.model.model_name_or_path, None, "right", strategy, use_fast=fast)
    data = blending_datasets(
        args.data.dataset, args.data.dataset_probs, strategy, args.train.seed, args.data.max_samples
    )
    rows = SFTDataset(
        data,
        tokenizer,
        args.data.max_len,
        strategy,
        pretrain_mode=args.model.pretrain_mode_enable,
        input_template=args.data.input_template,
        num_processors=1,
        multiturn=args.data.multiturn,
    )

    def made() -> Made:
        for place in range(len(rows)):
            (ids,), _, (carries,) = rows[place]
            # Its mask stands where the next token is predicted.
            yield ids.tolist(), [False, *(bool(mask) for mask in carries[:-1].tolist())], True

    return Examples(tokenizer, args.data.max_len, made())


def openrlhf_arguments(settings: dict[str, Any]) -> Any:
    """Return what its own command line makes of settings. Raises ValueError for what that refuses."""

    class Parser(argparse.ArgumentParser):
        def parse_args(self, *_: Any) -> Any:  # type: ignore[override]
            return super().parse_args(words_of(settings, self._option_string_actions))

        def error(self, message: str) -> NoReturn:
            raise ValueError(message)

    # Its source is run up to where it trains: to import it takes flash-attn and deepspeed.
    found = importlib.util.find_spec("openrlhf.cli.train_sft")
    assert found is not None
    path = str(found.origin)
    (block,) = (node for node in ast.parse(Path(path).read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    names: dict[str, Any] = {"argparse": SimpleNamespace(ArgumentParser=Parser), "datetime": datetime}
    exec(compile(ast.Module(block.body[:-1], []), path, "exec"), names)
    return names["args"]


def words_of(settings: dict[str, Any], known: Container[str]) -> Iterator[str]:
    """Yield settings as words of a command line: both `max_len` and `data: {max_len: 9}` are `--data.max_len=9`."""
    given = dict[str, Any]()
    for name, value in flat(settings):
        given[name if f"--{name}" in known or f"--data.{name}" not in known else f"data.{name}"] = value
    for name, value in given.items():
        if isinstance(value, list):
            yield from (f"--{name}", *map(str, value))
        elif value is True:
            yield f"--{name}"
        elif name == "data.input_template":
            # An empty one is none, for which there is no other word.
            yield f"--{name}={value or ''}"
        elif value is not False and value is not None:
            yield f"--{name}={value}"


def flat(settings: dict[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings with the sections that they stand in: `data: {max_len: 1}` is data.max_len."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{section}{name}.")
        else:
            yield f"{section}{name}", value


TRAINERS = {
    "axolotl": Trainer("axolotl", "sequence_len", axolotl, "axolotl.common.datasets"),
    "llamafactory": Trainer("llamafactory", "cutoff_len", llamafactory, "llamafactory.data"),
    "trl": Trainer("trl", "max_length", trl, "trl.trainer.sft_trainer"),
    "verl": Trainer("verl", "data.max_length", verl, "verl.utils.dataset.multiturn_sft_dataset"),
    "openrlhf": Trainer("openrlhf", "data.max_len", openrlhf, "openrlhf.datasets"),
}

if __name__ == "__main__":
    # Modules of ours lie beside this file, and some are named like others.
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).resolve().parent)]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["DO_NOT_TRACK"] = "1"
    with contextlib.redirect_stdout(sys.stderr):
        main(*sys.argv[1:])
