"""The network of `mini`: a convolutional stem, two BiLSTM layers, a CTC head and an AR head.

The line is cut into columns of 4 pixels: T = S = ceil(W / 4) frames. All kernels see a blank
margin on the right of each line, so a line reads the same alone and in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

HEIGHT = 64
STRIDE = 4  # pixels a frame
BUCKET = 64  # batches are padded to whole multiples of this many columns
MARGIN = 32  # blank columns after every line: more than half the stem's receptive field (25)


@dataclass(frozen=True)
class MiniConfig:
    """Sizes of the network; the defaults are those of the shipped weights."""

    alphabet: int = 96  # printable ASCII and the blank
    stem: tuple[int, int, int, int] = (32, 64, 128, 256)
    hidden: int = 256
    dropout: float = 0.15

    @property
    def width(self) -> int:
        """D, the width of a state."""
        return 2 * self.hidden


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU; with a skip where the shape stays the same."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.skip = inputs == outputs and stride == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: B, C, H, W to B, C', H / stride, W / stride."""
        y = self.norm(self.conv(x))
        return torch.relu(y + x if self.skip else y)


class BiLSTM(nn.Module):
    """One bidirectional layer that runs both directions over valid frames only.

    The backward direction reads each line reversed within its own length, so padding comes last for
    both; packed sequences would lose oneDNN's fast path on CPUs.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(inputs, hidden, batch_first=True)
        self.back = nn.LSTM(inputs, hidden, batch_first=True)

    def forward(self, x: Tensor, flip: Tensor) -> Tensor:
        """Shape: B, T, D to B, T, 2 * hidden; `flip` (B, T) indexes each line backwards."""
        ahead = self.ahead(x)[0]
        reversed_ = torch.gather(x, 1, flip[..., None].expand(-1, -1, x.shape[2]))
        back = self.back(reversed_)[0]
        back = torch.gather(back, 1, flip[..., None].expand(-1, -1, back.shape[2]))
        return torch.cat([ahead, back], 2)


class MiniNet(nn.Module):
    """Line images to states and CTC logits."""

    def __init__(self, config: MiniConfig | None = None) -> None:
        super().__init__()
        config = config or MiniConfig()
        self.config = config
        a, b, c, d = config.stem
        self.stem = nn.Sequential(
            ConvBlock(1, a, 5, (2, 2)),
            ConvBlock(a, b, 3, (2, 2)),
            ConvBlock(b, b),
            ConvBlock(b, c, 3, (2, 1)),
            ConvBlock(c, c),
            ConvBlock(c, d, 3, (2, 1)),
            ConvBlock(d, d),
        )
        self.first = BiLSTM(d, config.hidden)
        self.second = BiLSTM(config.width, config.hidden)
        self.drop = nn.Dropout(config.dropout)
        self.ctc = nn.Linear(config.width, config.alphabet)

    def columns(self, images: Tensor) -> Tensor:
        """The stem alone. Shape: B, 1, 64, W to B, T, C, max-pooled over the rows; margin cut."""
        x = images.contiguous(memory_format=torch.channels_last)
        length = (images.shape[3] - MARGIN) // STRIDE
        return self.stem(x).amax(2).transpose(1, 2)[:, :length]

    def states(self, columns: Tensor, frames: Tensor) -> Tensor:
        """Shape: B, T, C with (B,) valid frames to B, T, D; rows past `frames` mean nothing."""
        flip = _flip_index(frames, columns.shape[1])
        x = self.first(columns, flip)
        return self.second(self.drop(x), flip)

    def forward(self, images: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, D) and CTC logits (B, T, V) of (B, 1, 64, W) images.

        T = (W - MARGIN) / 4; frames past a line's own mean nothing.
        """
        states = self.states(self.columns(images), frames)
        return states, self.ctc(self.drop(states))


def _flip_index(frames: Tensor, length: int) -> Tensor:
    """(B, length) indices that reverse the valid frames of each line and keep the rest."""
    steps = torch.arange(length, device=frames.device)[None]
    return torch.where(steps < frames[:, None], frames[:, None] - 1 - steps, steps)


def frames_of(widths: Tensor) -> Tensor:
    """Valid frames of lines of these pixel widths."""
    return torch.div(widths + STRIDE - 1, STRIDE, rounding_mode="floor")


def padded_width(widest: int) -> int:
    """Columns of a batch: the widest line, rounded up, and its margin.

    Few different widths: oneDNN and cuDNN prepare every new shape anew.
    """
    return -(-widest // BUCKET) * BUCKET + MARGIN
