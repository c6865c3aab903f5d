"""TrOCR and other VisionEncoderDecoder checkpoints, from the Hub's cache or a local folder.

Li et al. 2021, "TrOCR: Transformer-based Optical Character Recognition with Pre-trained Models",
https://arxiv.org/abs/2109.10282. This file suffices to list encoders; `trocr_model` runs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.core.errors import Unavailable, UserError
from bench.core.hub import MAIN
from bench.core.types import TROCR, EncoderInfo, Runtime
from models import hub
from models.base import Encoder, EncoderSpec
from models.trocr_shapes import SHAPES, shape_of

# In config.json of this program's own checkpoints: false where the encoder was trained with a CTC
# head and the AR decoder, which has never seen its new states, was not.
AR_FITS = "ar_fits"


@dataclass(frozen=True)
class TrOCRSpec(EncoderSpec):
    """A TrOCR checkpoint, or its architecture with random weights.

    Untrained weights have the speed of trained ones, but no CER: each line emits tokens in
    proportion to its width, on average as many as in the paper's speed table.

    repo: Hub id, or a local folder laid out like one.
    revision: branch, tag or commit on the Hub.
    shape: the architecture that `untrained` builds; a checkpoint has its own.
    untrained: random weights instead of the checkpoint, always the same; nothing is downloaded.
    head: safetensors file of a CTC head that was trained on this checkpoint; "" for none.
    processor: Hub id or folder whose image processor and tokenizer a checkpoint without its own
        has; "" for the model in the Hub's cache that its config.json names.
    """

    name: ClassVar[str] = "trocr"

    repo: str
    revision: str = MAIN
    shape: str = ""
    untrained: bool = False
    head: str = ""
    processor: str = ""

    def __post_init__(self) -> None:
        if self.untrained and self.head:
            raise UserError("untrained weights have no head; leave out untrained or head")
        if self.shape:
            shape_of(self.shape)
        elif self.untrained:
            raise UserError(
                f"untrained weights of {self.repo} need its shape, one of {', '.join(SHAPES)}; "
                f"give -o {self.repo}.shape=..."
            )

    def missing(self) -> Unavailable | None:
        """Check for the whole checkpoint; never downloads."""
        if self.untrained:
            return None
        if absent := hub.missing(self.repo, self.revision, self.processor):
            return absent
        if self.head and not Path(self.head).expanduser().is_file():
            return Unavailable(
                f"there is no head {self.head}",
                f"python -m bench train ctc --encoder {hub.registered_name(self.repo)}",
            )
        return None

    def locate(self) -> hub.Checkpoint:
        """Its files on this disk; see `hub.locate`."""
        return hub.locate(self.repo, self.revision, self.processor)

    def heads(self) -> EncoderInfo | None:
        """No CTC head, and the decoder of config.json; a trained head is known when it is open."""
        if self.head:
            return None
        config = {} if self.untrained else hub.read_json(self.locate().folder / "config.json")
        decoder = config.get("decoder") or {}
        fits, kind = bool(config.get(AR_FITS, True)), decoder.get("model_type", TROCR)
        return EncoderInfo(self.repo, "", {}, (), has_ar=fits, ar_type=kind)

    def open(self, runtime: Runtime) -> Encoder:
        """Load it."""
        from models.trocr_model import UntrainedTrOCR, open_checkpoint

        if self.untrained:
            return UntrainedTrOCR(self.shape, runtime)
        encoder = open_checkpoint(self.locate(), runtime)
        if not self.head:
            return encoder
        from models.heads.trocr import HeadedTrOCR

        return HeadedTrOCR(encoder, Path(self.head).expanduser(), runtime)
