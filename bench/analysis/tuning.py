"""Tuning of a decoder's weights on a validation split.

The lines are encoded once and read again at every point of the grid by one open decoder. If
nothing else is asked for, each line is there twice, clean and damaged, since the best weight of a
language model depends on how much is left for it to mend: weights tuned on clean lines alone are
too small for damaged ones.

Edits of every point are kept on disk, so that a search that was stopped goes on where it was.
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

from bench.analysis.experiment.design import GREEDY
from bench.analysis.stats import rate_difference
from bench.core.cache import cache_folder
from bench.core.errors import UserError
from bench.core.files import plain_errors
from bench.core.hashing import code_version, digest, plain
from bench.core.metrics import normalise, score_line
from bench.core.registry import did_you_mean
from bench.core.types import Line
from bench.pipeline.opening import Bench, EncodedLines, Track, opened
from bench.pipeline.plan import CLEAN, Registries, Selection
from datasets.damage.base import SUITE, check_severities, others
from decoders.base import Decoder, DecoderSpec
from decoders.correctors import options_of
from decoders.tuned import Tunable, Tuned

SPLIT = "val"
Grid = Mapping[str, tuple[float, ...]]
Values = dict[str, float]
Make = Callable[[Values], DecoderSpec]  # a spec with these values of its options


def tune(
    asked: Selection,
    registries: Registries,
    track: Track,
    grid: Grid | None = None,
) -> Tuned:
    """Search for the best weights, resuming an interrupted search; nothing is frozen.

    One encoder, decoder and data set are asked for; each line is damaged by one of the damages, in
    turn, and is there clean where "none" is among them. The values of `grid` stand in the place of
    the decoder's own; it may name other options of numbers as well (a beam, a threshold).

    Raises:
        UserError: a split that is no validation split, a decoder without weights, weights of the
            encoder that are untrained, an unknown name or option.
        Unavailable: something that it needs is not here.
    """
    _check(asked)
    (encoder,), (name,), (dataset,) = asked.encoders, asked.decoders, asked.datasets
    make, tried = _decoder(name, asked, registries, grid or {})
    spec = make({})
    with opened(encoder, registries, asked.options, asked.runtime, track, trained=True) as bench:
        if absent := spec.missing(bench.info):  # before the lines take their time
            raise absent
        lines = bench.lines(dataset, asked.split, asked.limit)
        mixture, conditions = _mixture(asked, lines.lines, registries, track)
        batches = list(bench.encode(mixture, spec))
        greedy = edits_of(bench.decoder(registries.decoders.create(GREEDY)), batches)
        weights = bench.info.weights_for(spec.needs)
        identity = [weights, lines.sha256, conditions, asked.seed, asked.options, SUITE]
        trials = Trials(bench, make, batches, [*identity, asked.runtime])
        points = [
            trials.read(dict(zip(tried, values, strict=True)))
            for values in track(list(itertools.product(*tried.values())), "searching the grid")
        ]
        extras = trials.extras()
    best = min(points, key=lambda point: point.edits.sum())  # of equals the first
    lengths = lengths_of(batches)
    blocks = [line.block for batch in batches for line in batch.lines]
    return Tuned(
        decoder=name,
        encoder=encoder,
        values={k: v for k, v in best.values.items() if k in spec.tunes},
        weights=weights,
        lm=extras["lm"],
        lm_sha256=extras["lm_sha256"],
        dataset=dataset,
        split=asked.split,
        dataset_sha256=lines.sha256,
        lines=len(lines.lines),
        conditions=conditions,
        options=_fixed_options(spec, best.values),
        grid=dict(tried),
        cer=float(best.edits.sum() / lengths.sum()),
        greedy_cer=float(greedy.sum() / lengths.sum()),
        cer_map=tuple(_mapped(point, best, lengths, blocks) for point in points),
    )


def _mapped(
    point: Point, best: Point, lengths: NDArray[np.int64], blocks: Sequence[str]
) -> dict[str, float]:
    """A point of the map: values, CER, and p of its gap to the best, if blocks suffice."""
    gap = rate_difference(point.edits, best.edits, lengths, blocks)
    assert gap is not None  # the references hold at least one character
    values = {**point.values, "cer": float(point.edits.sum() / lengths.sum())}
    return values if gap.p is None else {**values, "p": gap.p}


def _check(asked: Selection) -> None:
    if asked.split != SPLIT:
        raise UserError(
            f"weights are tuned on the split {SPLIT!r} and not on {asked.split!r}: numbers on "
            "lines that weights were tuned on, or that models learned from, tell nothing of other "
            "lines"
        )
    check_severities(asked.severities, least=1)


def _decoder(name: str, asked: Selection, registries: Registries, grid: Grid) -> tuple[Make, Grid]:
    """A maker of the decoder, and the values to try: its own, or the user's in their place."""
    options = options_of(name, asked.options)

    def make(values: Values) -> DecoderSpec:
        spec: DecoderSpec = registries.decoders.create(name, {**options, **values})
        return spec

    spec = make({})
    if not spec.tunes:
        raise UserError(f"{name} has no weights to tune")
    chosen = {option: _values(name, spec, option, grid[option]) for option in grid}
    for option, value in ((option, v) for option, values in chosen.items() for v in values):
        make({option: value})  # refuses a value that the decoder does not take
    others = {option: values for option, values in chosen.items() if option not in spec.tunes}
    own = {option: chosen.get(option, values) for option, values in spec.tunes.items()}
    return make, {**others, **own}  # weights vary fastest: for them nothing is opened anew


