"""The encoders whose weights are shipped: one network, two sets of weights.

The specs stand apart from the network, so that listing encoders imports no torch.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.core.errors import Unavailable
from bench.core.types import EncoderInfo, Runtime
from models import hub
from models.alphabet import ALPHABET
from models.base import Encoder, EncoderSpec

WEIGHTS = Path(__file__).parent / "weights"
EMBEDDING = "ar.decoder.model.decoder.embed_tokens.weight"  # a tensor of weights with an AR head


@dataclass(frozen=True)
class ShippedSpec(EncoderSpec, ABC):
    """An encoder with weights in this repository.

    weights: a safetensors file of this architecture; "" is the shipped one.
    """

    remedy: ClassVar[str]  # the command that makes the weights

    weights: str = ""

    @property
    def path(self) -> Path:
        """The file of its weights."""
        return Path(self.weights) if self.weights else WEIGHTS / f"{self.name}.safetensors"

    def missing(self) -> Unavailable | None:
        """Check for the weights file."""
        if self.path.is_file():
            return None
        return Unavailable(f"the weights {self.path} are not there", self.remedy)

    def heads(self) -> EncoderInfo | None:
        """The CTC head, and an AR head where the file has one."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "np") as file:
                has_ar = EMBEDDING in file.keys()  # noqa: SIM118
        except (SafetensorError, OSError):
            return None  # `open` says what is wrong with it
        return EncoderInfo(self.name, "", {}, ALPHABET, has_ar)

    def open(self, runtime: Runtime) -> Encoder:
        """Load the weights; see `EncoderSpec.open`."""
        from models.shipped_encoders import ShippedEncoder

        if problem := self.missing():
            raise problem
        return ShippedEncoder(self.name, self.path, runtime)


@dataclass(frozen=True)
class PPOCRSpec(ShippedSpec):
    """PP-OCRv6 small recognition with its makers' weights, its head cut to printable ASCII.

    A public recogniser whose makers name none of the sets here as its data.

    weights: a safetensors file of this architecture, or the makers' files in a folder or on the Hub
        (PaddlePaddle/PP-OCRv6_small_rec_safetensors); "" is the shipped one.
    """

    name: ClassVar[str] = "ppocr"
    remedy: ClassVar[str] = (
        "python -m bench.training.convert_ppocr PP-OCRv6_rec_small.onnx "
        "models/weights/ppocr.safetensors"
    )

    @property
    def _published(self) -> bool:
        """Whether the weights are a folder or a Hub id."""
        return ("/" in self.weights and self.path.suffix != ".safetensors") or self.path.is_dir()

    def missing(self) -> Unavailable | None:
        """Check for the file, or for all files of the makers."""
        return hub.missing(self.weights) if self._published else super().missing()

    def heads(self) -> EncoderInfo | None:
        """The CTC head."""
        return (
            EncoderInfo(self.name, "", {}, ALPHABET, False) if self._published else super().heads()
        )

    def open(self, runtime: Runtime) -> Encoder:
        """Load the weights; see `EncoderSpec.open`."""
        if not self._published:
            return super().open(runtime)
        from models.ppocr_hub import read_makers
        from models.shipped_encoders import ShippedEncoder

        checkpoint = hub.locate(self.weights)
        return ShippedEncoder(self.name, checkpoint.weights, runtime, read_makers(checkpoint))


@dataclass(frozen=True)
class MiniSpec(ShippedSpec):
    """`ppocr` trained further on undamaged handwriting, with an AR head on its states."""

    name: ClassVar[str] = "mini"
    remedy: ClassVar[str] = "python -m bench train mini"


@dataclass(frozen=True)
class TornSpec(ShippedSpec):
    """The last two trainings of `mini` with half of the lines damaged by the suite; no AR head.

    It shows whether language fills gaps better behind an encoder that has seen damage. `mini` is
    its control, with the same start, steps, rates and seeds.
    """

    name: ClassVar[str] = "mini-torn"
    remedy: ClassVar[str] = "python -m bench train mini --damaged 0.5"
