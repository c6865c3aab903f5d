"""The encoder `mini`: small enough to ship, with a CTC head and an AR head on the same states.

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
    from models.mini_encoder import MiniEncoder

WEIGHTS = Path(__file__).parent / "weights" / "mini.safetensors"


@dataclass(frozen=True)
class MiniSpec(EncoderSpec):
    """The shipped small encoder.

    weights: a safetensors file of this architecture; "" is the shipped one.
    """

    name: ClassVar[str] = "mini"
    weights: str = ""

    @property
    def path(self) -> Path:
        """Where its weights lie."""
        return Path(self.weights) if self.weights else WEIGHTS

    def missing(self) -> Unavailable | None:
        """Whether the weights file is there."""
        if self.path.is_file():
            return None
        return Unavailable(
            f"the weights {self.path} are not there", "python -m bench train encoder"
        )

    def open(self, runtime: Runtime) -> MiniEncoder:
        """Load the weights; see `EncoderSpec.open`."""
        from models.mini_encoder import MiniEncoder

        if problem := self.missing():
            raise problem
        return MiniEncoder(self.path, runtime)