def _values(
    name: str, spec: DecoderSpec, option: str, values: tuple[float, ...]
) -> tuple[float, ...]:
    """Values of an option to try, whole numbers for an integer option."""
    settings = spec.settings()
    now = settings.get(option) if option not in spec.tunes else 0.0
    if isinstance(now, bool) or not isinstance(now, int | float):
        raise UserError(f"{name} does not tune {option!r}{did_you_mean(option, settings)}")
    if not values:
        raise UserError(f"the grid has no values of {option}")
    if not isinstance(now, int):
        return values
    if any(value != int(value) for value in values):
        raise UserError(f"{option} of {name} is a whole number")
    return tuple(int(value) for value in values)


def _mixture(
    asked: Selection, lines: Sequence[Line], registries: Registries, track: Track
) -> tuple[list[Line], tuple[str, ...]]:
    """Every line clean, and under one damage, as asked for; and the conditions in words."""
    (dataset,), (severity, *_) = asked.datasets, asked.severities
    names = [name for name in asked.damages if name != CLEAN]
    damages = [registries.damages.create(name, asked.options.get(name)) for name in names]
    clean = CLEAN in asked.damages
    mixture = list(lines) if clean else []
    if damages:
        pairs = zip(lines, others(lines, dataset, asked.seed), strict=True)
        for place, (line, other) in track(list(enumerate(pairs)), "damaging lines"):
            damage = damages[place % len(damages)]
            mixture.append(damage.apply(line, dataset, severity, asked.seed, other).line)
    damaged = (f"{name} {severity}" for name in names[: len(lines)])
    return mixture, (*(("clean",) if clean else ()), *damaged)


def _fixed_options(spec: DecoderSpec, best: Values) -> dict[str, Any]:
    """The options that are no weights, as they are at the best point."""
    settings = {k: best.get(k, v) for k, v in spec.settings().items() if k not in spec.tunes}
    fixed: dict[str, Any] = plain(settings)
    return fixed


@dataclass(frozen=True, eq=False)
class Point:
    """An evaluated point.

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
        """Open the decoder; `identity` is all else that a point's edits depend on."""
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
        """Evaluate the point with these values, or read it from the file."""
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
        """The file of evaluated points; None without a cache."""
        code = code_version(
            (*(type(part).__module__ for part in self._spec.parts), "bench.core.metrics")
        )
        try:
            folder = cache_folder("tuning")
        except UserError:
            return None
        name = digest([identity, code, self._spec.settings(), self.extras()])
        return folder / f"{name}.jsonl"


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


def _read(path: Path | None, lines: int) -> Iterator[tuple[str, Point]]:
    """Read evaluated points, ignoring a torn last line."""
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
