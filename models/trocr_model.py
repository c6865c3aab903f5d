"""A loaded TrOCR, silent loading errors of transformers 5 corrected, and one of random weights.

Random weights have the speed of the architecture without a download. They never end a line, or end
it at once, so its length is fixed beforehand: each line emits tokens in proportion to its width at
equal height, scaled so that the embedded test lines have the mean of the paper's speed table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import VisionEncoderDecoderModel, ViTImageProcessorPil

from bench.core.errors import UserError
from bench.core.types import TROCR, UNTRAINED, ARModel, Encoded, EncoderInfo, Image, Runtime
from models import hub
from models.base import Encoder
from models.images import Pictures
from models.trocr import AR_FITS
from models.trocr_files import (
    generation_settings,
    load_processor,
    load_tokenizer,
    loading,
    token_id,
    trained_on,
)
from models.trocr_shapes import BOS, EOS, IMAGE, PAD, Shape, build, restore_sinusoids, shape_of

# The decoder does not read the pooled state, so the pooler may be missing; sinusoids and GPT-2's
# causal masks are computed, but old checkpoints still hold some.
_HARMLESS = re.compile(
    r"^encoder\.pooler\.|embed_positions\.(weights|_float_tensor|version)$|position_ids$|"
    r"\.h\.\d+\.(attn|crossattention)\.(masked_)?bias$"
)

SEED = 0  # of random weights
MEAN_ASPECT = 12.79  # width / height of the embedded test lines; a test measures it again
_SHORTEST = 2  # one token and EOS
_BICUBIC = 3  # PIL's number


class TrOCREncoder(Encoder):
    """A VisionEncoderDecoder: its encoder, and its decoder as the AR head."""

    def __init__(
        self,
        model: Any,
        pictures: Pictures,
        ar: ARModel | None,
        info: EncoderInfo,
        runtime: Runtime,
    ) -> None:
        """Wrap a `VisionEncoderDecoderModel` that is on the device and in the precision.

        `ar` is its decoder, None when that was not trained on these states.
        """
        self.info = info
        self.pictures, self.ar, self._model = pictures, ar, model
        self._dtype = getattr(torch, runtime.dtype)
        self._device = torch.device(runtime.device)

    def prepare(self, images: Sequence[Image]) -> Any:
        """Grey images of any size to (B, 3, H, W) floats, squeezed to the size of the encoder."""
        return self.pictures.pixels(self.pictures.squeeze(images))

    @torch.inference_mode()
    def encode(self, batch: Any) -> Encoded:
        """(B, 3, H, W) pixels to the states of class token(s) and patches, none of them padding."""
        pixels = batch.to(self._device, self._dtype, non_blocking=True)
        states = self._states(pixels)
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return Encoded(states=states, state_mask=mask, ar=self.ar)

    def module(self) -> Any:
        """The `VisionEncoderDecoderModel`."""
        return self._model

    def _states(self, pixels: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self._model.encoder(pixels).last_hidden_state
        return states


class UntrainedTrOCR(TrOCREncoder):
    """A TrOCR with random weights, at the speed of a trained one."""

    def __init__(self, shape: str, runtime: Runtime) -> None:
        """Build one of `SHAPES`."""
        model, parameters = settled(build(shape, SEED), runtime)
        info = EncoderInfo(f"untrained TrOCR {shape}", UNTRAINED, parameters, (), has_ar=True)
        pictures, ar = Pictures.of(processor()), ar_model(model, written_out)
        super().__init__(model, pictures, ar, info, runtime)
        self._shape = shape_of(shape)

    def prepare(self, images: Sequence[Image]) -> Any:
        """(B, 3, 384, 384) pixels and (B,) tokens that each line is to emit."""
        lengths = [tokens_of(image.shape[1] / image.shape[0], self._shape) for image in images]
        return super().prepare(images), torch.tensor(lengths)

    def encode(self, batch: Any) -> Encoded:
        """The states, and a head that ends each line where it has to end."""
        pixels, lengths = batch
        encoded = super().encode(pixels)
        assert encoded.ar is not None
        return replace(encoded, ar=replace(encoded.ar, forced_lengths=lengths))


def tokens_of(aspect: float, shape: Shape) -> int:
    """Tokens, EOS included, of a line with this width / height."""
    tokens = round(shape.mean_tokens / MEAN_ASPECT * aspect)
    return min(max(_SHORTEST, tokens), shape.positions)


def written_out(tokens: list[int]) -> str:
    """Write token ids without special ones, since there is no vocabulary.

    >>> written_out([17, 4002, 2])
    '<17> <4002>'
    """
    return " ".join(f"<{token}>" for token in tokens if token not in (BOS, PAD, EOS))


def processor() -> ViTImageProcessorPil:
    """The authors' preparation of images: squeezed into a square, grey levels from -1 to 1."""
    half, size = [0.5] * 3, {"height": IMAGE, "width": IMAGE}
    return ViTImageProcessorPil(size=size, resample=_BICUBIC, image_mean=half, image_std=half)


