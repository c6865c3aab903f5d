"""What a folder of checkpoints belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import write_atomically


def claim(path: Path, identity: Mapping[str, str]) -> None:
    """Note what a folder's checkpoints belong to, or refuse a folder of something else.

    Args:
        path: of the note.
        identity: what may not change from one start to the next, by name.

    Raises:
        UserError: the folder holds another training.
    """
    if path.is_file():
        try:
            noted = json.loads(path.read_text("utf-8"))
        except ValueError:
            noted = {}
        for what, value in identity.items():
            if noted.get(what) != value:
                raise UserError(
                    f"{path.parent} holds a training with another {what} "
                    f"({noted.get(what)}, not {value}); choose another --out, or delete it"
                )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(dict(identity), indent=2).encode())
