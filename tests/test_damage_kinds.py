"""What the single damages promise: holes, fill modes, fading, the verso, pixels, frayed edges."""

import dataclasses

import cv2
import numpy as np
import pytest
from scipy import ndimage

from bench.core.types import Line
from datasets.damage import DAMAGES
from datasets.damage.base import StrengthDamage, damaged_lines, others
from datasets.damage.signal import flipped
from tests.damage_lines import (
    LEVELS,
    PAPER,
    damage,
    damaged,
    geometry,
    mask_of,
    write,
    written,
)

# --- what takes the place of the ink --------------------------------------------------------------


@pytest.mark.parametrize("name", PAPER)
def test_a_mark_takes_the_same_ink_as_paper_and_shows_it(name):
    for line in written():
        silent, shown = damage(name, line, 3), damage(name, line, 3, fill="mark")
        assert (mask_of(shown) == mask_of(silent)).all()
        assert shown.ink_lost == silent.ink_lost
        hole = shown.line.image[mask_of(shown)] / 255
        assert hole.mean() == pytest.approx(0.06, abs=0.005)
        assert hole.std() == pytest.approx(0.01, abs=0.005)
        assert (shown.line.image <= line.image)[~mask_of(shown)].all()


def test_holes_show_the_bed_of_the_scanner_whatever_stood_there():
    black = dataclasses.replace(
        written()[0], image=np.where(written()[0].image < 160, np.uint8(0), np.uint8(220))
    )
    for line in (*written(), black):
        result = damage("holes", line, 4)
        mask, ink = mask_of(result), geometry(line).ink
        for covered in (mask & ink, mask & ~ink):
            assert (result.line.image[covered] / 255).mean() == pytest.approx(0.06, abs=0.01)


# --- fading ---------------------------------------------------------------------------------------


def test_fading_keeps_a_share_of_the_contrast_and_the_paper_where_it_was():
    fade = DAMAGES.create("fade")
    for line in written():
        g = geometry(line)
        paper = ~cv2.dilate(g.ink.astype(np.uint8), None, iterations=3).astype(bool)
        left = []
        for strength in (0.8, 0.4, 0.1):
            image = fade.at(line, "set", strength, 0).line.image / 255
            left.append(float((g.background - image)[g.ink].sum() / g.darkness[g.ink].sum()))
            # Its texture goes the way of the ink: up to the paper's lightest grains.
            assert image[paper].mean() == pytest.approx(g.grey[paper].mean(), abs=0.03)
        # The loss is clipped at all of the ink, so that at the end a little more than `strength`
        # is left where the patches are darkest.
        assert left == pytest.approx([0.8, 0.4, 0.1], abs=0.06)


def test_stretching_the_contrast_does_not_bring_faded_ink_back():
    line, g = written()[0], geometry(written()[0])
    weak = damage("fade", line, 5).line.image / 255
    stretched = g.background - (g.background - weak) / 0.11
    paper = ~cv2.dilate(g.ink.astype(np.uint8), None, iterations=3).astype(bool)
    assert stretched[paper].std() > 5 * g.grey[paper].std()


# --- the other side of the paper ------------------------------------------------------------------


