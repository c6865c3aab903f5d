"""Which lines of IAM are train, val and test: four published partitions, read from their lists.

The partitions differ and results on one are no results on another. `aachen` and `rwth` have the
same test lines; their val and test are 548 and 1,313 of the 1,861 test lines of `official`, so
weights that were tuned on one of the two must not be tested on `official`, or the other way round.
The lists are published without IAM's data (https://github.com/shonenkov/IAM-Splitting counts and
compares them) and are read from the user's folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import Unavailable, UserError
from bench.core.types import BadLine
from datasets.paths import content, inside
from datasets.text import decode_text

LINE_ID = re.compile(r"[a-z]\d{2}-\d{3}[a-z]?-\d{2}")
FOLDERS = ("splits", "")  # of IAM's root: where lists are looked for

_OFFICIAL = "largeWriterIndependentTextLineRecognitionTask"
_COMPARED = "https://github.com/shonenkov/IAM-Splitting"


@dataclass(frozen=True)
class Partition:
    """A published partition.

    counts: lines by split, as published.
    files: by split, what its list is called, below one of `FOLDERS`; the first that is there.
    where: where the lists are had and what they are to be called.
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
            "train": ("IAM-B/train.txt",),
            "val": ("IAM-B/valid.txt",),
            "test": ("IAM-B/test.txt",),
        },
        where=f"the folder IAM-B of {_COMPARED}",
    ),
    # IAM's own: large writer-independent text line recognition task, two validation sets
    "official": Partition(
        counts={"train": 6161, "val": 900, "val2": 940, "test": 1861},
        files={
            "train": ("trainset.txt", f"{_OFFICIAL}/trainset.txt"),
            "val": ("validationset1.txt", f"{_OFFICIAL}/validationset1.txt"),
            "val2": ("validationset2.txt", f"{_OFFICIAL}/validationset2.txt"),
            "test": ("testset.txt", f"{_OFFICIAL}/testset.txt"),
        },
        where=f"{_OFFICIAL}.zip of https://fki.tic.heia-fr.ch/databases/iam-handwriting-database",
    ),
    # Abdallah et al. (2020): everything outside of official's val and test is train, also the
    # lines that official left out of the very forms of its test
    "iam-d": Partition(
        counts={"train": 9652, "val": 1840, "test": 1861},
        files={
            "train": ("IAM-D/train.txt",),
            "val": ("IAM-D/valid.txt",),
            "test": ("IAM-D/test.txt",),
        },
        where=f"the folder IAM-D of {_COMPARED}",
    ),
}


def list_file(root: Path, partition: str, split: str) -> Path:
    """The list of a split.

    Raises:
        Unavailable: it is not below the root; with where it is had.
        UserError: the partition has no such split.
    """
    published = PARTITIONS[partition]
    if split not in published.files:
        raise UserError(
            f"the partition {partition} of iam has no split {split!r}; "
            f"it has {', '.join(published.files)}"
        )
    for folder in FOLDERS:
        for name in published.files[split]:
            if (path := root / folder / name).is_file():
                return path
    expected = root / FOLDERS[0] / published.files[split][0]
    raise Unavailable(
        f"there is no list of the partition {partition} in {root}: {expected} is missing",
        f"get {published.where}, and put it into {root / FOLDERS[0]}",
    )


def read_list(root: Path, partition: str, split: str) -> tuple[list[str], list[BadLine], list[str]]:
    """The line ids of a split in the order of its list, entries that are none, and notes on it.

    An entry may have more behind its id (Laia's and unilm's lists have), or a folder before it
    and `.png` behind it.

    Raises:
        Unavailable: the list is not here, or cannot be read.
        UserError: the partition has no such split.
    """
    path = list_file(root, partition, split)
    name = path.relative_to(root).as_posix()
    try:
        text = decode_text(content(inside(root, name)))
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
        if not LINE_ID.fullmatch(base):
            bad.append(BadLine(f"{name}:{number}", f"{entry[:80]!r} is no id of a line of IAM"))
        elif base in ids:
            notes.append(f"{name}:{number} names {base} again; it is read once")
        else:
            ids[base] = None
    return list(ids), bad, notes + miscount(name, partition, split, len(ids))


def miscount(name: str, partition: str, split: str, count: int) -> list[str]:
    """Nothing, or that a file has another number of lines than was published."""
    right = PARTITIONS[partition].counts[split]
    if count == right:
        return []
    return [
        f"{name} has {count} lines, and {split} of the partition {partition} has {right} as "
        "published: what is measured on it compares with no published result"
    ]
