"""Arrays beyond a limit lie in mapped files."""

import os

import numpy as np
import pytest

from bench.core import spill
from bench.core.types import LineSet
from datasets import DATASETS


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path))
    monkeypatch.setattr(spill, "LIMIT", 100_000)
    monkeypatch.setattr(spill, "_BLOCK", 150_000)
    return tmp_path


def mapped(array) -> object:
    while isinstance(array, np.ndarray):
        array = array.base
    return array.obj if isinstance(array, memoryview) else None


def test_lines_of_a_set_lie_in_files_that_leave_nothing(small, monkeypatch):
    made: LineSet = DATASETS.create("lines").load("val", 12)
    images = [line.image for line in made.lines]
    files = {id(file) for image in images if (file := mapped(image))}
    assert mapped(images[0]) is None and mapped(images[-1]) and len(files) > 1
    images[-1][:] = 7  # as free to be written to
    assert not list((small / "spill").iterdir())
    monkeypatch.setattr(spill, "LIMIT", 1 << 30)
    assert DATASETS.create("lines").load("val", 12).sha256 == made.sha256


def test_arrays_larger_than_a_file_and_without_space(small, monkeypatch):
    kept, large = spill.Spill(), np.arange(200_000, dtype=np.uint8)
    copies = [kept.keep(large.reshape(400, -1)) for _ in range(3)]
    assert all(map(mapped, copies))
    assert all((copy == large.reshape(400, -1)).all() for copy in copies)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert kept.keep(large) is large
