"""Damaged lines on disk: exported copies, and the cache."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bench.analysis.export import MANIFEST, RECORD, export, name_of
from bench.core.errors import UserError
from bench.core.types import Condition, LineSet
from datasets.base import fingerprint
from datasets.damage import DAMAGES
from datasets.damage import cache as kept
from datasets.damage.base import Damaged, damaged_lines
from datasets.damage.cache import cached_lines
from datasets.damage.visible import visible_shares
from datasets.manifest import ManifestLines
from tests.damage_lines import written

CONDITION = Condition("set", "test", "char_erase", 4, 1)


def lines() -> LineSet:
    clean = written()
    odd = dataclasses.replace(
        clean[1],
        id="../a b/ü\n" + "x" * 300,
        text='"quoted", with \\ and ü',
        writer="Ünal",
        block="letter 3",
    )
    odd = dataclasses.replace(odd, boxes=None, box_source="")
    bare = np.full((64, 200), 230, np.uint8)
    blank = dataclasses.replace(clean[2], id="blank", image=bare)
    made = (clean[0], odd, blank, clean[3])
    return LineSet("set", "test", made, (), fingerprint(made), "here", "as the project", "tests")


def write(folder, condition=CONDITION, found=None, track=lambda items, doing: items, **options):
    damage = None
    if condition.damage != "none":
        damage = DAMAGES.create(condition.damage, options)
    return export(found or lines(), condition, damage, options, folder, track)


@pytest.mark.parametrize("name", ["char_erase", "bleed_through", "warp", "none"])
def test_a_copy_holds_what_a_run_would_read(tmp_path, name):
    severity = 0 if name == "none" else 4
    condition = dataclasses.replace(CONDITION, damage=name, severity=severity)
    done = write(tmp_path, condition)
    assert done.made
    assert done.path == tmp_path / ("clean" if name == "none" else f"{name}-4-1")
    back = ManifestLines(path=done.path / MANIFEST).load("test")
    assert not back.bad
    clean = lines().lines
    assert [line.id for line in back.lines] == [line.id.strip() for line in clean]
    results = [Damaged(line, None, None) for line in clean]
    if name != "none":
        results = list(damaged_lines(DAMAGES.create(name), clean, "set", 4, 1))
    stored = [json.loads(row) for row in (done.path / MANIFEST).read_text("utf-8").splitlines()]
    for line, original, result, row in zip(back.lines, clean, results, stored, strict=True):
        assert (line.image == result.line.image).all()
        pair = [(x.text, x.writer, x.block, x.page, x.split) for x in (line, original)]
        assert pair[0] == pair[1]
        assert (row["ink_lost"], row["box_source"]) == (result.ink_lost, result.line.box_source)
        if name == "char_erase":
            assert np.array(row["boxes"]) == pytest.approx(result.line.boxes)
            visible = np.array([np.nan if v is None else v for v in row["visible"]])
            assert visible == pytest.approx(visible_shares(original, result), nan_ok=True)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_copy_that_was_stopped_is_made_again_and_ends_the_same(tmp_path):
    def stops(items, doing):
        for count, item in enumerate(items):
            if count == 2:
                raise KeyboardInterrupt
            yield item

    whole = write(tmp_path / "whole").path
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "part", track=stops)
    path = tmp_path / "part" / name_of(CONDITION)
    assert not path.exists()
    assert write(tmp_path / "part").made and contents(path) == contents(whole)
    assert not write(tmp_path / "part").made
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_another_copy_in_the_way_is_left_alone(tmp_path):
    path = write(tmp_path).path
    before = contents(path)
    fewer = dataclasses.replace(lines(), sha256="0" * 64)
    with pytest.raises(UserError, match="it differs in dataset_sha256"):
        write(tmp_path, found=fewer)
    with pytest.raises(UserError, match="differs in options"):
        write(tmp_path, fill="mark")
    (path / RECORD).write_text("[]")
    with pytest.raises(UserError, match=RECORD):
        write(tmp_path)
    (path / RECORD).unlink()
    with pytest.raises(UserError, match=RECORD):
        write(tmp_path)
    before.pop((path / RECORD).relative_to(path))
    assert contents(path) == before


def test_the_command_writes_copies_that_the_manifest_reads(tmp_path, call):
    options = ["--limit", "3", "--damage", "none,holes", "--severity", "1,5"]
    words = ["data", "damage", "export", "lines", "--out", str(tmp_path), *options]
    code, out, err = call(*words)
    assert code == 0 and "clean: 3 lines" in out and "holes-5-0: 3 lines" in out
    assert "licence" in err
    assert {p.name for p in tmp_path.iterdir()} == {"clean", "holes-1-0", "holes-5-0"}
    record = json.loads((tmp_path / "holes-5-0" / RECORD).read_text())
    assert (record["dataset"], record["damage"], record["severity"]) == ("lines", "holes", 5)
    assert record["boxes"] == ["renderer"]
    images = [cv2.imread(str(p), -1) for p in sorted(tmp_path.glob("holes-5-0/images/*"))]
    assert all(image.dtype == np.uint8 and image.ndim == 2 for image in images)
    code, out, _ = call(*words)
    assert code == 0 and "(there already)" in out


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path))
    return tmp_path / "damage"


def read(name="blot", lines=None, severity=3, seed=0, **options):
    damage = DAMAGES.create(name, options)
    return list(cached_lines(damage, lines or written(), "set", severity, seed))


def equal(a: Damaged, b: Damaged) -> bool:
    arrays = [(x.line.image, x.line.boxes, x.mask) for x in (a, b)]
    facts = [(x.line.id, x.line.text, x.line.box_source, x.ink_lost) for x in (a, b)]
    return facts[0] == facts[1] and all(
        one is other is None or (np.array_equal(one, other) and one.dtype == other.dtype)
        for one, other in zip(*arrays, strict=True)
    )


@pytest.mark.parametrize("name", ["char_erase", "noise", "warp"])
def test_what_is_read_back_is_what_was_made(name, folder, monkeypatch):
    bare = dataclasses.replace(written()[0], id="bare", boxes=None, box_source="")
    lines = (written()[0], bare)
    made = list(damaged_lines(DAMAGES.create(name), lines, "set", 3, 0))
    assert all(map(equal, read(name, lines), made))
    monkeypatch.delattr(kept, "damaged_lines")
    again = read(name, lines)
    assert len(again) == len(made) and all(map(equal, again, made))
    again[0].line.image[:] = 0  # as free to be written to as a new one
    assert len(list(folder.iterdir())) == 1


def test_anything_that_they_follow_from_makes_them_anew(folder):
    next(cached_lines(DAMAGES.create("blot"), written(), "set", 3, 0))
    assert not list(folder.iterdir())  # not read to its end
    read()
    first = written()
    one_pixel = first[0].image.copy()
    one_pixel[0, 0] ^= 1
    assert first[0].boxes is not None
    moved = first[0].boxes + np.float32(1)
    others: list[dict[str, Any]] = [
        {"severity": 2},
        {"seed": 1},
        {"name": "span_erase"},
        {"name": "span_erase", "fill": "mark"},
        {"lines": (dataclasses.replace(first[0], image=one_pixel), *first[1:])},
        {"lines": (dataclasses.replace(first[0], boxes=moved), *first[1:])},
        {"lines": (dataclasses.replace(first[0], text="other"), *first[1:])},
    ]
    for count, change in enumerate(others, start=2):
        read(**change)
        assert len(list(folder.iterdir())) == count, change


def test_what_the_disk_cannot_read_is_made_again(folder):
    made = read()
    (file,) = folder.iterdir()
    file.unlink()
    file.symlink_to("/proc/self/mem")  # which opens, and fails like a bad sector
    assert all(map(equal, read(), made))
    assert not file.is_symlink()


@pytest.mark.parametrize("name", ["blot", "char_erase"])
def test_what_was_changed_on_the_disk_is_made_again(name, folder):
    made = read(name)
    (file,) = folder.iterdir()
    sound = file.read_bytes()
    rng = np.random.default_rng(3)
    for place in [0, 40, len(sound) - 9, *rng.integers(len(sound), size=5).tolist()]:
        changed = bytearray(sound)
        changed[place : place + 2] = bytes(b ^ 16 for b in sound[place : place + 2])
        for content in (changed, sound[:place]):
            file.write_bytes(content)
            assert all(map(equal, read(name), made)), place
    assert file.read_bytes() == sound
    read(name, seed=1)
    (other,) = set(folder.iterdir()) - {file}
    file.write_bytes(other.read_bytes())
    assert all(map(equal, read(name), made))


def test_the_least_lately_read_go_first_when_room_is_short(folder, monkeypatch):
    for seed in range(3):
        read(seed=seed)
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for age, file in enumerate(reversed(files)):
        os.utime(file, (1e9 - age, 1e9 - age))
    (folder / "left-by-a-kill.tmp").write_bytes(bytes(99))
    os.utime(folder / "left-by-a-kill.tmp", (1e6, 1e6))
    read(seed=0)  # the oldest is read: now the newest
    oldest = min(files, key=lambda path: path.stat().st_mtime)
    sizes = sum(file.stat().st_size for file in files)
    monkeypatch.setattr(kept, "LIMIT", sizes)
    kept._make_room(folder)
    assert set(folder.iterdir()) == set(files)
    monkeypatch.setattr(kept, "LIMIT", sizes - 1)
    kept._make_room(folder)
    assert set(folder.iterdir()) == set(files) - {oldest}
    monkeypatch.setattr(kept, "LIMIT", 1000)
    assert len(read("strike")) == len(written())  # would drive out everything, so is not kept
    assert set(folder.iterdir()) == set(files) - {oldest}