def test_the_verso_is_the_mirror_of_the_other_line_at_the_strength_of_the_severity():
    front, back = write("o", 64, grain=0), write("mmm", 64, grain=0, seed=1)
    recipe = DAMAGES.create("bleed_through")
    g, b = geometry(front), geometry(back)
    image = recipe.at(front, "set", 0.5, 0, back).line.image / 255
    shine = np.where(g.ink, 0, g.background - image)
    assert shine.max() == pytest.approx(0.5 * g.ink_darkness, rel=0.15)
    mirrored = b.darkness[:, ::-1]
    mirrored = np.tile(mirrored, (1, -(-g.width // b.width)))[:, : g.width]
    best = max(
        np.corrcoef(np.roll(mirrored, shift, 0)[~g.ink], shine[~g.ink])[0, 1]
        for shift in range(-8, 9)
    )
    assert best > 0.8


def test_the_verso_never_lightens_the_front():
    for clean, result in zip(written(), damaged("bleed_through", 5), strict=True):
        assert (result.line.image <= np.rint(geometry(clean).background * 255)).all()
        assert (result.line.image.astype(int) - clean.image)[geometry(clean).ink].max() <= 1


@pytest.mark.parametrize(
    "back", [None, Line("blank", np.full((64, 300), 255, np.uint8), "", "w", "test")]
)
def test_a_line_without_another_that_has_ink_is_its_own_verso(back):
    line = written()[0]
    alone = DAMAGES.create("bleed_through").apply(line, "set", 3, 0, back).line.image
    mirrored = DAMAGES.create("bleed_through").apply(line, "set", 3, 0, line).line.image
    assert (alone == mirrored).all()


def test_every_line_has_another_one_as_its_other_and_the_choice_is_stable():
    lines = [dataclasses.replace(written()[0], id=f"line-{i}") for i in range(50)]
    chosen = others(lines, "set", 0)
    ids = [line.id for line in chosen if line]
    assert sorted(ids) == sorted(line.id for line in lines)
    assert all(line.id != other for line, other in zip(lines, ids, strict=True))
    shuffled = [lines[i] for i in np.random.default_rng(0).permutation(50)]
    again = dict(zip((line.id for line in shuffled), others(shuffled, "set", 0), strict=True))
    assert [again[line.id] for line in lines] == chosen
    fewer = others(lines[:-1], "set", 0)
    assert sum(a is not b for a, b in zip(chosen, fewer, strict=False)) == 1
    assert others(lines, "set", 1) != chosen
    assert others(lines[:1], "set", 0) == [None] and others([], "set", 0) == []
    twins = [lines[0], lines[0]]
    assert others(twins, "set", 0) == twins


def test_only_bleed_through_looks_at_other_lines():
    for name in DAMAGES.names():
        alone = [damage(name, line, 3).line.image for line in written()]
        inset = damaged_lines(DAMAGES.create(name), written(), "set", 3, 0)
        same = all((a == b.line.image).all() for a, b in zip(alone, inset, strict=True))
        assert same == (name != "bleed_through")


# --- pixels ---------------------------------------------------------------------------------------


def test_low_resolution_leaves_no_detail_finer_than_its_pixels():
    line, g = written()[0], geometry(written()[0])
    recipe = DAMAGES.create("low_resolution")
    image = recipe.at(line, "set", 6.0, 0).line.image.astype(float)
    scale = 6.0 / g.x_height
    spectrum = np.abs(np.fft.rfft2(image - image.mean())) ** 2
    rows = np.abs(np.fft.fftfreq(g.height))[:, None]
    columns = np.fft.rfftfreq(g.width)[None, :]
    finer = np.maximum(rows, columns) > 0.5 * scale * 1.5
    assert spectrum[finer].sum() < 0.02 * spectrum.sum()
    clean = np.abs(np.fft.rfft2(line.image - line.image.mean())) ** 2
    assert clean[finer].sum() > 4 * spectrum[finer].sum()


def test_a_line_that_has_few_pixels_already_stays_as_it_is():
    line = written()[0]
    g = geometry(line)
    image = DAMAGES.create("low_resolution").at(line, "set", g.x_height + 1, 0).line.image
    assert (image == line.image).all()


# --- binarisation ---------------------------------------------------------------------------------


def test_kanungo_flips_as_often_as_the_model_says_at_every_distance():
    ink = np.zeros((200, 400), np.bool_)
    ink[60:140, 40:200], ink[60:140, 250:255] = True, True
    chance = np.random.default_rng(0).random(ink.shape, dtype=np.float32)
    flips = flipped(ink, 0.3, chance) != ink
    distance = np.where(
        ink, ndimage.distance_transform_edt(ink), ndimage.distance_transform_edt(~ink)
    )
    for side in (ink, ~ink):
        for d in (1, 2, 3):
            ring = side & (distance == d)
            spread = 4 / np.sqrt(ring.sum())
            assert flips[ring].mean() == pytest.approx(np.exp(-0.3 * d * d), abs=spread)
    assert not flips[distance > 8].any()
    fewer = flipped(ink, 0.9, chance) != ink
    assert not (fewer & ~flips).any()  # nested


def test_kanungo_is_black_on_white_even_where_nothing_flips():
    image = DAMAGES.create("kanungo").at(written()[0], "set", 1e6, 0).line.image
    assert ((image < 40) | (image > 215)).mean() > 0.75
    ink = geometry(written()[0]).ink
    assert ((image < 128) == ink).mean() > 0.95


# --- warp -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", LEVELS)
def test_boxes_go_along_with_the_ink_they_hold(severity):
    image = np.full((64, 600), 230, np.uint8)
    lefts = np.arange(20, 580, 28)
    for left in lefts:
        image[20:44, left : left + 4] = 30
    boxes = np.stack((lefts - 6, lefts + 10), axis=1).astype(np.float32)
    line = Line("bars", image, "i" * len(lefts), "w", "test", boxes, "strokes")
    for seed in range(3):
        moved = damage("warp", line, severity, seed).line
        assert moved.boxes is not None
        band = moved.image[28:36] < 130
        count, _, _, centres = cv2.connectedComponentsWithStats(band.astype(np.uint8))
        assert count - 1 == len(lefts)
        found = np.sort(centres[1:, 0]) + 0.5
        # Where two rows of a bar go different ways, its box follows their mean.
        missed = np.abs(moved.boxes.mean(axis=1) - found)
        assert np.quantile(missed, 0.9) < 2 and missed.max() < 6
        assert ((moved.boxes[:, 0] < found) & (found < moved.boxes[:, 1])).all()
        stayed = np.abs(boxes.mean(axis=1) - found).mean()
        assert missed.mean() < 0.4 * stayed


def test_warp_moves_boxes_outside_of_the_image_and_unknown_ones_with_care():
    line = written()[0]
    boxes = np.array([[-50, -20], [np.nan, np.nan], [5, line.image.shape[1] + 40]], np.float32)
    result = damage("warp", dataclasses.replace(line, text="abc", boxes=boxes), 5).line
    assert result.boxes is not None
    assert np.isnan(result.boxes[1]).all()
    shift = np.abs(result.boxes - boxes)[[0, 2]]
    assert 0 < shift.max() < 1.5 * geometry(line).x_height
    without = damage("warp", dataclasses.replace(line, boxes=None, box_source=""), 5)
    assert without.line.boxes is None


def test_a_line_over_the_limit_of_opencv_is_warped_without_a_seam():
    image = np.tile(written()[0].image, (1, 50))[:, :33_000]
    result = damage("warp", Line("wide", image, "wide", "w", "test"), 3)
    steps = np.abs(np.diff(result.line.image.astype(int), axis=1)).mean(axis=0)
    seams = [steps[16_384 * k - 1] for k in (1, 2)]
    assert max(seams) <= np.quantile(steps, 0.999)
    assert (result.line.image != image).any()


# --- strengths ------------------------------------------------------------------------------------


def strong() -> dict[str, StrengthDamage]:
    made = {name: DAMAGES.create(name) for name in DAMAGES.names()}
    return {name: one for name, one in made.items() if isinstance(one, StrengthDamage)}


@pytest.mark.parametrize("name", list(strong()))
def test_a_severity_is_a_strength_and_strengths_go_one_way(name):
    recipe, line = strong()[name], written()[0]
    for severity, strength in zip(LEVELS, recipe.strengths, strict=True):
        by_strength = recipe.at(line, "set", strength, 0).line.image
        assert (by_strength == damage(name, line, severity).line.image).all()
    signs = set(np.sign(np.diff(recipe.strengths)))
    assert len(signs) == 1
