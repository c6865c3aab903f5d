"""The examples of docs/extending.md work as printed, and mistakes in one are explained."""

import re
import sys
from types import ModuleType

import cv2
import numpy as np
import pytest

from bench import ROOT
from bench.core.errors import Unavailable
from bench.core.registry import Entry, Registry
from bench.core.types import EncoderInfo
from bench.report import accuracy
from bench.report.table import Column
from tests.ctc_doubles import ALPHABET, encoded
from tests.damage_lines import written

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
INCOMPLETE = [
    ("class Snow", "class SnowFall", "has no Snow"),
    ("@dataclass(frozen=True)\n", "", r"@dataclass\(frozen=True\) is missing"),
    ("def _at", "def _on", "does not define _at"),
    ("name, family", "name, kind", "does not set family"),
]


def example(heading: str) -> list[str]:
    """The code of a section, cut before the name of each file."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"(?ms)^```python\n(.*?)^```$", section)
    return re.split(r"(?m)^# [a-z_/]+\.py\n", code)[1:]


def added(
    monkeypatch: pytest.MonkeyPatch, heading: str, before: str = "", after: str = ""
) -> Registry:
    """A registry of what an example adds, one text of its code replaced."""
    code, line = example(heading)
    entries = eval(f"{{{line}}}", {"Entry": Entry})
    (entry,) = entries.values()
    module = ModuleType(entry.target.partition(":")[0])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code.replace(before, after) if before else code, vars(module))
    return Registry("thing", entries)


def test_the_decoder(monkeypatch):
    log_probs = np.full((2, len(ALPHABET)), -20, np.float32)
    log_probs[[0, 1], [ALPHABET.index("h"), ALPHABET.index("i")]] = 0
    spec = added(monkeypatch, "Add a decoder").create("shout", {"mark": "?"})
    info = EncoderInfo("mini", "", {}, ALPHABET, has_ar=False)
    assert [line.text for line in spec.open(info).decode(encoded([log_probs], ALPHABET))] == ["HI?"]


def test_the_damage(monkeypatch):
    damage = added(monkeypatch, "Add a damage").create("snow")
    shares = [
        (damage.apply(written()[0], "set", severity, 0).line.image == 255).mean()
        for severity in range(6)
    ]
    assert shares[1:] == pytest.approx(damage.strengths, abs=0.02) and shares[0] < 0.01


def test_the_data_set(monkeypatch, tmp_path):
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), written()[0].image)
    (tmp_path / "a.txt").write_text("a line")
    registry = added(monkeypatch, "Add a data set")
    assert registry.create("pairs").missing()
    dataset = registry.create("pairs", {"root": tmp_path})
    assert dataset.missing() is None
    lines = dataset.load()
    assert [line.text for line in lines.lines] == ["a line"]
    assert [(bad.id, bad.reason) for bad in lines.bad] == [
        ("b", "its text cannot be read: the file b.txt is missing")
    ]


def test_the_column():
    (line,) = example("Add a column")
    (column,) = eval(f"[{line}]", vars(accuracy))
    assert isinstance(column, Column) and column.head == "Words"


@pytest.mark.parametrize(("before", "after", "fault"), INCOMPLETE)
def test_an_incomplete_class_is_refused_with_its_fault(monkeypatch, before, after, fault):
    registry = added(monkeypatch, "Add a damage", before, after)
    with pytest.raises(Unavailable, match=fault):
        registry.create("snow")
