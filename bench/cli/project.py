"""Registration of the encoders, sets and models that the project file names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, get_args

import cyclopts

from bench.core import project as files
from bench.core.errors import Unavailable, UserError
from bench.core.named import Named, set_named
from bench.core.options import typed_value, words
from bench.core.project import Project
from bench.core.registry import Entry, Registry, declared, did_you_mean
from datasets import DATASETS
from datasets.damage import DAMAGES
from decoders import DECODERS
from decoders.correctors import CORRECTORS
from models import ENCODERS
from models.trocr_shapes import SHAPES

_REGISTRIES = (ENCODERS, DECODERS, CORRECTORS, DATASETS, DAMAGES)
_RESERVED = {"all", "none", "embedded", *SHAPES}  # words of the command line and of rows
_FOLDER_OR_HUB = ("path", "head", "processor")  # options that are text
_LLM = ("url", "model")


def load(path: Path) -> Project:
    """Read a project file and register what it names in place of an earlier file's names.

    Raises:
        UserError: a mistake in it, with its line.
    """
    forget()
    project = files.read(path)
    own = {table: project.tables.get(table, {}) for table in files.TABLES}
    encoders = {name: _encoder(project, name) for name in own["encoders"]}
    kinds = {name: _kind(project, name) for name in own["sets"]}
    sets = {name: _set(project, name, kind) for name, kind in kinds.items()}
    for name in own["models"]:
        if name in _RESERVED:
            raise project.mistake("models", name, what=f"{name!r} is reserved; choose another name")
    models = {name: project.place_of("models", name, hub=True) for name in own["models"]}
    corrector = _llm(project, own["llm"])
    if twice := next((name for name in encoders if name in sets), None):
        what = f"an encoder is called {twice!r} too; choose another name"
        raise project.mistake("sets", twice, what=what)
    ENCODERS.own, DATASETS.own, CORRECTORS.own = encoders, sets, corrector
    named = list(models.items())
    for name, entry in {**encoders, **sets}.items():
        named += [(name, str(v)) for v in {**entry.options, **entry.defaults}.values()]
    places = {value: name for name, value in reversed(named) if PurePath(value).is_absolute()}
    lines = _lines_of_gone(project, "encoders", encoders) | _lines_of_gone(project, "sets", sets)
    set_named(Named(project.path.parent, models, kinds, places, lines))
    return project


def _lines_of_gone(project: Project, table: str, entries: Mapping[str, Entry]) -> dict[str, str]:
    """File and line of each name whose file or folder is not there, which is an error once used."""
    return {
        name: project.line(table, name, "path" if option == "repo" else option)
        for name, entry in entries.items()
        for option, value in {**entry.options, **entry.defaults}.items()
        if PurePath(str(value)).is_absolute() and not os.access(str(value), os.F_OK)
    }


def forget() -> None:
    """Remove the names of a project file from the registries."""
    ENCODERS.own, DATASETS.own, CORRECTORS.own = {}, {}, {}
    set_named(Named())


class RunDefaults:
    """Values for missing options of `run` from the file's [run]; cyclopts calls it for them."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.filled: dict[str, str] = {}

    def __call__(
        self, _: Any, commands: tuple[str, ...], arguments: cyclopts.ArgumentCollection
    ) -> None:
        """Fill in the arguments of a command line."""
        if commands != ("run",):
            return
        project = self.project
        flags = {name: each for each in arguments for name in each.names if name[:2] == "--"}
        for key in project.tables.get("run", {}):
            argument = flags.get(f"--{key}")
            if argument is None:
                raise project.unknown("run", key, known=[flag[2:] for flag in flags])
            if argument.tokens:
                continue
            text = project.text_of("run", key)
            if key == "data-root":
                text = project.place_of("run", key, hub=False)
            self.filled[key] = text
            where = f"{project.line('run', key)}: run.{key}"  # in messages
            argument.append(cyclopts.Token(keyword=where, value=text, source=project.path.name))

    def placed(self, error: UserError) -> UserError:
        """The error with file, line and key, where it quotes a value of the file."""
        for key, text in self.filled.items():
            if any(repr(word) in str(error) for word in words([text])):
                return self.project.mistake("run", key, what=f"run.{key}: {error}")
        return error


