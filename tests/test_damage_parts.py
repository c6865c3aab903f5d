"""What the damages are made of: measurements, fields, kernels; and their contact sheet."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from datasets.damage import DAMAGES
from datasets.damage.geometry import equal_slots, measure, words
from datasets.damage.paint import smooth_field, threshold_mask
from datasets.damage.signal import disc_of_confusion
from datasets.sheet import MARGIN, damage_sheet
from tests.damage_lines import LEVELS, damage, geometry, written

# --- measurements, fields, kernels --------------------------------------------------------------


@pytest.mark.parametrize("width", [4, 6, 10])
def test_stroke_width_of_a_bar(width):
    image = np.full((96, 400), 230, np.uint8)
    image[40 : 40 + width, 20:380] = 40
    measured = measure(image)
    assert measured is not None
    assert measured.stroke_width == pytest.approx(width, abs=0.3)
    assert measured.middle == pytest.approx(40 + width / 2)
    assert (measured.left, measured.right) == (20, 380)
    assert measured.ink_darkness == pytest.approx(190 / 255, abs=0.01)


@pytest.mark.parametrize("shift", [-40, 20])
def test_measurements_do_not_move_with_the_brightness_of_the_paper(shift):
    line = written()[0]
    g = geometry(line)
    moved = measure((line.image.astype(int) + shift).clip(0, 255).astype(np.uint8))
    assert moved is not None
    assert (moved.ink == g.ink).all()
    assert moved.x_height == g.x_height


def test_words_and_slots():
    image = np.full((64, 300), 230, np.uint8)
    image[20:40, 10:60] = 40
    image[20:40, 62:100] = 40  # a gap within a word
    image[20:40, 130:200] = 40
    image[36:40, 250:253] = 40  # a full stop far away is no word
    measured = measure(image)
    assert measured is not None
    assert words(measured) == [(10, 100), (130, 200)]
    assert equal_slots(measured, 3).tolist() == [[10, 91], [91, 172], [172, 253]]


def test_threshold_masks_hold_their_share_of_the_ink():
    rng = np.random.default_rng(0)
    score = rng.standard_normal((40, 90)).astype(np.float32)
    ink = rng.random((40, 90)) < 0.2
    for share in (0.0, 0.05, 0.5):
        mask = threshold_mask(score, ink, share)
        assert (mask & ink).sum() == pytest.approx(share * ink.sum(), abs=1)
        assert (mask == (score >= score[mask].min() if mask.any() else False)).all()


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


def test_a_wider_image_continues_the_field_of_a_narrower_one():
    narrow = smooth_field(np.random.default_rng(1), 64, 300, 0.2)
    wide = smooth_field(np.random.default_rng(1), 64, 900, 0.2)[:, :300]
    inner = slice(0, 250)
    assert np.corrcoef(narrow[:, inner].ravel(), wide[:, inner].ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.7, 6.5, 11.0])
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


def test_noise_has_the_strength_it_claims():
    line = written()[0]
    g = geometry(line)
    grain = damage("noise", line, 1).line.image / 255 - g.grey
    strength = DAMAGES.target("noise").strengths[0]
    assert grain.std() == pytest.approx(strength * g.ink_darkness, rel=0.03)
    assert grain.mean() == pytest.approx(0, abs=0.002)


# --- the contact sheet --------------------------------------------------------------------------


def test_contact_sheet_holds_the_damaged_lines_pixel_by_pixel():
    line = written()[0]
    damages = {name: DAMAGES.create(name) for name in ("blot", "noise")}
    sheet = damage_sheet(line, "set", damages)
    for severity in LEVELS:
        for name in ("blot", "noise"):
            image = damage(name, line, severity).line.image
            height, width = image.shape
            column = sheet[:, MARGIN : MARGIN + width]
            rows = range(len(column) - height + 1)
            assert any((column[y : y + height] == image).all() for y in rows)


def test_preview_writes_a_png(tmp_path, call):
    out = tmp_path / "new" / "sheet.png"
    words_ = ["damage", "preview", "--damage", "strike, blot", "--line", "2", "-o", str(out)]
    assert call(*words_)[:2] == (0, f"{out}\n")
    sheet = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    assert sheet.ndim == 2 and sheet.shape[0] > 12 * 40
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    ("words_", "sentence"),
    [
        (["--damage", "blott"], "did you mean blot"),
        (["--dataset", "linse"], "did you mean lines"),
        (["--line", "0"], "the first line is 1"),
        (["-o", "sheet.gif"], "should end in .png"),
        (["--sead", "1"], "did you mean --seed"),
    ],
)
def test_mistakes_in_preview_are_one_sentence(words_, sentence, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, error = call("damage", "preview", *words_)
    assert code == 2 and sentence in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
