"""The search of a tuning: which points are tried, and what each costs in edits.

Either every point of a grid, or as many as Optuna's sampler is given (tree-structured Parzen
estimator, Bergstra et al., NeurIPS 2011) within the grid's bounds: for three options and more a
grid is mostly points that nobody wants to know. What was tried is kept on disk, so that a search
that was stopped goes on where it was; the sampler is seeded and asks for the same points again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bench.core.cache import cache_folder
from bench.core.errors import UserError
from bench.core.files import plain_errors
from bench.core.hashing import code_version, digest, plain
from bench.core.metrics import normalise, score_line
from bench.core.registry import need
from bench.core.types import EncoderInfo
from bench.pipeline.reading import Reading, Track, opened
from decoders.base import Decoder, DecoderSpec
from decoders.tuned import Tunable

Grid = Mapping[str, tuple[float, ...]]
Values = dict[str, float]
Make = Callable[[Values], DecoderSpec]  # a spec with these values of its options

SAMPLER_SEED = 0


@dataclass(frozen=True, eq=False)
class Point:
    """A point that was tried.

    values: by option.
    edits: (N,) character edits of each line.
    """

    values: Values
    edits: NDArray[np.int64]


class Bench:
    """Reads the same encoded lines with any values of a decoder's options.

    Weights are changed while the decoder is open. For other options one is opened anew for each of
    their values, once.
    """

    def __init__(
        self,
        make: Make,
        encoder: EncoderInfo,
        readings: Sequence[Reading],
        identity: object,
    ) -> None:
        """`identity` is all that a point's edits depend on, the decoder apart."""
        self._make, self._spec = make, make({})
        self._encoder = encoder
        self._readings = readings
        self._identity = identity
        self._open: dict[DecoderSpec, Tunable] = {}
        self._stack = contextlib.ExitStack()
        self._path: Path | None = None
        self._tried: dict[str, Point] = {}

    def __enter__(self) -> Bench:
        with self._stack:  # closes what is open if something fails below
            self._opened({})
            self._path = self._kept()
            self._tried = dict(_read(self._path, sum(len(r.lines) for r in self._readings)))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def extras(self) -> dict[str, Any]:
        """What the open decoder says of itself, the weights that it is at apart."""
        told: dict[str, Any] = plain(self._opened({}).extras())
        changing = {*self._spec.tunes, "tuned_on"}
        return {name: value for name, value in told.items() if name not in changing}

    def read(self, values: Values) -> Point:
        """The point of these values, from the file where it was tried before."""
        name = digest(values)
        if name not in self._tried:
            decoder = self._opened(values)
            decoder.reweight({k: v for k, v in values.items() if k in self._spec.tunes})
            point = self._tried[name] = Point(values, edits_of(decoder, self._readings))
            _append(self._path, point)
        return self._tried[name]

    def _opened(self, values: Values) -> Tunable:
        """The decoder with those of the values that are no weights."""
        spec = self._make({k: v for k, v in values.items() if k not in self._spec.tunes})
        if spec not in self._open:
            decoder = self._stack.enter_context(opened(spec, self._encoder))
            self._open[spec] = cast(Tunable, decoder)
        return self._open[spec]

    def _kept(self) -> Path | None:
        """The file of what was tried; None where nothing can be kept."""
        code = code_version(
            (*(type(part).__module__ for part in self._spec.parts), "bench.core.metrics")
        )
        try:
            folder = cache_folder("tuning")
        except UserError:
            return None
        name = digest([self._identity, code, self._spec.settings(), self.extras()])
        return folder / f"{name}.jsonl"


def search(bench: Bench, grid: Grid, trials: int | None, track: Track) -> list[Point]:
    """Try points.

    Args:
        bench: open.
        grid: values by option.
        trials: how many the sampler tries within the grid's bounds; None for all of the grid, the
            first option varying slowest.
        track: told of each point.
    """
    if trials is None:
        grid_points = list(itertools.product(*grid.values()))
        return [
            bench.read(dict(zip(grid, values, strict=True)))
            for values in track(grid_points, "searching the grid")
        ]
    return list(_sampled(bench, grid, trials, track))


def edits_of(decoder: Decoder, readings: Sequence[Reading]) -> NDArray[np.int64]:
    """Character edits of each line that an open decoder reads, in the order of the readings."""
    return np.array(
        [
            score_line(line.text, read.text).edits
            for reading in readings
            for line, read in zip(reading.lines, decoder.decode(reading.encoded), strict=True)
        ],
        dtype=np.int64,
    )


def lengths_of(readings: Sequence[Reading]) -> NDArray[np.int64]:
    """Reference characters of each line, in the order of the readings."""
    lines = (line for reading in readings for line in reading.lines)
    return np.array([len(normalise(line.text)) for line in lines], dtype=np.int64)


def _sampled(bench: Bench, grid: Grid, trials: int, track: Track) -> Iterator[Point]:
    need("optuna", "a search by trials (--trials)")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=SAMPLER_SEED))
    for _ in track(range(trials), "searching within the bounds of the grid"):
        trial = study.ask()
        point = bench.read({name: _asked(trial, name, tried) for name, tried in grid.items()})
        study.tell(trial, float(point.edits.sum()))
        yield point


def _asked(trial: Any, name: str, tried: Sequence[float]) -> float:
    """A value between the least and the greatest of the grid, a whole number where these are."""
    low, high = min(tried), max(tried)
    whole = all(isinstance(value, int) for value in tried)
    value: float = (trial.suggest_int if whole else trial.suggest_float)(name, low, high)
    return value


def _read(path: Path | None, lines: int) -> Iterator[tuple[str, Point]]:
    """What was tried before; a torn last line is not there."""
    if path is None or not path.is_file():
        return
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
            if record.pop("checksum") != digest(record):
                continue
            edits = np.array(record["edits"], dtype=np.int64)
        except (ValueError, KeyError, TypeError):
            continue
        if edits.shape == (lines,):
            yield digest(record["values"]), Point(record["values"], edits)


def _append(path: Path | None, point: Point) -> None:
    if path is None:
        return
    record = {"values": point.values, "edits": point.edits.tolist()}
    with plain_errors(path), path.open("ab") as file:
        line = json.dumps({**record, "checksum": digest(record)})
        file.write(f"\n{line}\n".encode())  # a torn line ends before it
