"""The harness: for every block of a plan load, damage, measure, score, store.

    line image -> models -> Encoded -> decoders -> Decoded -> metrics -> counts -> store

It knows no model, decoder or data set by name. A cell that is finished in the store is not
measured again; what fails becomes a row with its reason and the run goes on. How time is taken is
said in `bench.pipeline.measure`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.core.errors import Unavailable, UserError
from bench.core.hashing import digest
from bench.core.machine import environment
from bench.core.stopwatch import Stopwatch, now_utc, overhead
from bench.core.types import Condition, EncoderInfo, Line, LineSet, Row, Runtime
from bench.pipeline.cells import Cell, Origin, line_result
from bench.pipeline.measure import BlockMeasure, reason
from bench.pipeline.plan import Block, Part, Plan, Skipped
from bench.pipeline.progress import Progress, Silent
from bench.pipeline.store import RunStore
from datasets.base import BadLinesError, NothingReadableError
from datasets.damage.base import EQUAL_SLOTS
from datasets.damage.cache import cached_lines
from decoders.base import Decoder, DecoderSpec
from models.base import Encoder


@dataclass
class Outcome:
    """How a run went.

    done, reused, failed: keys of cells measured now, finished before, and failed now.
    skipped: what could not run here: the plan's, and decoders that do not fit an encoder.
    interrupted: the user stopped it; what is finished is stored.
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


def run(
    plan: Plan,
    store: RunStore,
    progress: Progress | None = None,
    runner: RunnerType | None = None,
) -> Outcome:
    """Run what is not finished yet.

    Ctrl-C stops it: the block that was running is lost, everything before is stored.

    Args:
        plan: what to run.
        store: where rows go, and where finished ones are found.
        progress: listens.
        runner: makes the runner of the blocks; `Runner` by default.

    Raises:
        UserError: the device or precision does not exist here, another run writes to the store,
            the store cannot be written (no permission, disk full), or a set that is to be read
            strictly has a line that cannot be used.
    """
    check_runtime(plan.runtime)
    record = environment()
    outcome = Outcome(list(plan.skipped))
    with store.writing(record) as name, _torch_threads(plan.runtime.threads):
        origin = Origin(name, digest(record["machine"]), plan.runtime)
        made = (runner or Runner)(store, progress or Silent(), outcome, origin)
        try:
            for _, blocks in itertools.groupby(plan.blocks, key=lambda block: block.encoder.name):
                made.run_encoder(list(blocks))
        except KeyboardInterrupt:
            outcome.interrupted = True
    return outcome


def finished(plan: Plan, store: RunStore) -> set[tuple[str, str, Condition]]:
    """Encoder, decoder and condition of the cells that a run would not measure again.

    Nothing is measured or written. Encoders are opened and sets are loaded as a run does, for keys
    depend on them, but only those of which the store has a good row.
    """
    known = {(row.encoder, row.condition) for row in store.rows() if row.status == "ok"}
    blocks = [block for block in plan.blocks if (block.encoder.name, block.condition) in known]
    machine = digest(environment()["machine"]) if blocks else ""
    looking = _Looking(store, Silent(), Outcome([]), Origin("", machine, plan.runtime))
    with _torch_threads(plan.runtime.threads):
        for _, some in itertools.groupby(blocks, key=lambda block: block.encoder.name):
            looking.run_encoder(list(some))
    return looking.found


def check_runtime(runtime: Runtime) -> None:
    """Refuse a device or precision that torch does not have here.

    Raises:
        UserError: with what to choose instead.
    """
    if not isinstance(getattr(torch, runtime.dtype, None), torch.dtype):
        raise UserError(
            f"no precision is called {runtime.dtype!r}; take float32, bfloat16, float16"
        )
    try:
        device = torch.device(runtime.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"torch has no device {runtime.device!r} here; take cpu") from None


@dataclass
class Open:
    """An encoder and its decoders, open.

    decoders: by name.
    infos: of the encoder, as each decoder's row tells it.
    given_up: why some decoders cannot run, by name.
    warm: decoders that have run behind this encoder.
    """

    encoder: Encoder | None = None
    decoders: dict[str, Decoder] = field(default_factory=dict)
    infos: dict[str, EncoderInfo] = field(default_factory=dict)
    extras: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    warm: set[str] = field(default_factory=set)


