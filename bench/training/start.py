"""The TrOCR that a training begins with: a checkpoint, or a shape with random weights."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from bench.core.errors import UserError
from bench.core.registry import did_you_mean
from bench.core.types import Runtime
from models import ENCODERS, hub
from models.images import Pictures
from models.mini_ar import EOS, PAD, START, TOKENIZER
from models.trocr import TrOCRSpec
from models.trocr_files import load_processor, load_tokenizer
from models.trocr_shapes import SHAPES, build

_ENCODER = ("encoder", "width", "layers", "heads", "feed_forward", "qkv_bias")
_SPECIAL = {"bos_token": START, "pad_token": PAD, "eos_token": EOS}
# Of a checkpoint's files, those that a training writes anew.
_OURS = {"config.json", "generation_config.json", ".gitattributes"}
_OURS_TOO = (".safetensors", ".bin", ".index.json", ".md")


@dataclass(frozen=True, eq=False)
class Start:
    """A TrOCR to train.

    model: the `VisionEncoderDecoderModel`, float32, without a pooler.
    processor: its image processor.
    weights: content hash of its weights file; of random weights, their shape and seed.
    trained_on: what the checkpoint was trained on, where it says so.
    checkpoint: None for a shape with random weights.
    """

    name: str
    model: Any
    processor: Any
    weights: str
    trained_on: str = ""
    checkpoint: hub.Checkpoint | None = None

    @property
    def trained(self) -> bool:
        """Whether it has anybody's weights."""
        return self.checkpoint is not None

    def pictures(self, size: tuple[int, int] | None = None) -> Pictures:
        """How lines become its pixels; `size` where a head wants another image."""
        return Pictures.of(self.processor, size)

    def tokenizer(self) -> Any:
        """That of the checkpoint; of a shape, the 1,000 units that its decoder is made for.

        Raises:
            UserError: it cannot be read, or is not that of the decoder.
        """
        if self.checkpoint is not None:
            return load_tokenizer(self.checkpoint, self.model)
        tokenizer = Tokenizer.from_file(str(TOKENIZER))
        names = {role: tokenizer.id_to_token(i) for role, i in _SPECIAL.items()}
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)

    def save_processing(self, folder: Path) -> None:
        """Write image processor and tokenizer beside weights.

        Raises:
            OSError: the folder may not be written to, or the disk is full.
        """
        if self.checkpoint is None:
            self.processor.save_pretrained(folder)
            self.tokenizer().save_pretrained(folder)
            return
        for path in self.checkpoint.folder.iterdir():
            if path.is_file() and path.name not in _OURS and not path.name.endswith(_OURS_TOO):
                shutil.copyfile(path, folder / path.name)


def open_start(name: str, seed: int, device: str) -> Start:
    """A TrOCR by name.

    Args:
        name: a registered TrOCR, a folder or Hub id of one, or a shape ("tiny") for random
            weights.
        seed: of the random weights.
        device: where it runs.

    Raises:
        UserError: nothing has this name, or it is no TrOCR.
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
    encoder = spec.open(Runtime(device=device))
    checkpoint = hub.locate(spec.repo, spec.revision)
    info, model = encoder.info, encoder.module()
    processor = load_processor(checkpoint, model.config.encoder)
    return Start(info.name, model, processor, info.weights, info.trained_on, checkpoint)
