"""Progress callbacks of long work, which the command line draws bars from."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, float, float], None]
"""Takes the name of the work, the amount done and the total."""


def silent(doing: str, done: float, total: float) -> None:
    """Report nothing."""
