"""The project file `kaidoku.toml`: the user's own encoders, sets, language models and defaults.

It is read and checked for its form here; `bench.cli.project` registers what it names.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import takewhile
from operator import getitem
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.files import read_bytes
from bench.core.registry import did_you_mean

NAME = "kaidoku.toml"
NESTED = ("encoders", "sets")  # a table in it is a named thing
TABLES = (*NESTED, "models", "llm", "run")

_REMEDIES = {  # of mistakes that are often made, by a part of TOML's own words
    "key part": "put a name with other letters than a to z into quotes",
    "Invalid value": "put a text into quotes",
    "Invalid hex value": "write a path with / in place of \\",
    "Unescaped '\\'": "write a path with / in place of \\",
}
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[\w.\s-])+?)\s*=""")
_PARTS = re.compile(r"""[^\s."']+|"[^"]*"|'[^']*'""")
_PLACE = re.compile(
    r"[./~]|[^/]*$|(?:[^/]*/){2}|.*\.(?:arpa|gz|bin|binary|klm|safetensors|parquet)$"
)


@dataclass(frozen=True)
class Project:
    """A project file: its absolute path, its text, and its values by table."""

    path: Path
    text: str
    tables: Mapping[str, Mapping[str, Any]]

    def mistake(self, *keys: str, what: str) -> UserError:
        """The error of a key, with file and line."""
        return UserError(f"{self.line(*keys)}: {what}")

    def line(self, *keys: str) -> str:
        """File and line of a key.

        TOML's reader gives no line numbers: the line is the first one that names the key, or as
        much of it as stands in the file.
        """
        table: tuple[str, ...] = ()
        found = 0, 1
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := _HEADER.match(line):
                here = table = _split(header[1])
            elif assignment := _ASSIGNMENT.match(line):
                here = (*table, *_split(assignment[1]))
            else:
                continue
            pairs = zip(here, keys, strict=False)
            shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
            if shared > found[0]:
                found = shared, number
        return f"{self.path.name}, line {found[1]}"

    def unknown(self, *keys: str, known: Iterable[str]) -> UserError:
        """The error of a key that its table does not have."""
        *table, key = keys
        return self.mistake(
            *keys, what=f"{'.'.join(table)} has no option {key!r}{did_you_mean(key, known)}"
        )

    def text_of(self, *keys: str) -> str:
        """A value as it would stand on the command line.

        Raises:
            UserError: it is neither a text, a number, true or false, nor a list of these.
        """
        value = self._value(keys)
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str | int | float) for each in values):
            rule = "has to be a text, a number, true or false, or a list of these"
            raise self.mistake(*keys, what=f"{'.'.join(keys)} {rule}")
        text = ",".join(
            str(each).lower() if isinstance(each, bool) else str(each) for each in values
        )
        if "\0" in text:  # which no command line can hold
            raise self.mistake(*keys, what=f"{'.'.join(keys)} has a null character; remove it")
        return text

    def pairs_of(self, *keys: str) -> tuple[str, ...]:
        """Entries of a table of texts, each as KEY=VALUE."""
        value = self._value(keys)
        for key, each in value.items():
            if not isinstance(each, str):
                what = f"{'.'.join((*keys, key))} has to be a text; write it in quotes"
                raise self.mistake(*keys, key, what=what)
        return tuple(f"{key}={each}" for key, each in value.items())

    def place_of(self, *keys: str, hub: bool) -> str:
        """A path, relative to the file, as an absolute one; a Hub id as it is, where `hub`."""
        if not (text := self.text_of(*keys)):
            raise self.mistake(*keys, what=f"{'.'.join(keys)} is empty; name a place, or remove it")
        if not isinstance(self._value(keys), str):
            raise self.mistake(*keys, what=f"{'.'.join(keys)} is one place; write it in quotes")
        try:
            path = (self.path.parent / Path(text).expanduser()).resolve()
        except RuntimeError as error:  # ~ before an unknown user
            what = f"{'.'.join(keys)} is no path: {text!r}; write the whole path"
            raise self.mistake(*keys, what=what) from error
        return text if hub and not (_PLACE.match(text) or path.exists()) else str(path)

    def _value(self, keys: Iterable[str]) -> Any:
        return reduce(getitem, keys, self.tables)


def find(folder: Path) -> Path | None:
    """The project file of a folder or of the nearest folder above it that has one."""
    places = (each / NAME for each in (folder, *folder.parents))
    return next((place for place in places if os.path.lexists(place)), None)


def read(path: Path) -> Project:
    """Read a project file, checked for its tables and the names in it.

    Raises:
        UserError: it cannot be read, is no TOML, or has a table or a name that it may not have.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")  # some editors put a mark first
        tables = tomllib.loads(text)
    except OSError as error:
        raise UserError(
            f"cannot read the project file {path}: {error.strerror}; `init` writes one"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        line = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        where = f"line {line[1]}" if line else "its end"
        what = str(error)[: line.start() if line else None]
        remedy = next((each for part, each in _REMEDIES.items() if part in what), "correct it")
        raise UserError(f"{path.name}, {where}: this is not TOML ({what}); {remedy}") from error
    except (RecursionError, ValueError) as error:  # limits of TOML's reader
        what = "a value is nested too deeply, or a number is too long; make it simpler"
        raise UserError(f"{path.name}: {what}") from error
    project = Project(path.resolve(), text, tables)
    for table, content in tables.items():
        if table not in TABLES:
            what = f"there is no table {table!r}{did_you_mean(table, TABLES)}"
            raise project.mistake(table, what=what)
        if not isinstance(content, dict):
            raise project.mistake(table, what=f"{table} is a table; write [{table}] above its keys")
        for name, value in content.items() if table in (*NESTED, "models") else ():
            if not re.fullmatch(r"\w[\w.-]*", name):
                what = (
                    f"the name {name!r} may hold letters, digits, '.', '_' and '-' only; rename it"
                )
                raise project.mistake(table, name, what=what)
            if table in NESTED and not isinstance(value, dict):
                what = f"{table}.{name} is a table; write [{table}.{name}] above its keys"
                raise project.mistake(table, name, what=what)
    return project


def _split(keys: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PARTS.findall(keys))
