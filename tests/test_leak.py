"""Leaks: found where they were planted, refused before something learns, named in rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.types import Line, LineSet
from bench.pipeline.leaks.check import check_splits, check_training, leaks_of_row
from bench.pipeline.leaks.leak import GRAM, NEAR, compare, image_bits
from bench.pipeline.leaks.weights import RECORD
from bench.pipeline.plan import Part
from bench.report.leak import sentence, table, verdict
from datasets.base import Dataset, fingerprint
from datasets.handwriting import write
from datasets.iam import Iam
from datasets.lines import RenderedLines
from decoders.language.lm import EMBEDDED_TEXT, train_text
from tests.iam_layout import write_iam, write_list

TEXTS = ("the quick brown fox jumps", "over a lazy dog they say", "and then it rained all day")


def track(items, doing):
    return items


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path / "cache"))


def noise(seed: int, width: int = 300) -> NDArray[np.uint8]:
    blocks = np.random.default_rng(seed).integers(0, 255, (8, width // 10), dtype=np.uint8)
    image: NDArray[np.uint8] = cv2.resize(blocks, (width, 64), interpolation=cv2.INTER_NEAREST)
    return image


def made(split: str, lines: Sequence[tuple[str, int, str, str]], source: str = "made") -> LineSet:
    """Lines of (text, image, writer, page)."""
    found = tuple(
        Line(f"{split}-{i}", noise(image), text, writer, split, page=page)
        for i, (text, image, writer, page) in enumerate(lines)
    )
    return LineSet("made", split, found, (), fingerprint(found), source, "CC0", "ascii")


LEARNED = made(
    "train", [(TEXTS[0], 1, "w1", "p1"), ("so be it", 2, "w2", ""), (TEXTS[2], 3, "w3", "p3")]
)


@pytest.mark.parametrize(
    ("line", "kind", "spoils"),
    [
        ((f"  {TEXTS[0].replace(' ', '  ')}", 11, "v1", "q1"), "text", True),
        ((TEXTS[1], 11, "v1", "p3"), "page", False),
        ((TEXTS[1], 11, "w3", "q1"), "writer", False),
        ((TEXTS[1], 2, "v1", "q1"), "image", True),
    ],
)
def test_each_kind_is_found_by_itself(line, kind, spoils):
    leak = compare(LEARNED, made("test", [line]))
    assert {found.kind for found in leak.shared if found.lines} == {kind}
    assert leak.of(kind).example is not None
    assert leak.spoils is spoils
    assert kind in sentence(leak)


def test_one_hand_in_letters_is_in_both_splits_and_that_is_no_leak():
    def letters(split: str, *names: str) -> LineSet:
        found = tuple(
            Line(f"{split}-{i}", noise(10 * len(split) + i), f"{split} {i} is a text of some words",
                 "Joseph Hooker", split, block=name)
            for i, name in enumerate(names)
        )  # fmt: skip
        return LineSet("hooker", split, found, (), fingerprint(found), "Kew", "CC0", "ascii")

    leak = compare(letters("train", "L1", "L2"), letters("test", "L3", "L3", "L4"))
    assert (leak.of("writer").lines, leak.of("block").lines, leak.of("block").of) == (3, 0, 3)
    assert not leak.spoils
    sentences = verdict("hooker", [leak], [])
    assert "3 of 3 have the writer of a line there" in sentences
    assert "All letters are by one hand" in sentences
    assert [row[1].text for row in table("hooker", [leak]).rows][3] == "letter"
    shared = compare(letters("train", "L1"), letters("test", "L1"))
    assert shared.of("block").lines == 1 and "the letter of a line there" in sentence(shared)


def test_a_copy_in_another_size_and_format_is_nearly_the_image():
    learned = RenderedLines().load("test", 12)
    copies = []
    for line in learned.lines:
        small = cv2.resize(line.image, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 70])
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        copies.append(dataclasses.replace(line, id=f"copy of {line.id}", image=image))
    others = RenderedLines().load("val", 12).lines
    tested = dataclasses.replace(learned, lines=(*copies, *others))
    found = compare(learned, tested).of("near image")
    assert (found.lines, found.of) == (12, 24)
    bits = image_bits(learned.lines[0].image) ^ image_bits(others[0].image)
    assert sum(int(word).bit_count() for word in bits) > NEAR


@dataclasses.dataclass(frozen=True)
class Two(Dataset):
    """A set whose test repeats so many of its train lines."""

    repeated: int = 0
    read: list[str] = dataclasses.field(default_factory=list, compare=False)

    def missing(self):
        return None

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        self.read.append(split)
        first = {"train": 0, "val": 50, "test": 100}[split]
        number = [first + i for i in range(8)]
        if split == "test":
            number[: self.repeated] = range(self.repeated)
        return made(split, [(f"this is text number {n}", n, f"w{n}", "") for n in number])


def part(thing: Dataset) -> Part:
    return Part("two", thing, {"repeated": getattr(thing, "repeated", 0)})


def test_the_train_split_is_looked_through_once():
    two = Two(1)
    first = check_training([part(two)], track)
    assert two.read == ["test", "train"]
    assert check_training([part(two)], track) == first
    assert two.read == ["test", "train", "test"]
    record = leaks_of_row(part(two), two.load("test"), {})
    assert record == {
        "train": {"text": 1, "page": 0, "writer": 1, "block": 0, "image": 1, "near image": 0},
        "lm": None,
    }


def test_a_row_tells_what_the_embedded_model_has_read():
    text = train_text()[0].split()
    lines = [(" ".join(text[:GRAM]), 1, "w", ""), (TEXTS[0], 2, "w", "")]
    record = leaks_of_row(part(Two()), made("test", lines), {"lm_trained_on": EMBEDDED_TEXT})
    assert record == {"train": None, "lm": {"lines": 0.5, "runs": 1.0}}
    assert leaks_of_row(part(Two()), made("test", lines), {"lm_trained_on": "a file"})["lm"] is None


def test_lm_build_refuses_test_text_unless_allowed(call, tmp_path, monkeypatch):
    blank = write("", "w", "l")
    monkeypatch.setattr("datasets.lines.write", lambda *_: blank)  # texts alone are compared
    text = tmp_path / "text.txt"
    lines = [line.text for line in RenderedLines().load("test", 30).lines]
    text.write_text("\n".join(["some other words that nobody wrote before", *lines]))
    out = tmp_path / "x.arpa"
    asked = ["lm", "build", "--order", "2", "--against", "lines", "--text", str(text)]
    asked += ["--out", str(out)]
    code, _, error = call(*asked)
    assert (code, out.exists()) == (2, False)
    assert "would be no test" in error
    assert "--allow-leak" in error
    code, _, error = call(*asked, "--allow-leak")
    assert (code, out.exists()) == (0, True)
    assert "note: " in error


def test_the_command_compares_and_judges(call):
    code, out, _ = call(*["check", "leak", "--dataset", "lines", "-o", "lines.size=20", "--json"])
    record = json.loads(out)
    assert code == 0
    train_test = next(
        s for s in record["splits"] if s["tested"] == "lines test" and s["learned"] == "lines train"
    )
    assert {f["kind"]: f["lines"] for f in train_test["shared"]}["writer"] == 0
    assert record["text"][0]["overlap"]["lines_seen"] == 0
    code, _, error = call("check", "leak", "--dataset", "lynes")
    assert (code, "did you mean" in error) == (2, True)


def test_a_partition_is_compared_in_the_splits_that_it_has(tmp_path):
    write_iam(tmp_path)
    for file, form in (("tr", "a01-000u"), ("va", "c04-160"), ("te", "c04-160")):
        write_list(tmp_path / "splits" / "aachen" / f"{file}.lst", [form])
    part = Part("iam", Iam(root=tmp_path, partition="aachen"), {})
    pairs = [(leak.learned, leak.tested) for leak in check_splits(part, track)]
    assert pairs == [("iam train", "iam val"), ("iam train", "iam test"), ("iam val", "iam test")]


def test_a_training_on_a_leaking_set_is_refused(monkeypatch, capsys):
    from bench.cli.guard import guard_training
    from bench.core.registry import Entry, Registry

    two = Registry("data set", {"two": Entry(f"{__name__}:Two", "two")})
    monkeypatch.setattr("datasets.DATASETS", two)
    guard_training(("two",), {}, False)
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match="made test would be no test"):
        guard_training(("two",), {"two": {"repeated": 3}}, False)
    guard_training(("two",), {"two": {"repeated": 3}}, True)
    assert "3 of 8 have the text" in capsys.readouterr().err


def shipped(call, monkeypatch, tmp_path) -> tuple[int, dict[str, Any]]:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    code, out, _ = call("check", "leak", "-o", "ink.size=60", "--json")
    return code, {name: one for one in json.loads(out)["weights"] for name in one["weights"]}


def test_what_every_shipped_weight_learned_is_compared(call, tmp_path, monkeypatch):
    code, found = shipped(call, monkeypatch, tmp_path)
    names = {path.stem for path in RECORD.parent.glob("*.safetensors")}
    assert found.keys() == {*names, "n-grams", "ctc-gap"}
    assert not found["ppocr"]["known"]  # its makers name no data sets
    assert all(text["overlap"]["lines_seen"] == 0 for text in found["lm"]["texts"])
    hands = {
        leak["tested"]: [(one["kind"], one["lines"]) for one in leak["shared"]]
        for leak in found["mini"]["leaks"]
    }
    ink = {split: hands.pop(f"ink {split}") for split in ("val", "test")}
    assert hands == {
        "unipen val": [("writer", 0)], "unipen test": [("writer", 0)],
        "hooker val": [("block", 0)], "hooker test": [("block", 0)],
    }  # fmt: skip
    # They learned words of hands whose characters are in `ink`.
    assert code == 1 and all(lines > 0 for [(_, lines)] in ink.values())
    assert "unipen is not here" in found["mini"]["absent"][0]
    assert "a leak; learned from" in call("check", "leak", "-o", "ink.size=60")[1]


def test_weights_that_learned_no_hand_of_a_test_line_are_clean(call, tmp_path, monkeypatch):
    record = {file: ["bba/ajc"] for file in json.loads(RECORD.read_text(encoding="utf-8"))}
    monkeypatch.setattr("bench.pipeline.leaks.weights.RECORD", tmp_path / "learned.json")
    (tmp_path / "learned.json").write_text(json.dumps(record))
    assert shipped(call, monkeypatch, tmp_path)[0] == 0
    record["hooker_lines.parquet"] = ["JDH_2_16_145"]  # a letter of test
    (tmp_path / "learned.json").write_text(json.dumps(record))
    assert shipped(call, monkeypatch, tmp_path)[0] == 1
