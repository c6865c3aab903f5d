"""Memory for more images than a machine should hold: arrays in a nameless file that is mapped.

The kernel writes pages of such a file to the disk when memory is short, and frees them, which it
cannot do with a process's own memory where there is no swap.
"""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np
from numpy.typing import NDArray

from bench.core.cache import cache_folder
from bench.core.errors import UserError

LIMIT = 64 << 20  # bytes of all arrays that stay in the process's own memory
_BLOCK = 64 << 20  # bytes of a file: one for each array would be more than the kernel maps
_ALIGNED = 64  # bytes


class Spill:
    """Keeps arrays; those beyond `LIMIT` bytes in files, which end with the last array in them.

    Where no file can be made (no space, no permission) arrays stay in memory.
    """

    def __init__(self) -> None:
        self._block: mmap.mmap | None = None
        self._used = self._at = 0

    def keep(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The array itself, or a copy in a file, which is as free to be written to."""
        self._used += array.nbytes
        if self._used <= LIMIT or not array.size:
            return array
        if self._block is None or self._at + array.nbytes > len(self._block):
            try:
                self._block, self._at = _mapped(max(_BLOCK, array.nbytes)), 0
            except (OSError, UserError):
                return array
        copy = np.frombuffer(self._block, np.uint8, array.size, self._at).reshape(array.shape)
        copy[...] = array
        self._at += -(-array.nbytes // _ALIGNED) * _ALIGNED
        return copy


def _mapped(size: int) -> mmap.mmap:
    # Not in /tmp, which is itself memory on many systems.
    with tempfile.TemporaryFile(dir=cache_folder("spill")) as file:
        os.posix_fallocate(file.fileno(), 0, size)  # a full disk later would end the process
        return mmap.mmap(file.fileno(), size)
