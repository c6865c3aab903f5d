"""Executors: the blocks of a plan as tasks of a Ray cluster or of a Slurm array.

A task runs one block by the ordinary runner, in a process of the cluster: it opens the encoder and
encodes the condition once. Rows travel to the one process that writes the store. Queues, scheduling
and transport are the engine's. What a lost worker leaves unfinished runs again.

A block of many lines may be several tasks, its shards, whose lines are joined into one row a cell
when the last of them has come.

A task measures speed only where it has its device alone, the whole machine or a whole card, and all
lines of its block.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import queue
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bench import ROOT
from bench.core.errors import Unavailable, UserError
from bench.core.hashing import digest
from bench.core.machine import environment
from bench.core.named import Named, named, set_named
from bench.core.records import dump, fit, parse
from bench.core.registry import need
from bench.core.stopwatch import now_utc, pause
from bench.core.types import BadLine, LineResult, LineSet, Row, Runtime
from bench.pipeline import bad_lines
from bench.pipeline.cells import Cell, Origin, joined, measuring_version
from bench.pipeline.plan import Block, Plan
from bench.pipeline.runner import Outcome, Progress, Silent
from bench.pipeline.runner import run as run_here
from bench.pipeline.store import RunStore, mend
from datasets.root import data_root, set_data_root

Engine = Literal["ray", "slurm"]

_TRIES = 3  # workers that a task may lose
_SLURM_MINUTES = 240  # of a task, unless SBATCH_TIMELIMIT says otherwise
_POLL_S = 1.0


@dataclass(frozen=True)
class Resources:
    """Cores and cards that the engine reserves for a task; a share of a card is Ray's alone."""

    cpus: int
    gpus: float


@dataclass(frozen=True, eq=False)
class Task:
    """A block, and what a worker needs to run it as the driver would.

    held: rows of its finished cells by key.
    code: version of the measuring code.
    """

    block: Block
    held: Mapping[str, Row]
    code: str
    names: Named
    data_root: Path | None


@dataclass(frozen=True, eq=False)
class StoredCell:
    """A measured or failed cell on its way to the store, with its environment record."""

    environment: Mapping[str, Any]
    row: Row
    lines: tuple[LineResult, ...]


@dataclass(frozen=True, eq=False)
class AdoptedCell:
    """A cell that was finished before."""

    key: str


@dataclass(frozen=True, eq=False)
class UnusableLines:
    """The unusable lines of a split."""

    dataset: str
    split: str
    bad: tuple[BadLine, ...]


@dataclass(frozen=True, eq=False)
class Refused:
    """The sentence of a user's mistake, which ends the run."""

    sentence: str


Message = StoredCell | AdoptedCell | UnusableLines | Refused | Outcome  # the last two end a task
Send = Callable[[Message], None]


class _Sender(RunStore):
    """The store as a task sees it: rows go to the driver."""

    def __init__(self, task: Task, send: Send) -> None:
        super().__init__(Path("the run folder"))
        self._held, self._send = task.held, send
        self._environment: Mapping[str, Any] = {}

    @contextlib.contextmanager
    def writing(self, environment: Mapping[str, Any]) -> Iterator[str]:
        """Keep the environment record for the rows; the driver holds the lock."""
        self._environment = environment
        yield digest(environment)

    def finished(self, key: str) -> bool:
        """See `RunStore.finished`."""
        return key in self._held

    def adopt(self, key: str) -> Row:
        """See `RunStore.adopt`."""
        self._send(AdoptedCell(key))
        return self._held[key]

    def write(self, row: Row, lines: Iterable[LineResult] = ()) -> None:
        """Send a cell."""
        self._send(StoredCell(self._environment, row, tuple(lines)))

    def note_bad(self, dataset: str, lines: LineSet) -> Path:
        """Send the unusable lines of a split."""
        self._send(UnusableLines(dataset, lines.split, lines.bad))
        return self.path / bad_lines.NAME


def work(task: Task, shared: str, send: Send) -> None:
    """Run a task in a worker, which sends messages in order.

    `shared` says why its rows have no speed; "" where its device is its own.
    """
    try:
        if measuring_version() != task.code:
            host = os.uname().nodename
            raise UserError(f"the code on {host} is another; update the checkout at {ROOT} there")
        set_named(task.names)
        set_data_root(task.data_root)
        block = dataclasses.replace(task.block, no_speed=task.block.no_speed or shared)
        send(run_here(Plan((block,), ()), _Sender(task, send)))
    except UserError as error:
        send(Refused(str(error)))


