"""A contact sheet: one line under damages at every severity, to be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np

from bench.core.types import Image, Line
from datasets.damage import DAMAGES
from datasets.damage.base import SEVERITIES, Damage

GUTTER = 146  # columns left of the line images, for their labels
MARGIN = 10
ROW_GAP = 6
HEADING = 26  # rows
MAX_WIDTH = 2400  # columns of a line that are shown
MIN_ROW = 14  # rows, so that labels of very low images do not touch
FONT, TEXT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45


def contact_sheet(
    line: Line,
    dataset: str,
    damages: Mapping[str, Damage],
    seed: int = 0,
    other: Line | None = None,
) -> Image:
    """Draw the clean line and, damage by damage, the line at severity 1 to 5.

    Pixels of the line are pixels of the sheet; a line over 2,400 columns is cut on the right.

    Args:
        line: the clean line.
        dataset: name of its set, part of the random stream.
        damages: by their registered names.
        seed: of the random stream.
        other: another line of the set, for `bleed_through`.

    Returns:
        (H, W) uint8, paper white.
    """
    rows = [_heading(f"{dataset} / {line.id}: {line.text}"), _row("clean", line.image)]
    for name, damage in damages.items():
        rows.append(_heading(f"{name}  ({DAMAGES.entry(name).summary}), {damage.family}"))
        rows.extend(_severities(damage, line, dataset, seed, other))
    width = max(row.shape[1] for row in rows) + MARGIN
    sheet = [np.pad(r, ((0, 0), (0, width - r.shape[1])), constant_values=255) for r in rows]
    return np.pad(np.concatenate(sheet), ((MARGIN, MARGIN), (0, 0)), constant_values=255)


def _severities(
    damage: Damage, line: Line, dataset: str, seed: int, other: Line | None
) -> Iterator[Image]:
    for severity in SEVERITIES[1:]:
        result = damage.apply(line, dataset, severity, seed, other)
        label = str(severity)
        if result.ink_lost is not None:
            label += f"  ink lost {result.ink_lost:.0%}"
        yield _row(label, result.line.image)


def _heading(text: str) -> Image:
    # cv2's font has ASCII only and draws "?" for every byte of anything else.
    plain = text.encode("ascii", "replace").decode()
    (width, _), _ = cv2.getTextSize(plain, FONT, TEXT_SCALE, 1)
    canvas = np.full((HEADING, min(MAX_WIDTH, MARGIN + width)), 255, np.uint8)
    cv2.putText(canvas, plain, (MARGIN, HEADING - 9), FONT, TEXT_SCALE, 0, 1, cv2.LINE_AA)
    return canvas


def _row(label: str, image: Image) -> Image:
    shown = image[:, :MAX_WIDTH]
    height = max(MIN_ROW, shown.shape[0])
    canvas = np.full((height + ROW_GAP, GUTTER + shown.shape[1]), 255, np.uint8)
    baseline = height // 2 + 5
    cv2.putText(canvas, label, (MARGIN, baseline), FONT, TEXT_SCALE, 96, 1, cv2.LINE_AA)
    canvas[: shown.shape[0], GUTTER:] = shown
    return canvas