def open_checkpoint(checkpoint: hub.Checkpoint, runtime: Runtime) -> TrOCREncoder:
    """Load and check a checkpoint.

    Raises:
        UserError: the checkpoint is damaged, or is not a TrOCR.
    """
    hub.check_architecture(checkpoint.repo, checkpoint.folder)
    model, parameters = settled(_load_model(checkpoint, runtime), runtime)
    pictures = Pictures.of(load_processor(checkpoint, model.config.encoder))
    tokenizer = load_tokenizer(checkpoint, model)
    fits = getattr(model.config, AR_FITS, True)
    info = EncoderInfo(
        name=checkpoint.name,
        weights=checkpoint.digest,
        parameters=parameters,
        alphabet=(),
        has_ar=fits,
        trained_on=trained_on(checkpoint),
        origin=checkpoint.origin,
        notes=checkpoint.notes,
        ar_type=model.config.decoder.model_type,
        generation=generation_settings(checkpoint.folder, model.config.decoder),
    )
    ar = ar_model(model, detokenizer(tokenizer), spelling(tokenizer)) if fits else None
    return TrOCREncoder(model, pictures, ar, info, runtime)


def settled(model: Any, runtime: Runtime) -> tuple[Any, dict[str, int]]:
    """Prepare a model to run, and count its parameters by part as published counts do.

    The pooler is counted and dropped: no decoder reads it.
    """
    parameters = _parameters(model)
    dtype, device = getattr(torch, runtime.dtype), torch.device(runtime.device)
    model.encoder.pooler = None
    model.to(device, dtype)
    if model.config.decoder.model_type == TROCR:
        restore_sinusoids(model.decoder, dtype, device)
    return model.eval(), parameters


def load_fitting(kind: Any, checkpoint: hub.Checkpoint, dtype: str) -> Any:
    """Load a model of a class of transformers, none of whose weights is missing or misshapen.

    Raises:
        UserError: the files are damaged, or do not fit config.json.
    """
    with loading(checkpoint, f"the model (config.json, {checkpoint.weights.name})"):
        model, report = kind.from_pretrained(
            checkpoint.folder,
            dtype=getattr(torch, dtype),
            use_safetensors=".safetensors" in checkpoint.weights.name,
            weights_only=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
        )
    _check_fit(checkpoint, report)
    return model


def _load_model(checkpoint: hub.Checkpoint, runtime: Runtime) -> Any:
    model = load_fitting(VisionEncoderDecoderModel, checkpoint, runtime.dtype)
    _check_floats(checkpoint)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(
                f"the weights of {checkpoint.repo} hold numbers that are not finite in "
                f"{runtime.dtype} ({name}); try --dtype float32, or fetch or train them again"
            )
    decoder = model.config.decoder
    if decoder.model_type != TROCR and not getattr(decoder, "add_cross_attention", False):
        raise UserError(
            f"the decoder of {checkpoint.repo} ({decoder.model_type}) has no attention to the "
            "image; choose a checkpoint whose decoder was made with add_cross_attention"
        )
    return model