class _Shards:
    """Cuts blocks of many lines into shards, and joins what these send.

    Args:
        most: lines of a shard; None cuts nothing. No shard is smaller than a batch.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._places: dict[tuple[str, str, int | None], dict[str, int]] = {}  # of lines by id
        self._sent: dict[str, dict[int, StoredCell]] = {}  # by cell and shard

    def cut(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The blocks, or their shards; loads each set, unless nothing is cut."""
        for block in blocks:
            count, size = 1, block.runtime.batch_size
            if self._most and (lines := len(self._lines(block))):
                count = math.ceil(math.ceil(lines / size) / max(1, self._most // size))
            why = f"its lines were read by {count} tasks" if count > 1 else ""
            for index in range(count):
                yield dataclasses.replace(block, no_speed=why, shard=(index, count))

    def has(self, block: Block, cell: str) -> bool:
        """Whether this shard has sent a cell."""
        return block.shard[0] in self._sent.get(cell, {})

    def join(self, block: Block, message: StoredCell) -> StoredCell | None:
        """The whole cell; None while shards of it are missing.

        Raises:
            UserError: the shards do not belong together.
        """
        if block.shard[1] == 1 or message.row.status == "failed":
            return message
        sent = self._sent.setdefault(message.row.cell, {})
        sent[block.shard[0]] = message
        if len(sent) < block.shard[1]:
            return None
        rows, places = [sent[index].row for index in sorted(sent)], self._lines(block)
        lines = {line.id: line for one in sent.values() for line in one.lines}
        if len({row.key for row in rows}) > 1 or lines.keys() != places.keys():
            raise UserError(
                f"the workers that read {block.label} differ in machine, weights or data; take "
                "equal ones, or leave out --shard"
            )
        results = tuple(sorted(lines.values(), key=lambda line: places[line.id]))
        sent.clear()
        return StoredCell(message.environment, joined(rows, results), results)

    def _lines(self, block: Block) -> dict[str, int]:
        """Ids of a set's lines with their places; none where its task will say why."""
        at = block.condition
        if (name := (at.dataset, at.split, at.limit)) not in self._places:
            try:
                lines = block.dataset.thing.load(at.split, at.limit).lines
            except Exception:
                lines = ()
            self._places[name] = {line.id: place for place, line in enumerate(lines)}
        return self._places[name]


class _Driver:
    """Hands out tasks and writes what comes back."""

    def __init__(
        self,
        plan: Plan,
        store: RunStore,
        progress: Progress,
        stopping: Callable[[], bool],
        shard: int | None,
    ) -> None:
        self.outcome = Outcome(list(plan.skipped))
        self.stopping = stopping
        self._shards = _Shards(shard)
        self.blocks = list(self._shards.cut(plan.blocks))
        self._store, self._progress = store, progress
        self._held: dict[tuple[Any, ...], list[Row]] = {}
        for row in store.rows():
            self._held.setdefault((row.encoder, row.condition, row.runtime), []).append(row)
        self._stored: dict[str, Row] = {}  # by cell
        self._losses = Counter[int]()
        self._ended = Counter[tuple[Any, ...]]()  # shards of a block

    def task(self, block: Block) -> Task:
        """Make the task of a block as the store is now."""
        rows = self._held.get(_identity(block), [])
        stored = [row for row in self._rows(block) if row.status == "ok"]
        held = {row.key: row for row in (*rows, *stored) if self._store.finished(row.key)}
        return Task(block, held, measuring_version(), named(), data_root())

    def take(self, block: Block, message: Message) -> bool:
        """Store a message of a block's task, and return whether it was the last one.

        Raises:
            UserError: the task refused to run, or the store cannot be written.
        """
        if isinstance(message, Refused):
            raise UserError(message.sentence)
        if isinstance(message, UnusableLines):
            path = self._store.path / bad_lines.NAME
            bad_lines.note(path, message.dataset, message.split, message.bad)
        elif isinstance(message, AdoptedCell):
            self._adopt(block, message.key)
        elif isinstance(message, StoredCell):
            self._write(block, message)
        else:
            known = self.outcome.skipped
            known += [item for item in message.skipped if item not in known]
            self.outcome.loop_s += message.loop_s
            self.outcome.measured_s += message.measured_s
            self._ended[_identity(block)] += 1
            if self._ended[_identity(block)] == block.shard[1]:
                rows = self._rows(block)
                self._progress.started(block)
                self._progress.advanced(len(block.decoders) - len(rows))
                self._progress.finished(block, rows)
        return isinstance(message, Outcome)

    def lost(self, block: Block, why: str) -> bool:
        """Note the loss of a worker, and return whether the task runs again."""
        self._losses[id(block)] += 1
        if self._losses[id(block)] < _TRIES:
            return True
        record = environment()
        origin = Origin(digest(record), digest(record["machine"]))
        reason = f"the task lost {_TRIES} workers, the last one so: {' '.join(why.split())}"
        for part in block.decoders:
            cell = Cell(block, part, origin)
            if cell.cell not in self._stored and not self._shards.has(block, cell.cell):
                row = cell.failed(reason, now_utc())
                self._write(block, StoredCell(record, row, ()))
        self.take(block, Outcome([]))
        return False

    def _adopt(self, block: Block, key: str) -> None:
        row = self._store.adopt(key)
        if row.cell not in self._stored:  # else another shard or a lost worker has adopted it
            self._stored[row.cell] = row
            self.outcome.reused.append(key)
            self._progress.started(block)
            self._progress.advanced(1.0)

    def _write(self, block: Block, message: StoredCell) -> None:
        if message.row.cell in self._stored:  # its worker was lost after it had sent the row
            return
        if (whole := self._shards.join(block, message)) is None:
            return
        row = whole.row
        self._store.keep_environment(whole.environment)
        self._store.write(row, whole.lines)
        self._stored[row.cell] = row
        (self.outcome.failed if row.status == "failed" else self.outcome.done).append(row.key)
        self._progress.started(block)
        self._progress.advanced(0.0)
        self._progress.advanced(1.0)

    def _rows(self, block: Block) -> list[Row]:
        nowhere = Origin("", "")
        cells = (Cell(block, part, nowhere).cell for part in block.decoders)
        return [self._stored[cell] for cell in cells if cell in self._stored]


def _identity(block: Block) -> tuple[Any, ...]:
    return block.encoder.name, block.condition, block.runtime


def run(
    plan: Plan,
    store: RunStore,
    engine: Engine,
    resources: Resources,
    progress: Progress | None = None,
    stopping: Callable[[], bool] = lambda: False,
    cluster: str = "slurm",
    shard: int | None = None,
) -> Outcome:
    """Measure the cells of a plan that are not finished, on a cluster.

    Ctrl-C stops it, and so does `stopping`; every cell that has come back is stored. With the
    `cluster` "local", submitit runs the tasks as processes of this machine. A task reads `shard`
    lines at most, but no less than a batch.

    Raises:
        UserError: as `bench.pipeline.runner.run`; also, a worker has other code, or the workers of
            a block's shards differ.
        Unavailable: the engine is not here.
    """
    check_engine(engine, cluster)
    with store.writing(environment()):
        driver = _Driver(plan, store, progress or Silent(), stopping, shard)
        try:
            if engine == "ray":
                _on_ray(driver, resources)
            else:
                _on_slurm(driver, resources, store.path / "slurm", cluster)
        except KeyboardInterrupt:
            driver.outcome.interrupted = True
    return driver.outcome


def resources(runtime: Runtime, cpus: int | None = None, gpus: float | None = None) -> Resources:
    """Resources of a task; those left out follow from the runtime.

    Raises:
        UserError: no task can have them.
    """
    chosen = Resources(
        runtime.threads if cpus is None else cpus,
        float(runtime.device.startswith("cuda")) if gpus is None else gpus,
    )
    if chosen.cpus < 1:
        raise UserError(f"--cpus {chosen.cpus} leaves a task no core; take 1 or more")
    if not (0 <= chosen.gpus <= 1 or (chosen.gpus > 0 and chosen.gpus.is_integer())):
        raise UserError(f"--gpus {chosen.gpus:g}: take a whole number, or a share of one card")
    return chosen


def check_engine(engine: Engine, cluster: str = "slurm") -> None:
    """Refuse an engine that is not here.

    Raises:
        Unavailable: its package or program is not here.
    """
    need({"ray": "ray", "slurm": "submitit"}[engine], f"--executor {engine}")
    if engine == "slurm" and cluster == "slurm" and shutil.which("sbatch") is None:
        raise Unavailable("this machine has no sbatch", "start the run where jobs are submitted")


def _on_ray(driver: _Driver, resources: Resources) -> None:
    """Run tasks on the cluster of RAY_ADDRESS, else one of this machine.

    Ray's own retries would begin a stream anew, with rows that have arrived.
    """
    import ray

    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    try:
        ray.init(
            log_to_driver=False,
            include_dashboard=False,
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}},
        )
    except ConnectionError as error:
        raise UserError(
            f"{' '.join(str(error).split())}; see whether it runs, and set RAY_AUTH_MODE=token if "
            "it was started so"
        ) from error
    try:
        options = {
            "num_cpus": resources.cpus,
            "num_gpus": resources.gpus,
            "max_retries": 0,
            "scheduling_strategy": "SPREAD",
        }
        remote: Any = ray.remote(**options)(_stream)
        running = {remote.remote(driver.task(block)): block for block in driver.blocks}
        while running:
            ready, _ = ray.wait(list(running), timeout=_POLL_S)
            if driver.stopping():
                raise KeyboardInterrupt
            for stream in ready:
                block = running[stream]
                try:
                    message = ray.get(next(stream))
                except StopIteration:
                    del running[stream]
                except ray.exceptions.RayTaskError:
                    raise
                except ray.exceptions.RayError as error:
                    del running[stream]
                    if driver.lost(block, str(error)):
                        running[remote.remote(driver.task(block))] = block
                else:
                    driver.take(block, message)
    finally:
        ray.shutdown()


