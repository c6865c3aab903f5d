"""The contract of an encoder: images to `Encoded`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.core.errors import Unavailable
from bench.core.types import Encoded, EncoderInfo, Image, Runtime


@dataclass(frozen=True)
class EncoderSpec(ABC):
    """A registered encoder; its fields are its options. `open` loads it."""

    name: ClassVar[str]

    @abstractmethod
    def missing(self) -> Unavailable | None:
        """The reason for not running here, with the one command that mends it; None when it can."""

    def heads(self) -> EncoderInfo | None:
        """The facts on its heads, by which decoders fit or not, without loading the weights.

        Name, weights and parameters are left open. None where only `open` knows the facts.
        """
        return None

    @abstractmethod
    def open(self, runtime: Runtime) -> Encoder:
        """Load the weights to the device and precision of `runtime`.

        Raises:
            Unavailable: the weights are not here.
            UserError: the weights are here but do not fit.
        """


class Encoder(ABC):
    """A loaded encoder."""

    info: EncoderInfo

    @abstractmethod
    def prepare(self, images: Sequence[Image]) -> Any:
        """Host work: grey uint8 images (H, W) of any size to the batch that `encode` takes."""

    @abstractmethod
    def encode(self, batch: Any) -> Encoded:
        """Device work: no gradients, no synchronisation, order of lines kept."""

    @abstractmethod
    def module(self) -> Any:
        """The torch module, for `bench dev show`."""
