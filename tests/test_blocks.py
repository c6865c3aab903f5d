"""Blocks: what statistics resample, what tables call it, and what else is said of a set."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bench.analysis.stats import micro_interval
from bench.core.records import dump, load
from bench.core.types import Decoded, Line, LineResult
from bench.pipeline.cells import line_result
from bench.report import accuracy, correction, render
from bench.report.results import collect
from datasets import DATASETS
from datasets.about import Blocks, blocks_of
from datasets.base import fingerprint
from datasets.manifest import ManifestLines
from datasets.parquet import ScannedLines
from datasets.root import data_root, set_data_root
from tests.run_rows import Rows, cell_lines, row

PAPER = np.full((8, 30), 255, np.uint8)


def letters(count: int, each: int = 2) -> list[LineResult]:
    """Lines of one hand in letters whose error rates differ."""
    return [
        dataclasses.replace(one, writer="Joseph Hooker", block=f"letter {one.block}")
        for one in cell_lines(0.1, count)[: count * each]
    ]


class Stored(Rows):
    """The same lines of every row."""

    def __init__(self, lines: list[LineResult], *rows: Any) -> None:
        super().__init__(*rows)
        self._lines = lines

    def lines(self, key: str) -> list[LineResult]:
        return self._lines


def test_a_line_without_a_block_has_its_writer_s():
    plain = Line("a", PAPER, "text", "w1", "test")
    named = dataclasses.replace(plain, block="letter 1")
    assert (plain.block, named.block, named.writer) == ("w1", "letter 1", "w1")
    stored = line_result(named, Decoded("text", 4))
    assert load(LineResult, dump(stored), "") == stored and stored.block == "letter 1"
    assert fingerprint([named]) == fingerprint(
        [dataclasses.replace(plain, writer="letter 1", block="")]
    )
    assert fingerprint([named]) != fingerprint([plain])


@pytest.mark.parametrize(
    ("source", "hand", "found"),
    [("hooker", "Joseph Hooker", Blocks(2, "letter", 1)), ("copiste", "", Blocks(2, "text", 0))],
)
def test_the_recorded_sets_have_letters_and_texts_for_blocks(tmp_path, source, hand, found):
    buffer = io.BytesIO()
    Image.fromarray(PAPER).save(buffer, "PNG")
    image = {"bytes": buffer.getvalue(), "path": "a.png"}
    rows = [
        {"id": f"i{n}", "image": image, "text": "a b", "writer": f"L{n % 2}", "split": "test"}
        for n in range(4)
    ]
    name = {"hooker": "hooker_lines.parquet", "copiste": "copiste_fr_lines.parquet"}[source]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    set_data_root(tmp_path)
    try:
        lines = ScannedLines(source, whole=True).load("test").lines
    finally:
        set_data_root(None)
    assert {(one.writer, one.block) for one in lines} == {(hand, "L0"), (hand, "L1")}
    assert blocks_of(source, lines) == found


def test_the_real_test_split_is_of_one_hand_in_17_letters():
    shipped = ScannedLines("hooker").load("test").lines
    assert len(shipped) == 300 and blocks_of("hooker", shipped) == Blocks(17, "letter", 1)
    if data_root() is None or not (data_root() / "hooker_lines.parquet").is_file():  # type: ignore
        pytest.skip("the data root has no hooker_lines.parquet")
    whole = ScannedLines("hooker", whole=True).load("test")
    assert whole.name == "hooker-all"
    assert blocks_of("hooker-all", whole.lines) == Blocks(17, "letter", 1)
    # the hash of stored rows: the set is the same, whatever its hand is called
    assert whole.sha256.startswith("dd79774821f8")
    by_id = {line.id: line for line in whole.lines}
    assert all((by_id[line.id].image == line.image).all() for line in shipped)


def test_captions_of_one_hand_count_letters_and_resample_them():
    found = letters(17)
    (table,) = accuracy.by_set(collect(Stored(found, row(dataset="hooker"))))
    assert "24 lines of 1 hand in 17 letters" in table.conditions
    assert "bootstrap over letters" in table.conditions and "writer" not in table.conditions
    own = micro_interval([one.edits for one in found], [50] * 34, [f"{n // 2}" for n in range(34)])
    assert own is not None
    assert table.rows[0][2].values[1] == pytest.approx(100 * own.low, abs=0.3)


def test_a_table_of_the_user_s_names_its_blocks(tmp_path):
    Image.fromarray(PAPER).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("image,text,writer,block\na.png,some text,Ann,letter 7\n")
    (one,) = ManifestLines(path=tmp_path / "t.csv").load("test").lines
    assert (one.writer, one.block) == ("Ann", "letter 7")
    assert blocks_of("manifest", [one]) == Blocks(1, "block", 1)


@pytest.mark.parametrize("name", ["lines", "lines-random"])
def test_synthetic_sets_are_called_so_where_their_numbers_stand(name):
    assert "synthetic" in DATASETS.entry(name).summary
    results = collect(Rows(row(dataset=name), row(dataset=name, damage="blot", severity=3)))
    (clean,), (damaged,) = accuracy.by_set(results), accuracy.by_damage(results)
    assert clean.columns[2].head == f"{name} (synthetic) %"
    assert damaged.title.endswith(f"on {name} (synthetic)")
    for table in (clean, damaged):
        assert f"{name} (synthetic: rendered with stroke fonts, test split" in table.conditions
    assert "synthetic" not in str(accuracy.by_set(collect(Rows(row(dataset="unipen")))))


def test_no_damage_is_ranked_over_another():
    rows = [
        row(damage=name, severity=3, cer=cer) for name, cer in (("blot", 0.4), ("char_erase", 0.1))
    ]
    (table,) = accuracy.by_damage(collect(Rows(*rows)))
    assert "the rows rank no damage over another" in table.conditions
    assert [cells[0].text for cells in table.rows] == ["char_erase", "blot"]  # as registered
    (alone,) = accuracy.by_damage(collect(Rows(rows[0])))
    assert "rank" not in alone.conditions


def test_gains_are_adjusted_over_the_table_and_starred_only_where_the_interval_agrees():
    def corrected(decoder: str, better: int) -> Any:
        counts = {"same": 0, "worse": 0, "changed": 0, "edits_before": 0}
        facts = {**counts, "improved": better, "refused": {}, "cer_before": 0.1, "wer_before": 0.1}
        return row(decoder, correction=facts)

    class Gained(Rows):
        def lines(self, key: str) -> list[LineResult]:
            better = 12 if "speller" in key else 6
            truth = "the quick brown fox"
            return [
                LineResult(
                    id=str(n), writer=f"w{n:02}", reference=truth, text=truth, tokens=19,
                    score=None, truncated=False, substitutions=0, deletions=0, insertions=0,
                    word_edits=0, block=f"w{n:02}",
                    uncorrected=truth.replace("o", "a") if n < better else truth,
                )
                for n in range(12)
            ]  # fmt: skip

    store = Gained(*(corrected(f"ctc-greedy+{name}", 1) for name in ("speller", "lm", "lm2")))
    (table,) = correction.tables(collect(store))
    place = [column.head for column in table.columns].index("Gain")
    cells = {cells[4].text: cells[place] for cells in table.rows}
    strong, weak = cells["ctc-greedy+speller"], cells["ctc-greedy+lm"]
    assert strong.text.endswith("*") and strong.values[3] == pytest.approx(3 * 2 / 2**12)
    assert not weak.text.endswith("*") and weak.values[3] == pytest.approx(2 * 2 / 2**6)
    assert isinstance(weak.values[1], float) and weak.values[1] > 0  # the interval leaves 0 out
    assert "Holm over the table" in table.conditions and "*" in render.terminal(table, 200)
