"""Measuring one block: a set encoded once a round, and read by every decoder from that encoding.

How time is taken:

- Lines are sorted by width at equal height (encoders scale them so) and cut into batches, so
  that a batch holds little padding.
- The widest batch is run once through everything first; that warm-up is not counted. What has been
  warmed up in an earlier block of the same encoder is warm.
- A round is one pass over the set. In each batch the images are prepared, encoded, and then read
  by all decoders in an order that a seeded generator shuffles, so that a slow drift of the
  machine falls on all of them alike.
- Every stage of a decoder (its search; a corrector) is measured by itself between two synchronised
  borders (`bench.core.stopwatch`). An answer that a stage had from its memory counts with the
  seconds that it took when it was asked for, and what has a memory is measured once.
- Texts are those of the first round. A line that reads differently in a later round is counted.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from bench.core.errors import UserError
from bench.core.stopwatch import Lap, Stopwatch, spread
from bench.core.types import Decoded, Encoded, Image, Runtime, Spread, Timing
from bench.pipeline.plan import Rounds
from decoders.base import Decoder
from models.base import Encoder

Batch = tuple[int, ...]  # places of its lines in the set

_MOST_LATENCIES = 1_001  # that a row keeps: every tenth of a percent


@dataclass
class Reading:
    """What one decoder did with the block.

    decoded: of the first round, by place in the set.
    laps: of each round and each batch, one a stage.
    spent: what its stages have cost, warm-up included, by kind.
    changed: places of the lines whose text differed in a later round.
    failure: why it gave up, in one sentence; "" when it did not.
    """

    decoded: dict[int, Decoded] = field(default_factory=dict)
    laps: list[list[Sequence[Lap]]] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    failure: str = ""


class BlockMeasure:
    """Measures a block, and holds what was measured.

    batches: places of lines in the set.
    readings: by decoder.
    prepare, encode: laps of each round, one a batch.
    loop_s: wall seconds of the rounds (without the warm-up).
    measured_s: seconds of the stages in these rounds.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoders: Mapping[str, Decoder],
        images: Sequence[Image],
        runtime: Runtime,
        watch: Stopwatch,
        seed: int = 0,
    ) -> None:
        """Take up a block.

        Args:
            encoder: a loaded encoder.
            decoders: open decoders by name.
            images: the lines, at least one.
            runtime: batch size and device.
            watch: measures the stages.
            seed: of the order of the decoders.
        """
        self.batches = sorted_batches(
            [image.shape[1] / image.shape[0] for image in images], runtime.batch_size
        )
        self.readings = {name: Reading() for name in decoders}
        self.prepare: list[list[Lap]] = []
        self.encode: list[list[Lap]] = []
        self.loop_s = self.measured_s = 0.0
        self._encoder, self._decoders, self._images = encoder, decoders, images
        self._runtime, self._watch, self._shuffler = runtime, watch, random.Random(seed)

    def run(
        self,
        rounds: Rounds,
        advanced: Callable[[float], None],
        warm: Collection[str] = (),
    ) -> None:
        """Warm up and run all rounds; what an encoder or decoder raises becomes its failure.

        Args:
            rounds: when to stop.
            advanced: told the share of the block that is done, 0 to 1, after each batch.
            warm: decoders that need no warm-up any more.

        Raises:
            KeyboardInterrupt: passed on.
        """
        costs = {name: _spent(decoder) for name, decoder in self._decoders.items()}
        self._warm_up([name for name in self.readings if name not in warm])
        active = self._good(self.readings)
        while active:
            begin, before = self._watch.now(), self._watch.measured_s
            self._round(active, lambda share: advanced(min(share / rounds.least, 1.0)))
            self.loop_s += self._watch.now() - begin
            self.measured_s += self._watch.measured_s - before
            active = [name for name in self._good(active) if self._again(name, rounds)]
        for name, spent in costs.items():
            now = _spent(self._decoders[name])
            self.readings[name].spent = {kind: now[kind] - then for kind, then in spent.items()}

    def system_s(self, name: str) -> list[float]:
        """Seconds of the encoder and all stages of a decoder in each round."""
        laps = self.whole(name)
        return [_wall(e) + _wall(d) for e, d in zip(self.encode, laps, strict=False)]

    def timing(self, name: str) -> Timing:
        """The times of a decoder that did not fail.

        With several rounds a `Spread` is the median and range of the rounds. With one round its
        median is that round, n is 1, and its range is that of the batches: what the whole set
        would have taken at the pace of its fastest and of its slowest batch (batches are sorted
        by length, so the range holds the effect of length too).
        cpu_s is of encoder + decoder. peak_mib is the highest of the encoder's and the decoder's.
        """
        reading = self.readings[name]
        encode = self.encode[: len(reading.laps)]
        pairs = [
            list(zip(es, ds, self.batches, strict=True))
            for es, ds in zip(encode, self.whole(name), strict=True)
        ]
        latencies = [(e.wall_s + d.wall_s) / len(b) for pair in pairs for e, d, b in pair]
        stages = [self._stage(reading.laps, place) for place in range(len(reading.laps[0][0]))]
        decode_s, paces = stages[0]
        lines = sum(map(len, self.batches))
        whole = [laps for laps in self.encode if len(laps) == len(self.batches)]
        return Timing(
            host_s=float(np.median([_wall(laps) for laps in self.prepare[: len(whole)]])),
            encode_s=float(np.median([_wall(laps) for laps in whole])),
            decode_s=_spread(decode_s, [lines * pace for pace in paces]),
            cpu_s=float(np.median([sum(e.cpu_s + d.cpu_s for e, d, _ in pair) for pair in pairs])),
            lines_per_s=_spread(
                [lines / seconds for seconds in self.system_s(name)],
                [1 / latency for latency in latencies],
            ),
            decode_lines_per_s=_spread(
                [lines / seconds for seconds in decode_s], [1 / pace for pace in paces]
            ),
            latency_p50_s=float(np.percentile(latencies, 50)),
            latency_p95_s=float(np.percentile(latencies, 95)),
            peak_mib=max(max(e.peak_mib, d.peak_mib) for pair in pairs for e, d, _ in pair),
            scenario="single" if self._runtime.batch_size == 1 else "batch",
            latencies_s=_distribution(latencies),
            batches=tuple(map(_batch_time, zip(*pairs, strict=True))),
            correct_s=next((_spread(s, [lines * pace for pace in p]) for s, p in stages[1:]), None),
        )

    def _stage(
        self, rounds: Sequence[Sequence[Sequence[Lap]]], place: int
    ) -> tuple[list[float], list[float]]:
        """Of one stage the seconds of each round, and of each batch a line."""
        laps = [[of_batch[place] for of_batch in one] for one in rounds]
        paces = [
            lap.wall_s / len(batch)
            for one in laps
            for lap, batch in zip(one, self.batches, strict=True)
        ]
        return [_wall(one) for one in laps], paces

    def whole(self, name: str) -> list[list[Lap]]:
        """Laps of a decoder, all its stages together."""
        return [[together(laps) for laps in one] for one in self.readings[name].laps]

    def _again(self, name: str, rounds: Rounds) -> bool:
        once = any(stage.once for stage in self._decoders[name].stages)
        return not once and rounds.again(self.system_s(name))

    def _good(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if not self.readings[name].failure]

    def _warm_up(self, cold: Sequence[str]) -> None:
        """The widest batch through what is cold, uncounted."""
        widest = self.batches[-1]
        if cold and (encoded := self._encoded(widest, cold)):
            for name in cold:
                self._decoded(name, encoded[0], widest)
        self._watch.meter.watch_workers()

    def _round(self, active: Sequence[str], advanced: Callable[[float], None]) -> None:
        done = len(self.encode)
        self.prepare.append([])
        self.encode.append([])
        for name in active:
            self.readings[name].laps.append([])
        for count, batch in enumerate(self.batches, start=1):
            encoded = self._encoded(batch, active)
            if encoded is None:
                return
            states, prepare, encode = encoded
            self.prepare[-1].append(prepare)
            self.encode[-1].append(encode)
            for name in self._shuffled(self._good(active)):
                self._read(name, states, batch)
            advanced(done + count / len(self.batches))

    def _shuffled(self, names: list[str]) -> list[str]:
        self._shuffler.shuffle(names)
        return names

    def _encoded(self, batch: Batch, active: Sequence[str]) -> tuple[Encoded, Lap, Lap] | None:
        """Prepare and encode a batch; None, and all active decoders failed, when that raises."""
        images = [self._images[place] for place in batch]
        try:
            prepared, prepare = self._watch.measure(lambda: self._encoder.prepare(images))
            encoded, encode = self._watch.measure(lambda: self._encoder.encode(prepared))
            _check_count("encodings", len(encoded.states), len(batch))
        except Exception as error:
            for name in self._good(active):
                self._fail(name, "the encoder failed", error)
            return None
        return encoded, prepare, encode

    def _decoded(
        self, name: str, encoded: Encoded, batch: Batch
    ) -> tuple[list[Decoded], list[Lap]] | None:
        """Run all stages on a batch; None, and the decoder failed, when one raises."""
        lines: list[Decoded] = []
        laps: list[Lap] = []
        for stage in self._decoders[name].stages:
            try:
                lines, lap = self._watch.measure(partial(stage.run, encoded, lines))
                _check_count("texts", len(lines), len(batch))
                laps.append(dataclasses.replace(lap, wall_s=lap.wall_s + stage.recalled_s()))
            except Exception as error:
                self._fail(name, f"the {stage.kind} failed", error)
                return None
        return lines, laps

    def _read(self, name: str, encoded: Encoded, batch: Batch) -> None:
        result = self._decoded(name, encoded, batch)
        if result is None:
            return
        reading = self.readings[name]
        reading.laps[-1].append(result[1])
        for place, decoded in zip(batch, result[0], strict=True):
            if reading.decoded.setdefault(place, decoded).text != decoded.text:
                reading.changed.add(place)

    def _fail(self, name: str, what: str, error: Exception) -> None:
        self.readings[name].failure = f"{what}: {reason(error, self._runtime)}"
        if self._runtime.device.startswith("cuda"):
            torch.cuda.empty_cache()  # what an out-of-memory error leaves cached


