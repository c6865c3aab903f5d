"""Timing of the systems of TrOCR's speed table.

The table's columns are the closing log line of fairseq-generate (fairseq_cli/generate.py in
https://github.com/facebookresearch/fairseq). That program's borders are kept:

- The clock runs around encoder and search alone. Loading, resizing, the copy to the device, turning
  token ids into text, and scoring lie outside (the symbols of a CTC decoder are its text, so it has
  no such step).
- Tokens are those of the best hypothesis up to and including the end token, without the start
  token.

Its omissions are added: the device is synchronised at the borders, warm-up is not counted,
passes are repeated, and the decoders of an encoder take turns in a seeded order
(`bench.pipeline.measure`).

Where the time is short, costly systems are measured on fewer lines (`Budget`): one line is tried
first, and from its cost follows how many lines and passes are taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.analysis.speed.job import PARTS
from bench.analysis.speed.wrapped import BehindHead, TimedAsFairseq
from bench.core.errors import Unavailable
from bench.core.machine import free_memory_mib, gpu_clocks
from bench.core.stopwatch import Lap, Stopwatch
from bench.core.types import Line
from bench.pipeline.measure import BlockMeasure, together
from bench.pipeline.opening import OpenDecoder, open_decoder, open_reader
from bench.pipeline.plan import ONCE, Block, Part, Plan, Rounds
from bench.pipeline.runner import Opened, Outcome, Policy, Progress, SampledLines, run
from bench.pipeline.store import RunStore
from models.base import Encoder

_LONG_S = 120.0  # a system whose passes together would take longer is not repeated
_QUICK = 1 / 2  # a first line of less of the time left is read again, to leave out first calls
_PREPARE, _ENCODE = "preparing", "encoding"


def measure(
    plan: Plan, seconds: float, store: RunStore, progress: Progress | None = None
) -> Outcome:
    """Measure the unfinished part of a table.

    `seconds` are for all of it; infinity for no limit.
    """
    affordable = _Affordable(Budget(seconds, plan.blocks, Stopwatch.for_device("cpu").now))
    policy = Policy(
        lambda encoder, runtime: TimedAsFairseq(encoder, runtime.device),
        _open,
        affordable.sample,
        _passes,
        halves=False,  # a speed is that of the batch size in its name
    )
    return run(plan, store, progress, policy)


class Budget:
    """The seconds that a table may take, shared evenly among the blocks still to come.

    seconds: in all; infinity for no limit.
    blocks: in the order in which they run.
    """

    def __init__(self, seconds: float, blocks: Sequence[Block], now: Callable[[], float]) -> None:
        self.seconds = seconds
        self._blocks, self._now, self._begin = blocks, now, now()

    def left(self) -> float:
        """Seconds that remain."""
        return self.seconds - (self._now() - self._begin)

    def share(self, block: Block) -> float:
        """Seconds for a block, when it comes next."""
        return max(0.0, self.left() / (len(self._blocks) - self._blocks.index(block)))

    def affordable(self, block: Block, line_s: float, asked: int) -> tuple[int, Rounds]:
        """Lines and passes of a block, whose systems together need `line_s` seconds a line.

        Lines are reduced first, from `asked` down to one batch, then passes, down to one.
        """
        size, rounds = block.runtime.batch_size, block.rounds
        if size * line_s > self.left():
            raise Unavailable(
                f"a batch of {size} would take about {math.ceil(size * line_s)} s, and "
                f"{max(0, math.floor(self.left()))} s were left",
                f"give it more than --minutes {self.seconds / 60:g}",
            )
        share = self.share(block)
        batches = _ratio(share, rounds.least * size * line_s)
        count = asked if batches >= asked / size else size * max(1, math.floor(batches))
        least = math.floor(min(rounds.least, max(1.0, _ratio(share, count * line_s))))
        return count, replace(rounds, least=least, most_s=min(share, _LONG_S))


def check_memory(size: int, line_mib: float, free_mib: float) -> None:
    """Refuse a batch that does not fit into memory, before the kernel kills the process.

    A line alone in its batch made the process grow by `line_mib`, and `free_mib` are free beside.
    """
    needed = (size - 1) * max(0.0, line_mib)
    if needed > free_mib:
        raise Unavailable(
            f"a batch of {size} would need about {needed / 1024:.0f} GiB more memory, and "
            f"{free_mib / 1024:.0f} GiB are free",
            "give a smaller --batch-size",
        )


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom else math.inf


def _open(part: Part, block: Block, encoder: Encoder) -> OpenDecoder:
    """Open a decoder behind an encoder with a random head where it lacks one.

    A search is not run on random posteriors: its cost depends on their values.
    """
    assert isinstance(encoder, TimedAsFairseq)
    spec, info, name = part.thing, encoder.info, block.encoder.name
    if spec.needs == "states":
        return replace(open_reader(part, block, encoder), finish=encoder.with_text)
    if "beam" in spec.settings() and not (info.alphabet and info.trained):
        steps = [] if info.trained else [f"python -m bench data get {name}"]
        steps.append(f"python -m bench train ctc --encoder {name}")
        raise Unavailable(
            f"{part.name} takes as long as the posteriors let it, so that random ones tell "
            f"nothing, and {name} has no trained CTC head",
            f"{', '.join(steps)}, then here -o {name}.head=FILE",
        )
    head = None if info.alphabet else encoder.random_head(block.runtime)
    if head is None:
        return open_reader(part, block, encoder)
    return OpenDecoder(BehindHead(head, open_decoder(spec, head.info)), head.info)


class _Affordable:
    """Chooses the lines and passes of each block by what one line costs."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._laps: dict[tuple[str, str], dict[str, Lap]] = {}  # of one line, by encoder and dtype

    def sample(
        self, block: Block, lines: Sequence[Line], names: Sequence[str], opened: Opened
    ) -> SampledLines:
        """Choose as many lines and passes as the time allows."""
        runtime = block.runtime
        watch = Stopwatch.for_device(runtime.device)
        trial = self._tried(block, lines, names, opened, watch)
        if trial and runtime.device == "cpu":  # a GPU says itself that it is full
            watch.meter.reset_peak()
            grown = max(lap.peak_mib for lap in trial.values()) - watch.meter.peak_mib()
            check_memory(runtime.batch_size, grown, free_memory_mib())
        asked = max(block.condition.limit or len(lines), runtime.batch_size)
        line_s = sum(lap.wall_s for lap in trial.values())
        count, rounds = self._budget.affordable(block, line_s, asked)
        chosen = spread_by_width(lines, count)
        distinct = len({line.id for line in chosen})
        return SampledLines(chosen, rounds, {"distinct_lines": distinct})

    def _tried(
        self,
        block: Block,
        lines: Sequence[Line],
        names: Sequence[str],
        opened: Opened,
        watch: Stopwatch,
    ) -> Mapping[str, Lap]:
        """The cost of one line of middle width: to prepare, the encoder, and each decoder.

        Tried once an encoder, alone in its batch; what ran is warm on a CPU.
        """
        runtime = block.runtime
        known = self._laps.setdefault((block.encoder.name, runtime.dtype), {})
        if new := [name for name in names if name not in known]:
            (line,) = spread_by_width(lines, 1)
            cold = _once(block, line, new, opened, watch)
            quick = sum(lap.wall_s for lap in cold.values()) < _QUICK * self._budget.left()
            known.update(_once(block, line, new, opened, watch) if quick else cold)
            if not runtime.device.startswith("cuda"):
                opened.paces_of(runtime).update({n: lap.wall_s for n, lap in known.items()})
        return {name: lap for name, lap in known.items() if name in (_PREPARE, _ENCODE, *names)}


