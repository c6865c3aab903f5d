"""Reading lines outside of a run: encoded once, decoded by an open decoder, no time taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from bench.core.errors import UserError
from bench.core.registry import Registry
from bench.core.types import Encoded, EncoderInfo, Line, Runtime
from bench.pipeline.measure import sorted_batches
from decoders.base import Decoder, DecoderSpec
from models.base import Encoder

Item = TypeVar("Item")


class Track(Protocol):
    """Hands out the items of a sequence and shows how far it got."""

    def __call__(self, items: Sequence[Item], doing: str) -> Iterable[Item]:
        """The items, in order."""


@dataclass(frozen=True, eq=False)
class Reading:
    """A batch as a decoder sees it, and its lines."""

    encoded: Encoded
    lines: tuple[Line, ...]


def open_encoder(
    registry: Registry, name: str, options: Mapping[str, Any] | None, runtime: Runtime
) -> Encoder:
    """An encoder by name.

    Raises:
        UserError: an unknown name or option.
        Unavailable: the weights are not here.
    """
    spec = registry.create(name, options)
    if absent := spec.missing():
        raise absent
    torch.set_num_threads(runtime.threads)
    encoder: Encoder = spec.open(runtime)
    return encoder


def open_trained(
    registry: Registry, name: str, options: Mapping[str, Any] | None, runtime: Runtime
) -> Encoder:
    """An encoder by name, whose weights can be given a CER.

    Raises:
        UserError: an unknown name or option, or the weights are untrained.
        Unavailable: the weights are not here.
    """
    encoder = open_encoder(registry, name, options, runtime)
    if not encoder.info.trained:
        raise UserError(f"the weights of {name} are untrained: they can be given no CER")
    return encoder


@contextmanager
def opened(spec: DecoderSpec, info: EncoderInfo) -> Iterator[Decoder]:
    """A decoder, open for an encoder and closed at the end.

    Raises:
        Unavailable: something that it needs is not here.
    """
    if absent := spec.missing(info):
        raise absent
    with closing(spec.open(info)) as decoder:
        yield decoder


def encode(
    encoder: Encoder, spec: DecoderSpec, lines: Sequence[Line], batch_size: int, track: Track
) -> Iterator[Reading]:
    """The lines in batches of like width, with what a decoder needs of their encoding."""
    widths = [line.image.shape[1] for line in lines]
    for batch in track(sorted_batches(widths, batch_size), "encoding lines"):
        chosen = tuple(lines[place] for place in batch)
        encoded = encoder.encode(encoder.prepare([line.image for line in chosen]))
        if spec.needs == "log_probs":  # the states of a whole set would fill the memory
            encoded = dataclasses.replace(encoded, states=encoded.states[:, :0])
        yield Reading(encoded, chosen)
