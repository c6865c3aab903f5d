"""The encoder that a head is trained on: a checkpoint, or a shape with random weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.registry import did_you_mean
from bench.types import Runtime
from models import ENCODERS, hub
from models.pictures import Pictures
from models.trocr import TrOCRSpec
from models.trocr_shapes import SHAPES, build

_ENCODER = ("encoder", "width", "layers", "heads", "feed_forward", "qkv_bias")


@dataclass(frozen=True, eq=False)
class Start:
    """An encoder to put a head on.

    model: the `VisionEncoderDecoderModel`, float32, without a pooler.
    processor: its image processor.
    weights: content hash of its weights file; of random weights, their shape and seed.
    trained_on: what the checkpoint was trained on, where it says so.
    folder: of the checkpoint; None for a shape with random weights.
    """

    name: str
    model: Any
    processor: Any
    weights: str
    trained_on: str = ""
    folder: Path | None = None

    @property
    def trained(self) -> bool:
        """Whether it has anybody's weights."""
        return self.folder is not None

    def pictures(self, size: tuple[int, int] | None) -> Pictures:
        """How lines become its pixels; `size` where a head wants another image."""
        return Pictures.of(self.processor, size)


def open_start(name: str, seed: int, device: str) -> Start:
    """An encoder by name.

    Args:
        name: a registered TrOCR, a folder or Hub id of one, or a shape ("tiny") for random
            weights.
        seed: of the random weights.
        device: where it runs.

    Raises:
        UserError: nothing has this name, or it cannot carry such a head.
        Unavailable: the checkpoint is not here.
    """
    if name in SHAPES:
        return _random(name, seed, device)
    if name not in ENCODERS:
        known = [*SHAPES, *ENCODERS.names()]
        raise UserError(f"no encoder is called {name!r}{did_you_mean(name, known)}")
    spec = ENCODERS.create(name)
    if not isinstance(spec, TrOCRSpec):
        raise UserError(
            f"{name} is no TrOCR and has a CTC head of its own; see python -m bench train --help"
        )
    return _checkpoint(spec, device)


def _random(name: str, seed: int, device: str) -> Start:
    """A shape's encoder; its decoder is that of "tiny", the one that there is a tokenizer for."""
    from models.trocr_untrained import processor

    tiny = dataclasses.asdict(SHAPES["tiny"])
    decoder = {field: value for field, value in tiny.items() if field not in _ENCODER}
    model = build(dataclasses.replace(SHAPES[name], **decoder), seed).to(device)
    model.encoder.pooler = None
    return Start(f"{name} from random weights", model, processor(), f"random-{name}-{seed}")


def _checkpoint(spec: TrOCRSpec, device: str) -> Start:
    from models.trocr_files import load_processor

    encoder = spec.open(Runtime(device=device))
    checkpoint = hub.locate(spec.repo, spec.revision)
    info, model = encoder.info, encoder.module()
    processor = load_processor(checkpoint, model.config.encoder)
    return Start(info.name, model, processor, info.weights, info.trained_on, checkpoint.folder)
