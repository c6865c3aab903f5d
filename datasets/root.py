"""The data root: the folder of data sets that are not embedded."""

from __future__ import annotations

import os
from pathlib import Path

from bench.core.errors import Unavailable

VARIABLE = "BENCH_DATA"

_CHECKOUT = Path(__file__).resolve().parent.parent
_chosen: Path | None = None


def set_data_root(folder: str | Path | None) -> None:
    """Set the folder (the command line's --data-root); None resets it."""
    global _chosen
    _chosen = None if folder is None else Path(folder).expanduser()


def data_root() -> Path | None:
    """The data root: the first of these, or None.

    1. the folder of `set_data_root` (`--data-root`), whether it exists or not;
    2. the environment variable BENCH_DATA, likewise;
    3. `data/` in the checkout;
    4. `shared/data/` beside the checkout, for a folder that several checkouts read.
    """
    if _chosen is not None:
        return _chosen
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    places = (_CHECKOUT / "data", _CHECKOUT.parent / "shared" / "data")
    return next((place for place in places if place.is_dir()), None)


def writable_root() -> Path:
    """The folder for new data: the data root, else `data/` in the checkout."""
    return data_root() or _CHECKOUT / "data"


def folder_of(name: str, chosen: Path | None, remedy: str) -> Path:
    """The folder of a set that users download: the chosen one, else NAME in `writable_root`.

    Raises:
        Unavailable: there is no such folder; `remedy` says how to get the set.
    """
    folder = chosen or writable_root() / name
    if not folder.is_dir():
        elsewhere = f"{remedy}; a folder elsewhere is named with -o {name}.root=DIR"
        raise Unavailable(f"{name} is not here: there is no folder {folder}", elsewhere)
    return folder
