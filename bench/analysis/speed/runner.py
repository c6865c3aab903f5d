"""How the systems of TrOCR's speed table are timed.

The table's columns are the closing log line of fairseq-generate (fairseq_cli/generate.py in
https://github.com/facebookresearch/fairseq). What that program does is kept:

- The clock runs around encoder and search alone. Loading, resizing, the copy to the device, turning
  token ids into text, and scoring lie outside (the symbols of a CTC decoder are its text, so it has
  no such step).
- Tokens are those of the best hypothesis up to and including the end token, without the start
  token.

What it leaves out is added: the device is synchronised at the borders, warm-up is not counted,
passes are repeated, and the decoders of an encoder take turns in a seeded order
(`bench.pipeline.measure`).

Where the time is short, costly systems are measured on fewer lines (`Budget`): one line is tried
first, and from what it costs follows how many lines and passes are taken.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from bench.analysis.speed.budget import Budget, check_memory
from bench.analysis.speed.fairseq_timing import TimedAsFairseq
from bench.analysis.speed.job import PARTS, SpeedBlock, System
from bench.analysis.speed.random_head import BehindHead, RandomHead, can_have_head
from bench.core.errors import Unavailable
from bench.core.machine import free_memory_mib, gpu_clocks
from bench.core.stopwatch import Lap, Stopwatch
from bench.core.types import EncoderInfo, Image, Line, LineSet, Row
from bench.pipeline.cells import Cell
from bench.pipeline.measure import BlockMeasure, together
from bench.pipeline.plan import ONCE, Block, Part, Plan, Rounds
from bench.pipeline.progress import Progress
from bench.pipeline.runner import Open, Outcome, Runner, run
from bench.pipeline.store import RunStore
from decoders.base import Decoder, DecoderSpec
from models.base import Encoder

_QUICK_S = 3.0  # a first line that takes less is tried again, without what the first call costs
_PREPARE, _ENCODE = "preparing", "encoding"
_VALUES_MATTER = ("ctc-kenlm",)  # decoders whose cost depends on what the posteriors say


def measure(
    plans: Sequence[Plan],
    seconds: float,
    store: RunStore,
    watching: Callable[[Plan], AbstractContextManager[Progress]],
) -> Outcome:
    """Measure what is not finished of a job.

    Args:
        plans: of a `SpeedJob`.
        seconds: for all of them; infinity for no limit.
        store: where rows go.
        watching: makes what listens to a plan.

    Returns:
        The outcomes of all its plans together.

    Raises:
        UserError: see `bench.pipeline.runner.run`.
    """
    blocks = sum(len(plan.blocks) for plan in plans)
    budget = Budget(seconds, blocks, Stopwatch.for_device("cpu").now)
    total = Outcome([])
    for plan in plans:
        with watching(plan) as progress:
            outcome = run(plan, store, progress, functools.partial(SpeedRunner, budget=budget))
        for part in ("skipped", "done", "reused", "failed"):
            getattr(total, part).extend(getattr(outcome, part))
        total.loop_s += outcome.loop_s
        total.measured_s += outcome.measured_s
        if outcome.interrupted:
            total.interrupted = True
            break
    return total


class SpeedRunner(Runner):
    """Blocks by the protocol above."""

    def __init__(self, *args: Any, budget: Budget) -> None:
        super().__init__(*args)
        self.budget = budget
        self._trials: dict[str, dict[str, Lap]] = {}  # by encoder: of one line, by decoder
        self._encoder = ""  # its name
        self._head: RandomHead | None = None  # of this encoder
        self._timed: TimedAsFairseq | None = None  # while its block runs
        self._distinct = 0  # lines of this block that are no repeats

    def run_encoder(self, blocks: Sequence[Block]) -> None:
        """All blocks of one encoder; nothing of it stays in memory beside the next one."""
        self._encoder = blocks[0].encoder.name
        try:
            super().run_encoder(blocks)
        finally:
            self._head = None

    def info(self, decoder: Part, encoder: Encoder) -> EncoderInfo:
        """An encoder without a CTC head gets a random one, but only where speed is not affected."""
        own = encoder.info
        if own.alphabet or decoder.thing.needs != "log_probs" or decoder.name in _VALUES_MATTER:
            return own
        if self._head is None and can_have_head(encoder):
            self._head = RandomHead(encoder, self.origin.runtime)
        return self._head.info if self._head else own

    def open_decoder(self, spec: DecoderSpec, info: EncoderInfo) -> Decoder:
        """The random head is run before the decoders that read it."""
        decoder = super().open_decoder(spec, info)
        if self._head and spec.needs == "log_probs":
            return BehindHead(self._head, decoder)
        return decoder

    def misfit(self, part: Part, info: EncoderInfo) -> Unavailable | None:
        """Also: a search whose cost depends on the posteriors is not run on random ones."""
        if part.name in _VALUES_MATTER and not (info.alphabet and info.trained):
            name = self._encoder
            steps = [] if info.trained else [f"python -m bench weights get {name}"]
            steps.append(f"python -m bench train ctc --encoder {name}")
            return Unavailable(
                f"{part.name} takes as long as the posteriors let it, so that random ones tell "
                f"nothing, and {name} has no trained CTC head",
                f"{', '.join(steps)}, then here -o {name}.head=FILE",
            )
        return super().misfit(part, info)

    def run_block(self, block: Block, opened: Open) -> list[Row]:
        """The rows of a block, at its own batch size."""
        assert isinstance(block, SpeedBlock)
        runtime = replace(self.origin.runtime, batch_size=block.batch_size)
        self.origin = replace(self.origin, runtime=runtime)
        if runtime.device.startswith("cuda"):
            opened.warm.clear()  # kernels are chosen, and memory is cached, by batch size
        rows = super().run_block(block, opened)
        self.budget.block_ended()
        return rows

    def measure(
        self,
        block: Block,
        todo: Sequence[Cell],
        clean: LineSet,
        encoder: Encoder,
        opened: Open,
    ) -> list[Row]:
        """As many lines and passes as the time allows; none where not even a batch fits."""
        self._timed = TimedAsFairseq(encoder, self.origin.runtime.device)
        try:
            trial = self._tried(block, todo, clean, self._timed, opened)
            lines, rounds = self._affordable(block, clean, trial)
            self._distinct = len({line.id for line in lines})
            block, clean = replace(block, rounds=rounds), replace(clean, lines=lines)
            return super().measure(block, todo, clean, self._timed, opened)
        except Unavailable as absent:
            for cell in todo:
                self.skip("decoder", _cell_name(cell), absent)
            self.progress.advanced(len(todo))
            return []
        finally:
            self._timed = None  # or the encoder would stay in memory beside the next one

    def stored(self, cell: Cell, lines: Sequence[Line], measure: BlockMeasure, *rest: Any) -> Row:
        """Text is made of token ids here, where no clock runs."""
        reading = measure.readings[cell.decoder.name]
        if cell.decoder.thing.needs == "states" and self._timed:
            with_text = self._timed.with_text
            reading.decoded = {place: with_text(read) for place, read in reading.decoded.items()}
        return super().stored(cell, lines, measure, *rest)

    def told(self, cell: Cell, measure: BlockMeasure) -> Mapping[str, Any]:
        """What the table needs besides: see `passes`; how many lines are distinct; clocks."""
        clocks = gpu_clocks(self.origin.runtime.device)
        return {
            **passes(measure, cell.decoder.name),
            "distinct_lines": self._distinct,
            **({"gpu_clocks": clocks} if clocks else {}),
        }

    def _tried(
        self,
        block: Block,
        todo: Sequence[Cell],
        clean: LineSet,
        encoder: Encoder,
        opened: Open,
    ) -> Mapping[str, Lap]:
        """What one line of middle width costs: to prepare, the encoder, and each decoder.

        Tried once an encoder, alone in its batch; what ran is warm.
        """
        known = self._trials.setdefault(block.encoder.name, {})
        names = [cell.decoder.name for cell in todo]
        new = {name: opened.decoders[name] for name in names if name not in known}
        if new:
            self.progress.note("trying a line")
            image = spread_by_width(clean.lines, 1)[0].image
            cold = self._once(encoder, new, image)
            quick = sum(lap.wall_s for lap in cold.values()) < _QUICK_S
            known.update(self._once(encoder, new, image) if quick else cold)
            if not self.origin.runtime.device.startswith("cuda"):
                opened.warm.update(known)
        wanted = {_PREPARE, _ENCODE, *names}
        return {name: lap for name, lap in known.items() if name in wanted}

    def _once(
        self, encoder: Encoder, decoders: Mapping[str, Decoder], image: Image
    ) -> dict[str, Lap]:
        """Laps of one line through everything that does not fail, without a warm-up."""
        runtime = replace(self.origin.runtime, batch_size=1)
        one = BlockMeasure(encoder, decoders, [image], runtime, self.watch)
        one.run(ONCE, lambda share: None, warm=tuple(one.readings))
        good = {name: together(r.laps[0][0]) for name, r in one.readings.items() if not r.failure}
        if good:
            good |= {_PREPARE: one.prepare[0][0], _ENCODE: one.encode[0][0]}
        return good

    def _affordable(
        self, block: Block, clean: LineSet, trial: Mapping[str, Lap]
    ) -> tuple[tuple[Line, ...], Rounds]:
        """The lines and passes that fit into the block's share of the time.

        Raises:
            Unavailable: not even one batch fits into the time, or the memory, that is left.
        """
        size = self.origin.runtime.batch_size
        if trial and self.origin.runtime.device == "cpu":  # a GPU says itself that it is full
            self.watch.meter.reset_peak()
            grown = max(lap.peak_mib for lap in trial.values()) - self.watch.meter.peak_mib()
            check_memory(size, grown, free_memory_mib())
        asked = max(block.condition.limit or len(clean.lines), size)
        line_s = sum(lap.wall_s for lap in trial.values())
        count, rounds = self.budget.affordable(line_s, size, asked, block.rounds)
        return spread_by_width(clean.lines, count), rounds


def spread_by_width(lines: Sequence[Line], count: int) -> tuple[Line, ...]:
    """So many lines at even steps from the narrowest to the widest, repeated where too few."""
    order = sorted(lines, key=lambda line: line.image.shape[1] / line.image.shape[0])
    return tuple(order[int((i + 0.5) * len(order) / count)] for i in range(count))


def passes(measure: BlockMeasure, decoder: str) -> dict[str, Any]:
    """How long encoder and decoder took, pass by pass and part by part.

    "passes": for each pass the seconds of each of its parts; "parts": the lines of each. Batches
    lie in the order of width, so that dealing them out gives parts of like lengths.
    """
    laps = measure.whole(decoder)
    count = min(PARTS, len(measure.batches))
    sizes = [len(batch) for batch in measure.batches]
    seconds = [
        [e.wall_s + d.wall_s for e, d in zip(encode, decode, strict=True)]
        for encode, decode in zip(measure.encode, laps, strict=False)
    ]
    return {
        "passes": [[sum(one[part::count]) for part in range(count)] for one in seconds],
        "parts": [sum(sizes[part::count]) for part in range(count)],
    }


def _cell_name(cell: Cell) -> str:
    """What a cell is called among the things that could not run."""
    return System(
        cell.block.encoder.name,
        cell.decoder.name,
        cell.origin.runtime.dtype,
        cell.origin.runtime.batch_size,
    ).name
