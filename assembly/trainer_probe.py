"""Has a trainer's own code make its examples of a training set, and writes what they are, decoded.

    PYTHON trainer_probe.py JOB.json OUT.jsonl

Runs in the trainer's environment and imports nothing of ours: `assembly.trainers` writes JOB and reads OUT. JOB:
{"trainer", "data": the set's folder, "model": its folder or hub id, "settings": the trainer's own, by name}. OUT, in
lines: {"versions", "setting": the name of the limit of a row, "longest": that limit in tokens}, and for each example
{"pieces": [[text, trained], ...], "apart"}, false where rows of it see each other; or {"versions", "refused": in the
trainer's words}, at any time.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
import tempfile
from itertools import groupby
from pathlib import Path

# Modules of ours lie beside this file, and some are named like others.
sys.path[:] = [path for path in sys.path if path != str(Path(__file__).resolve().parent)]

IGNORED = -100


def main(job_file, out_file):
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    package, longest, examples_of = TRAINERS[job["trainer"]]
    versions = {name: importlib.metadata.version(name) for name in (package, "transformers")}
    with open(out_file, "w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as work:

        def tell(**said):
            out.write(json.dumps(said) + "\n")

        try:
            settings, tokenizer, examples = examples_of(job, work)
            tell(versions=versions, setting=longest, longest=settings)
            for ids, trained, apart in examples:
                tell(pieces=pieces(tokenizer, ids, trained), apart=apart)
        except Exception as error:
            # Whatever it raises, a user's training would end with it.
            import traceback

            traceback.print_exc()
            lines = [line for line in str(error).splitlines() if line.strip()]
            tell(versions=versions, refused=f"{type(error).__name__}: {lines[0] if lines else ''}"[:500])


def pieces(tokenizer, ids, trained):
    """Return the text of the tokens in pieces, each with whether it carries loss."""
    found, start, end = [], 0, 0
    text = decode(tokenizer, ids)
    for carries, run in groupby(trained):
        end += len(list(run))
        # Decoded from the start: a tokenizer may write the first token of a text otherwise than inside it.
        place = len(text) if end == len(ids) else len(decode(tokenizer, ids[:end]).rstrip("\ufffd"))
        found.append([text[start:place], bool(carries)])
        start = max(start, place)
    return found


def decode(tokenizer, ids):
    return tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def of_labels(ids, labels, apart=True):
    """Return an example of labels that stand where their tokens do."""
    return [int(one) for one in ids], [int(label) != IGNORED for label in labels], apart


def rows_of(job):
    from datasets import load_dataset

    return load_dataset(job["data"], split="train")


def llamafactory(job, work):
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    # What needs a GPU, or would keep files, is no matter of data.
    elsewhere = {"deepspeed", "fsdp", "bf16", "fp16", "pure_bf16", "tf32", "flash_attn", "resume_from_checkpoint"}
    given = {name: value for name, value in job["settings"].items() if name not in elsewhere}
    given |= {"model_name_or_path": job["model"], "dataset_dir": job["data"], "output_dir": work, "use_cpu": True}
    given |= {"report_to": "none", "overwrite_cache": True, "stage": "sft", "do_train": True, "tokenized_path": None}
    model, data, training, _, _ = get_train_args(given)
    module = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data)
    found = get_dataset(template, model, data, training, stage="sft", **module)["train_dataset"]
    tokenizer = module["tokenizer"]

    def examples():
        for one in found:
            ids, labels, seen = one["input_ids"], one["labels"], one["attention_mask"]
            last = len(ids)
            while data.packing and last and labels[last - 1] == IGNORED and ids[last - 1] == tokenizer.pad_token_id:
                last -= 1
            apart = not data.packing or len(set(seen[:last])) > 1
            yield of_labels(ids[:last], labels[:last], apart)

    return data.cutoff_len, tokenizer, examples()


def trl(job, work):
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
    from trl import SFTConfig, SFTTrainer

    elsewhere = {"bf16", "fp16", "tf32", "deepspeed", "fsdp", "fsdp_config", "use_liger_kernel", "output_dir"}
    of_script = {"model_name_or_path", "dataset_name", "dtype", "attn_implementation", "use_peft"}
    left = elsewhere | of_script
    given = {name: value for name, value in job["settings"].items() if name not in left and "lora" not in name}
    args = SFTConfig(output_dir=work, use_cpu=True, bf16=False, report_to="none", **given)
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    # A model is needed to begin with, and none of its weights is looked at.
    torch.manual_seed(0)
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = Qwen2ForCausalLM(Qwen2Config(len(tokenizer) + 64, num_key_value_heads=1, **small))
    trainer = SFTTrainer(model=model, args=args, train_dataset=rows_of(job), processing_class=tokenizer)

    def examples():
        for one in trainer.train_dataset:
            apart = not args.packing or args.packing_strategy != "wrapped"
            yield of_labels(one["input_ids"], one["labels"], apart)

    return args.max_length, tokenizer, examples()


def verl(job, _):
    from omegaconf import OmegaConf
    from verl.utils import hf_tokenizer
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    tokenizer = hf_tokenizer(job["model"])
    config = OmegaConf.create({**job["settings"], "pad_mode": "no_padding"})
    files = sorted(str(path) for path in Path(job["data"], "data").glob("*.parquet"))
    data = MultiTurnSFTDataset(files, tokenizer, config)

    def examples():
        for place in range(len(data)):
            one = data[place]
            yield one["input_ids"].tolist(), [bool(mask) for mask in one["loss_mask"].tolist()], True

    return data.max_length, tokenizer, examples()


TRAINERS = {
    "llamafactory": ("llamafactory", "cutoff_len", llamafactory),
    "trl": ("trl", "max_length", trl),
    "verl": ("verl", "max_length", verl),
}

if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with contextlib.redirect_stdout(sys.stderr):
        main(*sys.argv[1:])
