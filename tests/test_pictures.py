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
from bench.core.options import restored
from bench.core.registry import declared
from bench.core.types import Condition, LineSet, Row
from datasets.cvl import Cvl
from datasets.damage import DAMAGES
from datasets.damage.base import SUITE, damaged_lines
from datasets.lines import RenderedLines
from datasets.manifest import ManifestLines
from tests.run_rows import row


@pytest.fixture(scope="module")
def clean() -> LineSet:
    return RenderedLines().load("test", 6)


def _row(clean: LineSet, damage: str = "none", severity: int = 0, **more) -> Row:
    condition = Condition("lines", "test", damage, severity, seed=3 * bool(severity), limit=6)
    suite = SUITE if severity else ""
    return row(condition=condition, dataset_sha256=clean.sha256, suite=suite, **more)


def test_clean_lines_are_those_of_the_set(clean):
    wanted = [clean.lines[4].id, clean.lines[1].id]
    found = pictures(_row(clean), wanted)
    assert found.absent == ""
    assert list(found.by_id) == wanted
    for line in (clean.lines[4], clean.lines[1]):
        picture = found.by_id[line.id]
        assert picture.boxes is not None and line.boxes is not None
        np.testing.assert_array_equal(picture.image, line.image)
        np.testing.assert_array_equal(picture.boxes, line.boxes)
        assert picture.text == line.text and picture.visible is None


@pytest.mark.parametrize("damage", ["char_erase", "bleed_through", "warp"])
def test_damaged_lines_are_those_that_the_harness_reads(clean, damage):
    """Of bleed-through, too, although what shows through is another line of the set."""
    expected = list(damaged_lines(DAMAGES.create(damage), clean.lines, "lines", 4, 3))
    found = pictures(_row(clean, damage, 4), [clean.lines[5].id, clean.lines[0].id]).by_id
    for place in (0, 5):
        picture, line = found[clean.lines[place].id], expected[place].line
        mask = expected[place].mask
        assert picture.boxes is not None and line.boxes is not None
        np.testing.assert_array_equal(picture.image, line.image)
        np.testing.assert_array_equal(picture.boxes, line.boxes)
        if mask is None:
            assert picture.visible is None
        else:
            assert picture.visible is not None
            assert np.nanmin(picture.visible) < 0.2
            assert picture.visible.shape == (len(picture.text),)


def test_unknown_ids_have_no_picture(clean):
    assert pictures(_row(clean), ["nobody"]).by_id == {}


def test_other_data_gives_no_picture_and_says_why(clean):
    other = dataclasses.replace(_row(clean), dataset_sha256="0" * 64)
    found = pictures(other, [clean.lines[0].id])
    assert not found.by_id
    assert "changed since it was read" in found.absent


def test_another_suite_gives_no_picture(clean):
    made = _row(clean, "blot", 2)
    older = dataclasses.replace(made, suite="kaidoku-damage-0")
    found = pictures(older, [clean.lines[0].id])
    assert not found.by_id
    assert "kaidoku-damage-0" in found.absent and "kaidoku-damage-1" in found.absent


@pytest.mark.parametrize(
    ("dataset", "sha256", "why"),
    [("nowhere", "ab", "no data set is called 'nowhere'"), ("lines", "", "did not load")],
)
def test_what_cannot_be_had_is_said(clean, dataset, sha256, why):
    found = pictures(row(dataset=dataset, dataset_sha256=sha256), ["x"])
    assert not found.by_id and why in found.absent


def test_options_of_the_set_are_heeded(tmp_path: Path):
    image = np.full((32, 200), 255, np.uint8)
    image[10:20, 20:180] = 0
    cv2.imwrite(str(tmp_path / "a.png"), image)
    table = tmp_path / "set.csv"
    table.write_text("image,text,id,split\na.png,some text,one,test\n")
    dataset = ManifestLines(path=table)
    read = row(
        dataset="manifest",
        dataset_sha256=dataset.load("test").sha256,
        dataset_options=plain({"path": table}),
    )
    found = pictures(read, ["one"])
    assert found.absent == ""
    np.testing.assert_array_equal(found.by_id["one"].image, image)
    table.unlink()
    module._loaded.cache_clear()
    assert str(table) in pictures(read, ["one"]).absent


def test_a_set_is_loaded_once_for_all_its_rows(clean, monkeypatch: pytest.MonkeyPatch):
    calls = []
    load = RenderedLines.load

    def counted(*asked) -> LineSet:
        calls.append(asked)
        return load(*asked)

    monkeypatch.setattr(RenderedLines, "load", counted)
    module._loaded.cache_clear()
    for severity in (1, 2, 3):
        pictures(_row(clean, "blot", severity), [clean.lines[0].id])
    other = dataclasses.replace(_row(clean), dataset_sha256="0" * 64)
    assert pictures(other, []).absent == pictures(other, []).absent != ""
    assert len(calls) == 2


def test_stored_options_get_their_types_back():
    options = {"root": Path("/some/where"), "texts": (1, 2), "skip": ("a",), "strict": True}
    assert restored(declared(Cvl), plain(options)) == options
    unfit = {"root": None, "unknown": [1]}  # `Registry.create` refuses it
    assert restored(declared(Cvl), unfit) == unfit
