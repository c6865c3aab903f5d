"""Functions compiled by numba, cached on disk and run without the interpreter's lock.

Numba caches a compiled function under its own file alone and misses changes of the functions that
it calls. Here the cache folder is named by the hash of all project code that the module imports, so
that no machine code outlives a change and clones of equal code share it. Each file ends with its
checksum, because numba runs whatever a damaged file holds.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast

from numba import config, njit
from numba.core.caching import CacheImpl, IndexDataCacheFile, _CacheLocator

from bench.core.cache import cache_folder
from bench.core.errors import UserError
from bench.core.hashing import code_version, digest, file_of

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")

_DIGEST = hashlib.sha256().digest_size
_NEWEST = 4  # folders kept of a module, for branches and clones


def compiled(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Compile a function at its first call."""
    return _njit(function)


def compiled_part(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Compile a function that makes no array, to be called from compiled code.

    Numba counts references to every array that a function takes, by atomic operations for which
    threads that share an array wait. In a function of a few dozen instructions they cost more than
    its work; a function that makes no array does without them.
    """
    return _njit(function, _nrt=False)


def compiled_sum(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Compile a part that may sum in any order, without which no sum becomes vector code."""
    return _njit(function, _nrt=False, fastmath={"reassoc"})


def _njit(function: Callable[Arguments, Returned], **options: Any) -> Callable[Arguments, Returned]:
    """Compile, and keep the result where that is possible."""
    try:
        kept = os.access(folder_of(function.__module__), os.W_OK)
    except (OSError, UserError):
        kept = False
    made = njit(cache=kept, nogil=True, **options)(function)
    if kept:
        cache = made._cache
        cache._cache_file = _CheckedFiles(cache.cache_path, cache._impl.filename_base, "")
    return cast("Callable[Arguments, Returned]", made)


class _CheckedFiles(IndexDataCacheFile):  # type: ignore[misc]
    """The cache files of a function: one for each signature, named after its hash.

    A damaged file counts as absent. Numba itself numbers its files and keeps an index of them. Two
    processes that write this index at the same time can give a signature another one's code.
    """

    def save(self, key: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # such as a full disk: the code runs uncached
            self._save_data(self._named(key), data)

    def load(self, key: Any) -> Any:
        name = self._named(key)
        with contextlib.suppress(OSError):
            if _sound(Path(self._data_path(name))):
                return self._load_data(name)
        return None

    def _named(self, key: Any) -> str:
        return str(self._data_name(int(digest([self._version, repr(key)]), 16)))

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[IO[bytes]]:
        with super()._open_for_write(filepath) as file:
            yield file
            file.flush()
            # Behind the pickles, where their reader does not look.
            file.write(hashlib.sha256(Path(file.name).read_bytes()).digest())


def _sound(path: Path) -> bool:
    """Check that a file is there and ends with the checksum of the bytes before it."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return data[-_DIGEST:] == hashlib.sha256(data[:-_DIGEST]).digest()


class _Locator(_CacheLocator):  # type: ignore[misc]
    """Cache location of a function of this project."""

    def __init__(self, function: Any, file: str) -> None:
        self._py_file = file
        self._function = function

    @classmethod
    def from_function(cls, function: Any, file: str) -> _Locator | None:
        """Return None for other functions, which numba locates itself."""
        return cls(function, file) if file_of(function.__module__) else None

    def get_cache_path(self) -> str:
        """Return the folder of its module."""
        return str(folder_of(self._function.__module__))

    def ensure_cache_path(self) -> None:
        """Do nothing: `folder_of` has made it. Numba's own test writes, which a full disk fails."""

    def get_source_stamp(self) -> str:
        """Return nothing: the folder's name already depends on the code."""
        return ""

    def get_disambiguator(self) -> str:
        """Return the function's line number."""
        return str(self._function.__code__.co_firstlineno)


CacheImpl._locator_classes.insert(0, _Locator)


@functools.cache
def folder_of(module: str) -> Path:
    """Return the folder for a module's machine code, and delete old ones of that module."""
    base = Path(config.CACHE_DIR) if config.CACHE_DIR else cache_folder("kernels")
    folder = base / f"{module}-{code_version((module,))}"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # another process may delete them too
        os.utime(folder)  # used just now
        # Not this one, which may look older than others when the clock was put back.
        ages = {path: path.stat().st_mtime for path in base.glob(f"{module}-*") if path != folder}
        for old in sorted(ages, key=ages.__getitem__)[: 1 - _NEWEST]:
            shutil.rmtree(old)
    return folder