def _stream(task: Task) -> Iterator[Message]:
    """Run a task in a Ray worker, yielding its messages as they come."""
    box: queue.SimpleQueue[Message | BaseException] = queue.SimpleQueue()

    def fill() -> None:
        try:
            work(task, _shared_in_ray(task.block.runtime.device), box.put)
        except BaseException as error:
            box.put(error)

    threading.Thread(target=fill, daemon=True).start()
    while True:
        message = box.get()
        if isinstance(message, BaseException):
            raise message
        yield message
        if isinstance(message, Outcome | Refused):
            return


def _shared_in_ray(device: str) -> str:
    import ray

    context = ray.get_runtime_context()
    reserved = context.get_assigned_resources()
    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes()}
    return shared(
        device,
        cpus=(reserved.get("CPU", 0), nodes[context.get_node_id()].get("CPU", 0)),
        gpus=reserved.get("GPU", 0),
    )


def _on_slurm(driver: _Driver, resources: Resources, folder: Path, cluster: str) -> None:
    """Run tasks as Slurm arrays, each of which writes its messages to a file that is read here.

    Partition, account and the like are sbatch's own variables (SBATCH_PARTITION, ...).
    """
    import submitit

    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(
        name="kaidoku",
        timeout_min=_SLURM_MINUTES,
        cpus_per_task=resources.cpus,
        gpus_per_node=int(resources.gpus),
    )
    left = list(driver.blocks)
    while left:
        tasks = [driver.task(block) for block in left]
        files = [folder / f"{uuid.uuid4().hex}.messages" for _ in left]
        jobs = executor.map_array(_write_messages, tasks, files)
        running = dict(zip(jobs, left, strict=True))
        places = dict(zip(jobs, ((file, 0) for file in files), strict=True))
        left = []
        try:
            while running:
                done = [job for job in running if job.done()]
                if driver.stopping():
                    raise KeyboardInterrupt
                for job, block in running.items():
                    messages, places[job] = _arrived(*places[job])
                    for message in messages:
                        driver.take(block, message)
                for job in done:
                    block = running.pop(job)
                    try:
                        job.result()
                    except submitit.core.utils.FailedJobError:
                        raise
                    except submitit.core.utils.UncompletedJobError as error:
                        if driver.lost(block, str(error)):
                            left.append(block)
                if not done:
                    pause(_POLL_S)
        finally:
            for job in running:
                job.cancel()


