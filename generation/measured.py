"""What the samples of a run took: their lengths, outcomes and verdicts, as arrays, and how fast the engines wrote them.

Read from rows in the schema of RAW_DATA: a run's directory, or those of a probe.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.jobs.atomic import TEMPORARY
from cluster.jobs.run_directory import RUN_FILE, read_record
from cluster.jobs.status import Moment, read_history
from generation.raw.schema import PROVENANCE, RAW_DATA, SAMPLE_PROVENANCE, lengths, owners

COLUMNS = ["question_key", "prompt_variant", "outcome", SAMPLE_PROVENANCE, PROVENANCE]
_APART_S = 20.0  # the least time between two moments of a history from which a speed is taken
_LEAST_S = 5.0  # the least that a start must have lasted to tell a speed


class Measured(NamedTuple):
    """Samples with their reflections. The arrays have an element for each sample."""

    questions: list[str]  # keys
    variants: list[str]
    question: np.ndarray  # index of its question
    variant: np.ndarray  # index of its variant
    outcome: np.ndarray  # texts
    tokens: np.ndarray  # written, of the sample alone
    cut: np.ndarray  # True if it was cut at the length limit
    reflections: np.ndarray  # how many it has
    reflection_tokens: np.ndarray  # written, of all of these
    agreeing: np.ndarray  # how many of these have the right verdict
    unsaid: np.ndarray  # how many of these have no verdict
    rejecting: np.ndarray  # how many of these say Incorrect

    def under(self, variants: Iterable[str]) -> "Measured":
        """Return the samples under these variants, with the questions that have any."""
        wanted = {place for place, name in enumerate(self.variants) if name in {*variants}}
        keep = np.isin(self.variant, [*wanted])
        places, question = np.unique(self.question[keep], return_inverse=True)
        arrays = [array[keep] for array in self[3:]]
        return Measured([self.questions[place] for place in places], self.variants, question, *arrays)


class Speed(NamedTuple):
    """How fast engines wrote, in tokens/s of all together: the slowest that was seen, the average, the fastest."""

    low: float
    mean: float
    high: float
    engines: int
    gpus_each: int  # 0 for engines on the CPU, and for servers
    served: bool = False  # True for servers, one for each of `engines`


def measure(tables: Sequence[pa.Table]) -> Measured:
    """Measure rows in the schema of RAW_DATA, COLUMNS of it at least."""
    table = pa.concat_tables([one.select(COLUMNS) for one in tables]).combine_chunks()
    keys, variants = (table[name].combine_chunks().dictionary_encode() for name in COLUMNS[:2])
    sample, looks = (table[name].combine_chunks() for name in COLUMNS[3:])
    each, owner = looks.flatten(), owners(looks)

    def summed(values: pa.Array) -> np.ndarray:
        weights = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)
        return np.bincount(owner, weights, minlength=len(table))

    return Measured(
        keys.dictionary.to_pylist(),
        variants.dictionary.to_pylist(),
        keys.indices.to_numpy(),
        variants.indices.to_numpy(),
        np.array(table["outcome"].to_pylist(), dtype=object),
        pc.fill_null(pc.struct_field(sample, "output_tokens"), 0).to_numpy(zero_copy_only=False),
        pc.fill_null(pc.equal(pc.struct_field(sample, "finish_reason"), "length"), False).to_numpy(
            zero_copy_only=False
        ),
        lengths(looks),
        summed(pc.struct_field(each, "output_tokens")),
        summed(pc.cast(pc.struct_field(each, "valid"), pa.int64())),
        summed(pc.cast(pc.is_null(pc.struct_field(each, "verdict")), pa.int64())),
        summed(pc.cast(pc.equal(pc.struct_field(each, "verdict"), "Incorrect"), pa.int64())),
    )


def files_of(run: Path) -> list[Path]:
    """Return the parquet files with the rows of a run: its shards, or where these are gone, RAW_DATA."""
    shards = sorted(path for path in (run / "shards").glob("*.parquet") if not path.name.startswith(TEMPORARY))
    return shards or sorted((run / RAW_DATA / "data").glob("*.parquet"))


def rows_of(files: Iterable[Path], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of the files. Raises ValueError for one that cannot be read, or is no RAW_DATA of ours."""
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                if missing := [name for name in COLUMNS if name not in file.schema_arrow.names]:
                    raise ValueError(f"{path} has no column {missing[0]!r}: it was written by another command")
                for batch in file.iter_batches(columns=None if columns is None else [*columns]):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def record_of(run: Path) -> dict[str, Any]:
    """Return the run.json of a run of `generation.run`. Raises ValueError if there is none."""
    if not (run / RUN_FILE).is_file():
        raise ValueError(f"--like {run} is no run: it has no {RUN_FILE}; give the --out of an earlier generation.run")
    record = read_record(run)
    if "variants" not in record["configuration"]:
        raise ValueError(f"--like {run} is a run of another command than generation.run")
    return record


def speed_of(run: Path, starts: Sequence[Mapping[str, Any]]) -> Speed | None:
    """Return how fast the engines of a run wrote, over its starts and moments; None if nothing tells."""
    history, rates, weights = [*read_history(run)], list[float](), list[float]()
    told = [one for one in starts if one.get("output_tokens") and one.get("seconds", 0) >= _LEAST_S]
    told = [one for one in told if _engines_of(one) == _engines_of(told[-1])]
    for place, start in enumerate(starts):
        if start in told:
            found = _moments([one for one in history if one.start == place]) or [
                (start["output_tokens"], start["seconds"])
            ]
            rates += [tokens / seconds for tokens, seconds in found]
            weights += [seconds for _, seconds in found]
    if not told:
        return None
    mean = float(np.average(rates, weights=weights))
    return Speed(min(rates), mean, max(rates), *_engines_of(told[-1]))


def _engines_of(start: Mapping[str, Any]) -> tuple[int, int, bool]:
    """Return how many engines a start asked for, the GPUs of each, and whether they were servers."""
    engines = start.get("engines", {})
    return engines.get("wanted", 1), engines.get("gpus_each", 0), bool(engines.get("served"))


def _moments(history: Sequence[Moment]) -> list[tuple[int, float]]:
    """Return the tokens and seconds between moments of one start that lie far enough apart."""
    found, last = list[tuple[int, float]](), history[0] if history else None
    for one in history[1:]:
        assert last is not None
        if (seconds := one.seconds - last.seconds) >= _APART_S:
            found.append((one.output_tokens - last.output_tokens, seconds))
            last = one
    return [(tokens, seconds) for tokens, seconds in found if tokens > 0]
