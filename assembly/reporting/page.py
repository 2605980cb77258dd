"""Makes the page: what was found, as one JSON in a template that draws it. All texts are inert in it."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from assembly.reporting.differences import changes, differences
from assembly.reporting.gather import KINDS, Contents, Subject, find_sets
from assembly.reporting.sample import inert, shown
from assembly.sft import SFT_DATA
from cluster.errors import Stopped
from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.card import at_home
from cluster.jobs.progress import say
from cluster.jobs.run_directory import code_version, flat, now, read_record, texts_of
from cluster.jobs.status import read_history
from cluster.texts import fill, first_line
from generation.evaluation.eval_data import FIGURES, figures_told
from generation.evaluation.reader import read_evaluation
from generation.evaluation.schema import EVAL_DATA
from generation.raw.files import find_files, origin_of

REPORT = "report.html"
_ROWS, _PAGE = 1_450_000, 1_900_000  # bytes of all rows that are shown, and of the page without its program
_OF_TRACES = 0.3  # of these
_TEXT, _TEXTS = 4_000, 100  # characters of a prompt or of the phrases of a kind that are shown, and how many texts
_MOMENTS = 300
_LARGE = 1_000_000  # rows, of which a run makes no report unasked


def write_report(subjects: Sequence[Subject], out: Path) -> None:
    """Write the page on one subject, or on two beside each other. Raises ValueError and OSError."""
    kinds = [kind for kind in KINDS if all(kind in one.sets for one in subjects)]
    if not kinds:
        told = " and ".join(f"{one.name} holds {' and '.join(one.sets)}" for one in subjects)
        raise ValueError(f"{told}: only sets of one kind can be put beside each other")
    share = {kind: _OF_TRACES if kind == SFT_DATA else 1 - _OF_TRACES for kind in kinds}
    size = _ROWS / len(subjects) / sum(share.values())
    found = [{kind: Contents(kind, one.sets[kind], int(size * share[kind])) for kind in kinds} for one in subjects]
    records = [_record(one) for one in subjects]
    page: dict[str, Any] = {"made": now(), **code_version()}
    page["sides"] = [_side(*one) for one in zip(subjects, records, found, strict=True)]
    if len(found) == 2:
        figures = {kind: [*differences(*(one[kind] for one in found))] for kind in kinds}
        page |= {"differences": figures, "changes": changes(*records)}
    overview = inert(page)
    # Many tasks, variants and reasons leave less room for rows.
    room = min(1.0, max(0.0, (_PAGE - len(overview)) / _ROWS))
    rows = b",".join(_rows(side, one, room) for side, of in enumerate(found) for one in of.values())
    atomic_write_text(out, _filled(overview[:-1] + b',"shown":[' + rows + b"]}"))


def leave_report(what: Path, kinds: Sequence[str] = KINDS, out: Path | None = None) -> None:
    """Write the report of what has ended, by default in it, and say where; a failure or a stop is told, and no more."""
    try:
        subject = find_sets(what, kinds)
        if (rows := subject.rows) > _LARGE:
            return say("report", f"of {rows:,} rows: python -m assembly.report {what}")
        out = out or what / REPORT
        write_report([subject], out)
    except Stopped:
        say("note", f"report was not made, since this was stopped: python -m assembly.report {what}")
    except Exception as error:
        # It shows what is there, and nothing depends on it.
        say("note", f"report could not be made: {first_line(error)}")
    else:
        say("report", str(out))


def _record(subject: Subject) -> dict[str, Any]:
    return {} if subject.run is None else read_record(subject.run)


def _side(subject: Subject, record: Mapping[str, Any], found: Mapping[str, Contents]) -> dict[str, Any]:
    """Return what was run, and what each set of it holds, as JSON values."""
    origins = [origin_of(source, find_files(source, kind)) for kind, source in subject.sets.items()]
    told: dict[str, Any] = {"name": subject.name, "sets": [one._replace(card="")._asdict() for one in origins]}
    starts = [{**one, "command": at_home(str(one.get("command", "")))} for one in record.get("starts", ())]
    moments = [*read_history(subject.run)] if subject.run else []
    told |= {"state": record.get("state"), "configuration": [*flat(record.get("configuration", {}))], "starts": starts}
    # Of many the last one at least, which ends the line.
    moments = moments[:: -(len(moments) // _MOMENTS + 1)][::-1]
    told |= {"history": moments, "contents": [one.told() for one in found.values()]}
    texts = [[name, shown("\n".join(lines), _TEXT)] for name, lines in texts_of(record)]
    told["texts"] = texts[:_TEXTS]
    if EVAL_DATA in found:
        made = Path(subject.sets[EVAL_DATA], FIGURES)
        text = (
            made.read_text(encoding="utf-8")
            if made.is_file()
            else figures_told(read_evaluation(subject.sets[EVAL_DATA])).json()
        )
        told["figures"] = json.loads(text)
    return told


def _rows(side: int, contents: Contents, room: float) -> bytes:
    """Return the rows of a set that are shown, with their questions, and how often these were answered right.

    `room` is the share of their bytes that there is.
    """
    rows, asked = contents.sample.taken(room)
    rates = {key: [right, n] for _, key, right, n in contents.rates() if key in asked}
    questions = b",".join(inert(key) + b":" + text for key, text in asked.items())
    told = inert({"side": side, "kind": contents.kind, "rates": rates})[:-1]
    return told + b',"questions":{' + questions + b'},"rows":[' + b",".join(rows) + b"]}"


def _filled(data: bytes) -> str:
    """Return the page: the template with its style, its program and the data, which the program reads as JSON."""
    html, style, program = (
        resources.files("assembly.reporting").joinpath(f"report.{kind}").read_text(encoding="utf-8")
        for kind in ("html", "css", "js")
    )
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    values = {"style": style, "program": program, "digest": digest, "data": data.decode()}
    return fill(html, values)
