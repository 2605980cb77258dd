"""Reports for tests: of hostile rows, of many rows, and what stands in a page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assembly.report import main
from tests.assembly_rows import PUBLISHED, RIGHT, WRONG, published_row, write_parquet

SCRIPT = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
HOSTILE = {
    "script": SCRIPT,
    "comment": "<!-- <script> --!> ]]> <!--<script",
    "link": "[a](javascript:alert(1)) javascript:document.title='taken' <a href=\"javascript:alert(1)\">x</a>",
    "entities": "&lt;b&gt; &amp;amp; &#60;script&#62; &nbsp; &bogus;",
    "bidi": "right \u202eto left\u202c, \u2066isolated\u2069, \u200fmark, \u061c",
    "controls": "bell \x07, escape \x1b[31mred\x1b[0m, delete \x7f, return\r, next line \x85, zero \x00 end",
    "separators": "line \u2028 paragraph \u2029 byte order \ufeff",
    "template": "{data} {program} {style} ${7*7} {{7*7}} `x` \\u003c \\",
    "astral": "𝔘 👩‍👩‍👧 e\u0301\u0301\u0301\u0301 \ufffd \U000e0041",
    "tags": "<sample>\n<sample>x</sample></reflect><think></think><answer>1</answer></sample><reflect>open",
    "blank": " \n\t ",
}
TOLD = "the last words of a very long text"


def hostile_rows() -> list[dict[str, Any]]:
    """Rows whose every text is hostile, one of them of 10 MB, and one of a question of a million characters."""
    rows = [
        published_row(f"{name}: {text}", text, right, answer=text, prompt_variant=text or None)
        | {f"{PUBLISHED}_reflection": [f"{text}{RIGHT}", text, f"{WRONG}{text}"], "outcome_reason": text, "task": text}
        for name, text in HOSTILE.items()
        for right in (True, False, None)
    ]
    rows += [published_row("long: 1 + 1?", f"{'<' * 10_000_000}{TOLD}", False)]
    rows += [published_row("million: " + 1_000_000 * "\u202e" + TOLD, "7", True)]
    return rows


def write_raw(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", rows)
    return folder


def write_traces(folder: Path, texts: Mapping[str, str], of: Sequence[str] = ()) -> Path:
    """A set of a trace for each label, all of one question or each of its own, each with a fault of its own name."""
    rows = [
        {
            "conversations": [{"role": "user", "content": "3 + 4?"}, {"role": "assistant", "content": text}],
            "sft_template_type_idx": label,
            "format": "*C",
            "question_key": key,
            "task": "sums",
            "variants": ["original"] * text.count("<sample>"),
            "faults": [] if label == "whole" else ["names_hint"],
        }
        for (label, text), key in zip(texts.items(), of or ["q"] * len(texts), strict=True)
    ]
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", rows)
    return folder


def page_of(*sources: Path, out: Path) -> Path:
    assert main([*map(str, sources), "--out", str(out)]) == 0
    return out


def told_in(page: Path) -> dict[str, Any]:
    """The data in a page, as a browser finds it."""
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert len(found) == 1
    told: dict[str, Any] = json.loads(found[0])
    return told


def rows_in(page: Path, kind: str = "RAW_DATA") -> list[dict[str, Any]]:
    return [row for one in told_in(page)["shown"] if one["kind"] == kind for row in one["rows"]]
