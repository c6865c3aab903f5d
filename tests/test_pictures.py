"""The images of a row are those that its system read, or none and why."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.analysis import pictures as module
from bench.analysis.pictures import pictures
from bench.core.hashing import plain
from bench.core.types import Condition, LineSet, Row
from datasets.damage import DAMAGES
from datasets.damage.base import SUITE, damaged_lines
from datasets.lines import RenderedLines
from datasets.manifest import ManifestLines
from tests.run_rows import row


@pytest.fixture(scope="module")
def clean() -> LineSet:
    return RenderedLines().load("test", 6)


def _row(clean: LineSet, damage: str = "none", severity: int = 0) -> Row:
    condition = Condition("lines", "test", damage, severity, seed=3 * bool(severity), limit=6)
    suite = SUITE if severity else ""
    return row(condition=condition, dataset_sha256=clean.sha256, suite=suite)


# What shows through in bleed-through is another line of the set.
@pytest.mark.parametrize("damage", ["none", "char_erase", "bleed_through", "warp"])
def test_pictures_are_the_lines_that_were_read(clean, damage):
    severity = 4 if damage != "none" else 0
    if severity:
        expected = list(damaged_lines(DAMAGES.create(damage), clean.lines, "lines", 4, 3))
        lines, masked = [one.line for one in expected], expected[0].mask is not None
    else:
        lines, masked = list(clean.lines), False
    asked = [lines[5].id, lines[0].id]
    found = pictures(_row(clean, damage, severity), [*asked, "nobody"]).by_id
    assert list(found) == asked
    for line in (lines[5], lines[0]):
        picture = found[line.id]
        assert picture.boxes is not None and line.boxes is not None
        np.testing.assert_array_equal(picture.image, line.image)
        np.testing.assert_array_equal(picture.boxes, line.boxes)
        if masked:
            assert picture.visible is not None and np.nanmin(picture.visible) < 0.2
            assert picture.visible.shape == (len(picture.text),)
        else:
            assert picture.visible is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"condition": Condition("nowhere")}, "no data set is called 'nowhere'"),
        ({"dataset_sha256": ""}, "did not load"),
        ({"dataset_sha256": "0" * 64}, "changed since it was read"),
        ({"suite": "kaidoku-damage-0"}, "kaidoku-damage-0"),
    ],
)
def test_without_pictures_the_reason_is_named(clean, changed, why):
    found = pictures(dataclasses.replace(_row(clean, "blot", 2), **changed), [clean.lines[0].id])
    assert not found.by_id and why in found.absent


def test_options_of_the_set_are_heeded(tmp_path: Path):
    image = np.full((32, 200), 255, np.uint8)
    image[10:20, 20:180] = 0
    cv2.imwrite(str(tmp_path / "a.png"), image)
    table = tmp_path / "set.csv"
    table.write_text("image,text,id,split\na.png,some text,one,test\n")
    sha256 = ManifestLines(path=table).load("test").sha256
    options = plain({"path": table})
    read = row(dataset="manifest", dataset_sha256=sha256, dataset_options=options)
    np.testing.assert_array_equal(pictures(read, ["one"]).by_id["one"].image, image)
    table.unlink()
    module._loaded.cache_clear()
    assert str(table) in pictures(read, ["one"]).absent
