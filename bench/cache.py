"""Where things are kept that can be made again: language models, damaged lines, findings."""

from __future__ import annotations

import os
from pathlib import Path

from bench.errors import UserError


def cache_folder(kind: str) -> Path:
    """The folder for things of a kind, made if need be.

    It lies in `KAIDOKU_CACHE`, else in `kaidoku` under `XDG_CACHE_HOME`, else in
    `~/.cache/kaidoku`.

    Raises:
        UserError: it cannot be made.
    """
    own = os.environ.get("KAIDOKU_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(own or f"{base}/kaidoku").expanduser() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the cache folder {folder} ({error.strerror}); set KAIDOKU_CACHE to a "
            "folder that may be written to"
        ) from error
    return folder
