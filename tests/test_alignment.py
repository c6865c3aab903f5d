"""Boxes from a CTC model: against the renderer's own, and for texts that cannot be aligned."""

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from bench.analysis.alignment import boxes_between, with_boxes
from bench.core.errors import UserError
from bench.core.types import UNTRAINED, Line, Runtime
from datasets import DATASETS
from datasets.damage.geometry import equal_slots, measure
from models import ENCODERS
from models.base import Encoder
from tests.harness_doubles import track


@cache
def mini() -> Encoder:
    torch.set_num_threads(1)
    opened: Encoder = ENCODERS.create("mini").open(Runtime())
    return opened


@cache
def rendered() -> tuple[Line, ...]:
    found: tuple[Line, ...] = DATASETS.create("lines").load("val", 8).lines
    return found


def bare(line: Line, **changes: Any) -> Line:
    return dataclasses.replace(line, **{"boxes": None, "box_source": "", **changes})


def overlap(a, b) -> float:
    """Mean intersection over union of boxes."""
    inside = np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0])
    whole = np.maximum(a[:, 1], b[:, 1]) - np.minimum(a[:, 0], b[:, 0])
    return float((np.clip(inside, 0, None) / whole).mean())


def test_boxes_are_near_those_of_the_renderer():
    placed = with_boxes([bare(line) for line in rendered()], mini(), 4, track)
    shares, slots, middles = [], [], []
    for line, found in zip(rendered(), placed, strict=True):
        g = measure(line.image)
        assert g is not None and line.boxes is not None and found.boxes is not None
        assert found.box_source == f"ctc:{mini().info.weights}"
        assert found.boxes.shape == line.boxes.shape and found.boxes.dtype == np.float32
        assert (found.boxes[:, 0] <= found.boxes[:, 1]).all()
        assert (found.boxes[1:, 0] == found.boxes[:-1, 1]).all()
        shares.append(overlap(found.boxes, line.boxes))
        slots.append(overlap(equal_slots(g, len(line.text)), line.boxes))
        middles.append(np.abs(found.boxes.mean(1) - line.boxes.mean(1)) / g.x_height)
    # Measured on 60 test lines: overlap .68 against .35 of equal slots, middles .17 x-heights off.
    assert np.mean(shares) > 0.6 > np.mean(slots) + 0.15
    assert np.median(np.concatenate(middles)) < 0.3


def test_what_cannot_be_aligned_stays_without_boxes():
    line = rendered()[0]
    paper = np.full_like(line.image, 230)
    impossible = [
        line,  # has boxes, which stay
        bare(line, text=line.text * 30),
        bare(line, text="\u6f22\u5b57"),
        bare(line, text=""),
        bare(line, image=paper),
    ]
    first, *others = with_boxes(impossible, mini(), 4, track)
    assert first is line and [found.boxes for found in others] == [None] * 4
    assert with_boxes([], mini(), 2, track) == ()


@pytest.mark.parametrize(
    ("changes", "lacks"), [({"alphabet": ()}, "a CTC head"), ({"weights": UNTRAINED}, "trained")]
)
def test_a_model_that_cannot_align_is_refused(monkeypatch, changes, lacks):
    monkeypatch.setattr(mini(), "info", dataclasses.replace(mini().info, **changes))
    with pytest.raises(UserError, match=lacks):
        with_boxes([bare(rendered()[0])], mini(), 1, track)


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=12),
    st.lists(st.integers(0, 20), min_size=1, max_size=100),
)
@example([9.9, 10.1], [1] * 20)
def test_boxes_are_in_order_and_hold_their_middles(middles, ink):
    ordered = np.sort(np.array(middles))
    boxes = boxes_between(ordered, np.array(ink), (0, len(ink)))
    assert boxes.shape == (len(middles), 2)
    assert (boxes[:, 0] <= boxes[:, 1]).all() and (boxes[1:, 0] == boxes[:-1, 1]).all()
    assert (boxes[:, 0] <= ordered + 1e-3).all() and (ordered - 1e-3 <= boxes[:, 1]).all()
