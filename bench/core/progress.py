"""How long work reports its progress: a callback, which the command line draws a bar from."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, float, float], None]
"""Takes what is being done, how much of it is done, and how much there is."""


def silent(doing: str, done: float, total: float) -> None:
    """Report nothing."""
