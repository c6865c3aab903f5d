"""The encoder `ppocr`: a public recogniser whose makers name none of the sets here as its data.

The spec stands apart from the network, so that listing encoders imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.core.errors import Unavailable
from bench.core.types import Runtime
from models.base import EncoderSpec

if TYPE_CHECKING:
    from models.ppocr_encoder import PPOCREncoder

WEIGHTS = Path(__file__).parent / "weights" / "ppocr.safetensors"


@dataclass(frozen=True)
class PPOCRSpec(EncoderSpec):
    """PP-OCRv6 small recognition with its makers' weights, its head cut to printable ASCII.

    weights: a safetensors file of this architecture; "" is the shipped one.
    """

    name: ClassVar[str] = "ppocr"
    weights: str = ""

    @property
    def path(self) -> Path:
        """Where its weights lie."""
        return Path(self.weights) if self.weights else WEIGHTS

    def missing(self) -> Unavailable | None:
        """Whether the weights file is there."""
        if self.path.is_file():
            return None
        remedy = "python -m bench.training.convert_ppocr PP-OCRv6_rec_small.onnx " + str(self.path)
        return Unavailable(f"the weights {self.path} are not there", remedy)

    def open(self, runtime: Runtime) -> PPOCREncoder:
        """Load the weights; see `EncoderSpec.open`."""
        from models.ppocr_encoder import PPOCREncoder

        if problem := self.missing():
            raise problem
        return PPOCREncoder(self.path, runtime)
