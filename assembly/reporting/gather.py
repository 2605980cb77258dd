"""Reads the sets that a page shows, each once, batch by batch: sums by question, lengths, and a sample of rows."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.layouts import LAYOUTS, layout_of, thought_in
from assembly.reporting.sample import LONGEST, Sample, Shown, Write, shown
from assembly.sft import SFT_DATA
from assembly.traces import FAULTS
from cluster.jobs.run_directory import RUN_FILE
from generation.evaluation.reader import BATCH_ROWS, read_evaluation
from generation.evaluation.schema import EVAL_DATA, VERDICTS
from generation.evaluation.schema import PREFIX as REPLIES
from generation.raw.counts import shares
from generation.raw.files import find_files, reading
from generation.raw.reader import RESPONSES, open_parts, read_batches
from generation.raw.schema import PROVENANCE, RAW_DATA, REQUESTS, SAMPLE_PROVENANCE, is_list, lengths, lists_of, owners
from generation.records import CUT, CUT_THOUGHT, REQUEST_FAILED, stable_hash
from reflection.verdict import parse_verdicts

KINDS = (RAW_DATA, EVAL_DATA, SFT_DATA)
GROUPS = ("task", "variant", "outcome", "reason")
SUMS = ("samples", "cut", "tokens", "counted", *VERDICTS)
OF_TRACES = ("traces", "attempts", *FAULTS)
_LABEL = "sft_template_type_idx"
_REFLECTION, _QUESTION = 3_000, 3_000  # characters that are shown
_REASON = r"(?s)^([^:]{0,60}).*"  # what follows the colon differs from sample to sample, and so do numbers
_BINS, _TABLES, _ROWS = 40, 64, 1_000
_THOUGHTS = "responses__thought"
_OF_TRACE = ("question_key", "task", _LABEL, "format", "variants", "faults")
_SAID = ("none", "Incorrect", "Correct")


class Subject(NamedTuple):
    """What a page is asked to show."""

    name: str
    run: Path | None  # the run directory that it is, or lies in
    sets: Mapping[str, str | Path]  # where each of KINDS is that is there


def find_sets(what: str | Path) -> Subject:
    """Find the sets of a run, folder, file or hub dataset. Raises ValueError if it holds none, or not all of one."""
    path = Path(what)
    places = (path, path.absolute().parent, path.absolute().parent.parent) if path.exists() else ()
    run = next((one for one in places if (one / RUN_FILE).is_file()), None)
    inside = {kind: path / kind for kind in KINDS if (path / kind).is_dir()}
    if not inside:
        file = find_files(what)[0]
        with reading(file):
            names = {*pq.read_schema(file).names}
        kind = RAW_DATA if names & {*RESPONSES} else EVAL_DATA if REPLIES in names else SFT_DATA
        return Subject(path.resolve().name if path.exists() else str(what), run, {kind: what})
    for kind, one in inside.items():
        find_files(one, kind)
    return Subject(path.resolve().name, run, inside)


class Sums:
    """Sums over rows by columns of names; the memory grows with the number of different names alone."""

    def __init__(self, names: Sequence[str], summed: Sequence[str]) -> None:
        self._names, self._summed, self._tables = names, summed, list[pa.Table]()

    def add(self, rows: pa.Table) -> None:
        self._tables.append(self.by(self._names, rows))
        if len(self._tables) > _TABLES:
            self._tables = [self.by(self._names)]

    def by(self, names: Sequence[str], rows: pa.Table | None = None) -> pa.Table:
        """Return the sums by these names, of the rows or of all that were added."""
        rows = pa.concat_tables(self._tables) if rows is None else rows
        made = rows.group_by([*names]).aggregate([(name, "sum") for name in self._summed])
        return made.rename_columns([one.removesuffix("_sum") for one in made.column_names])


class Contents:
    """What a set holds: of samples or of traces, with at most `size` bytes of its rows. Raises as its readers do."""

    def __init__(self, kind: str, source: str | Path, size: int) -> None:
        self.kind, self.source, self.sample = kind, source, Sample(size)
        traces = kind == SFT_DATA
        self.sums = Sums(("task", "label", "key"), OF_TRACES) if traces else Sums((*GROUPS, "key"), SUMS)
        self.lengths = Sums(("group", "long", "length"), ("rows",))
        self.unit = "attempts" if traces else "tokens"
        strata = ("task", "label", "fault") if traces else ("task", "variant", "outcome", "reason", "said")
        reader = {RAW_DATA: _of_raw, EVAL_DATA: _of_evaluation, SFT_DATA: _of_traces}[kind]
        for rows, write in reader(source):
            self.sums.add(rows)
            names = zip(*(rows[name].to_pylist() for name in strata), strict=True)
            self.sample.add(["\0".join(one) for one in names], rows["key"].to_pylist(), write)
            length, one = pc.cast(rows["attempts" if traces else "length"], pa.int64()), np.ones(len(rows), np.int64)
            long = np.zeros(len(rows), np.int64) if traces else rows["cut"]
            columns = {"group": rows["label" if traces else "variant"], "long": long, "length": length, "rows": one}
            self.lengths.add(pa.table(columns))
        if not self.sample.rows:
            raise ValueError(f"{source}: holds no rows")
        if not traces and not pc.sum(self.sums.by(())["counted"]).as_py():
            self.unit = "characters"

    def told(self) -> dict[str, Any]:
        """Return its counts as JSON values."""
        told = {"kind": self.kind, "rows": self.sample.rows, "strata": self.sample.strata, "unit": self.unit}
        told["lengths"] = _histogram(self.lengths.by(("group", "long", "length")))
        if self.kind == SFT_DATA:
            rules = {name: rule.__doc__ for name, rule in FAULTS.items()}
            return told | {"labels": self.sums.by(("task", "label")).to_pylist(), "rules": rules}
        sums = self.sums.by(GROUPS).to_pylist()
        counts = Counter({name: sum(one[name] for one in sums) for name in VERDICTS})
        pairs = [(outcome, verdict) for outcome in ("right", "wrong") for verdict in ("Correct", "Incorrect", "none")]
        verdicts = Counter({pair: counts["_".join(pair).lower()] for pair in pairs})
        scores = {name: shares(verdicts, name) for name in ("Correct", "Incorrect")}
        rates = Counter((task, right, n) for task, _, right, n in self.rates())
        told |= {"verdicts": [[*pair, verdicts[pair]] for pair in pairs], "scores": scores}
        groups = [{name: one[name] for name in (*GROUPS, *SUMS[:4])} for one in sums]
        return told | {"groups": groups, "rates": [[*rate, count] for rate, count in sorted(rates.items())]}

    def rates(self) -> Iterator[tuple[str, str, int, int]]:
        """Yield task and key of each question, how many samples are right, and of how many whose requests went well."""
        if self.kind == SFT_DATA:
            return
        asked = Counter[tuple[str, str]]()
        right = Counter[tuple[str, str]]()
        table = self.sums.by(("task", "key", "outcome", "reason"))
        columns = (table[name].to_pylist() for name in ("task", "key", "outcome", "reason", "samples"))
        for task, key, outcome, reason, samples in zip(*columns, strict=True):
            asked[task, key] += samples * (reason != REQUEST_FAILED)
            right[task, key] += samples * (outcome == "right")
        yield from ((*name, right[name], count) for name, count in asked.items())


def _histogram(table: pa.Table) -> dict[str, Any]:
    """Return the width of a bin, and for each group the rows in each that were cut, or not."""
    table = table.filter(table["length"].is_valid())
    most = pc.max(table["length"]).as_py() or 0
    scale = 10 ** max(0, len(str(most // _BINS)) - 1)
    width = next(step * scale for step in (1, 2, 5, 10, 20) if step * scale * _BINS > most)
    found = dict[tuple[str, int], list[int]]()
    for one in table.to_pylist():
        bins = found.setdefault((one["group"], one["long"]), [0] * (most // width + 1))
        bins[one["length"] // width] += one["rows"]
    return {"width": width, "bins": [[*group, bins] for group, bins in sorted(found.items())]}


def _samples(rows: pa.Table, said: Mapping[str, np.ndarray], tokens: pa.Array, texts: pa.Array) -> pa.Table:
    """Return the columns of samples that are summed and told apart by; `said` counts VERDICTS."""
    counted = np.asarray(tokens.is_valid())
    outcome = {name: pc.fill_null(rows[name], "") for name in ("task", "variant", "outcome")}
    reason = pc.replace_substring_regex(rows["reason"], _REASON, r"\1")
    outcome["reason"] = pc.replace_substring_regex(reason, "[0-9]+", "#")
    some = [said[name] + said[other] > 0 for name, other in zip(VERDICTS[:3], VERDICTS[3:], strict=True)]
    return pa.table(
        {**outcome, "key": rows["question_key"], "samples": np.ones(len(rows), np.int64)}
        | {"cut": rows["cut"].cast(pa.int64()), "length": tokens if counted.any() else pc.utf8_length(texts)}
        | {"tokens": pc.fill_null(tokens, 0).cast(pa.int64()), "counted": counted.astype(np.int64), **said}
        | {"said": (some[0] + 2 * some[1] + 4 * some[2]).astype(str)}
    )


def _part(batch: pa.RecordBatch, column: str, field: str) -> pa.Array | None:
    """Return a field of a column of structs, or of lists of them; None if the batch has none."""
    if column not in batch.schema.names:
        return None
    type_ = batch[column].type
    inner = type_.value_type if is_list(type_) else type_
    if not pa.types.is_struct(inner) or inner.get_field_index(field) < 0:
        return None
    parts = pc.struct_field(batch[column].flatten() if is_list(type_) else batch[column], field)
    return lists_of(parts, lengths(batch[column])) if is_list(type_) else parts


def _of_raw(source: str | Path) -> Iterator[tuple[pa.Table, Write]]:
    count = 0
    for part in open_parts(source):
        for batch, rows in read_batches(part, REQUESTS):
            rows = rows.combine_chunks()
            lists = rows["reflections"].combine_chunks()
            of, verdicts = owners(lists), parse_verdicts(lists.flatten())
            graded = {name: np.asarray(pc.equal(rows["outcome"], name)) for name in ("right", "wrong")}
            said = {
                f"{outcome}_{name.lower()}": np.bincount(of[verdicts == code], minlength=len(rows)) * graded[outcome]
                for outcome in graded
                for code, name in enumerate(_SAID, -1)
            }
            tokens = _part(batch, SAMPLE_PROVENANCE, "output_tokens")
            tokens = pa.nulls(len(rows), pa.int64()) if tokens is None else tokens
            yield _samples(rows, said, tokens, rows["response"]), partial(_shown, rows, batch, tokens, count)
            count += len(rows)


def _shown(rows: pa.Table, batch: pa.RecordBatch, tokens: pa.Array, first: int, places: list[int]) -> Iterator[Shown]:
    names = _part(batch, PROVENANCE, "prompt_name")
    for place, row in zip(places, rows.take(places).to_pylist(), strict=True):
        said, verdicts = row["reflections"], parse_verdicts(pa.array(row["reflections"], pa.string()))
        asked = names[place].as_py() if names is not None else []
        asked = asked if len(asked or ()) == len(said) else [None] * len(said)
        told = [
            [_SAID[code + 1], name, shown(text, _REFLECTION)]
            for code, name, text in zip(verdicts, asked, said, strict=True)
        ]
        inner = [
            {"answer": one["extracted"], "outcome": one["outcome"], "text": shown(one["text"], _REFLECTION)}
            | {"said": [[it["verdict"] or "none", None, shown(it["text"], _REFLECTION)] for it in one["reflections"]]}
            for one in row["attempts"] or ()
        ]
        yield _question(row["question"], row["answer"]), {
            **{name: row[name] for name in ("task", "variant", "outcome", "reason", "cut")},
            **{"row": first + place, "key": row["question_key"], "answer": shown(row["extracted_answer"], _QUESTION)},
            **{"tokens": tokens[place].as_py(), "said": told, "inner": inner},
            **{name: shown(row[of]) for name, of in (("text", "response"), ("thought", "thought"))},
        }


def _question(text: str, gold: str | None) -> dict[str, object]:
    return {"text": shown(text, _QUESTION), "gold": shown(gold, _QUESTION)}


def _of_evaluation(source: str | Path) -> Iterator[tuple[pa.Table, Write]]:
    replies, first = read_evaluation(source).replies, 0
    names = {"question", "answer", REPLIES, _THOUGHTS}
    for path in find_files(source, EVAL_DATA):
        with reading(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=[*names.intersection(file.schema_arrow.names)]):
                texts = batch[REPLIES].flatten()
                rows = replies.slice(first, len(texts)).combine_chunks()
                arms = pc.if_else(pc.equal(rows["arm"], ""), "", pc.binary_join_element_wise(" · ", rows["arm"], ""))
                joined = pc.binary_join_element_wise(rows["variant"], arms, "")
                rows = rows.set_column(rows.schema.get_field_index("variant"), "variant", joined)
                rows = rows.append_column("cut", pc.is_in(rows["reason"], pa.array([CUT, CUT_THOUGHT])))
                said = {name: np.asarray(pc.fill_null(rows[name], 0)).astype(np.int64) for name in VERDICTS}
                made = _samples(rows, said, rows["tokens"].combine_chunks(), texts)
                yield made, partial(_shown_replies, rows, batch, first)
                first += len(texts)


def _shown_replies(rows: pa.Table, batch: pa.RecordBatch, first: int, places: list[int]) -> Iterator[Shown]:
    of, texts = owners(batch[REPLIES]), batch[REPLIES].flatten()
    thoughts = batch[_THOUGHTS].flatten() if _THOUGHTS in batch.schema.names else pa.nulls(len(texts))
    for place, row in zip(places, rows.take(places).to_pylist(), strict=True):
        asked = batch.slice(int(of[place]), 1).to_pylist()[0]
        gold = asked.get("answer")
        yield _question(asked["question"], None if gold is None else str(gold)), {
            **{name: row[name] for name in ("task", "variant", "outcome", "reason", "cut", "tokens")},
            **{"row": first + place, "key": row["question_key"], "answer": shown(row["answer"], _QUESTION)},
            **{"text": shown(texts[place].as_py()), "thought": shown(thoughts[place].as_py()), "said": [], "inner": []},
        }


def _of_traces(source: str | Path) -> Iterator[tuple[pa.Table, Write]]:
    first = 0
    for path in find_files(source, SFT_DATA):
        with reading(path), pq.ParquetFile(path) as file:
            layout = layout_of(file.schema_arrow)
            names = [one.name for one in LAYOUTS[layout].columns]
            for batch in file.iter_batches(_ROWS):
                texts = [_trace(layout, row) for row in batch.select(names).to_pylist()]
                keys = [stable_hash(asked)[:16] for asked, _ in texts]
                none = [None] * len(texts)
                has = {name: batch[name].to_pylist() if name in batch.schema.names else none for name in _OF_TRACE}
                keys = [key or other for key, other in zip(has["question_key"], keys, strict=True)]
                faults = [one or [] for one in has["faults"]]
                attempts = [
                    len(names) if names is not None else text.count("<sample>")
                    for names, (_, text) in zip(has["variants"], texts, strict=True)
                ]
                columns = {"task": [name or "" for name in has["task"]], "label": [name or "" for name in has[_LABEL]]}
                columns |= {"key": keys, "traces": [1] * len(texts), "attempts": attempts}
                columns |= {"fault": [" ".join(one) for one in faults]}
                columns |= {name: [int(name in one) for one in faults] for name in FAULTS}

                def write(places: list[int]) -> Iterator[Shown]:
                    for place in places:
                        asked, text = texts[place]
                        told = {name: columns[name][place] for name in ("task", "label", "key")}
                        told |= {"variants": has["variants"][place] or [], "faults": faults[place]}
                        told |= {"format": has["format"][place] or "", "row": first + place}
                        yield _question(asked, None), told | {"text": shown(text, 2 * LONGEST)}

                yield pa.table(columns), write
                first += len(texts)


def _trace(layout: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """Return a question and its trace as texts; none for a set of tokens, which only its tokenizer can read."""
    if layout == "tokens":
        return "", ""
    if layout == "prompt_completion":
        return row["prompt"], row["completion"]
    asked, reply = (row.get("conversations") or row["messages"])[-2:]
    thought = thought_in(reply)
    return asked["content"], reply["content"] if thought is None else f"<think>\n{thought}\n</think>\n{reply['content']}"