def _encoder(project: Project, name: str) -> Entry:
    """A TrOCR of a folder (`path`) or of the Hub (`hub`)."""
    _check_name(project, "encoders", name)
    table = ("encoders", name)
    keys = [key for key in ("path", "hub") if key in project.tables["encoders"][name]]
    rest = [key for key in project.tables["encoders"][name] if key not in keys]
    entry = Entry("models.trocr:TrOCRSpec", f"yours, of {project.path.name}", {"repo": ""})
    entry = _with_defaults(project, table, rest, entry, ("path", "hub"))
    if len(keys) != 1:
        what = f"encoders.{name} needs one of path (a folder) and hub (owner/name)"
        raise project.mistake(*table, what=what)
    repo = project.place_of(*table, keys[0], hub=keys[0] == "hub")
    if keys[0] == "hub" and PurePath(repo).is_absolute():
        what = f"encoders.{name}.hub is owner/name; a folder is named with path"
        raise project.mistake(*table, "hub", what=what)
    return replace(entry, options={"repo": repo})


def _kind(project: Project, name: str) -> str:
    """The registered set whose options a set has."""
    if name in DATASETS.entries and project.tables["sets"][name].get("kind", name) == name:
        return name
    _check_name(project, "sets", name)
    if "kind" not in project.tables["sets"][name]:
        what = f"no data set is called {name!r}; give its kind, one of `list datasets`"
        raise project.mistake("sets", name, what=what)
    kind = project.text_of("sets", name, "kind")
    if kind not in DATASETS.entries:
        what = f"no data set is called {kind!r}{did_you_mean(kind, DATASETS.entries)}"
        raise project.mistake("sets", name, "kind", what=what)
    return kind


def _set(project: Project, name: str, kind: str) -> Entry:
    """A registered set with other defaults, under its own or another name."""
    entry = replace(DATASETS.entries[kind], summary=f"yours, of {project.path.name}: {kind}")
    keys = [key for key in project.tables["sets"][name] if key != "kind"]
    return _with_defaults(project, ("sets", name), keys, entry, ("kind",))


def _with_defaults(
    project: Project, table: tuple[str, str], keys: Sequence[str], entry: Entry, own: Sequence[str]
) -> Entry:
    """The entry with the values of these keys as defaults; `own` are the file's own keys."""
    target = Registry("", {"it": entry}).target("it")
    kinds = {o: kind for o, (_, kind) in declared(target).items() if o not in entry.options}
    defaults = {}
    for key in keys:
        if key not in kinds:
            raise project.unknown(*table, key, known=[*own, *kinds])
        kind, hub = kinds[key], kinds[key] is str
        if kind == tuple[str, ...] and isinstance(project.tables[table[0]][table[1]][key], dict):
            defaults[key] = project.pairs_of(*table, key)
            continue
        is_place = Path in (kind, *get_args(kind)) or (hub and key in _FOLDER_OR_HUB)
        text = project.place_of(*table, key, hub=hub) if is_place else project.text_of(*table, key)
        with _placed(project, *table, key):
            defaults[key] = typed_value(".".join((*table, key)), kind, text)
    with _placed(project, *table):
        target(**{**entry.options, **defaults})
    return replace(entry, defaults=defaults)


def _llm(project: Project, own: Mapping[str, Any]) -> dict[str, Entry]:
    """The corrector `llm` with its endpoint."""
    for key in own:
        if "key" in key.lower():
            what = "a key never stands in a file; set KAIDOKU_LLM_KEY in the environment"
            raise project.mistake("llm", key, what=what)
        if key not in _LLM:
            raise project.unknown("llm", key, known=_LLM)
    endpoint = {key: project.text_of("llm", key) for key in own}
    with _placed(project, "llm", "url"), contextlib.suppress(Unavailable):
        CORRECTORS.create("llm", endpoint)
    entry = CORRECTORS.entries["llm"]
    return {"llm": replace(entry, defaults=endpoint)} if own else {}


def meaning(name: str) -> str:
    """The meaning of a name without a project file; "" if it has none."""
    kinds = [registry.kind for registry in _REGISTRIES if name in registry.entries]
    return f"the name of a registered {kinds[0]}" if kinds else "reserved" * (name in _RESERVED)


def _check_name(project: Project, table: str, name: str) -> None:
    """Refuse a name that already means something else."""
    if what := meaning(name):
        raise project.mistake(table, name, what=f"{name!r} is {what}; choose another name")


@contextlib.contextmanager
def _placed(project: Project, *keys: str) -> Iterator[None]:
    """Put file and line before the message of a wrong value."""
    try:
        yield
    except Unavailable:
        raise
    except UserError as error:
        what = str(error).replace("--llm-url", "llm.url")
        raise project.mistake(*keys, what=what) from error
