"""States of a frozen encoder, computed once and kept in a memory-mapped file.

(lines, S, D) float16. The name of the file is the hash of all that its content depends on. An
incomplete file is resumed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from bench.core.cache import intact, seal
from bench.core.errors import UserError
from bench.core.files import write_atomically
from bench.core.locks import locked
from bench.core.progress import Report
from bench.core.types import Line
from datasets.base import fingerprint
from models.heads.base import Grid, HeadedViT
from models.images import Pictures

_RECIPE = "2"  # part of the file's name; change it when the same lines give other numbers
_SPARE = 1 << 28  # bytes that stay free on the disk


@dataclass(frozen=True, eq=False)
class Features:
    """Cached states and their place.

    lines: that the head can spell.
    encoder_hash: of the encoder's weights.
    """

    folder: Path
    reader: HeadedViT
    pictures: Pictures
    lines: Sequence[Line]
    encoder_hash: str
    batch: int = 16

    @property
    def shape(self) -> tuple[int, int, int]:
        """(lines, S, D)."""
        encoder, grid = self.reader.encoder, self.reader.head.geometry
        own = Grid.of(encoder.config)
        special = encoder.embeddings.position_embeddings.shape[1] - own.rows * own.columns
        return len(self.lines), grid.rows * grid.columns + special, grid.width

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return int(np.prod(self.shape)) * 2

    @property
    def path(self) -> Path:
        """Path of the file."""
        parts = [_RECIPE, self.encoder_hash, fingerprint(self.lines), self.pictures, self.shape]
        return self.folder / f"states-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.npy"

    def check_room(self) -> None:
        """Check that the file fits on the disk."""
        if self.path.is_file():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self._draft
        needed = self.bytes - (draft.stat().st_size if draft.is_file() else 0)
        free = shutil.disk_usage(self.folder).free
        if needed + _SPARE > free:
            raise UserError(
                f"the states of {len(self.lines)} lines take {_gib(needed)} and {self.folder} has "
                f"{_gib(free)} free; make room, name another folder with --features, or take "
                "fewer lines with --limit"
            )

    def load(self, report: Report) -> NDArray[np.float16]:
        """Memory-map the states, computed first where they are missing.

        One process computes while others wait for it: the draft that they would go on with is one.
        """
        if not self._checked(report):
            with locked(
                self.path.with_suffix(".lock"),
                lambda: report("waiting for another training to encode them", 0, self.bytes),
            ):
                if not self._checked(report):
                    self.path.unlink(missing_ok=True)
                    self.check_room()
                    self._compute(report)
        states: NDArray[np.float16] = np.load(self.path, mmap_mode="r")
        return states

    def _checked(self, report: Report) -> bool:
        return intact(self.path, lambda done: report("checking states", done, self.bytes))

    @property
    def _draft(self) -> Path:
        return self.path.with_suffix(".part")

    def _compute(self, report: Report) -> None:
        """Compute the missing batches; finished ones are on the disk and noted."""
        progress = self.path.with_suffix(".json")
        done = _done(progress) if self._draft.is_file() else 0
        mode = "r+" if done else "w+"
        try:
            file: Any = open_memmap(  # type: ignore[no-untyped-call]
                self._draft, mode, np.float16, self.shape
            )
            while done < len(self.lines):
                some = self.lines[done : done + self.batch]
                file[done : done + len(some)] = self.states(some)
                file.flush()
                done += len(some)
                write_atomically(progress, json.dumps({"done": done}).encode())
                report("encoding lines", done, len(self.lines))
            del file
            self._draft.replace(self.path)
            seal(self.path)
            progress.unlink()
        except OSError as error:
            raise UserError(f"cannot write {self._draft}: {error.strerror or error}") from error

    @torch.inference_mode()
    def states(self, lines: Sequence[Line]) -> NDArray[np.float16]:
        """The states of some lines, (len(lines), S, D)."""
        device = next(self.reader.encoder.parameters()).device
        pictures = self.pictures.squeeze([line.image for line in lines])
        states = self.reader.eval().states(self.pictures.pixels(pictures.to(device)))
        return states.half().cpu().numpy()


def _done(progress: Path) -> int:
    try:
        return int(json.loads(progress.read_text())["done"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"
