"""Functions compiled by numba: kept on disk, and run without the interpreter's lock.

Numba keeps a compiled function by the text of its own file and knows nothing of what it calls in
others. Here it is kept in a folder named by all code of this project that its module is built
from, so that no machine code outlives a change of them and clones of equal code share it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from numba import config, njit
from numba.core.caching import CacheImpl, _CacheLocator

from bench.core.cache import cache_folder
from bench.core.errors import UserError
from bench.core.hashing import code_version, file_of

Given = ParamSpec("Given")
Told = TypeVar("Told")

_NEWEST = 4  # folders of a module that are kept: branches and clones that take turns


def compiled(function: Callable[Given, Told]) -> Callable[Given, Told]:
    """Compile a function at its first call."""
    return _njit(function)


def compiled_part(function: Callable[Given, Told]) -> Callable[Given, Told]:
    """Compile a function that makes no array, to be called from compiled code.

    Numba counts references to an array wherever a function takes it, by operations that lock
    memory and that two threads with a view of one array wait for each other at. In a function of
    a few dozen instructions they cost more than its work; without arrays made, nothing needs them.
    """
    return _njit(function, _nrt=False)


def _njit(function: Callable[Given, Told], **options: bool) -> Callable[Given, Told]:
    """Compile, and keep the result where that is possible."""
    try:
        kept = os.access(folder_of(function.__module__), os.W_OK)
    except (OSError, UserError):
        kept = False
    return cast("Callable[Given, Told]", njit(cache=kept, nogil=True, **options)(function))


class _Locator(_CacheLocator):  # type: ignore[misc]
    """The place of a function of this project in the cache."""

    def __init__(self, function: Any, file: str) -> None:
        self._py_file = file
        self._function = function

    @classmethod
    def from_function(cls, function: Any, file: str) -> _Locator | None:
        """None for functions of others, which numba has places for."""
        return cls(function, file) if file_of(function.__module__) else None

    def get_cache_path(self) -> str:
        """The folder of its module's code."""
        return str(folder_of(self._function.__module__))

    def get_source_stamp(self) -> str:
        """Nothing: the folder's name says it."""
        return ""

    def get_disambiguator(self) -> str:
        """The line where it stands."""
        return str(self._function.__code__.co_firstlineno)


CacheImpl._locator_classes.insert(0, _Locator)


@functools.cache
def folder_of(module: str) -> Path:
    """The folder for the machine code of a module; old ones of that module are deleted."""
    base = Path(config.CACHE_DIR) if config.CACHE_DIR else cache_folder("kernels")
    folder = base / f"{module}-{code_version((module,))}"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # another process may delete them as well
        os.utime(folder)  # used just now
        ages = {path: path.stat().st_mtime for path in base.glob(f"{module}-*")}
        for old in sorted(ages, key=ages.__getitem__)[:-_NEWEST]:
            shutil.rmtree(old)
    return folder
