"""Parsing of `-o name.option=value` into typed options of registered classes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from bench.core.errors import UserError
from bench.core.registry import Options, Registry, did_you_mean

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_SCALARS = {int: "a whole number", float: "a number", str: "text", Path: "a path"}


class _UnfitError(ValueError):
    """A text that is not of the type; `typed_options` adds the option's name."""


def words(values: Iterable[str] | None) -> tuple[str, ...]:
    """Split an option that is repeated, separated by commas, or both, into distinct words."""
    parts = (word.strip() for value in values or () for word in value.split(","))
    return tuple(dict.fromkeys(word for word in parts if word))


def parse_options(items: Sequence[str]) -> dict[str, dict[str, str]]:
    """Parse `["ctc-kenlm.alpha=0.7"]` to `{"ctc-kenlm": {"alpha": "0.7"}}`.

    The name ends at the last dot before the first `=`, so that a name may hold dots and a value
    may hold anything.

    Raises:
        UserError: not of the form name.option=value, or one option with two values.
    """
    parsed: dict[str, dict[str, str]] = {}
    for item in items:
        left, equals, value = item.partition("=")
        name, _, option = left.strip().rpartition(".")
        if not (equals and name and option):
            raise UserError(
                f"-o {item} is not of the form name.option=value, such as -o ar-beam.beam=5; "
                "outputs are named with --out"
            )
        values = parsed.setdefault(name, {})
        if values.setdefault(option, value.strip()) != value.strip():
            raise UserError(
                f"{name}.{option} is set twice, as {values[option]} and as {value.strip()}; "
                "set it once"
            )
    return parsed


def typed_options(
    parsed: Mapping[str, Mapping[str, str]], registries: Iterable[Registry]
) -> dict[str, dict[str, Any]]:
    """Convert every option's text to the type of its field, for `Registry.create`.

    Raises:
        UserError: unknown name or option (with did-you-mean), an option that the name fixes, or
            a value of a wrong type.
        Unavailable: the name needs a package that is not installed.
    """
    registries = list(registries)
    typed: dict[str, dict[str, Any]] = {}
    for name, options in parsed.items():
        registry = _registry_of(name, registries)
        hints = {option: kind for option, (_, kind) in registry.options(name).items()}
        typed[name] = {
            option: typed_value(f"{name}.{option}", hints[option], text)
            if option in hints
            else text
            for option, text in options.items()
        }
        registry.create(name, typed[name])  # raises the error for an unknown option
    return typed


def settings(thing: Any) -> dict[str, Any]:
    """Options of a registered dataclass with their values."""
    return {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.init}


def restored(options: Options, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Convert options of a row (`bench.core.hashing.plain`) back to the types of their fields.

    A value that is no option stays as it is; `Registry.create` refuses it.
    """
    kinds = {name: kind for name, (_, kind) in options.items()}
    return {name: _from_json(kinds.get(name, object), value) for name, value in stored.items()}


def check_least(spec: Any, least: float, *options: str) -> None:
    """Check that options of a spec are not below a bound; None is not checked."""
    for option in options:
        value = getattr(spec, option)
        if value is not None and value < least:
            raise UserError(f"{option} is {value}; give at least {least}")


def describe(kind: Any) -> str:
    """Describe a type in words.

    >>> describe(tuple[float, ...])
    'a list of a number, with commas between'
    """
    if kind is bool:
        return "true or false"
    if kind in _SCALARS:
        return _SCALARS[kind]
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, inner))
    if get_origin(kind) is tuple:
        if _is_open(inner):
            return f"a list of {describe(inner[0])}, with commas between"
        return ", ".join(map(describe, inner)) + " (with commas between)"
    if _is_union(kind):
        return " or ".join("none" if i is type(None) else describe(i) for i in inner)
    return str(getattr(kind, "__name__", kind))


def convert(kind: Any, text: str) -> Any:
    """Convert a text to int, float, bool, str, Path, a Literal, a tuple or a union of these.

    Raises:
        ValueError: the text is not of this type.
        TypeError: the type cannot be written on the command line.
    """
    inner = get_args(kind)
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise _UnfitError
        return text.lower() in _TRUE
    if kind is float:
        if not math.isfinite(value := float(text)):  # a row could not hold it
            raise _UnfitError
        return value
    if kind in (int, str):
        return kind(text)
    if kind is Path:
        return Path(text).expanduser()
    if get_origin(kind) is Literal:
        by_text = {str(choice): choice for choice in inner}
        if text not in by_text:
            raise _UnfitError(did_you_mean(text, by_text))
        return by_text[text]
    if get_origin(kind) is tuple:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        kinds = (inner[0],) * len(parts) if _is_open(inner) else inner
        if len(parts) != len(kinds):
            raise _UnfitError
        return tuple(convert(kind, part) for kind, part in zip(kinds, parts, strict=True))
    if _is_union(kind):
        if type(None) in inner and text.lower() in ("none", ""):
            return None
        for one in inner:
            with contextlib.suppress(ValueError):
                if one is not type(None):
                    return convert(one, text)
        raise _UnfitError
    raise TypeError(f"no option can be of type {kind!r}")


def _from_json(kind: Any, value: Any) -> Any:
    import msgspec  # here, since `--help` needs this module too

    try:
        return msgspec.convert(value, kind, dec_hook=lambda kind, text: kind(text))
    except (msgspec.ValidationError, TypeError):
        return value


def typed_value(name: str, kind: Any, text: str) -> Any:
    """Convert the text of an option to its type."""
    try:
        return convert(kind, text)
    except _UnfitError as error:
        hint = str(error)
    except ValueError:
        hint = ""
    except TypeError as error:
        raise UserError(f"{name} cannot be set with -o") from error
    raise UserError(f"{name} is {describe(kind)}, not {text!r}{hint}")


def _registry_of(name: str, registries: Sequence[Registry]) -> Registry:
    for registry in registries:
        if name in registry:
            return registry
    known = [n for registry in registries for n in registry.names()]
    kinds = [registry.kind for registry in registries]
    raise UserError(f"no {' or '.join(kinds)} is called {name!r}{did_you_mean(name, known)}")


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _is_open(inner: tuple[Any, ...]) -> bool:
    return len(inner) == 2 and inner[1] is Ellipsis
