"""Locks between processes, which the kernel opens when their process ends, even by a kill.

They are POSIX record locks: forked workers do not inherit them, so that a worker that outlives a
killed run keeps nothing locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from bench.core.errors import UserError
from bench.core.files import plain_errors
from bench.core.stopwatch import pause

_LOOK_S = 0.05  # longer than `holder` has a lock
_HELD: set[Path] = set()  # by this process, against which such a lock does not hold


class LockedError(Exception):
    """The lock is held by the process of this number, as far as it is known."""


@contextlib.contextmanager
def locked(
    path: Path,
    waiting: Callable[[], None] | None = None,
    refusal: Callable[[str], Exception] = LockedError,
) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is made and stays.

    `waiting` is called before waiting for another process; without it there is no waiting, and
    `refusal` makes the error from the number of the process that holds the lock.

    Raises:
        Exception: that of `refusal`.
        UserError: the file cannot be written.
    """
    here = path.resolve()
    if here in _HELD:  # not even opened: closing a second handle would drop the lock
        raise refusal(str(os.getpid()))
    with contextlib.ExitStack() as closing:
        with plain_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = closing.enter_context(open(path, "a+b", buffering=0, opener=_no_link))
            mine = _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not mine and waiting is None:
                pause(_LOOK_S)
                mine = _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            elif not mine and waiting is not None:
                waiting()
                mine = _lock(file, fcntl.LOCK_EX)
        if not mine:
            raise refusal(_process(file))
        with contextlib.suppress(OSError):  # a full disk: only messages need the number
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        _HELD.add(here)
        try:
            yield
        finally:
            _HELD.discard(here)


def holder(path: Path) -> str:
    """The number of the process that holds a lock; "" if none does."""
    if path.resolve() in _HELD:
        return str(os.getpid())
    try:  # for reading: the folder may be another user's, or its disk full
        with path.open("rb") as file:
            return "" if _lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB) else _process(file)
    except OSError:
        return ""


def _no_link(name: str, flags: int) -> int:
    """Open a lock, which a hostile run folder may have made a link to a file of the user."""
    if Path(name).is_symlink():
        raise UserError(f"{name} is a link, and no lock is written through one; remove it")
    return os.open(name, flags | os.O_NOFOLLOW, 0o666)


def _lock(file: IO[bytes], kind: int) -> bool:
    """Lock a file until it is closed; False where another process holds it."""
    try:
        fcntl.lockf(file, kind)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _process(file: IO[bytes]) -> str:
    """The number of the process that holds a lock."""
    file.seek(0)
    return file.read().decode(errors="replace").strip() or "unknown"
