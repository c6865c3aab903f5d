"""The curve of a training as a file: one JSON object a validation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import write_atomically


@dataclass(frozen=True)
class Point:
    """One validation.

    loss: mean training loss since the point before.
    cer: of the validation lines, a fraction.
    blank: share of frames whose best symbol is the blank.
    """

    step: int
    loss: float
    cer: float
    blank: float


class History:
    """The points so far, kept in `path` (JSONL)."""

    def __init__(self, path: Path, step: int) -> None:
        """Read the points up to a step: what came after it will come again.

        Raises:
            UserError: the file is damaged.
        """
        self.path = path
        self.points: list[Point] = []
        if path.is_file():
            try:
                rows = [json.loads(row) for row in path.read_text("utf-8").splitlines()]
                points = [Point(**row) for row in rows]
            except (ValueError, TypeError) as error:
                raise UserError(f"{path} is damaged; delete it, training goes on") from error
            self.points = [point for point in points if point.step <= step]

    def add(self, point: Point) -> bool:
        """Keep a point; whether it is the best so far."""
        best = self.best
        self.points.append(point)
        rows = "".join(json.dumps(asdict(one)) + "\n" for one in self.points)
        write_atomically(self.path, rows.encode())
        return best is None or point.cer < best.cer

    @property
    def best(self) -> Point | None:
        """The point with the lowest CER, the first of several."""
        return min(self.points, key=lambda point: point.cer, default=None)

    @property
    def waited(self) -> int:
        """Points since the best one."""
        best = self.best
        return 0 if best is None else len(self.points) - 1 - self.points.index(best)
