"""The data set `iam`: the IAM Handwriting Database 3.0 as its users downloaded it.

English prompts of the LOB corpus, copied by 657 writers, scanned at 300 dpi (Marti and Bunke, IJDAR
2002). It may not be redistributed: every user registers and downloads it. Its folder has

    lines/a01/a01-000u/a01-000u-00.png    unpacked from lines.tgz (or all in lines/)
    xml/a01-000u.xml                      unpacked from xml.tgz
    ascii/lines.txt, ascii/forms.txt      unpacked from ascii.tgz
    splits/                               lists of a partition (`PARTITIONS`)

Teklia's Parquet files (https://huggingface.co/datasets/Teklia/IAM-line, partition rwth) are read as
`-o parquet.path=Teklia/IAM-line`.

Results on the published partitions are not comparable. `aachen` and `rwth` have the same test
lines; their val and test contain 548 and 1,313 of the 1,861 test lines of `official`, so weights
tuned on either must not be tested on `official`, nor vice versa. The lists are published without
IAM's data
(https://github.com/shonenkov/IAM-Splitting counts and compares them).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal

from bench.core.errors import Unavailable
from bench.core.types import BadLine, Image, Line, LineSet
from datasets.base import Dataset, absence, make_line
from datasets.files import decode, image_inside, text_inside
from datasets.iam_text import (
    BOX_SOURCE,
    Transcripts,
    ascii_file,
    character_boxes,
    form_of,
)
from datasets.root import folder_of

URL = "https://fki.tic.heia-fr.ch/databases/iam-handwriting-database"
LICENCE = "non-commercial research, by registration"

LINE_ID = re.compile(r"[a-z]\d{2}-\d{3}[a-z]?-\d{2}")
_FORM_ID = re.compile(r"[a-z]\d{2}-\d{3}[a-z]?")
_UTTLISTS = {"train": "train", "val": "validation", "test": "test"}
FOLDERS = ("splits", "")  # of IAM's root: where lists are looked for

_OFFICIAL = "largeWriterIndependentTextLineRecognitionTask"
_COMPARED = "https://github.com/shonenkov/IAM-Splitting"


@dataclass(frozen=True)
class Partition:
    """A published partition.

    counts: lines by split, as published.
    files: names of a split's list below one of `FOLDERS`, in order of preference.
    where: source of the lists, and the file names to use.
    """

    counts: Mapping[str, int]
    files: Mapping[str, tuple[str, ...]]
    where: str


PARTITIONS: Mapping[str, Partition] = {
    # TrOCR (Li et al. 2021) and Michael et al. (2019): Laia's lists
    "aachen": Partition(
        counts={"train": 6161, "val": 966, "test": 2915},
        files={
            "train": ("aachen/tr.lst", "IAM-A/train.txt"),
            "val": ("aachen/va.lst", "IAM-A/valid.txt"),
            "test": ("aachen/te.lst", "IAM-A/test.txt"),
        },
        where=f"the folder IAM-A of {_COMPARED}, or the folder aachen of "
        "https://github.com/jpuigcerver/Laia/tree/master/egs/iam/data/part/lines",
    ),
    # Bluche and the MDLSTMs of RWTH; OrigamiNet, VAN, Teklia/IAM-line
    "rwth": Partition(
        counts={"train": 6482, "val": 976, "test": 2915},
        files={
            split: (f"IAM-B/{split.replace('val', 'valid')}.txt", f"{name}.uttlist")
            for split, name in _UTTLISTS.items()
        },
        where=f"the folder IAM-B of {_COMPARED}, or the lists of forms of "
        "https://www.openslr.org/resources/56/splits.zip",
    ),
    # IAM's own: large writer-independent text line recognition task, two validation sets
    "official": Partition(
        counts={"train": 6161, "val": 900, "val2": 940, "test": 1861},
        files={
            split: (f"{name}.txt", f"{_OFFICIAL}/{name}.txt")
            for split, name in {
                "train": "trainset",
                "val": "validationset1",
                "val2": "validationset2",
                "test": "testset",
            }.items()
        },
        where=f"{_OFFICIAL}.zip of https://fki.tic.heia-fr.ch/databases/iam-handwriting-database",
    ),
}


@dataclass(frozen=True)
class Iam(Dataset):
    """Lines of the IAM Handwriting Database.

    Lines whose words IAM segmented wrongly are kept, for the partitions count them.

    root: its folder; default: `iam` in the data root.
    partition: aachen (6161 train, 966 val, 2915 test: TrOCR's), rwth (6482, 976, 2915: Teklia's,
        VAN's) or official (6161, 900 and 940, 1861).
    references: xml (the text as written, from xml/), ascii (lines.txt: a space between all
        tokens, also before a comma) or laia (lines.txt as in Laia's and TrOCR's labels: no space
        inside a token, contractions joined). Error rates differ between them.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val", "val2", "test")

    root: Path | None = None
    partition: Literal["aachen", "rwth", "official"] = "aachen"
    references: Literal["xml", "ascii", "laia"] = "xml"

    def missing(self) -> Unavailable | None:
        """The missing parts of IAM, and their source."""
        return absence(lambda: list_file(self._folder(), self.partition, "test"))

    def split_names(self) -> tuple[str, ...]:
        """The splits of the partition; only `official` has a second validation set."""
        return tuple(PARTITIONS[self.partition].files)

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Read the first `limit` lines of a split, in the order of its list.

        A note says if the list's length differs from the published one.
        """
        self.check_split(split)
        root = self._folder()
        transcripts = Transcripts(root, self.references)
        ids, bad, notes = read_list(root, self.partition, split, transcripts.lines_of)
        named = transcripts.writers.keys() & set(map(form_of, ids))
        if not named and not (root / "xml").is_dir():
            notes.append(
                "no file names the writers, so that each form counts as a writer of its own: "
                "unpack ascii.tgz, which has forms.txt"
            )
        return self.gathered(
            "iam",
            split,
            chain(bad, (_line(root, transcripts, name, split) for name in ids[:limit])),
            source=URL,
            licence=LICENCE,
            references=f"iam-{self.references}, partition {self.partition}",
            total=min(len(ids), limit or len(ids)),
            notes=notes,
        )

    def _folder(self) -> Path:
        """The root, checked for images and transcriptions."""
        root = folder_of(
            "iam",
            self.root,
            f"register at {URL}, unpack lines.tgz, xml.tgz and ascii.tgz into folders lines, xml "
            "and ascii",
        )
        if not (root / "lines").is_dir():
            raise Unavailable(
                f"iam has no images: {root / 'lines'} is missing",
                f"unpack lines.tgz of {URL} into that folder, or read Teklia's Parquet files: "
                "--dataset parquet -o parquet.path=Teklia/IAM-line",
            )
        has_xml, has_ascii = (root / "xml").is_dir(), ascii_file(root, "lines.txt") is not None
        if self.references == "xml" and not has_xml:
            other = "; or take the texts of lines.txt: -o iam.references=ascii" if has_ascii else ""
            raise Unavailable(
                f"iam has no XML forms: {root / 'xml'} is missing",
                f"unpack xml.tgz of {URL} into that folder{other}",
            )
        if self.references != "xml" and not has_ascii:
            other = "; or take the texts of xml/: -o iam.references=xml" if has_xml else ""
            raise Unavailable(
                f"iam has no lines.txt: {root / 'ascii' / 'lines.txt'} is missing",
                f"unpack ascii.tgz of {URL} into that folder{other}",
            )
        return root


def _line(root: Path, transcripts: Transcripts, name: str, split: str) -> Line | BadLine:
    try:
        written = transcripts[name]
    except ValueError as error:
        return BadLine(name, str(error))
    form = form_of(name)
    line = make_line(
        name,
        written.text,
        lambda: _image(root, name),
        writer=written.writer or form,  # a form is of one writer
        split=split,
        page=form,
    )
    if isinstance(line, BadLine):
        return line
    boxes = character_boxes(line.text, written, line.image.shape)
    return line if boxes is None else dataclasses.replace(line, boxes=boxes, box_source=BOX_SOURCE)


def _image(root: Path, name: str) -> Image:
    form = form_of(name)
    places = (f"{form.partition('-')[0]}/{form}/{name}", f"{form}/{name}", name)
    return decode(image_inside(root / "lines", places))


def list_file(root: Path, partition: str, split: str) -> Path:
    """The list of a split.

    Raises:
        Unavailable: it is not below the root; the remedy names its source.
    """
    published = PARTITIONS[partition]
    for folder in FOLDERS:
        for name in published.files[split]:
            if (path := root / folder / name).is_file():
                return path
    expected = root / FOLDERS[0] / published.files[split][0]
    if any((root / folder / f"{_UTTLISTS['test']}.uttlist").is_file() for folder in FOLDERS):
        raise Unavailable(
            f"there is no list of the partition {partition} in {root}, and the forms of *.uttlist "
            "are the partition rwth",
            "read that with -o iam.partition=rwth",
        )
    raise Unavailable(
        f"there is no list of the partition {partition} in {root}: {expected} is missing",
        f"get {published.where}, and put it into {root / FOLDERS[0]}",
    )


def read_list(
    root: Path, partition: str, split: str, lines_of: Callable[[str], Sequence[str]]
) -> tuple[list[str], list[BadLine], list[str]]:
    """The line ids of a split in the order of its list, invalid entries, and notes.

    In an entry more fields may follow the id (Laia's and unilm's lists), or it may be a path that
    ends in `.png`. A form stands for all of its lines, which `lines_of` names.

    Raises:
        Unavailable: the list is not here, or cannot be read.
    """
    path = list_file(root, partition, split)
    name = path.relative_to(root).as_posix()
    try:
        text = text_inside(path.parent, path.name)
    except ValueError as error:
        raise Unavailable(f"the list of {partition} cannot be read: {error}") from error
    ids: dict[str, None] = {}
    bad: list[BadLine] = []
    notes: list[str] = []
    for number, row in enumerate(text.splitlines(), 1):
        entry = row.split()[0] if row.split() else ""
        if not entry or entry.startswith("#"):
            continue
        base = entry.rpartition("/")[2].partition(".")[0]
        found = lines_of(base) if _FORM_ID.fullmatch(base) else [base]
        if not found:
            bad.append(BadLine(f"{name}:{number}", f"the form {base} has no lines here"))
        elif not LINE_ID.fullmatch(found[0]):
            bad.append(BadLine(f"{name}:{number}", f"{entry[:80]!r} is no id of a line of IAM"))
        elif ids.keys() >= set(found):
            notes.append(f"{name}:{number} names {base} again; it is read once")
        else:
            ids |= dict.fromkeys(found)
    right = PARTITIONS[partition].counts[split]
    if len(ids) != right:
        notes.append(
            f"{name} has {len(ids)} lines, and {split} of the partition {partition} has {right} as "
            "published: results on it are not comparable with published ones"
        )
    return list(ids), bad, notes