class Runner:
    """The blocks of a plan, encoder by encoder.

    Another protocol overrides `info`, `open_decoder`, `misfit`, `run_block`, `measure`, `stored` or
    `told`.
    """

    def __init__(
        self, store: RunStore, progress: Progress, outcome: Outcome, origin: Origin
    ) -> None:
        self.store, self.progress, self.outcome, self.origin = store, progress, outcome, origin
        self.watch = Stopwatch.for_device(origin.runtime.device)
        self.sets: dict[tuple[str, str, int | None], LineSet | str] = {}

    def run_encoder(self, blocks: Sequence[Block]) -> None:
        """All blocks of one encoder: it and its decoders are opened once."""
        with contextlib.ExitStack() as stack:
            opened = self._opened(blocks[0].encoder, blocks[0].decoders, stack)
            for block in blocks:
                self.progress.started(block)
                self.progress.finished(block, self.run_block(block, opened))

    def _opened(self, encoder: Part, decoders: Sequence[Part], stack: contextlib.ExitStack) -> Open:
        opened = Open()
        names = [decoder.name for decoder in decoders]
        self.progress.note(f"opening {encoder.name}")
        try:
            opened.encoder = encoder.thing.open(self.origin.runtime)
        except Unavailable as error:
            self.skip("encoder", encoder.name, error)
            opened.skipped.update(names)
            return opened
        except Exception as error:
            why = f"the encoder did not open: {reason(error, self.origin.runtime)}"
            opened.given_up = dict.fromkeys(names, why)
            return opened
        for decoder in decoders:
            self.progress.note(f"opening {decoder.name}")
            self._open_decoder(encoder.name, decoder, opened.encoder, opened, stack)
        return opened

    def _open_decoder(
        self,
        encoder: str,
        part: Part,
        behind: Encoder,
        opened: Open,
        stack: contextlib.ExitStack,
    ) -> None:
        spec: DecoderSpec = part.thing
        try:
            info = opened.infos[part.name] = self.info(part, behind)
            if absent := self.misfit(part, info):
                raise absent
            decoder = opened.decoders[part.name] = self.open_decoder(spec, info)
            stack.callback(_close, decoder)
            ignored = spec.ignored(info)
            unapplied = {"generation_ignored": dict(ignored)} if ignored else {}
            opened.extras[part.name] = {**decoder.extras(), **unapplied}
        except Unavailable as error:
            self.skip("decoder", f"{part.name} on {encoder}", error)
            opened.skipped.add(part.name)
        except Exception as error:
            why = f"the decoder did not open: {reason(error, self.origin.runtime)}"
            opened.given_up[part.name] = why

    def info(self, decoder: Part, encoder: Encoder) -> EncoderInfo:
        """What the row of a decoder says of the encoder."""
        return encoder.info

    def open_decoder(self, spec: DecoderSpec, info: EncoderInfo) -> Decoder:
        """What is measured of a decoder."""
        return spec.open(info)

    def misfit(self, part: Part, info: EncoderInfo) -> Unavailable | None:
        """Why a decoder cannot read an encoder: its own word, or what it needs is not there."""
        spec: DecoderSpec = part.thing
        if absent := spec.missing(info):
            return absent
        if spec.needs != "states" and not info.alphabet:
            return Unavailable(f"{info.name} has no CTC head")
        return None

    def skip(self, kind: str, name: str, error: Unavailable) -> None:
        """Note that something cannot run here."""
        self.outcome.skipped.append(Skipped(kind, name, error.reason, error.remedy))

    def run_block(self, block: Block, opened: Open) -> list[Row]:
        """The rows of a block; those that are finished are not measured again."""
        rows, todo = [], []
        for cell in self.cells(block, opened):
            if self.store.finished(cell.key):
                rows.append(self.store.adopt(cell.key))
                self.outcome.reused.append(cell.key)
            elif why := opened.given_up.get(cell.decoder.name) or self._why_unread(block):
                rows.append(self._failed(cell, why))
            else:
                todo.append(cell)
        self.progress.advanced(len(block.decoders) - len(todo))
        if todo and todo[0].lines and opened.encoder:
            rows += self.measure(block, todo, todo[0].lines, opened.encoder, opened)
        return rows

    def cells(self, block: Block, opened: Open) -> list[Cell]:
        """The cells of a block, with what their keys are made of; the set is loaded for them."""
        wanted = [part for part in block.decoders if part.name not in opened.skipped]
        lines = self._load(block) if wanted else ""
        clean = lines if isinstance(lines, LineSet) else None
        return [
            Cell(
                block,
                part,
                self.origin,
                opened.infos.get(part.name),
                clean,
                opened.extras.get(part.name, {}),
            )
            for part in wanted
        ]

    def _why_unread(self, block: Block) -> str:
        lines = self._load(block)
        return lines if isinstance(lines, str) else ""

    def _load(self, block: Block) -> LineSet | str:
        """The clean set of a block, or why there is none; loaded once a run."""
        condition = block.condition
        name = (condition.dataset, condition.split, condition.limit)
        if name not in self.sets:
            self.progress.note(f"loading {condition.dataset}")
            try:
                lines = block.dataset.thing.load(condition.split, condition.limit)
                self.note_bad(condition.dataset, lines)
                self.sets[name] = lines if lines.lines else _nothing_readable(lines)
            except NothingReadableError as error:
                self.note_bad(condition.dataset, error.lineset)
                self.sets[name] = _nothing_readable(error.lineset)
            except BadLinesError as error:
                path = self.note_bad(condition.dataset, error.lineset)
                raise UserError(f"{error}; all are in {path}") from error
            except Exception as error:
                why = reason(error, self.origin.runtime)
                self.sets[name] = f"the data set did not load: {why}"
        return self.sets[name]

    def note_bad(self, dataset: str, found: LineSet) -> Path:
        """Note which lines of a set could not be used."""
        return self.store.note_bad(dataset, found)

    def measure(
        self,
        block: Block,
        todo: Sequence[Cell],
        clean: LineSet,
        encoder: Encoder,
        opened: Open,
    ) -> list[Row]:
        """Damage and measure the clean lines.

        Args:
            block: gives the damage and the rounds.
            todo: cells that are not finished, at least one.
            clean: the lines.
            encoder: encodes them.
            opened: holds the decoders of `todo`; those measured now are warm from then on.
        """
        started = now_utc()
        try:
            lines, ink_lost = self._damaged(block, clean)
        except Exception as error:
            why = f"the damage failed: {reason(error, self.origin.runtime)}"
            self.progress.advanced(len(todo))
            return [self._failed(cell, why) for cell in todo]
        measure = BlockMeasure(
            encoder,
            {cell.decoder.name: opened.decoders[cell.decoder.name] for cell in todo},
            [line.image for line in lines],
            self.origin.runtime,
            self.watch,
            seed=block.condition.seed,
        )
        self.progress.note("measuring")
        with self._shares(len(todo)) as advanced:
            measure.run(block.rounds, advanced, opened.warm)
        opened.warm.update(cell.decoder.name for cell in todo)
        self.outcome.loop_s += measure.loop_s
        self.outcome.measured_s += measure.measured_s
        return [self.stored(cell, lines, measure, started, ink_lost) for cell in todo]

    @contextlib.contextmanager
    def _shares(self, cells: int) -> Iterator[Callable[[float], None]]:
        """Turn shares of a block into fractions of cells; what is missing at the end is added."""
        told = 0.0

        def advanced(share: float) -> None:
            nonlocal told
            self.progress.advanced((share - told) * cells)
            told = share

        yield advanced
        advanced(1.0)

    def _damaged(self, block: Block, clean: LineSet) -> tuple[Sequence[Line], float | None]:
        """The lines to read and the mean share of lost ink, None where it is not defined."""
        if block.damage is None:
            return clean.lines, None
        condition = block.condition
        self.progress.note(f"damaging {condition.dataset}")
        damaged = list(
            cached_lines(
                block.damage.thing,
                clean.lines,
                condition.dataset,
                condition.severity,
                condition.seed,
            )
        )
        lost = [item.ink_lost for item in damaged if item.ink_lost is not None]
        return [item.line for item in damaged], float(np.mean(lost)) if lost else None

    def told(self, cell: Cell, measure: BlockMeasure) -> Mapping[str, Any]:
        """What else the row of a measured cell says, among its extras."""
        return {}

    def stored(
        self,
        cell: Cell,
        lines: Sequence[Line],
        measure: BlockMeasure,
        started: str,
        ink_lost: float | None,
    ) -> Row:
        """Score a measured cell and store it."""
        name = cell.decoder.name
        reading = measure.readings[name]
        if reading.failure:
            return self._failed(cell, reading.failure, started)
        results = [line_result(line, reading.decoded[i]) for i, line in enumerate(lines)]
        timing = measure.timing(name)
        changed, told = len(reading.changed), dict(self.told(cell, measure))
        if slots := sum(line.box_source == EQUAL_SLOTS for line in lines):
            told["lines_with_equal_slots"] = slots
        row = cell.ok(results, timing, started, ink_lost, changed, told, reading.spent)
        self.store.write(row, results)
        self.outcome.done.append(row.key)
        return row

    def _failed(self, cell: Cell, why: str, started: str = "") -> Row:
        row = cell.failed(why, started or now_utc())
        self.store.write(row)
        self.outcome.failed.append(row.key)
        return row


class _Looking(Runner):
    """Works out the keys of cells and looks for them in the store."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.found: set[tuple[str, str, Condition]] = set()

    def run_block(self, block: Block, opened: Open) -> list[Row]:
        """Note the finished cells of a block; no rows."""
        for cell in self.cells(block, opened):
            if self.store.finished(cell.key):
                self.found.add((block.encoder.name, cell.decoder.name, block.condition))
        return []

    def note_bad(self, dataset: str, found: LineSet) -> Path:
        """Write nothing."""
        return self.store.path

    def _load(self, block: Block) -> LineSet | str:
        try:
            return super()._load(block)
        except UserError as error:  # the run itself will say so
            return str(error)


RunnerType = Callable[[RunStore, Progress, Outcome, Origin], Runner]


def _nothing_readable(lines: LineSet) -> str:
    if lines.bad:
        first = lines.bad[0]
        return f"none of its {len(lines.bad)} lines can be read; {first.id}: {first.reason}"
    return f"{lines.name} has no line in its split {lines.split}"


def _close(decoder: Decoder) -> None:
    """Close a decoder; its rows are stored by now, so a complaint changes nothing."""
    with contextlib.suppress(Exception):
        decoder.close()


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Let torch have so many intra-op threads, and as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
