"""The data set `iam`: the IAM Handwriting Database 3.0 as its users downloaded it.

English prompts of the LOB corpus, copied by 657 writers, scanned at 300 dpi (Marti and Bunke, IJDAR
2002). It may not be passed on: every user registers and downloads it. Its folder has

    lines/a01/a01-000u/a01-000u-00.png    unpacked from lines.tgz (or all in lines/)
    xml/a01-000u.xml                      unpacked from xml.tgz
    ascii/lines.txt, ascii/forms.txt      unpacked from ascii.tgz
    splits/                               lists of a partition (`datasets.iam_partitions`)

or, all in one, Teklia's Parquet files (https://huggingface.co/datasets/Teklia/IAM-line) in data/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar, Literal

from bench.core.errors import Unavailable, UserError
from bench.core.metrics import normalise
from bench.core.types import BadLine, Image, Line, LineSet
from datasets.base import EMPTY, Dataset, absence
from datasets.hub_lines import HubLines
from datasets.iam_boxes import SOURCE, character_boxes
from datasets.iam_partitions import PARTITIONS, list_file, miscount, read_list
from datasets.iam_text import Style, Transcripts, Written, ascii_file, form_of
from datasets.images import decode
from datasets.paths import content, inside
from datasets.root import folder_of

URL = "https://fki.tic.heia-fr.ch/databases/iam-handwriting-database"
TEKLIA = "https://huggingface.co/datasets/Teklia/IAM-line"
LICENCE = "non-commercial research, by registration"

_SUFFIXES = (".png", ".tif", ".jpg")  # of line images; IAM's own are PNG


@dataclass(frozen=True)
class Iam(Dataset):
    """Lines of the IAM Handwriting Database.

    root: the folder it lies in; none means `iam` in the data root.
    partition: aachen (6161 train, 966 val, 2915 test: TrOCR's), rwth (6482, 976, 2915: Teklia's,
        VAN's), official (6161, 900 and 940, 1861) or iam-d (9652, 1840, 1861).
    references: xml (the text as it is written, of xml/), ascii (lines.txt: a space between all
        tokens, also before a comma), laia (lines.txt as Laia and TrOCR's labels have it: no
        space inside a token, contractions joined) or teklia (its Parquet files, images and all:
        partition rwth, no writers). Error rates differ between them.
    errors: what is done with lines whose words IAM segmented wrongly; the partitions count them.
        Teklia's files do not tell them.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val", "val2", "test")

    root: Path | None = None
    partition: Literal["aachen", "rwth", "official", "iam-d"] = "aachen"
    references: Literal["xml", "ascii", "laia", "teklia"] = "xml"
    errors: Literal["keep", "drop"] = "keep"

    def missing(self) -> Unavailable | None:
        """What of IAM is not here, and where the user gets it."""
        if self.references == "teklia":
            return self._teklia().missing()
        return absence(lambda: list_file(self._folder(), self.partition, "test"))

    def split_names(self) -> tuple[str, ...]:
        """The splits of the partition; only `official` has a second validation set."""
        return tuple(PARTITIONS[self.partition].files)

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """The first `limit` lines of a split, in the order of its list.

        A list with another number of lines than was published is told as a note.

        Raises:
            Unavailable: images, transcriptions or the list of the split are not here.
            UserError: the partition has no such split.
            BadLinesError: a line cannot be used, and the set is to be read strictly.
        """
        style = self.references
        if style == "teklia":
            return self._load_teklia(split, limit)
        root = self._folder()
        ids, bad, notes = read_list(root, self.partition, split)
        wanted = islice(self._written(root, ids, style), limit)
        return self.gathered(
            "iam",
            split,
            chain(bad, (_line(root, name, written, split) for name, written in wanted)),
            source=URL,
            licence=LICENCE,
            references=f"iam-{style}, partition {self.partition}",
            total=min(len(ids), limit or len(ids)),
            notes=notes,
        )

    def _teklia(self) -> HubLines:
        """Teklia's Parquet files in the root."""
        remedy = f"put the folder data of {TEKLIA} into it"
        return HubLines(path=str(folder_of("iam", self.root, remedy).resolve()))

    def _load_teklia(self, split: str, limit: int | None) -> LineSet:
        if self.errors == "drop":
            raise UserError("Teklia's files do not tell which lines IAM segmented wrongly")
        if self.partition != "rwth" and (self.partition, split) != ("aachen", "test"):
            raise UserError(
                f"Teklia's files are the partition rwth, so they have no {split} of "
                f"{self.partition}; take -o iam.partition=rwth"
            )
        found = self._teklia().load(split, limit)
        count = len(found.lines) + len(found.bad)
        notes = miscount("Teklia's files", "rwth", split, count) if limit is None else []
        return self.gathered(
            "iam",
            split,
            chain(found.bad, found.lines),
            source=TEKLIA,
            licence=LICENCE,
            references=f"iam-teklia, partition {self.partition}",
            total=count,
            notes=notes,
        )

    def _folder(self) -> Path:
        """The root, which has images and the transcriptions that are wanted."""
        root = folder_of(
            "iam",
            self.root,
            f"register at {URL}, unpack lines.tgz, xml.tgz and ascii.tgz into folders lines, xml "
            "and ascii",
        )
        if not (root / "lines").is_dir():
            raise Unavailable(
                f"iam has no images: {root / 'lines'} is missing",
                f"unpack lines.tgz of {URL} into that folder, or read Teklia's Parquet files with "
                "-o iam.references=teklia",
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

    def _written(
        self, root: Path, ids: Iterable[str], style: Style
    ) -> Iterator[tuple[str, Written | str]]:
        """What is said of each wanted line, or why nothing is."""
        transcripts = Transcripts(root, style)
        for name in ids:
            try:
                written = transcripts[name]
            except ValueError as error:
                yield name, str(error)
                continue
            if written.correct or self.errors == "keep":
                yield name, written


def _line(root: Path, name: str, written: Written | str, split: str) -> Line | BadLine:
    """A line with its image, or why it cannot be used."""
    if isinstance(written, str):
        return BadLine(name, written)
    text = normalise(written.text)
    if not text:
        return BadLine(name, EMPTY)
    try:
        image = _image(root, name)
    except ValueError as error:
        return BadLine(name, str(error))
    boxes = character_boxes(text, written, image.shape)
    return Line(
        id=name,
        image=image,
        text=text,
        writer=written.writer or form_of(name),  # a form is of one writer
        split=split,
        boxes=boxes,
        box_source="" if boxes is None else SOURCE,
        page=form_of(name),
    )


def _image(root: Path, name: str) -> Image:
    form = form_of(name)
    for folder in (f"lines/{form.partition('-')[0]}/{form}", f"lines/{form}", "lines"):
        for suffix in _SUFFIXES:
            path = inside(root, f"{folder}/{name}{suffix}")
            if path.is_file():
                try:
                    return decode(content(path))
                except ValueError as error:
                    raise ValueError(f"its image cannot be read: {error}") from error
    raise ValueError(f"it has no image in {root / 'lines'}")