def _once(
    block: Block, line: Line, names: Sequence[str], opened: Opened, watch: Stopwatch
) -> dict[str, Lap]:
    """Time one line through all working stages, without a warm-up."""
    assert opened.encoder is not None
    parts = {part.name: part for part in block.decoders}
    decoders = {name: opened.reader(parts[name]).decoder for name in names}
    runtime = replace(block.runtime, batch_size=1)
    one = BlockMeasure(opened.encoder, decoders, [line.image], runtime, watch)
    one.run(replace(ONCE, together_s=math.inf), paces=dict.fromkeys(names, 0.0))
    good = {name: together(r.laps[0][0]) for name, r in one.readings.items() if not r.failure}
    if good:
        good |= {_PREPARE: one.prepare[0][0], _ENCODE: one.encode[0][0]}
    return good


def spread_by_width(lines: Sequence[Line], count: int) -> tuple[Line, ...]:
    """Choose lines at even steps from the narrowest to the widest, repeated if too few."""
    order = sorted(lines, key=lambda line: line.image.shape[1] / line.image.shape[0])
    return tuple(order[int((i + 0.5) * len(order) / count)] for i in range(count))


def _passes(measure: BlockMeasure, decoder: str) -> dict[str, Any]:
    """Seconds of encoder and decoder together, pass by pass and part by part.

    "passes": for each pass the seconds of each of its parts; "parts": the lines of each; "encode":
    for each pass the seconds of the encoder in it. Batches lie in the order of width, so that
    dealing them out gives parts of like lengths.
    """
    count = min(PARTS, len(measure.batches))
    sizes = [len(batch) for batch in measure.batches]
    rounds = measure.rounds_of(decoder)
    seconds = [[e.wall_s + d.wall_s for e, d, _ in one] for one in rounds]
    clocks = gpu_clocks(measure.runtime.device)
    return {
        "passes": [[sum(one[part::count]) for part in range(count)] for one in seconds],
        "parts": [sum(sizes[part::count]) for part in range(count)],
        "encode": [sum(e.wall_s for e, _, _ in one) for one in rounds],
        **({"gpu_clocks": clocks} if clocks else {}),
    }
