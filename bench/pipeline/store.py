"""The run folder: append-only rows, their lines, and a lock.

    results/runs/<name>/
        env.json            environment records by hash
        rows.jsonl          one `Row` a line, appended and synced to disk one by one
        lines/<key>.jsonl   one `LineResult` a line of that cell, there before its row is; packed by
                            gzip where a reference is committed
        bad-lines.jsonl     the lines of data sets that could not be used, each with the reason
        lock                held while a run writes

A process may be killed at any moment: a torn last row is dropped when the folder is next opened
to write, and its cell runs again. A full disk never leaves half a row behind.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.core import locks
from bench.core.errors import UserError
from bench.core.files import UNFINISHED, plain_errors, read_bytes, write_atomically
from bench.core.hashing import digest
from bench.core.records import CorruptError, dump, dump_row, load, load_environments, load_row
from bench.core.types import LineResult, LineSet, Row
from bench.pipeline import bad_lines

LOCK = "lock"

_MOST = 1 << 28  # bytes of unpacked lines; 700,000 lines have as many


class RunStore:
    """The results of one run.

    path: the run folder; it is made when something is first written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._good: dict[str, Row] = {}  # by key
        self._by_cell: dict[str, Row] = {}  # a dict keeps the place of what is replaced in it
        self._failures: dict[str, Row] = {}  # by cell
        self._read = False
        self._damaged_rows: list[str] = []

    def rows(self) -> list[Row]:
        """The newest good row of every cell, else its failure, in the order of their first runs.

        Where code, weights or data of a cell (`Row.cell`) have changed since, its key has changed
        too, and only its newest row is returned. A failure replaces no good row: an encoder that
        does not open today has lost none of its numbers.

        Raises:
            UserError: a row does not fit or is of another schema, or the file cannot be read.
        """
        self._load()
        return list(self._by_cell.values())

    def only(self, rows: Iterable[Row]) -> RunStore:
        """The run restricted to some of its rows, to read."""
        self._load()  # or the part would read the whole file later
        part = copy.copy(self)
        part._by_cell = {row.cell: row for row in rows}
        return part

    def failures(self) -> dict[str, Row]:
        """The failures of cells that have failed since they were last good, by cell."""
        self._load()
        return dict(self._failures)

    def damaged_rows(self) -> list[str]:
        """List the lines of the file that hold no valid row, with reasons; they are ignored.

        A power loss or another program may leave one. Its cell runs again with the next run.
        """
        self._load()
        return list(self._damaged_rows)

    def finished(self, key: str) -> bool:
        """Whether a cell has a good row and its lines; any other is to be measured again."""
        self._load()
        row = self._good.get(key)
        if row is None:
            return False
        try:
            lines = self.lines(key)
        except (UserError, OSError):
            return False
        counted = (len(lines), sum(line.edits for line in lines))
        return row.counts is None or counted == (row.counts.lines, row.counts.edits)

    def lines(self, key: str) -> list[LineResult]:
        """The line results of a cell, in the order of the set.

        Raises:
            UserError: there are none, or they are damaged.
        """
        self._load()
        path = self._lines_path(key)
        packed = path.with_name(f"{path.name}.gz")  # as committed references keep them
        try:
            old = packed.is_file() and not path.is_file()  # lines measured again are not packed
            content = _unpacked(read_bytes(packed)) if old else read_bytes(path)
        except FileNotFoundError:
            raise UserError(
                f"{path} is missing: the cell failed or was not run here; run it"
            ) from None
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} cannot be read ({error}); run again, or restore it") from error
        row = self._good.get(key)
        known = row.lines_sha256 if row else ""
        if known and known != hashlib.sha256(content).hexdigest():
            raise UserError(f"{path} was changed after it was written; run again, or restore it")
        return [
            load(LineResult, record, f"{path}, line {number}", "run again to measure it anew")
            for number, record in enumerate(content.split(b"\n"), start=1)
            if record
        ]

    def environments(self) -> dict[str, Any]:
        """The environment records by hash (`Row.environment`); empty before the first run."""
        path = self.path / "env.json"
        try:
            records = dict(load_environments(read_bytes(path), str(path), "delete it"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; delete it") from None
        for name, record in records.items():
            if digest(record) != name:
                raise UserError(f"{path}, {name}: changed after it was written; delete it")
        return records

    @contextlib.contextmanager
    def writing(self, environment: Mapping[str, Any]) -> Iterator[str]:
        """Lock the folder for one writer; yields the hash of the environment.

        Raises:
            UserError: another run writes here, or the folder cannot be written.
        """
        with self.locked():
            self._read = False
            with plain_errors(self.path):
                (self.path / "lines").mkdir(exist_ok=True)
                mend(self.path / "rows.jsonl")
                for files in ("lines/*.jsonl", "env.json", "run.json", bad_lines.NAME):
                    for left in self.path.glob(f"{files}.*{UNFINISHED}"):
                        left.unlink()  # by a killed run
            yield self.keep_environment(environment)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock of the folder, which is made if missing; no other run begins meanwhile.

        Raises:
            UserError: another run writes here, or the folder cannot be written.
        """
        return locks.locked(
            self.path / LOCK,
            refusal=lambda process: UserError(
                f"another run (process {process}) is writing {self.path}; wait for it to end or "
                "choose another run name"
            ),
        )

    def writer(self) -> str:
        """The process that writes here now; "" if none does."""
        return locks.holder(self.path / LOCK)

    def keep_environment(self, environment: Mapping[str, Any]) -> str:
        """Add an environment record where it is new; returns its hash. Only within `writing`."""
        name = digest(environment)
        records = self.environments()
        if records.get(name) != environment:
            text = json.dumps({**records, name: environment}, indent=2, ensure_ascii=False)
            with plain_errors(self.path):
                write_atomically(self.path / "env.json", text.encode())
        return name

    def write(self, row: Row, lines: Iterable[LineResult] = ()) -> None:
        """Store a cell: first its lines, then its row. Only within `writing`.

        Raises:
            UserError: the disk is full or the folder cannot be written; nothing is half written.
        """
        content = b"".join(map(dump, lines))
        if row.status == "ok":
            row = replace(row, lines_sha256=hashlib.sha256(content).hexdigest())
        with plain_errors(self.path):
            if row.status == "ok":
                write_atomically(self._lines_path(row.key), content)
            _append(self.path / "rows.jsonl", dump_row(row))
        self._remember(row)

    def note_bad(self, dataset: str, lines: LineSet) -> Path:
        """Note the unusable lines of a split, replacing earlier notes.

        Returns:
            The file of reasons, which is absent without such a line.
        """
        path = self.path / bad_lines.NAME
        bad_lines.note(path, dataset, lines.split, lines.bad)
        return path

    def adopt(self, key: str) -> Row:
        """Reuse a finished row, and make it the newest of its cell where it is not.

        It is not when code or weights were changed, run, and changed back, or when the cell has
        failed since.
        """
        self._load()
        row = self._good[key]
        if self._by_cell[row.cell].key != key or row.cell in self._failures:
            with plain_errors(self.path):
                _append(self.path / "rows.jsonl", dump_row(row))
            self._remember(row)
        return row

    def _load(self) -> None:
        if not self._read:
            self._good, self._by_cell, self._failures, self._read = {}, {}, {}, True
            rows, self._damaged_rows = _read_rows(self.path / "rows.jsonl")
            for row in rows:
                self._remember(row)

    def _remember(self, row: Row) -> None:
        if row.status == "ok":
            self._good[row.key] = self._by_cell[row.cell] = row
            self._failures.pop(row.cell, None)
        else:
            self._failures[row.cell] = row
            if self._by_cell.setdefault(row.cell, row).status == "failed":
                self._by_cell[row.cell] = row

    def _lines_path(self, key: str) -> Path:
        return self.path / "lines" / f"{key}.jsonl"


def _read_rows(path: Path) -> tuple[list[Row], list[str]]:
    """Read the valid rows of a file, and list the damaged ones with reasons."""
    try:
        records = read_bytes(path).split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    torn = records.pop()
    rows, damaged_rows = [], []
    for number, record in enumerate(records, start=1):
        try:
            rows.append(load_row(record, f"{path}, line {number}"))
        except CorruptError as error:
            damaged_rows.append(str(error))
    if torn:
        damaged_rows.append(f"{path}, line {len(records) + 1}: it has no end")
    return rows, damaged_rows


def _unpacked(packed: bytes) -> bytes:
    """Unpack at most `_MOST` bytes, since a hostile file may fill the memory."""
    with gzip.open(io.BytesIO(packed)) as file:
        content = file.read(_MOST)
        if file.read(1):
            raise EOFError(f"it unpacks to over {_MOST} bytes")
    return content


def _append(path: Path, record: bytes) -> None:
    """Append a whole record and sync it, or leave the file as it was."""
    with path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            written = 0
            while written < len(record):
                written += file.write(record[written:])
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(size)
            raise


def mend(path: Path) -> None:
    """Cut off a last line that a killed process left without its line feed."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())