def _check_fit(checkpoint: hub.Checkpoint, report: Mapping[str, Any]) -> None:
    """Refuse weights that are not those of config.json.

    transformers replaces missing or misshapen weights by random numbers.
    """
    for problem, named in (
        ("lack", report["missing_keys"]),
        ("have, unlike config.json,", report["unexpected_keys"]),
        ("have another shape for", [key for key, *_ in report["mismatched_keys"]]),
    ):
        keys = sorted(key for key in named if not _HARMLESS.search(key))
        if keys:
            more = f" and {len(keys) - 1} more" if keys[1:] else ""
            raise UserError(
                f"the weights of {checkpoint.repo} do not fit its config.json: they {problem} "
                f"{keys[0]}{more}; fetch the checkpoint again, or choose another"
            )


def _check_floats(checkpoint: hub.Checkpoint) -> None:
    """Refuse quantised weights, which transformers converts to floats without their scales."""
    for part in checkpoint.parts:
        for name, kind in _kinds(part):
            if not (kind.startswith(("F", "BF", "torch.f", "torch.bf")) or _HARMLESS.search(name)):
                raise UserError(
                    f"the weights of {checkpoint.repo} are quantised ({name} is {kind}); "
                    "choose a checkpoint with float weights"
                )


def _kinds(part: Path) -> Iterator[tuple[str, str]]:
    """Yield the names of the tensors of a file and of their types; no tensor is loaded."""
    if part.suffix != ".safetensors":
        pickled = torch.load(part, map_location="meta", weights_only=True)
        yield from ((name, str(tensor.dtype)) for name, tensor in pickled.items())
        return
    with safe_open(part, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - a file is no mapping
            yield name, file.get_slice(name).get_dtype()


def ar_model(
    model: Any,
    detokenize: Callable[[list[int]], str],
    tokenize: Callable[[str], list[int]] | None = None,
) -> ARModel:
    """The decoder of a `VisionEncoderDecoderModel` as an AR head.

    Raises:
        UserError: the model does not state its start and end tokens.
    """
    linear = getattr(model, "enc_to_dec_proj", None)
    return ARModel(
        decoder=model.decoder,
        project=linear and (lambda states, mask: (linear(states), mask)),
        detokenize=detokenize,
        tokenize=tokenize,
        start_id=token_id(model, "decoder_start_token_id"),
        eos_id=token_id(model, "eos_token_id"),
        pad_id=token_id(model, "pad_token_id"),
        max_new_tokens=_positions(model.decoder),
        whole=None if model.config.decoder.model_type == TROCR else model,
    )


def _positions(decoder: Any) -> int:
    """Number of positions of a decoder; RoBERTa's begin after that of its padding."""
    embeddings = getattr(decoder.base_model, "embeddings", None)
    padding = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
    most: int = decoder.config.max_position_embeddings
    return most if padding is None else most - padding - 1


def detokenizer(tokenizer: Any) -> Callable[[list[int]], str]:
    """Make a detokenizer that drops special tokens and keeps spaces before punctuation."""
    return partial(tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def spelling(tokenizer: Any) -> Callable[[str], list[int]]:
    """Make a tokenizer to ids as in the authors' code: without <s> before and </s> after."""

    def tokenize(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return tokenize


def _parameters(model: Any) -> dict[str, int]:
    """Parameters by part; tied ones are counted once, the projection goes with the AR head."""

    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    pooler = count(model.encoder.pooler) if model.encoder.pooler is not None else 0
    encoder = count(model.encoder)
    parts = {"encoder": encoder - pooler, "pooler": pooler, "ar": count(model) - encoder}
    return {part: number for part, number in parts.items() if number}
