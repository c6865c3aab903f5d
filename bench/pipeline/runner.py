"""The runner: for every block of a plan load, damage, measure, score, store.

    line image -> models -> Encoded -> decoders -> Decoded -> metrics -> counts -> store

It knows no model, decoder or data set by name. A cell is stored as soon as it is measured, and one
that is finished in the store is not measured again; what fails becomes a row with its reason and
the run goes on. `bench.pipeline.measure` takes the times.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from bench.core.errors import Unavailable, UserError
from bench.core.hashing import digest
from bench.core.machine import environment
from bench.core.named import for_name
from bench.core.spill import Spill
from bench.core.stopwatch import Stopwatch, now_utc, overhead
from bench.core.types import Condition, Line, LineSet, Lost, Row, Runtime
from bench.pipeline import bad_lines
from bench.pipeline.cells import SLOTS, Cell, Origin, line_result
from bench.pipeline.measure import BlockMeasure, batches_of, reason
from bench.pipeline.opening import (
    OpenDecoder,
    check_runtime,
    open_encoder,
    open_reader,
    torch_threads,
)
from bench.pipeline.plan import Block, Part, Plan, Rounds, Skipped
from bench.pipeline.store import RunStore
from datasets.base import BadLinesError, NothingReadableError
from datasets.damage.base import EQUAL_SLOTS
from datasets.damage.cache import cached_lines
from datasets.damage.visible import completed, lost_characters, visible_shares
from decoders.base import Decoder
from models.base import Encoder


class Progress(Protocol):
    """Listens to a run; the command line draws a bar from it."""

    def started(self, block: Block) -> None:
        """A block begins."""

    def note(self, doing: str) -> None:
        """Work other than measuring begins ("loading unipen")."""

    def advanced(self, cells: float) -> None:
        """A number of cells (a fraction) is done; all calls sum up to `Plan.cells`."""

    def finished(self, block: Block, rows: Sequence[Row]) -> None:
        """A block ends; `rows` include those that were finished before."""


class Silent:
    """A listener that ignores everything."""

    def started(self, block: Block) -> None:
        """Ignore it."""

    def note(self, doing: str) -> None:
        """Ignore it."""

    def advanced(self, cells: float) -> None:
        """Ignore it."""

    def finished(self, block: Block, rows: Sequence[Row]) -> None:
        """Ignore it."""


@dataclass
class Outcome:
    """The result of a run.

    done, reused, failed: keys of cells measured now, finished before, and failed now.
    skipped: parts that cannot run here, by the plan, and decoders that do not fit an encoder.
    interrupted: the user stopped it; finished cells are stored.
    loop_s: wall seconds of the measuring loops; measured_s: seconds of their stages. Loading,
        damaging, warm-up, scoring and storing lie outside of both.
    """

    skipped: list[Skipped]
    done: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    interrupted: bool = False
    loop_s: float = 0.0
    measured_s: float = 0.0

    @property
    def overhead(self) -> float:
        """Share of the measuring loops that the harness itself cost."""
        return overhead(self.loop_s, self.measured_s)


@dataclass
class Opened:
    """An encoder and its decoders, open.

    readers: by decoder and its spec, which may differ between blocks.
    failures: why decoders, or the encoder before them, did not open, by decoder.
    skipped: decoders that cannot run here.
    paces: of the decoders that are warm, see `BlockMeasure.run`; on CUDA by batch size, since
        kernels and cached memory depend on it.
    """

    encoder: Encoder | None = None
    readers: dict[tuple[str, Any], OpenDecoder] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    paces: dict[int | None, dict[str, float]] = field(default_factory=dict)

    def reader(self, part: Part) -> OpenDecoder:
        """The open decoder of a part of a block."""
        return self.readers[part.name, part.thing]

    def paces_of(self, runtime: Runtime) -> dict[str, float]:
        """The paces for a runtime; additions to them are kept."""
        size = runtime.batch_size if runtime.device.startswith("cuda") else None
        return self.paces.setdefault(size, {})


@dataclass(frozen=True)
class SampledLines:
    """The lines of a block that are measured, and how often.

    extras: facts about it for the rows.
    """

    lines: Sequence[Line]
    rounds: Rounds
    extras: Mapping[str, Any] = field(default_factory=dict)


def whole_set(
    block: Block, lines: Sequence[Line], names: Sequence[str], opened: Opened
) -> SampledLines:
    """All lines of a block, in its rounds."""
    return SampledLines(lines, block.rounds)


@dataclass(frozen=True)
class Policy:
    """Functions by which a plan is measured.

    encoder: wraps an open encoder, to move the borders of its stages.
    open: opens a decoder of a block behind its encoder.
    sample: chooses lines and rounds of a block for decoders by name; raises `Unavailable` where
        none can be afforded.
    extras: further facts on a decoder's times for its row.
    halves: whether a batch that does not fit into the memory is read in halves.
    oracle: whether decoders may know which characters a damage hid.
    """

    encoder: Callable[[Encoder, Runtime], Encoder] = lambda encoder, runtime: encoder
    open: Callable[[Part, Block, Encoder], OpenDecoder] = open_reader
    sample: Callable[[Block, Sequence[Line], Sequence[str], Opened], SampledLines] = whole_set
    extras: Callable[[BlockMeasure, str], Mapping[str, Any]] = lambda measure, name: {}
    halves: bool = True
    oracle: bool = False


def run(
    plan: Plan,
    store: RunStore,
    progress: Progress | None = None,
    policy: Policy | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Measure the cells of a plan that are not finished.

    Ctrl-C stops it: the cells that were being measured are lost, every finished one is stored.
    Where `stopping` says so between cells, those being measured are stored first.

    Raises:
        UserError: the device or precision does not exist here, another run writes to the store, the
            store cannot be written (no permission, disk full), or a set in strict mode has an
            unusable line.
    """
    for runtime in dict.fromkeys(block.runtime for block in plan.blocks):
        check_runtime(runtime)
    record = environment()
    outcome = Outcome(list(plan.skipped))
    with store.writing(record) as name:
        origin = Origin(name, digest(record["machine"]))
        runner = _Runner(store, progress or Silent(), policy or Policy(), outcome, origin)
        runner.stopping = stopping
        try:
            for blocks in _by_encoder(plan):
                runner.run_encoder(blocks)
        except KeyboardInterrupt:
            outcome.interrupted = True
    return outcome


