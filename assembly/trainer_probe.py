"""Has a trainer's own code make its examples of a training set, and writes what they are, decoded.

Runs in the trainer's environment, as PYTHON trainer_probe.py JOB OUT. JOB, JSON: {"trainer", "data": the set's folder,
"model": its folder or hub id, "settings": the trainer's own}. OUT, JSON in lines: {"versions", "setting": the name of
the limit of a row, "longest": that limit in tokens}; for each example {"pieces": [[text, trained], ...], "apart"},
false where its rows see each other; or, at any time, {"versions", "refused": in the trainer's words}.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

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


def main(job_file: str, out_file: str) -> None:
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    trainer = TRAINERS[job["trainer"]]
    versions = {name: importlib.metadata.version(name) for name in (trainer.package, "transformers")}
    with open(out_file, "w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as work:

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
            lines = [line for line in str(error).splitlines() if line.strip()]
            tell(versions=versions, refused=f"{type(error).__name__}: {lines[0] if lines else ''}"[:500])


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

    tokenizer, reader = hf_tokenizer(job["model"]), Path(job["data"], "verl_tokens.py")
    own = {"path": str(reader), "name": "TokenDataset"} if reader.exists() else {"path": None}
    settings = {"max_length": 1024, "custom_cls": own, **job["settings"], "pad_mode": "no_padding"}
    config = OmegaConf.create(settings)
    files = sorted(str(path) for path in Path(job["data"], "data").glob("*.parquet"))
    # As its trainer chooses, which itself needs a dozen packages more.
    other = config.custom_cls.path and load_extern_object(config.custom_cls.path, config.custom_cls.name)
    rows = (other or MultiTurnSFTDataset)(parquet_files=files, tokenizer=tokenizer, config=config)

    def made() -> Made:
        for place in range(len(rows)):
            row = rows[place]
            yield row["input_ids"].tolist(), [bool(mask) for mask in row["loss_mask"].tolist()], True

    return Examples(tokenizer, config.max_length, made())


def ms_swift(job: dict[str, Any], work: str) -> Examples:
    os.environ["MODELSCOPE_CACHE"] = work
    from swift.cli.main import parse_yaml_args
    from swift.pipelines.train.sft import SwiftSft

    class Data(SwiftSft):  # type: ignore[misc]
        """As `swift sft` begins, without the weights."""

        def _prepare_model_tokenizer(self, **_: Any) -> None:
            self.model, self.processor = self.args.get_model_processor(load_model=False)

    held_out = ("val_dataset", "split_dataset_ratio", "cached_dataset", "cached_val_dataset", "load_data_args")
    given = {"use_hf": True} | chosen(job["settings"], "quant_method", "quant_bits", "torch_dtype", *held_out)
    given |= {"model": job["model"], "dataset": sorted(map(str, Path(job["data"], "data").glob("*.parquet")))}
    given |= {"output_dir": work, "add_version": False, "report_to": "none", "load_from_cache_file": False}
    given |= {"use_cpu": True, "bf16": False, "fp16": False}
    command = [str(Path(work, "given.json"))]
    Path(command[0]).write_text(json.dumps(given), encoding="utf-8")
    parse_yaml_args(command)
    data = Data(command)
    rows, _ = data._prepare_dataset()

    def made() -> Made:
        for row in (rows[place] for place in range(len(rows))) if hasattr(rows, "__len__") else rows:
            batch = data.template.data_collator(row if isinstance(row, list) else [row])
            labels = batch["labels"][0].tolist()
            # Packed rows are kept apart by flash attention, without which it packs none.
            yield batch["input_ids"][0].tolist(), [label != IGNORED for label in labels], True

    return Examples(data.tokenizer, data.args.max_length, made())


TRAINERS = {
    "llamafactory": Trainer("llamafactory", "cutoff_len", llamafactory),
    "ms-swift": Trainer("ms-swift", "max_length", ms_swift),
    "trl": Trainer("trl", "max_length", trl),
    "verl": Trainer("verl", "data.max_length", verl),
}

if __name__ == "__main__":
    # Modules of ours lie beside this file, and some are named like others.
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).resolve().parent)]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with contextlib.redirect_stdout(sys.stderr):
        main(*sys.argv[1:])
