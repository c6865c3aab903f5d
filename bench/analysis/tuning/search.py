"""The search of a tuning: which points are tried, and what each costs in edits.

Either every point of a grid, or as many as Optuna's sampler is given (tree-structured Parzen
estimator, Bergstra et al., NeurIPS 2011) within the grid's bounds: for three options and more a
grid is mostly points that nobody wants to know. What was tried is kept on disk, so that a search
that was stopped goes on where it was; the sampler is seeded and asks for the same points again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.cache import cache_folder
from bench.core.errors import UserError
from bench.core.files import plain_errors
from bench.core.hashing import code_version, digest, plain
from bench.core.metrics import normalise, score_line
from bench.core.types import EncoderInfo
from bench.pipeline.reading import Reading, Track, opened
from decoders.base import Decoder
from decoders.tuned import Tunable

Grid = Mapping[str, tuple[float, ...]]
Values = dict[str, float]

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
        decoder: Tunable[Any],
        encoder: EncoderInfo,
        readings: Sequence[Reading],
        identity: object,
    ) -> None:
        """`identity` is all that a point's edits depend on, the decoder apart."""
        self._decoder = decoder
        self._encoder = encoder
        self._readings = readings
        self._identity = identity
        self._open: dict[Tunable[Any], Tunable[Any]] = {}  # equal options, the one that is open
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
        changing = {*self._decoder.tunes, "tuned_on"}
        return {name: value for name, value in told.items() if name not in changing}

    def read(self, values: Values) -> Point:
        """The point of these values, from the file where it was tried before."""
        name = digest(values)
        if name not in self._tried:
            decoder = self._opened(values)
            decoder.reweight({k: v for k, v in values.items() if k in decoder.tunes})
            point = self._tried[name] = Point(values, edits_of(decoder, self._readings))
            _append(self._path, point)
        return self._tried[name]

    def _opened(self, values: Values) -> Tunable[Any]:
        """The decoder with those of the values that are no weights."""
        fixed = {k: v for k, v in values.items() if k not in self._decoder.tunes}
        decoder = dataclasses.replace(self._decoder, **fixed)
        if decoder not in self._open:
            self._stack.enter_context(opened(decoder, self._encoder))
            self._open[decoder] = decoder
        return self._open[decoder]

    def _kept(self) -> Path | None:
        """The file of what was tried; None where nothing can be kept."""
        decoder = self._decoder
        code = code_version((type(decoder).__module__, "bench.core.metrics"))
        options = {f.name: getattr(decoder, f.name) for f in dataclasses.fields(decoder) if f.init}
        try:
            folder = cache_folder("tuning")
        except UserError:
            return None
        name = digest([self._identity, code, options, self.extras()])
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


def error_rate(decoder: Decoder, readings: Sequence[Reading]) -> float:
    """Micro CER of an open decoder, a fraction; the references hold at least one character."""
    return float(edits_of(decoder, readings).sum() / lengths_of(readings).sum())


def _sampled(bench: Bench, grid: Grid, trials: int, track: Track) -> Iterator[Point]:
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
