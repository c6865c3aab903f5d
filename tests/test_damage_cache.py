"""Damaged lines kept on disk: equal to made ones, made anew when anything changes, no hindrance."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.types import Line
from datasets.damage import DAMAGES
from datasets.damage import cache as kept
from datasets.damage.base import Damaged, damaged_lines
from datasets.damage.cache import cached_lines
from tests.damage_lines import NAMES, written


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path))
    return tmp_path / "damage"


def read(name: str = "blot", lines=None, severity: int = 3, seed: int = 0, **options: str):
    damage = DAMAGES.create(name, options)
    return list(cached_lines(damage, written() if lines is None else lines, "set", severity, seed))


def without_making(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: object) -> None:
        raise AssertionError("damaged anew")

    monkeypatch.setattr(kept, "damaged_lines", made)


def equal(a: Damaged, b: Damaged) -> bool:
    def same(one: Any, other: Any) -> bool:
        if one is None or other is None:
            return one is other
        return bool(np.array_equal(one, other) and one.dtype == other.dtype)

    told = [(x.line.id, x.line.text, x.line.box_source, x.ink_lost) for x in (a, b)]
    return (
        told[0] == told[1]
        and same(a.line.image, b.line.image)
        and same(a.line.boxes, b.line.boxes)
        and same(a.mask, b.mask)
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_back_is_what_was_made(name, folder, monkeypatch):
    bare = [dataclasses.replace(line, boxes=None, box_source="") for line in written()]
    lines = (*written(), *(dataclasses.replace(line, id=f"bare {line.id}") for line in bare))
    made = list(damaged_lines(DAMAGES.create(name), lines, "set", 3, 0))
    assert all(map(equal, read(name, lines), made))
    without_making(monkeypatch)
    again = read(name, lines)
    assert len(again) == len(made) and all(map(equal, again, made))
    again[0].line.image[:] = 0  # as free to be written to as a new one
    assert len(list(folder.iterdir())) == 1


def test_anything_that_they_follow_from_makes_them_anew(folder):
    read()
    first = written()
    one_pixel = first[0].image.copy()
    one_pixel[0, 0] ^= 1
    assert first[0].boxes is not None
    moved = first[0].boxes + np.float32(1)
    others: list[dict[str, Any]] = [
        {"severity": 2},
        {"seed": 1},
        {"name": "strike"},
        {"name": "char_erase"},
        {"name": "char_erase", "fill": "mark"},
        {"lines": first[:3]},
        {"lines": (dataclasses.replace(first[0], image=one_pixel), *first[1:])},
        {"lines": (dataclasses.replace(first[0], boxes=moved), *first[1:])},
        {"lines": (dataclasses.replace(first[0], text="other"), *first[1:])},
    ]
    for count, change in enumerate(others, start=2):
        read(**change)
        assert len(list(folder.iterdir())) == count, change


def test_what_was_not_read_to_its_end_is_not_kept(folder):
    damage = DAMAGES.create("blot")
    first = next(cached_lines(damage, written(), "set", 3, 0))
    assert first.line.id == written()[0].id
    assert not list(folder.iterdir())


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", None])
def test_a_damaged_file_is_made_again(content, folder):
    before = read()
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-900] if content is None else content)
    assert all(map(equal, read(), before))
    assert all(map(equal, read(), before))


@pytest.mark.parametrize("name", ["blot", "char_erase"])
def test_what_was_changed_on_the_disk_is_made_again(name, folder, monkeypatch):
    made = read(name)
    (file,) = folder.iterdir()
    sound = file.read_bytes()
    rng = np.random.default_rng(3)
    for place in [0, 40, len(sound) - 9, *rng.integers(len(sound), size=30).tolist()]:
        for span in (1, 300):
            changed = bytearray(sound)
            changed[place : place + span] = bytes(b ^ 16 for b in sound[place : place + span])
            file.write_bytes(changed)
            assert all(map(equal, read(name), made)), (place, span)
    assert file.read_bytes() == sound
    file.write_bytes(bytes(32) + sound[32:])
    assert all(map(equal, read(name), made))


def test_a_file_under_the_name_of_another_is_made_again(folder):
    made = read("blot", seed=1)
    (file,) = folder.iterdir()
    read("blot", seed=2)
    (other,) = set(folder.iterdir()) - {file}
    file.write_bytes(other.read_bytes())
    assert all(map(equal, read("blot", seed=1), made))


def test_where_nothing_can_be_kept_it_goes_on_without(folder, monkeypatch):
    made = list(damaged_lines(DAMAGES.create("blot"), written(), "set", 3, 0))
    folder.parent.joinpath("file").touch()
    monkeypatch.setenv("KAIDOKU_CACHE", str(folder.parent / "file"))
    assert all(map(equal, read(), made))


def test_a_full_disk_costs_nothing_but_time(folder, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    assert len(read()) == len(written())
    assert not list(folder.iterdir())


def test_the_least_lately_read_go_first_when_room_is_short(folder, monkeypatch):
    for seed in range(3):
        read(seed=seed)
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for age, file in enumerate(reversed(files)):
        os.utime(file, (1e9 - age, 1e9 - age))
    read(seed=0)  # the oldest is read: now the newest
    oldest = min(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    sizes = sum(file.stat().st_size for file in files)
    monkeypatch.setattr(kept, "LIMIT", sizes)
    kept._make_room(folder)
    assert set(folder.iterdir()) == set(files)
    monkeypatch.setattr(kept, "LIMIT", sizes - 1)
    kept._make_room(folder)
    assert set(folder.iterdir()) == set(files) - {oldest}


def test_a_set_that_would_drive_out_everything_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(kept, "LIMIT", 1000)
    assert len(read()) == len(written())
    assert not list(folder.iterdir())


def test_an_empty_set(folder):
    lines: tuple[Line, ...] = ()
    assert read(lines=lines) == [] == read(lines=lines)
