"""The search of a tuning: which points are tried, and what each costs in edits.

Either every point of a grid, or as many as Optuna's sampler is given (tree-structured Parzen
estimator, Bergstra et al., NeurIPS 2011) within the grid's bounds: for three options and more a
grid is mostly points that nobody wants to know. What was tried is kept on disk, so that a search
that was stopped goes on where it was; the sampler is seeded and asks for the same points again.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bench.core.cache import cache_folder
from bench.core.errors import UserError
from bench.core.files import plain_errors
from bench.core.hashing import code_version, digest, plain
from bench.core.metrics import normalise, score_line
from bench.core.registry import need
from bench.pipeline.opening import Bench, EncodedLines, Track
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


class Trials:
    """Reads the same encoded lines with any values of a decoder's options.

    Weights are changed while the decoder is open. For other options one is opened anew for each of
    their values, once.
    """

    def __init__(
        self, bench: Bench, make: Make, batches: Sequence[EncodedLines], identity: object
    ) -> None:
        """Open the decoder and find what was tried before.

        Args:
            bench: opens decoders.
            make: gives a spec its values.
            batches: what is read.
            identity: all that a point's edits depend on, the decoder apart.
        """
        self._bench, self._make, self._spec = bench, make, make({})
        self._batches = batches
        self._open: dict[DecoderSpec, Tunable] = {}
        self._path = self._kept(identity)
        self._tried = dict(_read(self._path, sum(len(batch.lines) for batch in batches)))

    def extras(self) -> dict[str, Any]:
        """The extras of the open decoder, without the weights that it is at."""
        extras: dict[str, Any] = plain(self._opened({}).extras())
        changing = {*self._spec.tunes, "tuned_on"}
        return {name: value for name, value in extras.items() if name not in changing}

    def read(self, values: Values) -> Point:
        """The point of these values, from the file where it was tried before."""
        name = digest(values)
        if name not in self._tried:
            decoder = self._opened(values)
            decoder.reweight({k: v for k, v in values.items() if k in self._spec.tunes})
            point = self._tried[name] = Point(values, edits_of(decoder, self._batches))
            _append(self._path, point)
        return self._tried[name]

    def _opened(self, values: Values) -> Tunable:
        """The decoder with those of the values that are no weights."""
        spec = self._make({k: v for k, v in values.items() if k not in self._spec.tunes})
        if spec not in self._open:
            self._open[spec] = cast(Tunable, self._bench.decoder(spec))
        return self._open[spec]

    def _kept(self, identity: object) -> Path | None:
        """The file of what was tried; None where nothing can be kept."""
        code = code_version(
            (*(type(part).__module__ for part in self._spec.parts), "bench.core.metrics")
        )
        try:
            folder = cache_folder("tuning")
        except UserError:
            return None
        name = digest([identity, code, self._spec.settings(), self.extras()])
        return folder / f"{name}.jsonl"


def search(trials: Trials, grid: Grid, count: int | None, track: Track) -> list[Point]:
    """Try points.

    Args:
        trials: reads them.
        grid: values by option.
        count: how many the sampler tries within the grid's bounds; None for all of the grid, the
            first option varying slowest.
        track: hears of each point.
    """
    if count is None:
        grid_points = list(itertools.product(*grid.values()))
        return [
            trials.read(dict(zip(grid, values, strict=True)))
            for values in track(grid_points, "searching the grid")
        ]
    return list(_sampled(trials, grid, count, track))


def edits_of(decoder: Decoder, batches: Sequence[EncodedLines]) -> NDArray[np.int64]:
    """Character edits of each line that an open decoder reads, batch by batch."""
    return np.array(
        [
            score_line(line.text, read.text).edits
            for batch in batches
            for line, read in zip(batch.lines, decoder.decode(batch.encoded), strict=True)
        ],
        dtype=np.int64,
    )


def lengths_of(batches: Sequence[EncodedLines]) -> NDArray[np.int64]:
    """Reference characters of each line, batch by batch."""
    lines = (line for batch in batches for line in batch.lines)
    return np.array([len(normalise(line.text)) for line in lines], dtype=np.int64)


def _sampled(trials: Trials, grid: Grid, count: int, track: Track) -> Iterator[Point]:
    need("optuna", "a search by trials (--trials)")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=SAMPLER_SEED))
    for _ in track(range(count), "searching within the bounds of the grid"):
        trial = study.ask()
        point = trials.read({name: _asked(trial, name, tried) for name, tried in grid.items()})
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
