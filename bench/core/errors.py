"""Errors that a user can act on: one plain sentence that says what to do, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """A mistake the user can mend; the command line prints it and exits with code 2."""


class Unavailable(UserError):  # noqa: N818 - a state of things, not a fault
    """Something that cannot run on this machine now, with the command that mends it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason} ({remedy})" if remedy else reason)
        self.reason = reason
        self.remedy = remedy
