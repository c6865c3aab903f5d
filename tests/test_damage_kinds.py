"""What the single damages promise: holes, fill modes, fading, the verso, pixels, frayed edges."""

import dataclasses

import cv2
import numpy as np
import pytest
from scipy import ndimage

from bench.core.errors import UserError
from bench.core.types import Line
from datasets import DATASETS
from datasets.damage import DAMAGES
from datasets.damage.base import Damaged, others
from datasets.damage.paint import smooth_field
from datasets.damage.signal import disc_of_confusion, flipped
from datasets.damage.visible import visibility, visible_shares
from datasets.sheet import MARGIN
from tests.damage_lines import (
    PAPER,
    damage,
    geometry,
    mask_of,
    write,
    written,
)


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


@pytest.mark.parametrize("severity", [1, 5])
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


def test_a_line_over_the_limit_of_opencv_is_warped_without_a_seam():
    image = np.tile(written()[0].image, (1, 50))[:, :33_000]
    result = damage("warp", Line("wide", image, "wide", "w", "test"), 3)
    steps = np.abs(np.diff(result.line.image.astype(int), axis=1)).mean(axis=0)
    seams = [steps[16_384 * k - 1] for k in (1, 2)]
    assert max(seams) <= np.quantile(steps, 0.999)
    assert (result.line.image != image).any()


def test_smooth_field_agrees_with_scipys_blur_and_opencvs_interpolation():
    height, width, correlation = 128, 300, 0.3
    field = smooth_field(np.random.default_rng(5), height, width, correlation)
    lattice = np.random.default_rng(5).standard_normal((158, 64)).T
    blurred = ndimage.gaussian_filter(lattice, 64 * correlation / 2.5, mode="reflect", truncate=6)
    x = ((np.arange(width) + 0.5) / height * 64 - 0.5).astype(np.float32)
    y = ((np.arange(height) + 0.5) / height * 64 - 0.5).astype(np.float32)
    columns, rows = np.meshgrid(x, y)
    lattice = blurred.astype(np.float32)
    expected = cv2.remap(lattice, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    expected = (expected - expected.mean()) / expected.std()
    assert np.abs(field - expected).max() < 0.01
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("radius", [0.3, 2.7, 11.0])
def test_defocus_is_the_literal_disc_on_a_four_times_finer_grid(radius):
    image = np.random.default_rng(0).random((80, 120)).astype(np.float32)
    scale = 4 if radius < 8 else 1
    fine = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    reach = np.arange(-int(scale * radius), int(scale * radius) + 1)
    disc = (reach[:, None] ** 2 + reach**2 <= (scale * radius) ** 2).astype(np.float32)
    literal = cv2.resize(
        cv2.filter2D(fine, -1, disc / disc.sum()), (120, 80), interpolation=cv2.INTER_AREA
    )
    ours = cv2.filter2D(image, -1, disc_of_confusion(radius))
    edge = int(radius) + 4
    inner = (slice(edge, -edge), slice(edge, -edge))
    assert np.abs(ours - literal)[inner].max() < 1e-4


def test_the_preview_holds_the_damaged_lines_pixel_by_pixel(tmp_path, call):
    out = tmp_path / "new" / "sheet.png"
    words = ["--damage", "strike, blot", "--line", "2", "--out", str(out)]
    assert call("data", "damage", "preview", *words)[:2] == (0, f"{out}\n")
    assert list(out.parent.iterdir()) == [out]
    sheet = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    line = DATASETS.create("ink").load("test", 2).lines[1]
    for name in ("strike", "blot"):
        image = DAMAGES.create(name).apply(line, "ink", 5, 0).line.image
        height, width = image.shape
        column = sheet[:, MARGIN : MARGIN + width]
        rows = range(len(column) - height + 1)
        assert any((column[y : y + height] == image).all() for y in rows)


def bars() -> Line:
    """Three strokes of 8 columns in boxes of 20, a space between the second and the third."""
    image = np.full((64, 110), 230, np.uint8)
    for left in (10, 30, 70):
        image[16:48, left : left + 8] = 30
    boxes = np.array([[4, 24], [24, 44], [44, 64], [64, 84]], np.float32)
    return Line("bars", image, "ab c", "w", "test", boxes, "strokes")


@pytest.mark.parametrize("severity", [1, 5])
def test_a_number_of_characters_can_be_erased(severity):
    line = bars()
    inked = ((10, 18), (30, 38), (70, 78))
    for count in (1, 2, 3):
        damaged = DAMAGES.create("char_erase", {"count": count}).apply(line, "ink", severity, 0)
        gone = [(damaged.line.image[16:48, a:b] > 100).all() for a, b in inked]
        assert sum(gone) == count
    with pytest.raises(UserError, match="count is -1; give at least 0"):
        DAMAGES.create("char_erase", {"count": -1})


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
    assert [visibility(share) for share in (0.8, 0.79, 0.2, 0.19)] == [
        "visible", "partial", "partial", "hidden",
    ]  # fmt: skip
