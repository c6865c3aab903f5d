"""`damage export`: whole copies that are read back alike, and go on where they were stopped."""

import dataclasses
import hashlib
import json
import subprocess

import cv2
import numpy as np
import pytest

from bench.analysis.export import MANIFEST, RECORD, SUMS, UNFINISHED, export, name_of
from bench.core.errors import UserError
from bench.core.types import Condition, LineSet
from datasets.base import fingerprint
from datasets.damage import DAMAGES
from datasets.damage.base import damaged_lines
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


def rows(path):
    return [json.loads(row) for row in (path / MANIFEST).read_text("utf-8").splitlines()]


@pytest.mark.parametrize("name", ["char_erase", "bleed_through", "warp", "none"])
def test_a_copy_holds_what_a_run_would_read(tmp_path, name):
    severity = 0 if name == "none" else 4
    condition = dataclasses.replace(CONDITION, damage=name, severity=severity)
    done = write(tmp_path, condition)
    assert (done.made, done.reused) == (4, 0)
    assert done.path == tmp_path / ("clean" if name == "none" else f"{name}-4-1")
    back = ManifestLines(path=done.path / MANIFEST).load("test")
    assert not back.bad
    clean = lines().lines
    damage = None if name == "none" else DAMAGES.create(name)
    images = (
        [line.image for line in clean]
        if damage is None
        else [result.line.image for result in damaged_lines(damage, clean, "set", 4, 1)]
    )
    assert [line.id for line in back.lines] == [line.id.strip() for line in clean]
    for line, original, image in zip(back.lines, clean, images, strict=True):
        assert (line.image == image).all()
        assert (line.text, line.writer) == (original.text, original.writer)
        assert line.block == original.block
        assert (line.page, line.split) == (original.page, original.split)


def test_rows_tell_what_is_lost_and_where_characters_are(tmp_path):
    path = write(tmp_path).path
    results = list(damaged_lines(DAMAGES.create("char_erase"), lines().lines, "set", 4, 1))
    for row, clean, result in zip(rows(path), lines().lines, results, strict=True):
        assert row["ink_lost"] == result.ink_lost
        assert row["box_source"] == result.line.box_source
        assert np.array(row["boxes"]) == pytest.approx(result.line.boxes)
        visible = np.array([np.nan if v is None else v for v in row["visible"]])
        assert visible == pytest.approx(visible_shares(clean, result), nan_ok=True)
    sources = [row["box_source"] for row in rows(path)]
    assert sources == ["renderer", "equal-slots", "renderer", "renderer"]
    warped = write(tmp_path, dataclasses.replace(CONDITION, damage="warp")).path
    assert rows(warped)[0]["visible"] is None and rows(warped)[0]["ink_lost"] is None


def test_sums_hold_for_every_file_that_they_name(tmp_path):
    path = write(tmp_path).path
    sums = dict(line.split("  ")[::-1] for line in (path / SUMS).read_text().splitlines())
    assert set(sums) == {MANIFEST, *(str(p.relative_to(path)) for p in path.glob("images/*"))}
    for name, digest in sums.items():
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest
    checked = subprocess.run(["sha256sum", "--quiet", "-c", SUMS], cwd=path, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("trouble", ["none", "torn", "lost image", "changed image"])
def test_a_copy_that_was_stopped_goes_on_and_ends_the_same(tmp_path, trouble):
    def stops(items, doing):
        for count, item in enumerate(items):
            if count == 2:
                raise KeyboardInterrupt
            yield item

    whole = write(tmp_path / "whole").path
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "part", track=stops)
    path = tmp_path / "part" / name_of(CONDITION)
    assert not (path / MANIFEST).exists() and (path / UNFINISHED).exists()
    image = min(path.glob("images/*"))
    if trouble == "torn":
        with (path / UNFINISHED).open("ab") as journal:
            journal.write(b'{"number": 2, "ima')
    elif trouble == "lost image":
        image.unlink()
    elif trouble == "changed image":
        image.write_bytes(image.read_bytes()[:-20])
    done = write(tmp_path / "part")
    assert done.reused == (1 if "image" in trouble else 2) and done.made == 4 - done.reused
    assert contents(path) == contents(whole)
    again = write(tmp_path / "part")
    assert (again.made, again.reused) == (0, 4)


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
    with pytest.raises(UserError, match="something else"):
        write(tmp_path)
    before.pop((path / RECORD).relative_to(path))
    assert contents(path) == before


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose a folder"):
        write(tmp_path / "file")


def test_the_command_writes_copies_that_the_manifest_reads(tmp_path, call):
    options = ["--limit", "3", "--damage", "none,holes", "--severity", "1,5"]
    words = ["damage", "export", "lines", "-o", str(tmp_path), *options]
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
    assert code == 0 and "(3 were there)" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lines"], "-o"),
        (["linse", "-o", "x"], "did you mean lines"),
        (["lines", "-o", "x", "--damage", "blott"], "did you mean blot"),
        (["lines", "-o", "x", "--severity", "6"], "severity 6"),
        (["lines", "-o", "x", "--seed", "a"], "--seed takes whole numbers"),
        (["lines", "-o", "x", "--limit", "0"], "leaves nothing"),
        (["lines", "-o", "x", "--option", "blot.fill=mark"], "no option 'fill'"),
        (["lines", "-o", "x", "--option", "hooker.source=a"], "hooker"),
        (["lines", "-o", "x", "--option", "span_erase.fill=red"], "one of paper, mark"),
        (["lines", "-o", "x", "--align", "mimi"], "did you mean mini"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(words, sentence, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("damage", "export", *words)
    assert code == 2 and sentence in err.strip().splitlines()[-1]
    assert not list(tmp_path.iterdir())
