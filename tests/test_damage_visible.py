"""The visible share of each character: from masks, boxes and the ink between."""

import dataclasses

import numpy as np
import pytest

from bench.core.types import Line
from datasets.damage.base import Damaged
from datasets.damage.visible import visibility, visible_shares
from tests.damage_lines import LEVELS, damage, geometry, mask_of, written


def bars() -> Line:
    """Three strokes of 8 columns in boxes of 20, a space between the second and the third."""
    image = np.full((64, 110), 230, np.uint8)
    for left in (10, 30, 70):
        image[16:48, left : left + 8] = 30
    boxes = np.array([[4, 24], [24, 44], [44, 64], [64, 84]], np.float32)
    return Line("bars", image, "ab c", "w", "test", boxes, "strokes")


def test_shares_are_the_ink_outside_of_the_mask():
    line = bars()
    mask = np.zeros(line.image.shape, np.bool_)
    mask[:, :14] = True  # half of the first stroke
    mask[16:48, 30:40] = True  # the second
    shares = visible_shares(line, Damaged(line, mask, 0.5))
    assert shares.dtype == np.float32
    assert shares.tolist()[:2] == [0.5, 0.0]
    assert np.isnan(shares[2])
    assert shares[3] == 1.0
    assert [visibility(share) for share in shares] == ["partial", "hidden", "none", "visible"]


@pytest.mark.parametrize(
    ("share", "name"),
    [(0.8, "visible"), (0.79, "partial"), (0.2, "partial"), (0.19, "hidden"), (0.0, "hidden")],
)
def test_borders_of_the_classes(share, name):
    assert visibility(share) == name


def test_without_boxes_slots_of_equal_width_stand_in():
    line = dataclasses.replace(bars(), boxes=None, box_source="", text="abc")
    mask = np.zeros(line.image.shape, np.bool_)
    mask[:, :24] = True  # the ink runs from 10 to 78: slots end at 32.7 and 55.3
    shares = visible_shares(line, Damaged(line, mask, 0.33))
    assert shares == pytest.approx([3 / 11, 1, 1])


def test_what_has_no_share():
    line = written()[0]
    assert np.isnan(visible_shares(line, damage("noise", line, 3))).all()
    blank = dataclasses.replace(line, image=np.full((64, 300), 230, np.uint8))
    assert np.isnan(visible_shares(blank, damage("blot", blank, 3))).all()
    silent = dataclasses.replace(line, text="", boxes=np.zeros((0, 2), np.float32))
    assert visible_shares(silent, damage("blot", silent, 3)).shape == (0,)
    unknown = dataclasses.replace(line, boxes=np.full((len(line.text), 2), np.nan, np.float32))
    assert np.isnan(visible_shares(unknown, damage("blot", unknown, 3))).all()


def test_erased_characters_are_hidden_and_the_others_visible():
    for line in written():
        result = damage("char_erase", line, 4)
        shares = visible_shares(line, result)
        known = shares[~np.isnan(shares)]
        assert ((known < 0.2) | (known > 0.6)).mean() > 0.9
        assert 0.2 < (known < 0.2).mean() < 0.5


def test_shares_fall_with_severity_and_add_up_to_the_ink_that_is_left():
    for name in ("stroke_breaks", "span_erase", "half_line", "blot"):
        for line in written():
            before = np.ones(len(line.text), np.float32)
            for severity in LEVELS:
                result = damage(name, line, severity)
                shares = visible_shares(line, result)
                inked = ~np.isnan(shares)
                assert (shares[inked] <= before[inked]).all()
                before = shares
            ink = geometry(line).ink
            left = (ink & ~mask_of(result)).sum() / ink.sum()
            assert np.nanmean(shares) == pytest.approx(left, abs=0.12)
