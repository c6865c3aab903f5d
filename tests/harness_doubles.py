"""Small real parts for tests of the harness: a set, an encoder, decoders and damages that work.

The image of a line carries its text: column 2i holds the code of character i, column 2i + 1 is
paper. The encoder reads these pixels into CTC log-probabilities, and the decoders read those, so
that damage to the pixels is damage to the text.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.errors import Unavailable, UserError
from bench.core.registry import Entry, Registry
from bench.core.stopwatch import HostMeter
from bench.core.types import (
    BadLine,
    Decoded,
    Encoded,
    EncoderInfo,
    Image,
    Line,
    LineSet,
    Needs,
    Runtime,
)
from bench.pipeline.plan import Registries, Rounds, Selection, build_plan
from bench.pipeline.runner import Outcome, run
from bench.pipeline.store import RunStore
from datasets.base import BadLinesError, Dataset, fingerprint
from datasets.damage.base import Damage, Damaged
from decoders.base import Decoder, DecoderSpec
from models.base import Encoder, EncoderSpec

PAPER = 255
ALPHABET = ("", *map(chr, range(32, 127)))
TEXTS = (
    "the quick brown fox", "a", "jumps over", "two lazy dogs", "and", "runs away from the hounds",
    "in", "the meadow", "until evening falls", "upon", "hills", "far",
)  # fmt: skip

EVENTS: list[str] = []  # what was opened, loaded, closed, in order; tests clear it
STALL_AT: list[int] = []  # calls of decoders, counted over all, that never come back
CALLS = itertools.count(1)


class FakeMeter(HostMeter):
    """A meter whose clocks only tests move."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = self.device_s = 0.0
        self.peak = 7.0
        self.log: list[str] = []

    def work(self, wall_s: float = 0.0, cpu_s: float = 0.0, device_s: float = 0.0) -> None:
        """Use time; the device's is used when somebody waits for it."""
        self.wall_s += wall_s
        self.cpu_s += cpu_s
        self.device_s += device_s

    def wall(self) -> float:
        self.log.append("wall")
        return self.wall_s

    def cpu(self) -> float:
        self.log.append("cpu")
        return self.cpu_s

    def synchronise(self) -> None:
        self.log.append("synchronise")
        self.wall_s, self.device_s = self.wall_s + self.device_s, 0.0

    def reset_peak(self) -> None:
        self.log.append("reset")

    def peak_mib(self) -> float:
        self.log.append("peak")
        return self.peak

    def watch_workers(self) -> None:
        self.log.append("watch")


def drawn(text: str) -> Image:
    """A text as an image (2, 2 * len(text))."""
    image = np.full((2, 2 * len(text)), PAPER, np.uint8)
    image[:, ::2] = np.frombuffer(text.encode("latin-1"), np.uint8)
    return image


@dataclass(frozen=True)
class Words(Dataset):
    """The first `size` of `TEXTS`."""

    size: int = 12
    unreadable: int = 0
    absent: bool = False
    broken: bool = False
    prefix: str = ""

    def missing(self) -> Unavailable | None:
        return (
            Unavailable("the words are not here", "python -m bench data get words")
            if (self.absent)
            else None
        )

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        EVENTS.append(f"load {self.prefix or 'words'}")
        if self.broken:
            raise UserError("words.parquet has no column 'text'")
        texts = [self.prefix + text for text in TEXTS[: self.size]][:limit]
        lines = tuple(
            Line(f"{split}-{i}", drawn(text), text, f"writer-{i % 6}", split)
            for i, text in enumerate(texts)
        )
        bad = tuple(BadLine(f"bad-{i}", "the image is truncated") for i in range(self.unreadable))
        found = LineSet("words", split, lines, bad, fingerprint(lines), "made up", "CC0", "ascii")
        if self.strict and bad:
            raise BadLinesError(found)
        return found


@dataclass(frozen=True)
class Pixels(EncoderSpec):
    """Reads pixels into log-probabilities. `fails_on`: raises on lines of this many columns."""

    name: ClassVar[str] = "pixels"
    weights: str = "0123456789abcdef"
    absent: bool = False
    broken: bool = False
    head: bool = True
    fails_on: int = 0
    busy_s: float = 0.0

    def missing(self) -> Unavailable | None:
        return Unavailable("no weights", "python -m bench get pixels") if self.absent else None

    def open(self, runtime: Runtime) -> Encoder:
        EVENTS.append("open pixels")
        if self.broken:
            raise UserError("the weights do not fit: 3 tensors are missing")
        return PixelEncoder(self)


