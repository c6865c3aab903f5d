"""Measurement of a block: a set is encoded once a round, and read by all its decoders.

Timing:

- Lines are sorted by width at equal height (encoders scale them so) and cut into batches, so
  that a batch holds little padding.
- The widest batch is run once through everything first; this warm-up is not counted, and left out
  for parts that an earlier block of the same encoder has warmed up.
- A round is one pass over the set. In each batch the images are prepared, encoded, and then read
  by all decoders in an order that a seeded generator shuffles, so that a slow drift of the
  machine falls on all of them alike. A decoder that would keep the others waiting has rounds of
  its own after theirs (`Rounds.together_s`).
- Every stage of a decoder (its search; a corrector) is measured by itself between two synchronised
  borders (`bench.core.stopwatch`). A cached answer of a stage counts with the seconds that it took
  at first, and a stage with a cache is measured once.
- Texts are those of the first round. A line that reads differently in a later round is counted.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real

import numpy as np

from bench.core.errors import UserError
from bench.core.stopwatch import Lap, Stopwatch, pause, spread
from bench.core.types import Decoded, Encoded, Image, Lost, Runtime, Spread, Timing
from bench.pipeline.plan import Rounds
from decoders.base import Decoder
from models.base import Encoder

Batch = tuple[int, ...]  # places of its lines in the set

_ENCODER = ""  # its key in `paces`


@dataclass
class Measured:
    """Results of one decoder on the block.

    decoded: of the first round, by place in the set.
    first: the round of the block in which it began.
    laps: of each round and each batch, one a stage.
    spent: the cost of its stages, warm-up included, by kind.
    changed: places of the lines whose text differed in a later round.
    failure: the reason in one sentence; "" without one.
    starved: whether it failed for lack of memory at a batch size that can be halved.
    """

    decoded: dict[int, Decoded] = field(default_factory=dict)
    first: int = 0
    laps: list[list[Sequence[Lap]]] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    failure: str = ""
    starved: bool = False


class BlockMeasure:
    """Measures a block and keeps the measurements.

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
        lost: Sequence[tuple[Lost, ...]] | None = None,
    ) -> None:
        self.batches = batches_of(images, runtime.batch_size)
        self.readings = {name: Measured() for name in decoders}
        self.prepare: list[list[Lap]] = []
        self.encode: list[list[Lap]] = []
        self.loop_s = self.measured_s = 0.0
        self._encoder, self._decoders, self._images = encoder, decoders, images
        self._lost = lost  # characters of each line, where a decoder is an oracle
        self.runtime, self._watch, self._shuffler = runtime, watch, random.Random(seed)

    def run(
        self,
        rounds: Rounds,
        advanced: Callable[[float], None] = lambda cells: None,
        done: Callable[[str], None] = lambda name: None,
        paces: dict[str, float] | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Warm up and run all rounds; an exception of an encoder or decoder becomes its failure.

        Args:
            rounds: how many, and which decoders take turns.
            advanced: called after each batch with the cells (a fraction) just done.
            done: called with each decoder as soon as it needs no further round.
            paces: seconds a line of parts that are warm; those of this block are added.
            stopping: asked before each group of decoders that take turns; where it is true, the
                rest is left unmeasured.
        """
        paces = {} if paces is None else paces
        costs = {name: _spent(decoder) for name, decoder in self._decoders.items()}
        self._warm_up(paces)

        def finish(name: str) -> None:
            now, reading = _spent(self._decoders[name]), self.readings[name]
            reading.spent = {kind: now[kind] - then for kind, then in costs[name].items()}
            if reading.laps and not reading.failure:
                paces[name] = _wall(self.whole(name)[-1]) / len(self._images)
            done(name)

        for names in self._turns(paces, rounds.together_s):
            if stopping():
                return
            self._take_turns(names, rounds, advanced, finish)

    def rounds_of(self, name: str) -> list[list[tuple[Lap, Lap, Batch]]]:
        """Laps of encoder and decoder, its stages together, by round and batch."""
        encode = self.encode[self.readings[name].first :]
        return [
            list(zip(es, ds, self.batches, strict=False))
            for es, ds in zip(encode, self.whole(name), strict=False)
        ]

    def system_s(self, name: str) -> list[float]:
        """Seconds of the encoder and all stages of a decoder in each round."""
        return [sum(e.wall_s + d.wall_s for e, d, _ in one) for one in self.rounds_of(name)]

    def timing(self, name: str) -> Timing:
        """The times of a decoder that did not fail.

        With several rounds a `Spread` is the median and range of the rounds. With one round its
        median is that round, n is 1, and its range is that of the batches: the time of the whole
        set at the pace of its fastest and of its slowest batch (batches are sorted by length, so
        the range holds the effect of length too). cpu_s is of encoder + decoder. peak_mib is the
        highest of the encoder's and the decoder's.
        """
        reading = self.readings[name]
        pairs = self.rounds_of(name)
        latencies = [(e.wall_s + d.wall_s) / len(b) for pair in pairs for e, d, b in pair]
        stages = [self._stage(reading.laps, place) for place in range(len(reading.laps[0][0]))]
        decode_s, paces = stages[0]
        lines = len(self._images)
        whole = [place for place, laps in enumerate(self.encode) if len(laps) == len(self.batches)]
        return Timing(
            host_s=float(np.median([_wall(self.prepare[place]) for place in whole])),
            encode_s=float(np.median([_wall(self.encode[place]) for place in whole])),
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
            scenario="single" if self.runtime.batch_size == 1 else "batch",
            batches=tuple(map(_batch_time, zip(*pairs, strict=True))),
            correct_s=next((_spread(s, [lines * pace for pace in p]) for s, p in stages[1:]), None),
        )

    def _stage(
        self, rounds: Sequence[Sequence[Sequence[Lap]]], place: int
    ) -> tuple[list[float], list[float]]:
        """Seconds of a stage in each round, and seconds a line in each batch."""
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

    def _turns(self, paces: Mapping[str, float], together_s: float) -> list[list[str]]:
        """Group the decoders that take turns; groups that would delay others come last."""
        groups: list[set[str]] = [set()]
        before = paces.get(_ENCODER, 0.0) * len(self._images)
        for name in sorted(self.readings, key=lambda name: paces.get(name, 0.0)):
            pass_s = paces.get(name, 0.0) * len(self._images)
            if groups[-1] and pass_s > max(together_s, before):
                groups.append(set())
            groups[-1].add(name)
            before += pass_s
        return [[name for name in self.readings if name in names] for names in groups]

    def _take_turns(
        self,
        names: Sequence[str],
        rounds: Rounds,
        advanced: Callable[[float], None],
        done: Callable[[str], None],
    ) -> None:
        """Run all rounds of decoders that take turns."""
        least, share = rounds.least * len(self.batches), 0.0

        def batch_done() -> None:
            nonlocal share
            new = min(share + 1 / least, 1.0)
            advanced(len(names) * (new - share))
            share = new

        for name in names:
            self.readings[name].first = len(self.encode)
        active = self._unfinished(names, rounds, done)
        while active:
            begin, before = self._watch.now(), self._watch.measured_s
            self._round(active, rounds.rest_s, batch_done)
            self.loop_s += self._watch.now() - begin
            self.measured_s += self._watch.measured_s - before
            active = self._unfinished(active, rounds, done)
        advanced(len(names) * (1.0 - share))

    def _unfinished(
        self, names: Sequence[str], rounds: Rounds, done: Callable[[str], None]
    ) -> list[str]:
        """List the decoders that need one more round; `done` is called with the others."""
        again = [name for name in self._good(names) if self._again(name, rounds)]
        for name in names:
            if name not in again:
                done(name)
        return again

    def _again(self, name: str, rounds: Rounds) -> bool:
        if not self.readings[name].laps:
            return True
        once = any(stage.once for stage in self._decoders[name].stages)
        return not once and rounds.again(self.system_s(name))

    def _good(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if not self.readings[name].failure]

    def _warm_up(self, paces: dict[str, float]) -> None:
        """Run the widest batch through all parts that are cold, uncounted."""
        widest = self.batches[-1]
        cold = [name for name in self.readings if name not in paces]
        if cold and (encoded := self._encoded(widest, cold)):
            paces[_ENCODER] = encoded[2].wall_s / len(widest)
            for name in cold:
                if read := self._decoded(name, encoded[0], widest):
                    paces[name] = _wall(read[1]) / len(widest)
        self._watch.meter.watch_workers()

    def _round(self, active: Sequence[str], rest_s: float, batch_done: Callable[[], None]) -> None:
        self.prepare.append([])
        self.encode.append([])
        for name in active:
            self.readings[name].laps.append([])
        for batch in self.batches:
            encoded = self._encoded(batch, active)
            if encoded is None:
                return
            states, prepare, encode = encoded
            self.prepare[-1].append(prepare)
            self.encode[-1].append(encode)
            for name in self._shuffled(self._good(active)):
                if rest_s:
                    pause(rest_s)
                self._read(name, states, batch)
            batch_done()

    def _shuffled(self, names: list[str]) -> list[str]:
        self._shuffler.shuffle(names)
        return names

    def _encoded(self, batch: Batch, active: Sequence[str]) -> tuple[Encoded, Lap, Lap] | None:
        """Prepare and encode a batch; on an error None, and all active decoders have failed."""
        images = [self._images[place] for place in batch]
        try:
            prepared, prepare = self._watch.measure(lambda: self._encoder.prepare(images))
            encoded, encode = self._watch.measure(lambda: self._encoder.encode(prepared))
            _check_count("encodings", len(encoded.states), len(batch))
        except Exception as error:
            for name in self._good(active):
                self._fail(name, "the encoder failed", error)
            return None
        if self._lost is not None:
            lost = tuple(self._lost[place] for place in batch)
            encoded = dataclasses.replace(encoded, lost=lost)
        return encoded, prepare, encode

    def _decoded(
        self, name: str, encoded: Encoded, batch: Batch
    ) -> tuple[list[Decoded], list[Lap]] | None:
        """Run all stages on a batch; on an error None, and the decoder has failed."""
        lines: list[Decoded] = []
        laps: list[Lap] = []
        for stage in self._decoders[name].stages:
            try:
                lines, lap = self._watch.measure(partial(stage.run, encoded, lines))
                _check_count("texts", len(lines), len(batch))
                _check_texts(lines)
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
        reading = self.readings[name]
        reading.failure = f"{what}: {reason(error, self.runtime)}"
        reading.starved = out_of_memory(error) and self.runtime.batch_size > 1
        if self.runtime.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()  # left by an out-of-memory error


def batches_of(images: Sequence[Image], size: int) -> list[Batch]:
    """Sort lines by width at equal height (ties in their order) and cut them into batches."""
    widths = [image.shape[1] / image.shape[0] for image in images]
    order = sorted(range(len(widths)), key=lambda place: widths[place])
    return [tuple(order[start : start + size]) for start in range(0, len(order), size)]


def reason(error: Exception, runtime: Runtime) -> str:
    """Describe an exception in one sentence; out of memory with a remedy."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    if out_of_memory(error):
        size = runtime.batch_size
        remedy = "try a smaller one" if size > 1 else "use a machine with more memory"
        return f"out of memory on {runtime.device} at batch size {size}; {remedy}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def out_of_memory(error: Exception) -> bool:
    """Recognise a lack of memory, which torch on the CPU and OpenCV report by a text alone."""
    import torch

    texts = ("t allocate memory", "Insufficient memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        text in str(error) for text in texts
    )


def _check_count(what: str, got: int, expected: int) -> None:
    if got != expected:
        raise ValueError(f"{got} {what} for {expected} lines")


def _check_texts(lines: Iterable[object]) -> None:
    """Refuse what could not be scored or stored, of a decoder or corrector under development."""
    for line in lines:
        if not isinstance(line, Decoded):
            raise TypeError(f"{type(line).__name__} in place of Decoded")
        for name, kind in (("text", str), ("tokens", int), ("score", Real | None)):
            value = getattr(line, name)
            if not isinstance(value, kind):
                raise TypeError(f"Decoded.{name} is of the type {type(value).__name__}")


def _wall(laps: Sequence[Lap]) -> float:
    return sum(lap.wall_s for lap in laps)


def together(laps: Sequence[Lap]) -> Lap:
    """Add up the laps of stages that follow each other."""
    return Lap(_wall(laps), sum(lap.cpu_s for lap in laps), max(lap.peak_mib for lap in laps))


def _spent(decoder: Decoder) -> dict[str, float]:
    return {kind: cost for stage in decoder.stages for kind, cost in stage.spent().items()}


def _batch_time(rounds: Sequence[tuple[Lap, Lap, Batch]]) -> tuple[int, float]:
    """Lines of a batch and its median seconds, from its encoding and decoding in each round."""
    seconds = [encode.wall_s + decode.wall_s for encode, decode, _ in rounds]
    return len(rounds[0][2]), float(np.median(seconds))


def _spread(rounds: Sequence[float], batches: Sequence[float]) -> Spread:
    """Spread over rounds; of a single round, over its batches."""
    if len(rounds) > 1:
        return spread(rounds)
    return Spread(rounds[0], min(batches), max(batches), 1)