def _write_messages(task: Task, path: Path) -> None:
    """Run a task in a Slurm job."""
    cores = int(os.environ.get("SLURM_CPUS_ON_NODE", 0))
    cards = int(os.environ.get("SLURM_GPUS_ON_NODE", 0))
    device = task.block.runtime.device
    mend(path)  # Slurm starts a task of a lost node again, in the same file
    with path.open("ab") as file:

        def send(message: Message) -> None:
            file.write(dump([type(message).__name__, message]))
            file.flush()

        work(task, shared(device, (cores, os.cpu_count() or 0), cards), send)


def _arrived(path: Path, place: int) -> tuple[list[Message], tuple[Path, int]]:
    """Read the complete messages of a file from an offset, and return where the next begins."""
    try:
        with path.open("rb") as file:
            file.seek(place)
            content = file.read()
    except FileNotFoundError:
        return [], (path, place)
    kinds = {kind.__name__: kind for kind in get_args(Message)}
    whole = content.split(b"\n")[:-1]
    read = [fit(tuple[str, Any], parse(record, str(path)), str(path)) for record in whole]
    messages = [fit(kinds[name], fields, str(path)) for name, fields in read]
    return messages, (path, place + content.rfind(b"\n") + 1)


def shared(device: str, cpus: tuple[float, float], gpus: float) -> str:
    """Say why a task has no speed: it shares its device; "" where it does not.

    `cpus` are the reserved cores and those of the machine, `gpus` the reserved cards.
    """
    if device == "cpu":
        reserved, there = cpus
        alone = reserved >= there
        return "" if alone else f"its task had {reserved:g} of the machine's {there:g} cores"
    return "" if gpus >= 1 else f"its task had {gpus:g} of a card"