class PixelEncoder(Encoder):
    def __init__(self, spec: Pixels) -> None:
        self.spec = spec
        alphabet = ALPHABET if spec.head else ()
        self.info = EncoderInfo(spec.name, spec.weights, {"encoder": 5}, alphabet, has_ar=False)

    def prepare(self, images: Sequence[Image]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        frames = np.array([image.shape[1] for image in images])
        batch = np.full((len(images), int(frames.max())), PAPER)
        for row, image in zip(batch, images, strict=True):
            row[: image.shape[1]] = image[0]
        return batch, frames

    def encode(self, batch: Any) -> Encoded:
        pixels, frames = batch
        busy(self.spec.busy_s)
        if self.spec.fails_on in frames:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9e12 bytes")
        symbols = torch.from_numpy(np.where((pixels > 31) & (pixels < 127), pixels - 31, 0))
        log_probs = torch.nn.functional.one_hot(symbols, len(ALPHABET)).float().log_softmax(2)
        states = torch.zeros(len(frames), int(frames.max()), 4)
        mask = torch.ones(states.shape[:2], dtype=torch.bool)
        return Encoded(states, mask, log_probs, torch.from_numpy(frames), ALPHABET)

    def module(self) -> Any:
        return torch.nn.Identity()


@dataclass(frozen=True)
class ReaderSpec(DecoderSpec):
    """Best path. What is not an option of reading makes it misbehave in a way to be tested.

    drop: characters that it never writes.
    log: file that gets a line a call.
    """

    needs: ClassVar[Needs] = "log_probs"
    drop: str = ""
    busy_s: float = 0.0
    raises: str = ""
    refuses: bool = False
    breaks_open: bool = False
    fickle: bool = False
    table: str = ""
    log: str = ""

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        return Unavailable("no language model", "python -m bench lm") if self.refuses else None

    def open(self, encoder: EncoderInfo) -> Decoder:
        EVENTS.append(f"open reader {self.drop}")
        if self.breaks_open:
            raise UserError("line 3 of lm.arpa is not an n-gram")
        return Reader(self)


class Reader(Decoder):
    spec: ReaderSpec
    calls = 0

    def close(self) -> None:
        EVENTS.append(f"close reader {self.spec.drop}")
        raise OSError("closing never stops a run")

    def extras(self) -> Mapping[str, Any]:
        return {"table_sha256": self.spec.table} if self.spec.table else {}

    def decode(self, encoded: Encoded) -> list[Decoded]:
        spec = self.spec
        self.calls += 1
        if spec.log:
            with Path(spec.log).open("a") as file:
                file.write(f"{spec.drop}\n")
        if next(CALLS) in STALL_AT:
            time.sleep(3600)
        busy(spec.busy_s)
        if spec.raises and not (spec.raises == "memory of two" and len(encoded.states) <= 2):
            raise {"value": ValueError("frames\nare odd"), "ctrl-c": KeyboardInterrupt()}.get(
                spec.raises, MemoryError()
            )
        assert encoded.log_probs is not None
        texts = [
            "".join(encoded.alphabet[s] for s in row if encoded.alphabet[s] not in spec.drop)
            for row in encoded.log_probs.argmax(2).tolist()
        ]
        if spec.fickle and self.calls % 2:
            texts = [text + "!" for text in texts]
        return [Decoded(text, len(text) + 1, score=float("-inf")) for text in texts]


@dataclass(frozen=True)
class DyingSpec(ReaderSpec):
    """Decoder that kills its process after the warm-up, once: it leaves the file `mark` before."""

    mark: str = ""

    def open(self, encoder: EncoderInfo) -> Decoder:
        return DyingReader(self)


class DyingReader(Reader):
    spec: DyingSpec

    def decode(self, encoded: Encoded) -> list[Decoded]:
        mark = Path(self.spec.mark)
        if self.calls and not mark.exists():
            with contextlib.suppress(OSError):
                mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().decode(encoded)


@dataclass(frozen=True)
class Eraser(Damage):
    """Makes the first `severity` characters paper."""

    name = "eraser"
    family: ClassVar[Any] = "missing"
    broken: bool = False

    def apply(
        self, line: Line, dataset: str, severity: int, seed: int, other: Line | None = None
    ) -> Damaged:
        if self.broken:
            raise ValueError("no boxes")
        mask = np.zeros(line.image.shape, bool)
        mask[:, : 2 * severity] = True
        image = np.where(mask, np.uint8(PAPER), line.image)
        return Damaged(replace(line, image=image), mask, min(1.0, severity / len(line.text)))

    def _damage(self, *_: object) -> Damaged:
        raise AssertionError("apply does without")


def busy(seconds: float) -> None:
    """Keep the CPU busy for so many seconds of its own time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def registries(**more: Entry) -> Registries:
    """Registries of the doubles; `more` are decoders."""
    here = "tests.harness_doubles"
    decoders = {
        "reader": Entry(f"{here}:ReaderSpec", "reads"),
        "no-e": Entry(f"{here}:ReaderSpec", "reads but no e", {"drop": "e"}),
        "dying": Entry(f"{here}:DyingSpec", "kills its worker once"),
        "no-vowel": Entry(f"{here}:ReaderSpec", "reads but no vowels", {"drop": "aeiou"}),
    }
    return Registries(
        encoders=Registry("encoder", {"pixels": Entry(f"{here}:Pixels", "pixels")}),
        decoders=Registry("decoder", {**decoders, **more}),
        datasets=Registry(
            "data set",
            {
                "words": Entry(f"{here}:Words", "words"),
                "more-words": Entry(f"{here}:Words", "others", {"prefix": "so "}),
            },
        ),
        damages=Registry("damage", {"eraser": Entry(f"{here}:Eraser", "erases")}),
    )


HERE = __name__
Item = TypeVar("Item")
QUICK = Rounds(least=2, least_s=0.0, most_s=10.0)
ASKED = Selection(
    encoders=("pixels",),
    decoders=("reader", "no-e"),
    datasets=("words",),
    runtime=Runtime(batch_size=5),
    rounds=QUICK,
)


def track(items: Sequence[Item], doing: str) -> Sequence[Item]:
    """Hand out the items; the track of a command draws a bar."""
    return items


def go(folder: Path, selection: Selection = ASKED, mine: Registries | None = None) -> Outcome:
    """Run a selection into a folder."""
    return run(build_plan(selection, mine or registries()), RunStore(folder))
