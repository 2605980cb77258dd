"""Has a trainer's own code make its examples of training sets, and writes what they are, decoded.

`main` takes a file of JSON: {"trainer", "jobs": [{"data": the set's folder, "model": its folder or hub id, "settings":
the trainer's own, "out": a file}, ...]}. Each "out", JSON in lines: {"versions", "setting": the name of the limit of a
row, "longest": that limit in tokens}; for each example {"pieces": [[text, trained], ...], "apart"}, false where its
rows see each other; or, at any time, {"versions", "refused"}.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import pkgutil
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any


def main(jobs_file: str) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        ask(json.loads(Path(jobs_file).read_text(encoding="utf-8")))


def ask(told: dict[str, Any]) -> None:
    # Of ms-swift, which else keeps it in the home.
    os.environ.setdefault("MODELSCOPE_CACHE", tempfile.gettempdir())
    trainer, jobs = pkgutil.resolve_name(f"probe.{told['trainer'].replace('-', '_')}_set:"), told["jobs"]
    if len(jobs) == 1:
        answer(trainer, jobs[0])
        return
    # The import, which takes long, once; but a process for each: trainers keep what they are told in their modules.
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


def answer(trainer: Any, job: dict[str, Any]) -> None:
    versions = {name: importlib.metadata.version(name) for name in (trainer.PACKAGE, "transformers")}
    with open(job["out"], "w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as work:

        def tell(**said: Any) -> None:
            out.write(json.dumps(said) + "\n")

        try:
            found = trainer.examples(job, work)
            tell(versions=versions, setting=trainer.LIMIT, longest=found.limit)
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
    spelled = spelled_in(tokenizer, ids)

    def shown(text: str) -> str:
        for token in spelled:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    found, start, end, text = list[tuple[str, bool]](), 0, 0, decode(tokenizer, ids)
    for carries, run in groupby(trained):
        end += len(list(run))
        # Decoded from the start: a tokenizer may write the first token of a text otherwise than inside it.
        place = len(text) if end == len(ids) else len(decode(tokenizer, ids[:end]).rstrip("\ufffd"))
        found.append((shown(text[start:place]), bool(carries)))
        start = max(start, place)
    return found


def spelled_in(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return the special tokens that stand there in letters, which a model reads as letters."""
    known = tokenizer.added_tokens_decoder
    runs = (decode(tokenizer, [*run]) for added, run in groupby(ids, known.__contains__) if not added)
    names = [str(token) for token in known.values() if token.special and len(str(token)) > 1]
    return sorted({name for text in runs for name in names if name in text})


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
