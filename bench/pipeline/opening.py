"""Opening of encoders and decoders, for all callers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bench.core.errors import Unavailable, UserError
from bench.core.machine import set_arithmetic
from bench.core.registry import did_you_mean
from bench.core.types import Decoded, Encoded, EncoderInfo, Line, LineSet, Runtime
from bench.pipeline.measure import batches_of
from bench.pipeline.plan import Block, Part, Registries
from datasets.base import Dataset
from decoders.base import Decoder, DecoderSpec
from decoders.correctors import options_of
from models.base import Encoder, EncoderSpec

Item = TypeVar("Item")

PRECISIONS = ("float32", "bfloat16", "float16")


class Track(Protocol):
    """Iterates over a sequence and shows progress."""

    def __call__(self, items: Sequence[Item], doing: str) -> Iterable[Item]:
        """Yield the items in order."""


@dataclass(frozen=True, eq=False)
class OpenDecoder:
    """A decoder, open behind an encoder.

    info: of the encoder, as the decoder's rows state it.
    finish: completes the text of a line outside of the measured time.
    """

    decoder: Decoder
    info: EncoderInfo
    finish: Callable[[Decoded], Decoded] = lambda line: line


def open_encoder(spec: EncoderSpec, name: str, runtime: Runtime) -> Encoder:
    """Open an encoder under the name that the user knows it by, as tuned weights do.

    Before, the arithmetic of graphics cards is set.
    """
    set_arithmetic()
    encoder = spec.open(runtime)
    encoder.info = dataclasses.replace(encoder.info, name=name)
    return encoder


def open_reader(part: Part, block: Block, encoder: Encoder) -> OpenDecoder:
    """Open a decoder of a block behind its open encoder.

    Raises:
        Unavailable: the decoder does not fit the encoder, or needs something that is not here.
        UserError: an option or a file that it names cannot be used.
    """
    return OpenDecoder(open_decoder(part.thing, encoder.info), encoder.info)


def open_decoder(spec: DecoderSpec, info: EncoderInfo) -> Decoder:
    """Open a decoder for an encoder.

    Raises:
        Unavailable: the decoder does not fit the encoder, or needs something that is not here.
        UserError: an option or a file that it names cannot be used.
    """
    if absent := spec.missing(info):
        raise absent
    return spec.open(info)


def open_trained_reader(part: Part, block: Block, encoder: Encoder) -> OpenDecoder:
    """Open a decoder behind an encoder whose weights may have a CER.

    Raises:
        Unavailable: as `open_reader`; also, the weights are untrained.
        UserError: an option or a file that it names cannot be used.
    """
    if not encoder.info.trained:
        raise Unavailable(_untrained(encoder.info.name))
    return open_reader(part, block, encoder)


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Set torch's intra-op threads, and set them back afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_runtime(runtime: Runtime) -> None:
    """Refuse a device or precision that torch does not have here, and more threads than cores."""
    if runtime.dtype not in PRECISIONS:
        raise UserError(f"no precision is called {runtime.dtype!r}; take {', '.join(PRECISIONS)}")
    if runtime.threads > (cores := os.cpu_count() or 1):
        raise UserError(
            f"--threads or OMP_NUM_THREADS is {runtime.threads}, but this machine has {cores} "
            "cores; take at most as many"
        )
    if runtime.device == "cpu":
        return
    import torch

    if runtime.device.partition(":")[0] not in ("cpu", "cuda"):  # see `Stopwatch.for_device`
        raise UserError(f"no time can be taken on {runtime.device!r}; take cpu or cuda")
    try:
        device = torch.device(runtime.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"torch has no device {runtime.device!r} here; take cpu") from None


@dataclass(frozen=True, eq=False)
class EncodedLines:
    """A batch as a decoder sees it, and its lines."""

    encoded: Encoded
    lines: tuple[Line, ...]


class Bench:
    """An open encoder, with decoders and lines opened by name.

    options: of all of them, by name.
    track: shows progress of loading and encoding.
    """

    def __init__(
        self,
        encoder: Encoder,
        registries: Registries,
        options: Mapping[str, Mapping[str, Any]],
        runtime: Runtime,
        track: Track,
        closing: contextlib.ExitStack,
    ) -> None:
        self.encoder, self.registries, self.runtime = encoder, registries, runtime
        self.options, self._track, self._closing = options, track, closing

    @property
    def info(self) -> EncoderInfo:
        """Facts about the encoder."""
        return self.encoder.info

    def decoder(self, spec: DecoderSpec) -> Decoder:
        """Open a decoder; it is closed with the encoder."""
        return self._closing.enter_context(contextlib.closing(open_decoder(spec, self.info)))

    def spec(self, decoder: str, **changes: Any) -> DecoderSpec:
        """A decoder with its options."""
        options = {**options_of(decoder, self.options), **changes}
        spec: DecoderSpec = self.registries.decoders.create(decoder, options)
        return spec

    def lines(self, dataset: str, split: str, limit: int | None = None) -> LineSet:
        """The lines of a split, at least one.

        Raises:
            UserError: an unknown name, option or split, or a split without a line.
            Unavailable: the set is not here.
        """
        source: Dataset = self.registries.datasets.create_here(dataset, self.options.get(dataset))
        if split not in source.splits:
            hint = did_you_mean(split, source.splits)
            raise UserError(f"{dataset} has no split {split!r}{hint}")
        (loaded,) = (one.load(split, limit) for one in self._track([source], f"loading {dataset}"))
        if not loaded.lines:
            raise UserError(f"{dataset} has no line in its split {split}")
        return loaded

    def encode(
        self, lines: Sequence[Line], spec: DecoderSpec | None = None, doing: str = "encoding lines"
    ) -> Iterator[EncodedLines]:
        """Encode lines, at least one, in batches of like width.

        Of a decoder only the inputs are kept: the states of a whole set would fill the memory.
        """
        batches = batches_of([line.image for line in lines], self.runtime.batch_size)
        for batch in self._track(batches, doing):
            chosen = tuple(lines[place] for place in batch)
            encoder = self.encoder
            encoded = encoder.encode(encoder.prepare([line.image for line in chosen]))
            if spec is not None and spec.needs == "log_probs":
                encoded = dataclasses.replace(encoded, states=encoded.states[:, :0])
            yield EncodedLines(encoded, chosen)


@contextlib.contextmanager
def opened(
    encoder: str,
    registries: Registries,
    options: Mapping[str, Mapping[str, Any]],
    runtime: Runtime,
    track: Track = lambda items, doing: items,
    trained: bool = False,
) -> Iterator[Bench]:
    """Open an encoder by name outside of a run, and close it with everything opened behind it.

    `options` are by name, of encoder, decoders and data sets; `trained` refuses untrained weights,
    which have no CER.

    Raises:
        UserError: an unknown name or option, no such device, or untrained weights.
        Unavailable: the weights are not here.
    """
    check_runtime(runtime)
    spec: EncoderSpec = registries.encoders.create_here(encoder, options.get(encoder))
    with contextlib.ExitStack() as closing, torch_threads(runtime.threads):
        loaded = open_encoder(spec, encoder, runtime)
        if trained and not loaded.info.trained:
            raise UserError(_untrained(encoder))
        yield Bench(loaded, registries, options, runtime, track, closing)


def _untrained(encoder: str) -> str:
    return f"the weights of {encoder} are untrained: they can have no CER"
