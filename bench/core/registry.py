"""Registries: names to classes that are imported at first use.

The order of a registry is the order of every table. Lazy imports let `python -m bench list` run
without torch, and a missing optional package disables one entry only.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, ClassVar, get_origin, get_type_hints

from bench.core.errors import Unavailable, UserError
from bench.core.named import for_name

Options = Mapping[str, tuple[dataclasses.Field[Any], Any]]  # by name: field and resolved type


@dataclass(frozen=True)
class Entry:
    """A registered class or function.

    target: "module:attribute", a frozen dataclass whose fields are its options.
    options: values of fields that this name fixes (`ar-greedy` is a beam of width 1).
    requires: packages that may be absent, as pip names them.
    sample: clean lines of the first data set to which the main job limits this encoder; None for no
        limit, 0 to leave an encoder or decoder out of it (peers, for `bench dev perf` only).
    stand_in: options of this encoder in the main job when its weights are missing.
    defaults: values of the user's project file for fields, which the command line overrides.
    """

    target: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    sample: int | None = None
    stand_in: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stated(self) -> dict[str, Any]:
        """The defaults that rows state: all but paths, which differ by machine."""
        items = self.defaults.items()
        return {name: v for name, v in items if not PurePath(str(v)).is_absolute()}


class Registry:
    """The names of one kind ("encoder", "decoder", "data set", "damage").

    entries: by name.
    others: resolves a name that is not listed to its entry, or to None.
    also: such names in words ("any folder ./name"); "" without any.

    `own` has the entries of the user's project file, which come before those of the same name.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, Entry],
        others: Callable[[str], Entry | None] = lambda name: None,
        also: str = "",
    ) -> None:
        self.kind = kind
        self.entries = dict(entries)
        self.own: Mapping[str, Entry] = {}
        self.others = others
        self.also = also

    def __contains__(self, name: str) -> bool:
        return name in self.names() or self.others(name) is not None

    def names(self) -> list[str]:
        """All listed names, in table order."""
        return list({**self.entries, **self.own})

    def entry(self, name: str) -> Entry:
        """The entry of a name.

        Raises:
            UserError: the name is not registered; the sentence suggests the nearest one.
        """
        listed = {**self.entries, **self.own}
        if name in listed:
            return listed[name]
        other = self.others(name)
        if other is None:
            known = [*listed, *([self.also] if self.also else [])]
            raise UserError(f"no {self.kind} is called {name!r}{did_you_mean(name, known)}")
        return other

    def target(self, name: str) -> Any:
        """The class behind a name.

        Raises:
            UserError: unknown name.
            Unavailable: a package that it requires is not installed, or the class is not there or
                not complete.
        """
        entry = self.entry(name)
        for package in entry.requires:
            need(package, f"{self.kind} {name}")
        module, _, attribute = entry.target.partition(":")
        found = getattr(importlib.import_module(module), attribute, None)
        if found is None:
            raise Unavailable(f"{module} has no {attribute}", f"correct the line of {name}")
        if fault := _fault(found):
            raise Unavailable(fault, f"mend it in {module}")
        return found

    def targets(self, name: str) -> tuple[Any, ...]:
        """All classes that document a name."""
        return (self.target(name),)

    def options(self, name: str) -> Options:
        """Options of a name, in order of the fields.

        Raises:
            UserError: unknown name.
            Unavailable: a package that it requires is not installed.
        """
        return declared(self.target(name))

    def create(self, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """Create the object of a name with its fixed options and the user's.

        Raises:
            UserError: unknown name, or an option that does not exist or has a wrong type.
            Unavailable: a package that it requires is not installed.
        """
        target = self.target(name)
        fixed = self.entry(name).options
        chosen = {**self.entry(name).defaults, **(options or {})}
        allowed = {f.name: f for f in dataclasses.fields(target) if f.init}
        for option in chosen:
            if option in fixed:
                raise UserError(f"{name} fixes {option}; choose another {self.kind} to change it")
            if option not in allowed:
                hint = did_you_mean(option, allowed)
                raise UserError(f"{name} has no option {option!r}{hint}")
        return target(**{**fixed, **chosen})

    def create_here(self, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """Build an encoder or data set whose files are here.

        Raises:
            UserError: see `create`.
            Unavailable: it lacks files or a package.
        """
        thing = self.create(name, options)
        if absent := thing.missing():
            raise Unavailable(absent.reason, for_name(absent.remedy, name))
        return thing


@functools.cache
def _fault(target: Any) -> str:
    """The fault of a class that is not complete; "" when it has none."""
    name = target.__name__
    if "__dataclass_params__" not in vars(target):
        return f"{name} has no options of its own: @dataclass(frozen=True) is missing above it"
    if methods := sorted(getattr(target, "__abstractmethods__", ())):
        return f"{name} does not define {', '.join(methods)}"
    kinds = get_type_hints(target).items()
    facts = [fact for fact, kind in kinds if ClassVar in (kind, get_origin(kind))]
    if unset := [fact for fact in facts if not hasattr(target, fact)]:
        return f"{name} does not set {', '.join(unset)}"
    return ""


def declared(target: Any) -> Options:
    """The options of a dataclass, in order of its fields."""
    kinds = get_type_hints(target)
    return {f.name: (f, kinds[f.name]) for f in dataclasses.fields(target) if f.init}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """End the message on an unknown name with the nearest names, or with all."""
    known = list(known)
    alike = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), alike, n=2, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(alike[each] for each in near)}?"
    return f"; there are: {', '.join(known) or 'none'}"


def need(package: str, what: str) -> None:
    """Check that an optional package, by the name that pip knows, is installed."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        remedy = f"pip install {package}"
        raise Unavailable(f"{what} needs the package {package}", remedy) from error
