"""What every loader trusts: paths that stay inside, XML without entities, one image decoder."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bench.core.errors import UserError
from datasets.files import MAX_PIXELS, child, content, decode, elements, inside, local, parse_xml
from datasets.manifest import ManifestLines

FIXTURES = Path(__file__).parent / "fixtures" / "image"


def test_a_path_inside_is_resolved_and_need_not_exist(tmp_path: Path) -> None:
    link = tmp_path / "link"
    (tmp_path / "set").mkdir()
    link.symlink_to(tmp_path / "set")
    for root in (tmp_path / "set", link):
        assert inside(root, "a/b..c.png") == tmp_path.resolve() / "set/a/b..c.png"
        assert inside(root, str(tmp_path / "set/x.png")).name == "x.png"


@pytest.mark.parametrize(
    "name", ["../other/a.png", "a/../../b.png", "/etc/passwd", "", "a\0b", "out/a.png", "loop/a"]
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(ValueError, match=r"leads out|no path|cannot be followed"):
        inside(root, name)


@given(name=st.text(alphabet="./\\ab\0", max_size=12))
def test_whatever_the_name_the_path_lies_inside_or_is_refused(name: str) -> None:
    root = Path("/nowhere/set")
    try:
        found = inside(root, name)
    except ValueError:
        return
    assert os.path.commonpath([found, root]) == str(root)


def test_only_regular_files_of_a_sane_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    assert content(tmp_path / "a") == b"12345"
    for name, limit, reason in (
        ("a", 4, "5 bytes; at most 4"),
        ("b", 9, "is missing"),
        ("pipe", 9, "not a file"),
        (".", 9, "not a file"),
    ):
        with pytest.raises(ValueError, match=reason):
            content(tmp_path / name, limit)


FORM = '<?xml version="1.0" encoding="{}"?>{}<form xmlns="urn:x"><line text="caf\u00e9"/></form>'


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252", "utf-16"])
@pytest.mark.parametrize("doctype", ["", '<!DOCTYPE form SYSTEM "form-metadata.dtd">'])
def test_xml_is_read_in_its_encoding_and_a_named_dtd_is_passed_over(
    encoding: str, doctype: str
) -> None:
    root = parse_xml(FORM.format(encoding, doctype).encode(encoding), "f.xml")
    assert [line.get("text") for line in elements(root, "line")] == ["caf\u00e9"]
    found = child(root, "line")
    assert found is not None and local(found) == "line" and child(root, "word") is None


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>'  # grows with every level


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "doctype",
    [BOMB, '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>', "<!DOCTYPE a [ ]>"],
)
def test_xml_that_declares_anything_is_refused(encoding: str, doctype: str) -> None:
    with pytest.raises(UserError, match=r"f\.xml declares entities"):
        parse_xml(FORM.format(encoding, doctype).encode(encoding), "f.xml")


@pytest.mark.parametrize(
    "document",
    [b"", b"<a></b>", b'<?xml version="1.0" encoding="klingon"?><a/>',
     b'<?xml version="1.0" encoding="utf-8"?><a>\xe9</a>',
     b'<!DOCTYPE a SYSTEM "a.dtd"><a>&b;</a>'],
)  # fmt: skip
def test_what_is_no_xml_is_a_user_error(document: bytes) -> None:
    with pytest.raises(UserError, match=r"f\.xml is not XML"):
        parse_xml(document, "f.xml")


@given(st.binary(max_size=60))
def test_bytes_are_xml_or_a_user_error(document: bytes) -> None:
    for bytes_ in (document, b"<a>" + document + b"</a>"):
        try:
            parse_xml(bytes_, "f.xml")
        except UserError as error:
            assert "f.xml" in str(error)


def _encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RAMP: NDArray[np.uint8] = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
def test_grey_is_kept_in_every_format(kind: str, options: dict[str, object]) -> None:
    image = Image.fromarray(RAMP)
    found = decode(_encoded(image.convert("RGB") if kind == "WEBP" else image, kind, **options))
    assert found.dtype == np.uint8 and found.tolist() == RAMP.tolist()


def test_sixteen_bits_are_scaled_and_one_bit_is_black_and_white() -> None:
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    assert decode(_encoded(deep, "TIFF")).tolist() == RAMP.tolist()
    flat = Image.fromarray(RAMP).point(lambda value: 255 * (value > 100), mode="1")
    for options in ({}, {"compression": "group4"}):  # a fax keeps white as zero
        found = decode(_encoded(flat, "TIFF", **options))
        assert found.tolist() == (255 * (RAMP > 100)).tolist()


# A page of paper with ink, as shares of white.
SHARES = np.linspace(0.05, 0.95, 24, dtype=np.float64).reshape(4, 6)


@pytest.mark.parametrize(
    ("white", "kind"),
    [
        (1023, np.uint16), (4095, np.uint16), (16383, np.uint16), (65535, np.uint16),
        (255, np.uint16), (255, np.int32), (4095, np.int32), (2**24 - 1, np.int32),
        (2**31 - 1, np.int32), (1.0, np.float32), (255.0, np.float32), (65535.0, np.float32),
    ],
)  # fmt: skip
def test_pixels_of_every_depth_are_scaled_by_their_range(white: float, kind: type) -> None:
    found = decode(_encoded(Image.fromarray((SHARES * white).astype(kind)), "TIFF"))
    assert abs(found - SHARES * 255).max() < 2


@pytest.mark.parametrize(
    ("kind", "tag", "stored", "value"),
    [
        (np.uint16, 262, 1, 0), (np.float32, 262, 1, 0),  # white is zero
        (np.uint32, 339, 2, 1),  # unsigned, to the last bit
    ],
)  # fmt: skip
def test_tags_of_tiff_are_heeded(kind: type, tag: int, stored: int, value: int) -> None:
    white = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1.0
    shares = 1 - SHARES if tag == 262 else SHARES
    pixels: NDArray[Any] = (shares * white).astype(kind)
    written = _encoded(Image.fromarray(pixels.view(np.int32) if tag == 339 else pixels), "TIFF")
    before, after = (struct.pack("<HHII", tag, 3, 1, number) for number in (stored, value))
    assert written.count(before) == 1
    assert abs(decode(written.replace(before, after)) - SHARES * 255).max() < 2


def test_numbers_below_zero_or_without_end() -> None:
    sums = decode(_encoded(Image.fromarray((SHARES * 255_000).astype(np.int32)), "TIFF"))
    assert (sums.min(), sums.max()) == (0, 255)
    for kind in (np.int32, np.float32):
        found = decode(_encoded(Image.fromarray((SHARES * 900 - 500).astype(kind)), "TIFF"))
        assert (found.min(), found.max()) == (0, 255)
    for wrong in (np.nan, np.inf):
        pixels = SHARES.astype(np.float32)
        pixels[1, 1] = wrong
        with pytest.raises(ValueError, match="no numbers"):
            decode(_encoded(Image.fromarray(pixels), "TIFF"))


def test_a_camera_of_twelve_bits_is_not_black() -> None:
    found = decode((FIXTURES / "12bit-in-16.png").read_bytes())
    assert found.max() > 200 and np.median(found) > 180


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("white", [1023, 4095, 65535])
def test_colours_of_more_than_eight_bits_are_scaled_too(
    suffix: str, alpha: bool, white: int
) -> None:
    colours = np.repeat((SHARES * white).astype(np.uint16)[..., None], 3, axis=2)
    clear = SHARES > 0.9
    if alpha:
        visible = np.where(clear, 0, 65535).astype(np.uint16)
        colours = np.concatenate([colours, visible[..., None]], axis=2)
    found = decode(cv2.imencode(suffix, colours)[1].tobytes())
    expected = np.where(clear & alpha, 255, SHARES * 255)
    assert abs(found - expected).max() < 2


def test_deep_pixels_keep_their_orientation_and_their_paper() -> None:
    deep = Image.fromarray(RAMP.astype(np.uint16) * 16)
    paper = int(RAMP.max()) * 16
    found = decode(_encoded(deep, transparency=paper))
    assert found.tolist() == np.where(RAMP.max() == RAMP, 255, RAMP).tolist()
    turned = _encoded(Image.fromarray(RAMP).convert("RGB"), exif=_orientation(6))
    chunk = turned[turned.index(b"eXIf") - 4 :]
    chunk = chunk[: 12 + int.from_bytes(chunk[:4], "big")]
    colours = cv2.imencode(".png", np.repeat(RAMP[..., None].astype(np.uint16) * 16, 3, 2))[1]
    whole = colours.tobytes()
    place = whole.index(b"IDAT") - 4
    found = decode(whole[:place] + chunk + whole[place:])
    assert found.tolist() == np.rot90(RAMP, 3).tolist()


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_pages_and_frames_are_not_dropped_in_silence(kind: str) -> None:
    image, other = Image.fromarray(RAMP).convert("RGB"), Image.new("RGB", (6, 4))
    several = _encoded(image, kind, save_all=True, append_images=[other, image])
    with pytest.raises(ValueError, match="3 pages or frames; save each as an image of its own"):
        decode(several)
    if kind == "TIFF":
        copies = _encoded(image, kind, save_all=True, append_images=[other.resize((2, 2))])
        assert decode(copies).tolist() == RAMP.tolist()
        for pages in ([other.resize((12, 8))], [other, image], [other.resize((2, 3))]):
            with pytest.raises(ValueError, match="pages or frames"):
                decode(_encoded(image, kind, save_all=True, append_images=pages))


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    whole = _encoded(Image.fromarray(RAMP))
    place = whole.index(b"IDAT") + 8
    with pytest.raises(ValueError, match="IDAT"):
        decode(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])


def test_lines_that_are_likely_to_be_read_wrongly_are_noted(tmp_path: Path) -> None:
    page = np.full((40, 200), 225, np.uint8)
    page[15:25, 20:180:8] = 30
    dim = page // 3  # a dark scan is no negative
    texts = {
        "page": (page, "one"),
        "dim": (dim, "t\u00adwo"),
        "negative": (255 - page, "caf\ufffd"),
    }
    for name, (pixels, _) in texts.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    rows = "".join(f"{name}.png\t{text}\n" for name, (_, text) in texts.items())
    (tmp_path / "t.tsv").write_text(rows)
    light, unwritten = ManifestLines(tmp_path / "t.tsv").load().notes
    assert light.endswith("expect dark on light: 1 of 3, the first negative")
    assert unwritten.startswith("texts with invisible or replaced characters")
    assert unwritten.endswith(": 2 of 3, the first dim")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("R&amp;D, &#39;tis", "HTML entities"),
        ("A|MOVE|to|stop", "| between words"),
        ("NaN", "nan, null or None"),
        ('{"gt_parse": {"text": "stop"}}', "JSON objects"),
        ("\x93stop\x94 (Windows-1252, read as Latin-1)", "invisible or replaced"),
        ("caf\u00c3\u00a9 d\u00e2\u20ac\u2122Or", "a wrong encoding"),
        ("a page, or a line that lies on its side", "taller than wide"),
        ("R&D; \u00c2me \u00ab\u00e2ge\u00bb, either|or", ""),
    ],
)
def test_what_was_probably_converted_wrongly_is_noted(tmp_path: Path, text: str, note: str) -> None:
    page = np.full((40, 200), 225, np.uint8)
    page[15:25, 20:180:8] = 30
    Image.fromarray(page.T if "taller" in note else page).save(tmp_path / "a.png")
    (tmp_path / "t.tsv").write_text(f"a.png\t{text}\n")
    notes = ManifestLines(tmp_path / "t.tsv").load().notes
    assert len(notes) == bool(note)
    assert all(note in each and each.endswith(": 1 of 1, the first a") for each in notes)


def test_lines_that_are_there_twice_are_noted(tmp_path: Path) -> None:
    page = np.full((40, 200), 225, np.uint8)
    page[15:25, 20:180:8] = 30
    for name in ("a", "b", "c"):
        Image.fromarray(page).save(tmp_path / f"{name}.png")
    (tmp_path / "t.tsv").write_text("a.png\tone\nb.png\tone\nc.png\ttwo\n")
    (note,) = ManifestLines(tmp_path / "t.tsv").load().notes
    assert note == "lines that repeat the image and the text of another: 1 of 3, the first b"


def test_of_a_line_only_so_many_pixels_are_kept(tmp_path: Path) -> None:
    Image.new("1", (9_000, 3_000), 1).save(tmp_path / "big.png")
    Image.fromarray(RAMP).save(tmp_path / "small.png")
    (tmp_path / "t.tsv").write_text("big.png\tbig\nsmall.png\tsmall\n")
    found = ManifestLines(tmp_path / "t.tsv").load()
    big, small = (line.image for line in found.lines)
    assert 7_900_000 < big.size <= 8_000_000 and abs(big.shape[1] / big.shape[0] - 3) < 0.01
    assert small.tolist() == RAMP.tolist()
    assert found.notes == ("images without contrast: 1 of 2, the first big",)


def _orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_an_image_is_turned_as_its_exif_says(orientation: int, turns: int) -> None:
    stored = _encoded(Image.fromarray(RAMP), exif=_orientation(orientation))
    assert decode(stored).tolist() == np.rot90(RAMP, turns).tolist()
    assert decode(stored, upright=False).tolist() == RAMP.tolist()


def test_transparent_is_white_paper() -> None:
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[0, :, 3] = 255
    assert decode(_encoded(Image.fromarray(pixels))).tolist() == [[0] * 3, [255] * 3]
    palette = Image.fromarray(RAMP).convert("P")
    assert decode(_encoded(palette, transparency=0))[0, 0] == 255


def test_absurd_images_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(ValueError, match="6 x 4 pixels"):
        decode(_encoded(Image.fromarray(RAMP)), max_pixels=23)
    for side in (10_200, 14_000):  # under and over what Pillow itself calls a bomb
        bomb = _encoded(Image.new("1", (side, side)), "TIFF", compression="group4")
        assert len(bomb) < 100_000 and side**2 > MAX_PIXELS
        with pytest.raises(ValueError, match="pixels"):
            decode(bomb)


def test_what_is_no_scan_is_refused() -> None:
    for other in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"", b"<svg/>"):
        with pytest.raises(ValueError, match="it is not an image"):
            decode(other)


WHOLE = [
    _encoded(Image.effect_noise((40, 30), 60), kind) for kind in ("PNG", "JPEG", "TIFF", "BMP")
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WHOLE), st.data())
def test_a_damaged_image_decodes_or_is_a_value_error(whole: bytes, data: st.DataObject) -> None:
    spoilt = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, min(len(whole) - 1, 200)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for damaged in (bytes(spoilt), whole[:cut]):
        try:
            found = decode(damaged)
        except ValueError as error:
            assert str(error)
        else:
            assert found.ndim == 2 and found.dtype == np.uint8
