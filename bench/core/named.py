"""Names of the user's project file, for the folders that do not read it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.core.errors import UserError


@dataclass(frozen=True)
class Named:
    """Names of a project file.

    folder: of the file; None without one.
    models: a file, folder or Hub id by the name of a language model.
    kinds: a registered data set by the name of a set of its kind.
    places: a name by the absolute path of what has it.
    lines: file and line of a name whose place is not there.
    """

    folder: Path | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, str] = field(default_factory=dict)


_named = Named()


def named() -> Named:
    """Return the names that the loaded project file defines."""
    return _named


def set_named(names: Named) -> None:
    """Replace the names of an earlier project file."""
    global _named
    _named = names


def kind_of(dataset: str) -> str:
    """The registered set behind a name of the project file; any other name stays as it is."""
    return _named.kinds.get(dataset, dataset)


def for_name(remedy: str, name: str) -> str:
    """A remedy of what is behind a name, with the options of the name and where it is given."""
    own = remedy.replace(f"-o {kind_of(name)}.", f"-o {name}.")
    return f"{own}; {name} stands in {_named.lines[name]}" if name in _named.lines else own


def file_of_model(model: str) -> Path:
    """The file or folder of a language model that an option names.

    Raises:
        UserError: the project file has its name, and it is not there.
    """
    path = Path(_named.models.get(model, model))
    with contextlib.suppress(RuntimeError):  # ~ before an unknown user, whose file is not there
        path = path.expanduser()
    if model in _named.models and path.is_absolute() and not path.exists():
        raise UserError(
            f"the file of the language model {model} is not there; correct its path under [models] "
            "of the project file"
        )
    return path


def title_of(path: Path) -> str:
    """The name of a file or folder in the project file, else its own."""
    return _named.places.get(str(path), path.name)


def without_paths(text: str) -> str:
    """Replace the paths of named things by their names, longer paths first."""
    for path, name in sorted(_named.places.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(path, name)
    return text
