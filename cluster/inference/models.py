"""Find a model, by local folder or hub id, and read what its own files say about it, without loading it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cluster.inference.adapters import Adapter
from cluster.inference.engine import SAMPLING_BOUNDS
from cluster.inference.hub_files import download, list_files, pinned_to
from cluster.inference.limits import Shape, shape_of
from cluster.inference.model_files import CONFIG, GENERATION, KNOWN, MORE_TEMPLATES, TOKENIZER, Files, check_bytes
from cluster.inference.revision import hash_of_folder
from cluster.inference.sampling import unusual
from cluster.inference.tokenizer import read_config
from cluster.inference.values import is_count, is_number
from cluster.texts import nearest

_CLOSE = 0.75
_TEKKEN = "tekken.json"
_WITHIN = ("*", MORE_TEMPLATES, "*/config.json", "*/*/config.json", "*/*.distcp")  # what tells it from other folders


@dataclass(frozen=True)
class Served:
    """How a server treats the requests for its model. Part of the run's configuration."""

    context: int  # longest prompt plus completion, in tokens
    system: Literal["kept", "dropped", "refused", "not known"] = "not known"  # what becomes of a system text
    seeds: Literal["kept", "ignored", "not known"] = "not known"  # whether the same seed draws the same sample

    @property
    def fold_system(self) -> bool:
        """Return True if a system text has to stand in the user's turn."""
        return self.system in {"dropped", "refused"}


@dataclass(frozen=True)
class Model:
    """A model that was found, and what its own files say."""

    name: str  # as shown to users and stored in rows: hub id, folder name, or the built-in model's name
    path: str  # local folder or hub id, as engines load it
    revision: str  # hub commit, or a hash of the folder's files
    hub_revision: str | None  # what to ask the hub's client for in addition to `path`; None for a folder
    context: int  # longest prompt plus completion, in tokens
    sampling: Mapping[str, float] = field(default_factory=dict)  # what generation_config.json gives of SAMPLING_BOUNDS
    more: Mapping[str, Any] = field(default_factory=dict)  # what else of it changes sampling: see sampling.unusual
    type: str = ""  # the model_type of config.json
    architectures: tuple[str, ...] = ()
    own_code: tuple[str, ...] = ()  # the configuration files that refer to code that comes with the model
    heads: int | None = None  # attention heads, which an engine's GPUs share evenly; None if config.json does not say
    weight_bytes: int = 0  # on disk; 0 if they are not on this machine
    weight_files: tuple[str, ...] = ()  # that an engine downloads; empty for a folder
    shape: Shape | None = None  # its size as config.json tells it; None if that does not
    quantization: str = ""  # the quant_method of config.json; "" for weights that are not quantized
    run_code: bool = False  # True if code that came with the model may be run
    templates: Mapping[str, str] = field(default_factory=dict)
    """Chat templates by name, "default" the one that is meant; empty for a base model."""
    writes_chats: bool = False  # its tokenizer needs no template, as Mistral's tekken.json
    adapter: Adapter | None = None
    served: Served | None = None  # how a server treats it, whose model it is; None for one whose files are known

    @property
    def names(self) -> list[str]:
        """Return the names of the model and of its adapter."""
        return [self.name, self.adapter.name] if self.adapter else [self.name]

    @property
    def full_name(self) -> str:
        """Return the name in rows."""
        return "+".join(self.names)

    @property
    def full_revision(self) -> str:
        """Return the revision in rows."""
        return f"{self.revision}+{self.adapter.revision}" if self.adapter else self.revision

    @property
    def label(self) -> str:
        """Return the name as part of the name of a folder or repository."""
        return "-".join(Path(name).name for name in self.names)


def served_model(name: str, served: Served) -> Model:
    """Return a model of which only what its server tells is known."""
    return Model(name, "", "", None, served.context, writes_chats=True, served=served)


def find(
    name: str, begun: Mapping[str, Any] | None = None, own: tuple[str, ...] = (), *, run_code: bool = False
) -> Model:
    """Find a model by local folder, hub id, or bare well-known name, the last two also with @COMMIT.

    `begun` is the configuration of the run to continue: if that has this model of the hub, its commit is taken unless
    another is given. `own` are further names that may have been meant. `run_code` lets code of the model's own run.
    Raises ValueError if the model does not exist, is incomplete, or cannot chat.
    """
    if os.path.isdir(name):
        try:
            return _local(Path(name), run_code=run_code)
        except OSError as error:
            raise ValueError(f"model folder {name} cannot be read: {error.strerror}") from error
    asked, at, revision = name.partition("@")
    families, is_file = KNOWN["families"].items(), os.path.exists(name)
    owned = [f"{owner}/{asked}" for owner, family in families if asked.startswith(tuple(family["beginnings"]))]
    repo = asked if "/" in asked else "".join(owned[:1])
    near, example = _meant(asked, own), "such as Qwen/Qwen2.5-1.5B-Instruct"
    gguf, spaced = is_file and name.endswith(".gguf"), any(map(str.isspace, name))
    for wrong, words in (
        (gguf, f"{name} is a GGUF file, which is not read: give the model that it was made from"),
        (is_file, f"{name} is a file: give the folder that holds config.json and the weights"),
        (name.startswith((".", "/", "~")), f"folder {name} is not there: give a folder that is, or a hub id"),
        (at and not asked, f"{name!r} names no model before @: give owner/name@COMMIT"),
        (at and not revision, f"{name!r} names no commit behind @: give owner/name@COMMIT"),
        (spaced, f"{name!r} is no folder, and a hub id has no spaces: give owner/name as the hub writes it, {example}"),
        (not repo, f"{name!r} is no folder and no well-known name{near}: give a folder or a hub id {example}"),
    ):
        if wrong:
            raise ValueError(f"model {words}")
    # A later commit, if only to a card, would make it another configuration.
    of_run = begun.get("model_revision") if begun and not at and begun.get("model") == repo else None
    pinned, shown = pinned_to("model", repo, revision, of_run)
    commit, names = list_files(repo, pinned, f"{shown}{_meant(repo)}", CONFIG)
    held = Files(names, lambda name: download(repo, name, commit, shown))
    held.check("model", repo)
    return _described(repo, repo, commit, held, None, run_code=run_code)