def finished(plan: Plan, store: RunStore) -> set[tuple[str, str, Condition]]:
    """List encoder, decoder and condition of the finished cells, which a run skips.

    Nothing is measured or written. Keys depend on open encoders and loaded sets, so those with a
    good row in the store are opened and loaded as in a run.
    """
    known = {(row.encoder, row.condition) for row in store.rows() if row.status == "ok"}
    blocks = [block for block in plan.blocks if (block.encoder.name, block.condition) in known]
    if not blocks:
        return set()
    origin = Origin("", digest(environment()["machine"]))
    looking = _Runner(store, Silent(), Policy(), Outcome([]), origin, writes=False)
    keys = set()
    for some in _by_encoder(Plan(tuple(blocks), ())):
        with looking.opened(some) as opened:
            for block in some:
                for cell in looking.cells(block, opened):
                    if store.finished(cell.key):
                        keys.add((block.encoder.name, cell.decoder.name, block.condition))
    return keys


def _by_encoder(plan: Plan) -> Iterator[list[Block]]:
    """Blocks that one open encoder serves: those of one encoder, device and precision."""

    def place(block: Block) -> tuple[str, str, str, int]:
        runtime = block.runtime
        return block.encoder.name, runtime.device, runtime.dtype, runtime.threads

    for _, blocks in itertools.groupby(plan.blocks, key=place):
        yield list(blocks)


