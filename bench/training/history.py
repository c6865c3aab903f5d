"""The curve of a training as a file: one JSON object a validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from bench.core.errors import UserError
from bench.core.files import write_atomically


class Scored(Protocol):
    """A validation, a dataclass of plain values."""

    @property
    def step(self) -> int:
        """Steps that were trained before it; 0 for none."""

    @property
    def error(self) -> float:
        """What is to become small: the CER of the validation lines, or a loss."""


P = TypeVar("P", bound=Scored)


class History(Generic[P]):
    """The validations so far, kept in `path` (JSONL)."""

    def __init__(self, path: Path, kind: type[P], step: int) -> None:
        """Read the validations up to a step: what came after it will come again.

        Raises:
            UserError: the file is damaged.
        """
        self.path = path
        self.points: list[P] = []
        if path.is_file():
            try:
                rows = [json.loads(row) for row in path.read_text("utf-8").splitlines()]
                points = [kind(**row) for row in rows]
            except (ValueError, TypeError) as error:
                raise UserError(f"{path} is damaged; delete it, training goes on") from error
            self.points = [point for point in points if point.step <= step]

    def add(self, point: P) -> None:
        """Keep a validation."""
        self.points.append(point)
        rows = "".join(json.dumps(vars(one)) + "\n" for one in self.points)
        write_atomically(self.path, rows.encode())

    def betters(self, point: P) -> bool:
        """Whether a validation is better than all so far."""
        return self.best is None or point.error < self.best.error

    @property
    def best(self) -> P | None:
        """The one with the lowest error after a step at least, the first of several."""
        trained = (point for point in self.points if point.step)
        return min(trained, key=lambda point: point.error, default=None)

    @property
    def waited(self) -> int:
        """Validations since the best one."""
        best = self.best
        return 0 if best is None else len(self.points) - 1 - self.points.index(best)
