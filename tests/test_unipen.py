"""The data set `unipen`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import Unavailable, UserError
from datasets.root import set_data_root
from datasets.unipen import COLUMNS, STROKES, TABLE, Unipen, draw, read_strokes


def test_ink_is_black_on_white_and_stands_upright() -> None:
    strokes = [[[0, 0], [0, 100]], [[0, 100], [300, 100]]]
    image = draw([np.array(stroke, np.float32) for stroke in strokes])
    assert image.dtype == np.uint8 and image.shape == (64, 3 * 52 + 12)
    assert image[58, 6] < 100 and image[6, 160] < 100  # y grows upwards: the long stroke is on top
    assert image[58, 160] == 255
    inked = np.flatnonzero((image < 128).any(1))
    assert (inked[0], inked[-1]) == (5, 58)  # 6 px of margin less half a pen of 2 px


def _root(tmp_path: Path, rows: list[list[str]], records: list[object]) -> Path:
    table = "\n".join("\t".join(row) for row in [list(COLUMNS), *rows]) + "\n"
    (tmp_path / TABLE).write_text(table)
    text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records)
    (tmp_path / STROKES).write_bytes(gzip.compress(text.encode()))
    return tmp_path


def _row(file: str, split: str = "test", text: str = "two words") -> list[str]:
    return [file, "w", split, "9", "64", "OK", text]


@pytest.fixture
def chosen_root(tmp_path: Path) -> Iterator[Path]:
    set_data_root(tmp_path)
    yield tmp_path
    set_data_root(None)


GOOD = [[[0, 0], [9, 9]]]


def test_a_line_that_cannot_be_read_is_bad_and_the_others_are_kept(chosen_root: Path) -> None:
    names = [f"bba_w_0000{i}.png" for i in range(8)]
    rows = [_row(name) for name in names]
    rows[7] = _row(names[7], text="  ")
    odd: list[Any] = [GOOD, None, None, [], [[[0, 0], [1]]], [[["a", "b"]]], [[[0, 1e999]]], GOOD]
    records: list[object] = [
        {"file": name, "strokes": s} for name, s in zip(names, odd, strict=True)
    ]
    records[1:3] = [{"file": "other.png", "strokes": GOOD}, "{not json"]
    _root(chosen_root, rows, records)
    found = Unipen().load("test")
    assert [line.id for line in found.lines] == ["bba_w_00000"]
    assert [bad.id for bad in found.bad] == [name[:-4] for name in names[1:]]
    assert all(bad.reason for bad in found.bad)


def test_subsets_splits_and_limits(chosen_root: Path) -> None:
    names = ("bba_a_0", "aga_b_0", "lex_c_0", "lex_c_1", "bbd_d_0")
    files = [f"{name}.png" for name in names]
    rows = [_row(file, "val" if "c_0" in file else "test") for file in files]
    _root(chosen_root, rows, [{"file": file, "strokes": GOOD} for file in files])

    def ids(subset: str, split: str = "test", limit: int | None = None) -> list[str]:
        return [line.id for line in Unipen(subset).load(split, limit).lines]

    assert ids("bb+lex") == ["bba_a_0", "lex_c_1", "bbd_d_0"]
    assert ids("bb") == ["bba_a_0", "bbd_d_0"]
    assert ids("lex") == ["lex_c_1"] and ids("lex", "val") == ["lex_c_0"]
    assert ids("all") == ["bba_a_0", "aga_b_0", "lex_c_1", "bbd_d_0"]
    assert ids("bb+lex", limit=2) == ["bba_a_0", "lex_c_1"]
    assert ids("bb", "train") == [] and ids("bb", limit=0) == []


def test_wrong_names_and_missing_files_are_user_errors(chosen_root: Path) -> None:
    with pytest.raises(Unavailable) as absent:
        Unipen().load("train")
    assert absent.value.remedy == "python -m bench data get unipen"
    assert len(Unipen("lex").load("test", 3).lines) == 3  # embedded
    _root(chosen_root, [_row("bba_a_0.png")], [{"file": "bba_a_0.png", "strokes": GOOD}])
    with pytest.raises(UserError, match="did you mean bb"):
        Unipen("bbx").load()
    with pytest.raises(UserError, match="did you mean test"):
        Unipen().load("tests")
    (chosen_root / TABLE).write_text("a\tb\n")
    with pytest.raises(UserError, match=r"columns a, b.*data get unipen"):
        Unipen().load()
    whole = (chosen_root / STROKES).read_bytes()
    for broken in (whole[:-12], b"plain text", whole[:-8] + b"\0" * 8):
        (chosen_root / STROKES).write_bytes(broken)
        with pytest.raises(UserError, match=r"is damaged.*data get unipen"):
            list(read_strokes(chosen_root / STROKES))
