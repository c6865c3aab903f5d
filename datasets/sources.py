"""The public sources of the data sets that are not embedded, with counts and hashes.

These were recorded from files built from the named commits; `python -m bench data get` builds the
same files, and `python -m bench data check` compares local files with the record.

The lines were chosen once, by rules in the docstrings of the builders. Some of these rules measure
the image (is the ink one line? is the crop wide enough?), and a new library version must not move
a line in or out of a test split. So the result is frozen in `datasets/rebuild/NAME.txt`: a group of
the source (a UNIPEN contributor, a page), a tab, and its items, where `r2l7-22` means `r2l7` to
`r2l22`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.core.errors import Unavailable
from datasets.base import absence
from datasets.root import data_root

Selection = Mapping[str, frozenset[str]]

_CHOSEN = Path(__file__).resolve().parent / "rebuild"
_RANGE = re.compile(r"(.*?)(\d+)-(\d+)")


EMBEDDED = Path(__file__).parent / "embedded"  # parts of val and test, see its README


@dataclass(frozen=True)
class Pieces:
    """Isolated words or characters of a source, for training only, so optional.

    name: plural noun. sha256: of the content in any order, as `datasets.acquire` hashes it.
    """

    name: Literal["words", "characters"]
    file: str
    count: int
    sha256: str


@dataclass(frozen=True)
class PublicSource:
    """A public source pinned to a commit.

    licence: SPDX identifier. attribution: the credit that the licence requires.
    files: the set's files in the data root.
    lines: lines by split.
    sha256: of the content, as `datasets.acquire` hashes it, however files are compressed.
    pieces: training material built from the same source.
    """

    name: str
    title: str
    url: str
    commit: str
    licence: str
    attribution: str
    kind: Literal["strokes", "images"]
    files: tuple[str, ...]
    lines: Mapping[str, int]
    sha256: str
    pieces: tuple[Pieces, ...] = ()


SOURCES: Mapping[str, PublicSource] = {
    source.name: source
    for source in (
        PublicSource(
            name="unipen",
            title="English lines as pen strokes, 88 hands",
            url="https://github.com/GreenCappuccino/train_r01_v07",
            commit="552a4d440bc94bb34710650c0826be7deb986f7c",
            licence="CC-BY-4.0",
            attribution=(
                "UNIPEN train_r01_v07, International Unipen Foundation; I. Guyon, L. Schomaker, "
                "R. Plamondon, M. Liberman and S. Janet, ICPR 1994; doi 10.5281/zenodo.1195803"
            ),
            kind="strokes",
            files=("unipen_lines.tsv", "unipen_lines.strokes.jsonl.gz"),
            lines={"train": 4565, "val": 383, "test": 580},
            sha256="a708270a0de7e48c33d3e134b1e9bb79a4b2f79f2d615c572d79236fba6fff85",
            pieces=(
                Pieces(
                    name="words",
                    file="unipen_words.strokes.jsonl.gz",
                    count=30716,
                    sha256="f67b0c38c13279bbf2f2ada54c7caec2005a3d2a8d311d501b693281e6ac4b61",
                ),
                Pieces(
                    name="characters",
                    file="unipen_chars.strokes.jsonl.gz",
                    count=102019,
                    sha256="1ba3d2b0c9040b4b4d370a387c2ea4c34d1a8afe40822937d82afcbc435dcf21",
                ),
            ),
        ),
        PublicSource(
            name="hooker",
            title="English letters of 1850-1911, scanned, one hand",
            url="https://github.com/jschaefer738b/JosephHookerHTR",
            commit="ece582973283818621e956163f295fcde672786c",
            licence="CC-BY-SA-4.0",
            attribution=(
                "Joseph Hooker Correspondence Project, Royal Botanic Gardens, Kew, by the "
                "HTR-United catalogue; images © RBG Kew, by permission"
            ),
            kind="images",
            files=("hooker_lines.parquet",),
            lines={"train": 4855, "val": 949, "test": 918},
            sha256="3850ead3ba8b235aa99c0e2d621158ea728d70898362342ec5c1dd2078d4d1ea",
        ),
        PublicSource(
            name="copiste",
            title="modern French, scanned, about 220 hands",
            url="https://github.com/banq-dcn/Copiste-d-un-jour",
            commit="a3636d2e151b4312973cfb88438a0c4ccd1eb523",
            licence="CC-BY-4.0",
            attribution="Copiste d'un jour, Bibliothèque et Archives nationales du Québec (BAnQ)",
            kind="images",
            files=("copiste_fr_lines.parquet",),
            lines={"train": 4171, "val": 608, "test": 382},
            sha256="cc37ec807fb6deb6047846366b9abfd4f6386334477b5536fb1095b9dba3f48b",
        ),
    )
}


def missing_pieces(name: str) -> tuple[Pieces, ...]:
    """The missing isolated words and characters of a source."""
    root = data_root()
    return tuple(p for p in SOURCES[name].pieces if root is None or not (root / p.file).is_file())


def missing_files(name: str) -> Unavailable | None:
    """The reason and remedy if files of a set are missing, else None."""
    return absence(lambda: root_of(name))


def root_of(name: str) -> Path:
    """The data root, checked for all files of a set.

    Raises:
        Unavailable: there is no data root, or a file is missing; with the command to get the set.
    """
    root = data_root()
    remedy = f"python -m bench data get {name}"
    if root is None:
        raise Unavailable(f"{name} is not here: there is no data root", remedy)
    absent = [file for file in SOURCES[name].files if not (root / file).is_file()]
    if absent:
        raise Unavailable(f"{name} is not here: {root} has no {' and no '.join(absent)}", remedy)
    return root


def folder_with(name: str, split: str) -> Path:
    """The folder with a split of a set: the data root, or the embedded files of val and test.

    Raises:
        Unavailable: neither has it; with the command that gets the set.
    """
    try:
        return root_of(name)
    except Unavailable:
        if split == "train" or not (EMBEDDED / SOURCES[name].files[0]).is_file():
            raise
        return EMBEDDED


def load_selection(name: str) -> Selection:
    """The chosen items of every group of a set."""
    return parse_selection((_CHOSEN / f"{name}.txt").read_text(encoding="utf-8"))


def parse_selection(text: str) -> Selection:
    """Parse lines of `group TAB items`."""
    groups: dict[str, frozenset[str]] = {}
    for row in text.splitlines():
        group, _, tokens = row.partition("\t")
        groups[group] = frozenset(item for token in tokens.split() for item in _expand(token))
    return groups


def _expand(token: str) -> list[str]:
    """Expand `r2l7-9` to `r2l7 r2l8 r2l9`, padded like the first number."""
    match = _RANGE.fullmatch(token)
    if match is None:
        return [token]
    prefix, first, last = match.groups()
    return [f"{prefix}{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