def _local(folder: Path, *, run_code: bool) -> Model:
    if folder.name.startswith("models--") and (folder / "snapshots").is_dir():
        owner, _, repo = folder.name.removeprefix("models--").partition("--")
        raise ValueError(f"model folder {folder} is of the hub's cache: give {owner}/{repo}, or a folder of snapshots/")
    found = {path for pattern in _WITHIN for path in folder.glob(pattern) if path.is_file()}
    held = Files({path.relative_to(folder).as_posix() for path in found}, folder.joinpath)
    held.check("model folder", str(folder))
    weight_bytes, path = check_bytes(folder, held), folder.resolve()
    digest = hash_of_folder(folder, held.names)
    return _described(path.name, str(path), digest, held, weight_bytes, run_code=run_code)


def _meant(name: str, own: tuple[str, ...] = ()) -> str:
    """Ask whether the known model with the most similar name was meant; "" if none is similar, or it is that one."""
    offered = (f"{owner}/{model}" for owner, family in KNOWN["families"].items() for model in family["models"])
    known = {shown.lower(): full for full in (*offered, *own) for shown in (full, full.rpartition("/")[2])}
    near = nearest(name, known, cutoff=_CLOSE)
    return f" (did you mean {known[near[0]]}?)" if near and name not in known.values() else ""


def _described(name: str, path: str, revision: str, held: Files, weight_bytes: int | None, *, run_code: bool) -> Model:
    """Read the model's own files. `weight_bytes` is None for a model on the hub."""
    config, generation, tokenizer = (held.read(file) for file in (CONFIG, GENERATION, TOKENIZER))
    sampling = {key: generation[key] for key in SAMPLING_BOUNDS if generation.get(key) is not None}
    numbers = [(key, value, GENERATION) for key, value in sampling.items()]
    for key, value, file in [("model_max_length", tokenizer.get("model_max_length", 0), TOKENIZER), *numbers]:
        if value is not None and not is_number(value):
            raise ValueError(f"model {name}: {key} in {file} must be a number, not {value!r}")
    # As everywhere, `do_sample: false` means temperature 0; a top_k of -1 keeps all, which is 0 here.
    sampling |= {"temperature": 0} if generation.get("do_sample") is False else {}
    sampling |= {"top_k": 0} if sampling.get("top_k") == -1 else {}
    hub_revision = revision if weight_bytes is None else None
    classes = config.get("architectures")
    heads = [part.get("num_attention_heads", part.get("n_head")) for part in _parts(config)]
    own_code = tuple(one for one, said in ((CONFIG, config), (TOKENIZER, tokenizer)) if said.get("auto_map"))
    run_code = run_code and bool(own_code)
    return Model(
        name,
        path,
        revision,
        hub_revision=hub_revision,
        context=_context_of(name, config, partial(read_config, path, hub_revision, run_code=run_code)),
        sampling={key: float(value) for key, value in sampling.items()},
        more=unusual(generation),
        type=str(config.get("model_type") or ""),
        architectures=tuple(map(str, classes)) if isinstance(classes, list) else (),
        own_code=own_code,
        heads=next((count for count in heads if is_count(count, 1)), None),
        weight_bytes=weight_bytes or 0,
        weight_files=tuple(held.fetched()) if hub_revision else (),
        shape=shape_of([*_parts(config)]),
        quantization=_quantization(config),
        run_code=run_code,
        templates=held.templates(),
        writes_chats=_TEKKEN in held.names,
    )


def _quantization(config: Mapping[str, Any]) -> str:
    found = [part.get("quantization_config") or part.get("compression_config") for part in _parts(config)]
    said = next((one for one in found if isinstance(one, Mapping)), {})
    method = str(said.get("quant_method") or "")
    # What llm-compressor writes has the name of the library.
    return method if method or "config_groups" not in said else "compressed-tensors"


def _context_of(name: str, config: Mapping[str, Any], read: Callable[[], Any]) -> int:
    """Return the longest prompt plus completion, in tokens, as vLLM derives it. Raises ValueError if it cannot be."""

    def said(get: Callable[[str], Any]) -> list[Any]:
        return [value for key in KNOWN["config"]["context"] if (value := get(key)) is not None]

    inner = next(_parts(config))
    if not (lengths := said(inner.get)):
        # Last, since transformers takes seconds to import. It may not know the model, and the file may be anything.
        with suppress(Exception):
            text = read().get_text_config()
            lengths = said(lambda key: getattr(text, key, None))
    lengths = lengths or said(config.get)
    if not lengths or not all(is_count(length, 2) for length in lengths):
        raise ValueError(f"model {name} does not say its context: config.json has no max_position_embeddings")
    return int(inner.get("model_max_length") or min(lengths))


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the configuration of the text model first, then those that contain it."""
    for inner in [config[key] for key in KNOWN["config"]["text"] if isinstance(config.get(key), Mapping)][:1]:
        yield from _parts(inner)
    yield config
