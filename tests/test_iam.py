"""The user's copy of IAM, on a rendered one in the true layout."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.cli.data import census_lines
from bench.core.errors import Unavailable
from bench.core.types import LineSet
from datasets.base import NothingReadableError
from datasets.census import take
from datasets.iam import PARTITIONS, Iam, read_list
from datasets.iam_text import (
    Box,
    Word,
    Written,
    character_boxes,
    form_of,
    laia,
    parse_form,
    parse_forms,
    parse_lines,
)
from tests.iam_layout import FORMS, Drawn, write_iam, write_list

IDS = [f"{form.id}-{number:02d}" for form in FORMS for number in range(len(form.lines))]
TEXTS = [line.text for form in FORMS for line in form.lines]
CORRECT = [line.correct for form in FORMS for line in form.lines]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Drawn]]:
    """A copy of IAM that no test changes, and what was drawn."""
    root = tmp_path_factory.mktemp("iam")
    drawn = write_iam(root)
    write_list(root / "splits" / "aachen" / "te.lst", padded(IDS, "aachen", "test"))
    return root, drawn


@pytest.fixture
def own(copied: tuple[Path, dict[str, Drawn]], tmp_path: Path) -> Path:
    """A copy of IAM to spoil."""
    return Path(shutil.copytree(copied[0], tmp_path / "iam"))


def padded(ids: Sequence[str], partition: str, split: str) -> list[str]:
    """These ids and as many others as make the published count."""
    others = (f"z{n // 1000:02d}-{n % 1000:03d}-00" for n in range(10_000))
    count = PARTITIONS[partition].counts[split]
    return [*ids, *(next(others) for _ in range(count - len(ids)))]


def first(root: Path, count: int = len(IDS), **options: object) -> LineSet:
    """The set; where none of its lines can be used, with their reasons."""
    try:
        return Iam(root=root, **options).load("test", count)  # type: ignore[arg-type]
    except NothingReadableError as error:
        return error.lineset


def reasons(found: LineSet) -> dict[str, str]:
    return {line.id: line.reason for line in found.bad}


def test_lines_come_as_they_were_written(copied) -> None:
    root, drawn = copied
    found = first(root)
    assert not found.bad
    assert [line.id for line in found.lines] == IDS
    assert [line.text for line in found.lines] == TEXTS  # entities of two levels decoded
    assert [line.writer for line in found.lines] == ["000"] * 3 + ["171"] * 2
    assert [line.page for line in found.lines] == ["a01-000u"] * 3 + ["c04-160"] * 2
    for line in found.lines:
        assert np.array_equal(line.image, drawn[line.id].image)
    assert found.references == "iam-xml, partition aachen"


def test_the_three_styles_of_reference_are_told_apart(copied) -> None:
    texts = {}
    for style in ("xml", "ascii", "laia"):
        found = first(copied[0], references=style)
        assert found.references == f"iam-{style}, partition aachen"
        texts[style] = [line.text for line in found.lines]
    assert texts["ascii"][1:3] == ["M Ps tomorrow . Mr. Foot", 'We \'ll say " prop up " & go']
    assert texts["laia"][1:3] == ["MPs tomorrow . Mr. Foot", 'We\'ll say " prop up " & go']
    assert texts["laia"][4] == texts["ascii"][4] == "Griffiths , of Hull ;"
    assert texts["xml"] == TEXTS


def test_laia_writes_what_its_own_script_writes() -> None:
    """The substitutions of prepare_iam_text.sh, done by sed."""
    if shutil.which("sed") is None:
        pytest.skip("sed is not here")
    rows = ["We|'ll|go", "B B C|news", "it|'s|John|'s", "THEY|'RE|'t|'tis", "I|'m|'d", "a|'|s|'sad"]
    script = r"s/ '\(s\|d\|ll\|m\|ve\|t\|re\|S\|D\|LL\|M\|VE\|T\|RE\)\b/'\1/g"
    done = subprocess.run(
        ["sed", "-e", "s/ //g", "-e", "s/|/ /g", "-e", script],
        input="\n".join(rows), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [laia(row.split("|")) for row in rows] == done.stdout.splitlines()


def test_boxes_lie_where_the_writer_wrote(copied) -> None:
    """The oracle is the renderer, which knows where it put each character."""
    root, drawn = copied
    for line, correct in zip(first(root).lines, CORRECT, strict=True):
        if not correct:  # IAM's components of such a line are not those of its words
            assert line.boxes is None and line.box_source == ""
            continue
        assert line.boxes is not None and line.box_source == "iam-xml"
        assert line.boxes.dtype == np.float32 and line.boxes.shape == (len(line.text), 2)
        assert (line.boxes[:, 0] <= line.boxes[:, 1]).all()
        inked = np.array([not char.isspace() for char in line.text])
        centres = np.abs(line.boxes.mean(1) - drawn[line.id].boxes.mean(1))[inked]
        width = np.diff(drawn[line.id].boxes, axis=1)[inked].mean()
        assert centres.mean() < 0.3 * width
        assert centres.max() < 0.8 * width


def written(*words: tuple[str, list[tuple[int, int]]], correct: bool = True) -> Written:
    """Words with the left and right columns of their components, 10 pixels high."""
    tokens = tuple(
        Word(text, tuple(Box(left, 100, right - left, 10) for left, right in parts))
        for text, parts in words
    )
    return Written(" ".join(word.text for word in tokens), correct, "0", tokens)


def test_components_that_are_letters_are_taken_as_they_are() -> None:
    """The dot of an i lies over its stem; a word of one component is shared out by widths."""
    line = written(("ai", [(100, 120), (124, 130), (125, 129)]), ("mi", [(140, 181)]))
    boxes = character_boxes("ai mi", line, (10, 81))
    assert boxes is not None
    assert boxes[:3].tolist() == [[0, 20], [24, 30], [30, 40]]
    assert boxes[3, 0] == 40 and boxes[3, 1] == boxes[4, 0] and boxes[4, 1] == 81
    assert np.diff(boxes[3:]).ravel().tolist() == pytest.approx([41 * 1.5 / 2.05, 41 * 0.55 / 2.05])
    over = character_boxes("a b", written(("a", [(0, 20)]), ("b", [(14, 40)])), (10, 40))
    assert over is not None and over.tolist() == [[0, 20], [17, 17], [14, 40]]


def test_a_list_of_another_length_is_a_note_and_no_line_that_cannot_be_read(own: Path) -> None:
    (own / "splits" / "aachen" / "te.lst").write_text("\n".join(IDS))
    found = Iam(root=own, strict=True).load("test")
    assert len(found.lines) == len(IDS) and "te.lst has 5 lines" in found.notes[0]
    census = take("iam", Iam(root=own), ("test",))
    assert census.notes == found.notes and not census.bad
    assert any("2915 as published" in line for line in census_lines(census))


def test_what_is_wrong_in_a_list_is_told_by_its_line(own: Path) -> None:
    path = own / "splits" / "aachen" / "te.lst"
    path.write_text(
        f"# Aachen\n\n{IDS[0]} a01\\MOVE\nlines/a01/{IDS[1]}.png 7\n../../etc/passwd\n{IDS[0]}\n"
    )
    ids, bad, notes = read_list(own, "aachen", "test", _no_lines)
    assert ids == IDS[:2]
    assert [line.id.rpartition("/")[2] for line in bad] == ["te.lst:5"]
    assert "passwd" in bad[0].reason
    assert f"te.lst:6 names {IDS[0]} again" in notes[0] and "te.lst has 2 lines" in notes[1]


def _no_lines(form: str) -> list[str]:
    return []


@pytest.mark.parametrize("references", ["xml", "ascii"])
def test_lists_of_forms_stand_for_their_lines(own: Path, references: str) -> None:
    shutil.rmtree(own / "splits")
    forms = sorted({form_of(name) for name in IDS})
    (own / "splits").mkdir()
    (own / "splits" / "test.uttlist").write_text("\n".join([*forms, "z99-999"]) + "\n")
    missing = Iam(root=own).missing()
    assert missing is not None and "iam.partition=rwth" in missing.remedy
    made = Iam(root=own, partition="rwth", references=references)  # type: ignore[arg-type]
    found = made.load()
    assert [line.id for line in found.lines] == sorted(IDS)
    assert "the form z99-999 has no lines here" in next(b.reason for b in found.bad)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_published_list_is_found_under_its_own_names(own: Path, partition: str) -> None:
    shutil.rmtree(own / "splits")
    published = PARTITIONS[partition]
    for split, names in published.files.items():
        for folder, name in ((own / "splits", names[0]), (own, names[-1])):
            write_list(folder / name, padded(IDS, partition, split))
            ids, bad, notes = read_list(own, partition, split, _no_lines)
            assert len(ids) == published.counts[split] and not bad and not notes
            (folder / name).unlink()
    made = Iam(root=own, partition=partition)  # type: ignore[arg-type]
    assert made.split_names() == tuple(published.counts)


def test_what_is_missing_is_said_with_where_to_get_it(own: Path, tmp_path: Path) -> None:
    def absent(**options: object) -> str:
        reason = Iam(**{"root": own, **options}).missing()  # type: ignore[arg-type]
        assert isinstance(reason, Unavailable)
        return str(reason)

    assert Iam(root=own).missing() is None
    assert "shonenkov/IAM-Splitting" in absent(partition="rwth")
    assert "largeWriterIndependent" in absent(partition="official")
    assert "-o iam.root=DIR" in absent(root=tmp_path / "nowhere")
    (own / "xml").rename(own / "yml")
    assert "-o iam.references=ascii" in absent()
    (own / "ascii").rename(own / "asci")
    assert "unpack ascii.tgz" in absent(references="laia")
    (own / "lines").rename(own / "line")
    assert "lines.tgz" in absent() and "Teklia/IAM-line" in absent()
    with pytest.raises(Unavailable):
        Iam(root=own).load()


def _flatten(root: Path) -> None:
    for image in sorted((root / "lines").rglob("*.png")):
        image.rename(root / "lines" / image.name)


@pytest.mark.parametrize(
    ("change", "style", "boxes"),
    [
        (_flatten, "xml", True),
        (lambda root: shutil.rmtree(root / "xml"), "ascii", False),
        (lambda root: shutil.rmtree(root / "ascii"), "xml", True),
    ],
)
def test_a_part_of_the_database_is_enough(own: Path, change, style: str, boxes: bool) -> None:
    change(own)
    found = first(own, references=style)
    assert [line.writer for line in found.lines] == ["000"] * 3 + ["171"] * 2
    assert [line.boxes is not None for line in found.lines] == [c and boxes for c in CORRECT]
    if style == "ascii":  # a form is of one writer
        (own / "ascii" / "forms.txt").unlink()
        found = first(own, references=style)
        assert {line.writer for line in found.lines} == {"a01-000u", "c04-160"}
        assert any(note.startswith("no file names the writers") for note in found.notes)


def test_a_part_may_lie_elsewhere(own: Path, tmp_path: Path) -> None:
    """Databases often lie on another disk, each archive unpacked on its own."""
    for name in ("lines", "xml", "ascii", "splits/aachen"):
        (own / name).rename(tmp_path / Path(name).name)
        (own / name).symlink_to(tmp_path / Path(name).name)
    for style in ("xml", "ascii"):
        found = first(own, references=style)
        assert [line.id for line in found.lines] == IDS and not found.bad
        assert [line.writer for line in found.lines] == ["000"] * 3 + ["171"] * 2


@pytest.mark.parametrize("suffix", [".PNG", ".jpeg", ".TIFF"])
def test_images_may_be_of_any_format(own: Path, suffix: str) -> None:
    for image in (own / "lines").rglob("*.png"):
        Image.open(image).save(image.with_suffix(suffix))
        image.unlink()
    assert [line.id for line in first(own).lines] == IDS


def test_entities_of_lines_txt_are_characters(own: Path) -> None:
    table = own / "ascii" / "lines.txt"
    _replace(table, '"', "&quot;")
    _replace(table, "|&|", "|&amp;|")
    assert first(own, references="ascii").lines[2].text == 'We \'ll say " prop up " & go'


@pytest.mark.parametrize("references", ["xml", "ascii"])
def test_a_line_with_two_texts_is_not_read(own: Path, references: str) -> None:
    with (own / "ascii" / "lines.txt").open("a") as table:
        table.write(f"{IDS[0]} ok 154 19 408 746 1661 89 Another|text\n")
    _replace(own / "xml" / "a01-000u.xml", f'id="{IDS[1]}"', f'id="{IDS[0]}"')
    found = first(own, references=references)
    assert IDS[0] not in [line.id for line in found.lines]
    assert "two with different texts" in reasons(found)[IDS[0]]


IMAGE = f"lines/c04/c04-160/{IDS[3]}.png"
BOMB = '<!DOCTYPE form [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><form>&c;</form>'


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda xml: xml.write_text(BOMB), "entities"),
        (lambda xml: xml.write_text("<html/>"), "no handwritten part"),
        (lambda xml: xml.unlink(), "missing"),
        (lambda xml: (xml.parents[1] / IMAGE).unlink(), "no image"),
        (lambda xml: (xml.parents[1] / IMAGE).write_bytes(b"\x89PNG"), "image cannot be read"),
        (lambda xml: _replace(xml, 'text="over # the top"', 'text=" "'), "its text is empty"),
        (lambda xml: _replace(xml, IDS[3], "c04-160-09"), "no such line"),
        (lambda xml: _link(xml.parents[1] / IMAGE), "leads out"),
    ],
)
def test_a_bad_line_says_why(own: Path, change, reason: str) -> None:
    change(own / "xml" / "c04-160.xml")
    found = first(own)
    assert reason in reasons(found)[IDS[3]]
    assert [line.id for line in found.lines][:3] == IDS[:3]


def _replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text("latin-1").replace(old, new), "latin-1")


def _link(image: Path) -> None:
    secret = image.parents[4] / "secret.png"
    image.rename(secret)
    image.symlink_to(secret)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200), st.binary(max_size=300), st.integers(0, 2000))
def test_nothing_breaks_the_readers(text: str, junk: bytes, place: int) -> None:
    assert all(name in text for name in parse_lines(text))
    assert all(name in text and writer in text for name, writer in parse_forms(text).items())
    line = parse_form(XML, "a.xml")["a01-000u-00"]
    assert line == Written('a " b', True, "000", (Word("a", (Box(1, 2, 3, 4),)),))
    for document in (junk, XML[:place] + junk + XML[place:]):
        try:
            parse_form(document, "a.xml")
        except ValueError as error:
            assert "a.xml" in str(error)


XML = (
    b'<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE form SYSTEM "form-metadata.dtd">'
    b'<form writer-id="000"><handwritten-part><line id="a01-000u-00" text="a &amp;quot; b" '
    b'segmentation="ok"><word text="a"><cmp x="1" y="2" width="x" height="4"/>'
    b'<cmp x="' + b"9" * 400 + b'" y="2" width="3" height="4"/>'
    b'<cmp x="1" y="2" width="3" height="4"/></word></line></handwritten-part></form>'
)
