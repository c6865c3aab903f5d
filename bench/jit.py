"""Functions compiled by numba: kept on disk, and run without the interpreter's lock.

Numba keeps a compiled function by the text of its own file alone: after a change to one that is
called from other files change those as well, or delete their `__pycache__`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

Given = ParamSpec("Given")
Told = TypeVar("Told")


def compiled(function: Callable[Given, Told]) -> Callable[Given, Told]:
    """Compile a function at its first call."""
    return cast("Callable[Given, Told]", njit(cache=True, nogil=True)(function))


def compiled_part(function: Callable[Given, Told]) -> Callable[Given, Told]:
    """Compile a function that makes no array, to be called from compiled code.

    Numba counts references to an array wherever a function takes it, by operations that lock
    memory and that two threads with a view of one array wait for each other at. In a function of
    a few dozen instructions they cost more than its work; without arrays made, nothing needs them.
    """
    return cast("Callable[Given, Told]", njit(cache=True, nogil=True, _nrt=False)(function))
