"""Widths of written characters for `ctc-gap`, learned by `python -m bench.training.widths`.

The true text of each undamaged val line of `ink` is aligned with its frames as `mini` reads them.
The distance of two neighbours is half of both widths, in units of the line's own scale. The result
is written to decoders/ctc/widths.json together with its source.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.core.files import write_atomically
from bench.core.types import EncoderInfo, Line, LineSet, Runtime
from bench.training.align import align
from datasets import DATASETS
from decoders.ctc.gap import WIDTHS
from models import ENCODERS
from models.alphabet import encode

ENCODER, DATASET, SPLIT = "mini", "ink", "val"

_ROUNDS = 8  # each solves for the widths at the present scales
_RIDGE = 2.0  # pulls the width of a rare symbol to that of an average letter
_BATCH = 8

Distance = tuple[str, float]  # the characters from one middle to another, and frames between them


def learn(lines: Iterable[Sequence[Distance]]) -> dict[str, object]:
    """Learn widths and their variances from the `distances` of each line.

    Returns:
        widths: of each symbol, 1 that of an average letter; variance: of the distance of
        neighbours; letter_variance, space_variance: what a letter or a space between adds.
    """
    lines = [line for line in lines if any(len(text) == 2 for text, _ in line)]
    symbols = sorted({c for line in lines for text, _ in line for c in text} - {" "})
    place = {symbol: index for index, symbol in enumerate(symbols)}
    widths = np.ones(len(symbols))

    def base(text: str) -> float:
        inner = sum(widths[place[c]] for c in text[1:-1] if c != " ")
        return float(0.5 * (widths[place[text[0]]] + widths[place[text[-1]]]) + inner)

    def scale(line: Sequence[Distance]) -> float:
        return float(np.median([frames / base(text) for text, frames in line if len(text) == 2]))

    for _ in range(_ROUNDS):
        scaled = [
            (text, frames / unit)
            for line, unit in ((line, scale(line)) for line in lines)
            for text, frames in line
            if len(text) == 2
        ]
        halves = np.zeros((len(scaled), len(symbols)))
        for row, (text, _) in zip(halves, scaled, strict=True):
            for symbol in text:
                row[place[symbol]] += 0.5
        gram = halves.T @ halves + _RIDGE * np.eye(len(symbols))
        widths = np.linalg.solve(gram, halves.T @ np.array([w for _, w in scaled]) + _RIDGE)
        widths /= np.average(widths, weights=halves.sum(0))
    excess: dict[str, list[float]] = {"": [], "letter": [], " ": []}
    for line in lines:
        unit = scale(line)
        for text, frames in line:
            kind = {2: "", 3: " " if text[1] == " " else "letter"}[len(text)]
            excess[kind].append(frames / unit - base(text))
    between, letter, space = (np.array(excess[kind]) for kind in ("", "letter", " "))
    variance = float(between.var())
    return {
        "widths": {s: round(float(w), 3) for s, w in zip(symbols, widths, strict=True)}
        | {" ": round(float(space.mean()), 3)},
        "variance": round(variance, 3),
        "letter_variance": round(max(float(letter.var()) - variance, 0.0), 3),
        "space_variance": round(max(float(space.var()) - variance, 0.0), 3),
    }


def distances(text: str, log_probs: NDArray[np.float32]) -> list[Distance]:
    """Measure the distances between the middles of neighbours, and of characters two apart.

    The log-probabilities are the (T, V) of a line with this text.
    """
    spans = align(log_probs, np.array(encode(text)))
    if spans.min() < 0:
        return []
    middles = spans.mean(1)
    pairs = [*pairwise(range(len(text))), *((i, i + 2) for i in range(len(text) - 2))]
    return [
        (text[a : b + 1], float(middles[b] - middles[a]))
        for a, b in pairs
        if " " not in (text[a], text[b])
    ]


def measured(lines: Sequence[Line]) -> tuple[EncoderInfo, list[list[Distance]]]:
    """Measure the distances of each line; returns the encoder that read them too."""
    encoder = ENCODERS.create(ENCODER).open(Runtime(batch_size=_BATCH))
    found: list[list[Distance]] = []
    for start in range(0, len(lines), _BATCH):
        batch = lines[start : start + _BATCH]
        read = encoder.encode(encoder.prepare([line.image for line in batch]))
        assert read.log_probs is not None and read.frames is not None
        rows = zip(batch, read.log_probs.numpy(), read.frames.tolist(), strict=True)
        found += [distances(line.text, of_line[:frames]) for line, of_line, frames in rows]
    return encoder.info, found


def main() -> None:
    """Learn the widths and write their file."""
    lines: LineSet = DATASETS.create(DATASET).load(SPLIT)
    info, found = measured(lines.lines)
    record = {
        "learned_from": f"{DATASET}-{SPLIT}@{lines.sha256[:12]} read by {info.name}@{info.weights}",
        **learn(found),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    write_atomically(WIDTHS, f"{text}\n".encode())
    print(WIDTHS)


if __name__ == "__main__":
    main()
