"""PP-OCRv6's small recogniser (Baidu, Apache-2.0) as a torch module.

A PP-LCNetV4 backbone of depthwise-separable blocks, two attention blocks over the columns, a CTC
head. Its norms are folded into the convolutions, its branches merged. Unlike the original it keeps
every fourth column as a frame (`pool` 1 instead of 2), and its head has printable ASCII only.
Squeeze-and-excitation averages over all columns and attention sees them all: columns past a line's
own width are blanked before each, so a line reads the same alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.images import Pixels, to_height

HEIGHT = 48
STRIDE = 4  # pixels a column of the backbone
_WIDE_AS = 56  # lines are stretched by a sixth: dense hands need the frames
_STEM = 48
# (in, out, rows a row, squeeze-and-excitation) of each block.
_BLOCKS = (
    (96, 96, 1, True),
    (96, 96, 1, False),
    (96, 96, 1, False),
    (96, 192, 2, False),
    *((192, 192, 1, place % 2 == 0) for place in range(6)),
    (192, 384, 2, False),
    (384, 384, 1, True),
    (384, 384, 1, False),
)


def squeeze(image: Pixels) -> Pixels:
    """Scale a line, (H, W) to (48, W'), as wide as at 56 px."""
    return to_height(image, HEIGHT, _WIDE_AS)


@dataclass(frozen=True)
class PPOCRConfig:
    """Shape of the network.

    height: of the lines in pixels; 33 to 48 leave three rows to the pooling.
    pool: backbone columns a frame.
    alphabet: symbols of the head, the blank first.
    """

    height: int = HEIGHT
    pool: int = 1
    alphabet: int = 96
    width: int = 120
    heads: int = 8
    dropout: float = 0.0

    def frames(self, widths: Tensor) -> Tensor:
        """Valid frames of lines of these pixel widths."""
        columns = torch.div(widths + STRIDE - 1, STRIDE, rounding_mode="floor")
        return torch.div(columns, self.pool, rounding_mode="floor").clamp_min(1)


class PPOCRNet(nn.Module):
    """Line images to states and CTC logits."""

    def __init__(self, config: PPOCRConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PPOCRConfig()
        width, channels = config.width, _BLOCKS[-1][1]
        self.stem = Stem()
        self.blocks = nn.ModuleList(SpaceThenChannels(*shape) for shape in _BLOCKS)
        self.skip = nn.Conv2d(channels, width, 1)
        self.reduce = nn.Conv2d(channels, width, 1)
        self.local = nn.Conv2d(width, width, (1, 7), padding=(0, 3), groups=width)
        self.mixers = nn.ModuleList(Mixer(width, config.heads, config.dropout) for _ in range(2))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.drop = nn.Dropout(config.dropout)
        self.ctc = nn.Linear(width, config.alphabet)
        # Convolutions on CPUs take half as long again where channels lie apart.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def layers(self) -> Iterator[Any]:
        """The layers with weights, in the order of the makers' graph."""
        stem = self.stem
        yield from (stem.first, stem.second_a, stem.second_b, stem.third, stem.fourth)
        for block in self.blocks:
            assert isinstance(block, SpaceThenChannels)
            parts = (block.space, block.squeeze, block.excite, block.up, block.down)
            yield from (part for part in parts if part is not None)
        yield from (self.skip, self.reduce, self.local)
        for mixer in self.mixers:
            assert isinstance(mixer, Mixer)
            yield from (mixer.norm_attend, mixer.qkv, mixer.project)
            yield from (mixer.norm_feed, mixer.feed_up, mixer.feed_down)
        yield from (self.norm, self.ctc)

    def forward(self, images: Tensor, widths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States (B, T, D) and CTC logits (B, T, V) of (B, 1, height, W) darkness images.

        What is right of the `widths`, (B,) columns on any device, is not seen, and frames past them
        mean nothing; without widths all of W is the line's.
        """
        ends = Ends.of(widths, images.shape[3])
        # The makers' pixels run from -1 (black) to 1, and padding is 0, a middle grey.
        x = ends.blank(1 - 2 * images, 1).contiguous(memory_format=torch.channels_last)
        x = self.stem(x, ends)
        for block in self.blocks:
            x = block(x, ends)
        x = functional.avg_pool2d(x, (3, self.config.pool))
        skip = functional.silu(self.skip(x))
        x = ends.blank(functional.silu(self.reduce(x)), STRIDE, self.config.pool)
        x = (x + functional.silu(self.local(x)))[:, :, 0].transpose(1, 2)
        mask = ends.mask(x.shape[1], STRIDE, self.config.pool, x.device)
        for mixer in self.mixers:
            x = mixer(x, mask)
        states = self.norm(x) + skip[:, :, 0].transpose(1, 2)
        return states, self.ctc(self.drop(states))


class Stem(nn.Module):
    """Rows and columns to a quarter, 96 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, _STEM, 3, 2, 1)
        self.second_a = nn.Conv2d(_STEM, _STEM // 2, 2)
        self.second_b = nn.Conv2d(_STEM // 2, _STEM, 2)
        self.third = nn.Conv2d(2 * _STEM, _STEM, 3, 2, 1)
        self.fourth = nn.Conv2d(_STEM, 2 * _STEM, 1)

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        """Shape: B, 1, H, W to B, 96, H / 4, W / 4."""
        corner = (0, 1, 0, 1)  # kernels of 2 by 2 are padded on the right and below
        x = functional.pad(ends.blank(torch.relu(self.first(x)), 2), corner)
        y = ends.blank(torch.relu(self.second_a(x)), 2)
        y = torch.relu(self.second_b(functional.pad(y, corner)))
        x = torch.cat([functional.max_pool2d(x, 2, 1), y], 1)
        return torch.relu(self.fourth(torch.relu(self.third(ends.blank(x, 2)))))


class SpaceThenChannels(nn.Module):
    """A depthwise convolution over space, then two pointwise ones over channels."""

    def __init__(self, inputs: int, outputs: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        self.space = nn.Conv2d(inputs, inputs, 3, (stride, 1), 1, groups=inputs)
        self.squeeze = nn.Linear(inputs, inputs // 4) if squeeze else None
        self.excite = nn.Linear(inputs // 4, inputs) if squeeze else None
        self.up = nn.Conv2d(inputs, 2 * inputs, 1)
        self.down = nn.Conv2d(2 * inputs, outputs, 1)
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        """Shape: B, C, H, W to B, C', H / stride, W."""
        x = self.space(ends.blank(x, STRIDE))
        if self.squeeze is not None and self.excite is not None:
            gate = self.excite(torch.relu(self.squeeze(ends.mean(x, STRIDE))))
            x = x * functional.hardsigmoid(gate)[:, :, None, None]
        y = self.down(functional.gelu(self.up(x)))
        return x + y if self.residual else y


class Mixer(nn.Module):
    """Attention over the frames, then a feed-forward layer; norms before both."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attend = nn.LayerNorm(width, eps=1e-5)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width, eps=1e-5)
        self.feed_up = nn.Linear(width, 2 * width)
        self.feed_down = nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Shape: B, T, D; `mask` (B, 1, 1, T) is True where there is a line."""
        lines, frames, width = x.shape
        parts = self.qkv(self.norm_attend(x)).view(lines, frames, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(query, key, value, mask)
        x = x + self.drop(self.project(y.transpose(1, 2).reshape(lines, frames, width)))
        return x + self.drop(self.feed_down(functional.silu(self.feed_up(self.norm_feed(x)))))


@dataclass(frozen=True)
class Ends:
    """Ends of the lines of a batch, in pixels; None where each fills it."""

    pixels: Sequence[int] | None

    @staticmethod
    def of(widths: Tensor | None, widest: int) -> Ends:
        """None where there is no padding, so that nothing is masked in vain."""
        pixels = [] if widths is None else widths.tolist()
        return Ends(pixels if any(width < widest for width in pixels) else None)

    def columns(self, stride: int, pool: int = 1) -> list[int]:
        """Valid columns of each line after strides and pooling."""
        return [max(1, -(-width // stride) // pool) for width in self.pixels or ()]

    def blank(self, x: Tensor, stride: int, pool: int = 1) -> Tensor:
        """`x` (B, C, H, W) with zeros right of each line; changed in place outside of training."""
        if self.pixels is None:
            return x
        if torch.is_grad_enabled():
            mask = self.mask(x.shape[3], stride, pool, x.device)
            assert mask is not None
            return x * mask
        for row, end in zip(x, self.columns(stride, pool), strict=True):
            row[:, :, end:] = 0
        return x

    def mean(self, x: Tensor, stride: int) -> Tensor:
        """Mean over each line's own columns and all rows: (B, C, H, W) to (B, C)."""
        if self.pixels is None:
            return x.mean((2, 3))
        columns = zip(x, self.columns(stride), strict=True)
        return torch.stack([row[:, :, :end].mean((1, 2)) for row, end in columns])

    def mask(self, length: int, stride: int, pool: int, device: torch.device) -> Tensor | None:
        """(B, 1, 1, length), True within each line; None without padding."""
        if self.pixels is None:
            return None
        ends = torch.tensor(self.columns(stride, pool), device=device)
        return (torch.arange(length, device=device)[None] < ends[:, None])[:, None, None]