def sorted_batches(widths: Sequence[float], size: int) -> list[Batch]:
    """Places of the lines, narrow to wide (ties in the order of the set), cut into batches."""
    order = sorted(range(len(widths)), key=lambda place: widths[place])
    return [tuple(order[start : start + size]) for start in range(0, len(order), size)]


def reason(error: Exception, runtime: Runtime) -> str:
    """An exception in one sentence; out of memory with what to do about it."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "t allocate memory" in text:
        size = runtime.batch_size
        return f"out of memory on {runtime.device} at batch size {size}; try a smaller one"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _check_count(what: str, got: int, wanted: int) -> None:
    if got != wanted:
        raise ValueError(f"{got} {what} for {wanted} lines")


def _wall(laps: Sequence[Lap]) -> float:
    return sum(lap.wall_s for lap in laps)


def together(laps: Sequence[Lap]) -> Lap:
    """Stages, one after the other, as one."""
    return Lap(_wall(laps), sum(lap.cpu_s for lap in laps), max(lap.peak_mib for lap in laps))


def _spent(decoder: Decoder) -> dict[str, float]:
    return {kind: cost for stage in decoder.stages for kind, cost in stage.spent().items()}


def _batch_time(rounds: Sequence[tuple[Lap, Lap, Batch]]) -> tuple[int, float]:
    """Lines of a batch and its median seconds, from its encoding and decoding in each round."""
    seconds = [encode.wall_s + decode.wall_s for encode, decode, _ in rounds]
    return len(rounds[0][2]), float(np.median(seconds))


def _distribution(values: Sequence[float]) -> tuple[float, ...]:
    """The values in ascending order; of too many so many evenly spaced quantiles."""
    if len(values) <= _MOST_LATENCIES:
        return tuple(sorted(values))
    quantiles: list[float] = np.quantile(values, np.linspace(0, 1, _MOST_LATENCIES)).tolist()
    return tuple(quantiles)


def _spread(rounds: Sequence[float], batches: Sequence[float]) -> Spread:
    """Over rounds; of a single round, over its batches."""
    if len(rounds) > 1:
        return spread(rounds)
    return Spread(rounds[0], min(batches), max(batches), 1)