class _Runner:
    """Runs blocks, and keeps the sets loaded for them."""

    def __init__(
        self,
        store: RunStore,
        progress: Progress,
        policy: Policy,
        outcome: Outcome,
        origin: Origin,
        writes: bool = True,
    ) -> None:
        self.store, self.progress, self.policy = store, progress, policy
        self.outcome, self.origin, self.writes = outcome, origin, writes
        self.stopping: Callable[[], bool] = lambda: False
        self.sets: dict[tuple[str, str, int | None], LineSet | str] = {}

    def run_encoder(self, blocks: Sequence[Block]) -> None:
        """Run all blocks of one encoder, which is opened once with its decoders."""
        with self.opened(blocks) as opened:
            for block in blocks:
                if self.stopping():
                    raise KeyboardInterrupt
                self.progress.started(block)
                self.progress.finished(block, self._run_block(block, opened))

    @contextlib.contextmanager
    def opened(self, blocks: Sequence[Block]) -> Iterator[Opened]:
        """Open the encoder of blocks and all their decoders; the result records failures."""
        block, encoder, opened = blocks[0], blocks[0].encoder, Opened()
        parts = (part for own in blocks for part in own.decoders)
        decoders = list({(part.name, part.thing): part for part in parts}.values())
        self.progress.note(f"opening {encoder.name}")
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch_threads(block.runtime.threads))
            try:
                loaded = open_encoder(encoder.thing, encoder.name, block.runtime)
                opened.encoder = self.policy.encoder(loaded, block.runtime)
            except Unavailable as error:
                self._skip(Skipped("encoder", encoder.name, error.reason, error.remedy))
                opened.skipped.update(part.name for part in decoders)
            except Exception as error:
                why = f"the encoder did not open: {reason(error, block.runtime)}"
                opened.failures = {part.name: why for part in decoders}
            else:
                for part in decoders:
                    self.progress.note(f"opening {part.name}")
                    self._open(part, block, opened, stack)
            yield opened

    def _open(
        self, part: Part, block: Block, opened: Opened, closing: contextlib.ExitStack
    ) -> None:
        assert opened.encoder is not None
        try:
            reader = self.policy.open(part, block, opened.encoder)
        except Unavailable as error:
            self._skip(
                Skipped("decoder", part.name, error.reason, error.remedy, block.encoder.name)
            )
            opened.skipped.add(part.name)
        except Exception as error:
            why = f"the decoder did not open: {reason(error, block.runtime)}"
            opened.failures[part.name] = why
        else:
            closing.callback(_close, reader.decoder)
            opened.readers[part.name, part.thing] = reader

    def _skip(self, item: Skipped) -> None:
        self.outcome.skipped.append(item)

    def cells(self, block: Block, opened: Opened) -> list[Cell]:
        """Make the cells of a block; loads the set, which their keys depend on."""
        parts = [part for part in block.decoders if part.name not in opened.skipped]
        lines = self._load(block) if parts else ""
        clean = lines if isinstance(lines, LineSet) else None
        cells = []
        for part in parts:
            info, extras = None, {}
            if reader := opened.readers.get((part.name, part.thing)):
                info, extras = reader.info, dict(reader.decoder.extras())
                if info.ar_weights and part.thing.needs != "log_probs":
                    extras["ar_weights"] = info.ar_weights
                if ignored := part.thing.ignored(info):
                    extras["generation_ignored"] = dict(ignored)
            elif opened.encoder is not None:
                info = opened.encoder.info
            cells.append(Cell(block, part, self.origin, info, clean, extras))
        return cells

    def _run_block(self, block: Block, opened: Opened) -> list[Row]:
        """Return the rows of a block, measuring those that are not finished."""
        rows, todo = [], []
        for cell in self.cells(block, opened):
            if key := self._finished(cell):
                rows.append(self.store.adopt(key))
                self.outcome.reused.append(key)
            elif why := opened.failures.get(cell.decoder.name) or self._why_unread(block):
                rows.append(self._failed(cell, why))
            else:
                todo.append(cell)
        self.progress.advanced(len(block.decoders) - len(todo))
        if not todo:
            return rows
        try:
            return rows + self._measured(block, todo, opened)
        except Unavailable as error:
            for cell in todo:
                name, encoder = cell.decoder.name, block.encoder.name
                self._skip(
                    Skipped("decoder", name, error.reason, error.remedy, encoder, block.runtime)
                )
            self.progress.advanced(len(todo))
            return rows

    def _finished(self, cell: Cell) -> str:
        """Key of a finished cell, maybe one with a speed that is not asked for; else ""."""
        cells = (cell, cell.with_speed) if cell.block.no_speed else (cell,)
        return next(filter(self.store.finished, (one.key for one in cells)), "")

    def _why_unread(self, block: Block) -> str:
        lines = self._load(block)
        return lines if isinstance(lines, str) else ""

    def _load(self, block: Block) -> LineSet | str:
        """Load the clean set of a block, once a run, or return the reason for failing."""
        condition = block.condition
        name = (condition.dataset, condition.split, condition.limit)
        if name not in self.sets:
            self.progress.note(f"loading {condition.dataset}")
            self.sets[name] = self._loaded(block)
        return self.sets[name]

    def _loaded(self, block: Block) -> LineSet | str:
        condition = block.condition
        try:
            lines = block.dataset.thing.load(condition.split, condition.limit)
        except NothingReadableError as error:
            lines = error.lineset
        except BadLinesError as error:
            self._note_bad(block, error.lineset)
            if self.writes:
                path = self.store.path / bad_lines.NAME
                raise UserError(f"{error}; all are in {path}") from error
            return str(error)  # the run itself will refuse it
        except Exception as error:
            why = for_name(reason(error, block.runtime), condition.dataset)
            return f"the data set did not load: {why}"
        self._note_bad(block, lines)
        return lines if lines.lines else _nothing_readable(lines)

    def _note_bad(self, block: Block, lines: LineSet) -> None:
        if self.writes:
            self.store.note_bad(block.condition.dataset, lines)

    def _measured(self, block: Block, todo: Sequence[Cell], opened: Opened) -> list[Row]:
        """Damage the clean lines, measure the cells and store each when it is finished."""
        clean, encoder = todo[0].lines, opened.encoder
        assert clean is not None and encoder is not None  # a cell without them has failed
        started = now_utc()
        cells = {cell.decoder.name: cell for cell in todo}
        sample = self.policy.sample(block, clean.lines, list(cells), opened)
        try:
            lines, ink_lost, hidden = self._damaged(block, sample.lines)
        except Exception as error:
            why = f"the damage failed: {reason(error, block.runtime)}"
            self.progress.advanced(len(todo))
            return [self._failed(cell, why) for cell in todo]
        rows: list[Row] = []
        starved: list[str] = []

        def store(name: str) -> None:
            if self.policy.halves and measure.readings[name].starved:
                starved.append(name)  # to be read again in smaller batches
                return
            extras = {**self.policy.extras(measure, name), **sample.extras}
            if measure.runtime != block.runtime:
                extras["halved_batch"] = measure.runtime.batch_size
            cell = cells[name]
            reader = opened.reader(cell.decoder)
            rows.append(self._stored(cell, reader, lines, measure, started, ink_lost, extras))

        names, runtime = list(cells), block.runtime
        while names:
            measure = BlockMeasure(
                encoder,
                {name: opened.reader(cells[name].decoder).decoder for name in names},
                [line.image for line in lines],
                runtime,
                Stopwatch.for_device(runtime.device),
                seed=block.condition.seed,
                lost=hidden,
            )
            self.progress.note("measuring")
            measure.run(
                sample.rounds.once if block.no_speed else sample.rounds,
                self.progress.advanced,
                store,
                opened.paces_of(runtime),
                self.stopping,
            )
            self.outcome.loop_s += measure.loop_s
            self.outcome.measured_s += measure.measured_s
            self.progress.advanced(-len(starved))
            names, starved = starved, []
            runtime = replace(runtime, batch_size=runtime.batch_size // 2)
        if len(rows) < len(todo):
            raise KeyboardInterrupt  # `stopping`
        return rows

    def _damaged(
        self, block: Block, clean: Sequence[Line]
    ) -> tuple[Sequence[Line], float | None, list[tuple[Lost, ...]] | None]:
        """Return the lines to read, the mean share of lost ink, and the hidden characters.

        None where they are undefined, or no oracle may know them.
        """
        places = _places(block, clean)
        read = clean if places is None else [clean[place] for place in places]
        if block.damage is None:
            return read, None, [()] * len(read) if self.policy.oracle else None
        at, damage = block.condition, block.damage.thing
        self.progress.note(f"damaging {at.dataset}")
        lines, lost, hidden, spill = [], [], [], Spill()
        made = cached_lines(damage, clean, at.dataset, at.severity, at.seed, places)
        for line, item in zip(read, made, strict=True):
            lines.append(replace(item.line, image=spill.keep(item.line.image)))
            lost.append(item.ink_lost)
            if self.policy.oracle:
                shares = completed(line.text, visible_shares(line, item))
                hidden.append(lost_characters(line, shares))
        known = [share for share in lost if share is not None]
        mean = float(np.mean(known)) if known else None
        return lines, mean, hidden if self.policy.oracle else None

    def _stored(
        self,
        cell: Cell,
        reader: OpenDecoder,
        lines: Sequence[Line],
        measure: BlockMeasure,
        started: str,
        ink_lost: float | None,
        extras: dict[str, Any],
    ) -> Row:
        """Score a measured cell and store it."""
        name = cell.decoder.name
        reading = measure.readings[name]
        if reading.failure:
            return self._failed(cell, reading.failure, started)
        read = [reader.finish(reading.decoded[place]) for place in range(len(lines))]
        results = [line_result(*pair) for pair in zip(lines, read, strict=True)]
        if slots := sum(line.box_source == EQUAL_SLOTS for line in lines):
            extras[SLOTS] = slots
        if reading.changed:
            extras["lines_changed_between_rounds"] = len(reading.changed)
        timing = None if cell.block.no_speed else measure.timing(name)
        row = cell.ok(results, timing, started, ink_lost, extras, reading.spent)
        self.store.write(row, results)
        self.outcome.done.append(row.key)
        return row

    def _failed(self, cell: Cell, why: str, started: str = "") -> Row:
        if self.stopping():
            raise KeyboardInterrupt  # which may have caused the failure; the cell runs again
        row = cell.failed(why, started or now_utc())
        self.store.write(row)
        self.outcome.failed.append(row.key)
        return row


def _places(block: Block, lines: Sequence[Line]) -> list[int] | None:
    """Places of the lines of a block's shard, None for all.

    A shard is every n-th batch, so that a line is read in the same batch as without shards, and
    narrow and wide lines are shared out evenly.
    """
    index, count = block.shard
    if count == 1:
        return None
    batches = batches_of([line.image for line in lines], block.runtime.batch_size)
    return sorted(place for batch in batches[index::count] for place in batch)


def _nothing_readable(lines: LineSet) -> str:
    if lines.bad:
        first = lines.bad[0]
        return f"none of its {len(lines.bad)} lines can be read; {first.id}: {first.reason}"
    return f"{lines.name} has no line in its split {lines.split}"


def _close(decoder: Decoder) -> None:
    """Close a decoder and ignore errors, since its rows are stored."""
    with contextlib.suppress(Exception):
        decoder.close()
