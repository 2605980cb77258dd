"""The rows of a set, ours or a published one, in batches: columns to count, and what a page shows of some of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.faults import FAULTS
from assembly.layouts import LAYOUTS, LayoutName, layout_of, text_of
from assembly.reporting.sample import LONGEST, Shown, Write, shown
from assembly.selection import TRAIN, VALIDATION
from assembly.sft import SFT_DATA
from generation.evaluation.reader import BATCH_ROWS, read_evaluation
from generation.evaluation.schema import EVAL_DATA, VERDICTS
from generation.evaluation.schema import PREFIX as REPLIES
from generation.raw.files import find_files, reading
from generation.raw.reader import open_parts, read_batches
from generation.raw.schema import PROVENANCE, REQUESTS, SAMPLE_PROVENANCE, as_lists, first_items, owners, requests_in
from generation.records import CUT, CUT_THOUGHT, REQUEST_FAILED, stable_hash
from reflection.verdict import parse_verdicts

SUMS = ("samples", "cut", "tokens", "counted", *VERDICTS)
"""Columns of samples; VERDICTS count what is said of right and of wrong ones."""
_REASON = r"(?s)^([^:]{0,60}).*"  # what follows the colon differs from sample to sample, and so do numbers
_SHORT = 3_000  # characters of questions, reflections and answers that are shown
_ROWS = 1_000
_SAID = ("none", "Incorrect", "Correct")
_LABEL, _THOUGHTS = "sft_template_type_idx", "responses__thought"
_OF_TRACE = ("question_key", "task", _LABEL, "format", "variants", "faults")


class Batch(NamedTuple):
    rows: pa.Table  # with the columns `key`, `task`, `cut`, `length`, `rows`, and those that are counted
    strata: Sequence[str]  # tell its rows apart besides those columns
    measure: str  # what its lengths are
    write: Write


def raw_rows(source: str | Path) -> Iterator[Batch]:
    """Yield the samples of a RAW_DATA, without retries. Raises ValueError for what cannot be read."""
    first = 0
    for part in open_parts(source):
        for whole, every in read_batches(part, REQUESTS):
            plain = every["parent"].is_null().combine_chunks()
            numbers = first + np.flatnonzero(plain)
            first += len(every)
            batch, rows = whole.filter(plain), every.filter(plain)
            said = rows["reflections"].combine_chunks()
            of, verdicts = owners(said), parse_verdicts(said.flatten())
            counts = [np.bincount(of[verdicts == code], minlength=len(rows)) for code in (1, 0, -1)]
            graded = [np.asarray(pc.equal(rows["outcome"], outcome)) for outcome in ("right", "wrong")]
            told = dict(zip(VERDICTS, (count * outcome for outcome in graded for count in counts), strict=True))
            asked = _of_samples(batch)
            tokens = pa.nulls(len(rows), pa.int64())
            if asked is not None and asked.type.get_field_index("output_tokens") >= 0:
                tokens = pc.struct_field(asked, "output_tokens")
            yield _samples(rows, told, tokens, rows["response"], partial(_raw, rows, batch, part.columns, numbers))


def _raw(
    rows: pa.Table, batch: pa.RecordBatch, columns: Mapping[str, str], numbers: np.ndarray, places: list[int]
) -> Iterator[Shown]:
    # As they stand in the set: samples that are traces are taken apart in `rows`.
    texts = {role: first_items(as_lists(batch[columns[role]])) for role in ("response", "thought") if role in columns}
    written, named = _of_samples(batch), requests_in(batch, PROVENANCE)
    taken = rows.take(places)
    verdicts = iter(parse_verdicts(taken["reflections"].combine_chunks().flatten()))
    for place, row in zip(places, taken.to_pylist(), strict=True):
        names = [one.get("prompt_name") for one in batch[PROVENANCE][place].as_py() or ()] if named is not None else []
        said = row["reflections"]
        parts = zip(names if len(names) == len(said) else [None] * len(said), said, verdicts, strict=False)
        told = _sample(row, row["extracted_answer"], int(numbers[place]))
        told |= {name: shown(text[place].as_py()) for name, text in texts.items()}
        told["tokens"] = None if written is None else (written[place].as_py() or {}).get("output_tokens")
        told["said"] = [[_SAID[code + 1], name, shown(text, _SHORT)] for name, text, code in parts]
        yield _question(row["question"], row["answer"]), told


def _sample(row: Mapping[str, Any], answer: str | None, place: int) -> dict[str, object]:
    told = {name: row[name] for name in ("task", "variant", "outcome", "reason", "cut")}
    return {**told, "key": row["question_key"], "row": place, "answer": shown(answer, _SHORT)}


def _of_samples(batch: pa.RecordBatch) -> pa.Array | None:
    """Return the record of each sample's request, null for a row without one; None if there are none."""
    found = requests_in(batch, SAMPLE_PROVENANCE)
    return None if found is None else first_items(found)


