"""The split of the real sets: train, val and test by who wrote, never by line.

A hand that is trained on is never tested on. The group is a UNIPEN writer, a letter of Hooker's
or a text of Copiste; a hash decides, so a group's split depends on nothing but its name.
"""

from __future__ import annotations

import hashlib


def split_of(group: str) -> str:
    """The split of a group: md5 of its name modulo 10, 0 test, 1 val, else train."""
    digit = int(hashlib.md5(group.encode()).hexdigest(), 16) % 10
    return {0: "test", 1: "val"}.get(digit, "train")
