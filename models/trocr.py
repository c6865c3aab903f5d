"""TrOCR and other VisionEncoderDecoder checkpoints, from the Hub's cache or a local folder.

Li et al. 2021, "TrOCR: Transformer-based Optical Character Recognition with Pre-trained Models",
https://arxiv.org/abs/2109.10282. What is needed to list it is here; to run it, `trocr_model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.errors import Unavailable
from bench.types import Runtime
from models import hub
from models.base import Encoder, EncoderSpec


@dataclass(frozen=True)
class TrOCRSpec(EncoderSpec):
    """A TrOCR checkpoint.

    repo: Hub id, or a local folder laid out like one.
    revision: branch, tag or commit on the Hub.
    """

    name: ClassVar[str] = "trocr"

    repo: str
    revision: str = hub.MAIN

    def missing(self) -> Unavailable | None:
        """Whether the checkpoint is here, all of it; never downloads."""
        return hub.missing(self.repo, self.revision)

    def open(self, runtime: Runtime) -> Encoder:
        """Load it.

        Raises:
            Unavailable: it is not here.
            UserError: it is damaged, or is not a TrOCR.
        """
        from models.trocr_model import TrOCREncoder

        return TrOCREncoder(hub.locate(self.repo, self.revision), runtime)