def replies(source: str | Path) -> Iterator[Batch]:
    """Yield the replies of an EVAL_DATA. Raises ValueError for what cannot be read."""
    every, first = read_evaluation(source).replies, 0
    names = {"question", "answer", REPLIES, _THOUGHTS}
    for path in find_files(source, EVAL_DATA):
        with reading(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=[*names.intersection(file.schema_arrow.names)]):
                texts = batch[REPLIES].flatten()
                rows = every.slice(first, len(texts)).combine_chunks()
                arm = pc.if_else(pc.equal(rows["arm"], ""), "", pc.binary_join_element_wise("", rows["arm"], " · "))
                place = rows.schema.get_field_index("variant")
                rows = rows.set_column(place, "variant", pc.binary_join_element_wise(rows["variant"], arm, ""))
                rows = rows.append_column("cut", pc.is_in(rows["reason"], pa.array([CUT, CUT_THOUGHT])))
                told = {name: np.asarray(pc.fill_null(rows[name], 0)).astype(np.int64) for name in VERDICTS}
                yield _samples(rows, told, rows["tokens"].combine_chunks(), texts, partial(_reply, rows, batch, first))
                first += len(texts)


def _reply(rows: pa.Table, batch: pa.RecordBatch, first: int, places: list[int]) -> Iterator[Shown]:
    texts = {name: batch[name].flatten() for name in (REPLIES, _THOUGHTS) if name in batch.schema.names}
    of = owners(batch[REPLIES])
    for place, row in zip(places, rows.take(places).to_pylist(), strict=True):
        asked = {name: batch[name][int(of[place])].as_py() for name in batch.schema.names if name not in texts}
        told = _sample(row, row["answer"], first + place) | {"tokens": row["tokens"], "said": []}
        for name, role in ((REPLIES, "response"), (_THOUGHTS, "thought")):
            told[role] = shown(texts[name][place].as_py()) if name in texts else None
        yield _question(asked["question"], asked.get("answer")), told


def _samples(
    rows: pa.Table, said: Mapping[str, np.ndarray], tokens: pa.Array, texts: pa.Array, write: Callable[..., Any]
) -> Batch:
    # A request that failed wrote nothing that a length could be of.
    failed = pc.equal(pc.fill_null(rows["reason"], ""), REQUEST_FAILED)
    tokens = pc.if_else(failed, None, tokens).combine_chunks()
    counted, ones = tokens.is_valid(), np.ones(len(rows), np.int64)
    reason = pc.replace_substring_regex(rows["reason"], _REASON, r"\1")
    made = {name: pc.fill_null(rows[name], "") for name in ("task", "variant", "outcome")} | {
        **{
            "reason": pc.replace_substring_regex(reason, "[0-9]+", "#"),
            "key": rows["question_key"],
            "samples": ones,
            "rows": ones,
        },
        **{"cut": rows["cut"].cast(pa.int64()), "tokens": pc.fill_null(tokens, 0).cast(pa.int64())},
        **{"counted": counted.cast(pa.int64()), **said},
    }
    measure = "tokens" if pc.any(counted).as_py() else "characters"
    length = tokens if measure == "tokens" else pc.if_else(failed, None, pc.utf8_length(texts))
    made["length"] = length.cast(pa.int64())
    some = np.array([said[name] + said[other] > 0 for name, other in zip(VERDICTS[:3], VERDICTS[3:], strict=True)])
    return Batch(pa.table(made), (np.array([1, 2, 4]) @ some).astype(str).tolist(), measure, write)


def _question(text: str, gold: object) -> dict[str, object]:
    return {"text": shown(text, _SHORT), "gold": None if gold is None else shown(str(gold), _SHORT)}


def traces(source: str | Path) -> Iterator[Batch]:
    """Yield the traces of an SFT_DATA in any layout. Raises ValueError for what cannot be read."""
    first = 0
    for path in find_files(source, SFT_DATA):
        with reading(path), pq.ParquetFile(path) as file:
            layout = layout_of(file.schema_arrow)
            names = [one.name for one in LAYOUTS[layout].columns]
            names += [name for name in _OF_TRACE if name in file.schema_arrow.names]
            for batch in file.iter_batches(_ROWS, columns=names):
                made = [_trace(layout, row, place) for place, row in enumerate(batch.to_pylist(), first)]
                for _, one in made:
                    one["split"] = path.parent.name if path.parent.name == VALIDATION else TRAIN
                columns = {name: [one[name] for _, one in made] for name in ("task", "label", "key", "attempts")}
                columns |= {"length": columns["attempts"], "cut": [0] * len(made)}
                columns |= dict.fromkeys(("traces", "rows"), [1] * len(made))
                columns |= {name: [int(name in one["faults"]) for _, one in made] for name in FAULTS}
                strata = [" ".join(one["faults"]) for _, one in made]
                yield Batch(pa.table(columns), strata, "attempts", partial(map, made.__getitem__))
                first += len(made)


def _trace(layout: LayoutName, row: Mapping[str, Any], place: int) -> tuple[dict[str, object], dict[str, Any]]:
    """Return what is shown of a trace: no text of a set of tokens, which only its tokenizer can read."""
    asked, text = text_of(layout, row)
    variants = row.get("variants")
    return _question(asked, None), {
        **{"task": row.get("task") or "", "label": row.get(_LABEL) or "", "format": row.get("format") or ""},
        **{"variants": variants or [], "faults": row.get("faults") or [], "row": place},
        "key": row.get("question_key") or stable_hash(asked)[:16],
        "attempts": text.count("<sample>") if variants is None else len(variants),
        "text": shown(text, 2 * LONGEST),
    }
