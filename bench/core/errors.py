"""Errors that a user can act on: one plain sentence that says what to do, no traceback."""

from __future__ import annotations

import re

_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class UserError(Exception):
    """A mistake the user can mend; the command line prints it and exits with code 2."""


class Unavailable(UserError):  # noqa: N818 - a state of things, not a fault
    """Something that cannot run on this machine now, with the command that mends it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason} ({remedy})" if remedy else reason)
        self.reason = reason
        self.remedy = remedy


def printable(text: str) -> str:
    r"""Escape what a terminal would obey or could not print: control characters, lone surrogates.

    >>> print(printable("\x1b[31m red"))
    \x1b[31m red
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
