"""Links lead to files; a page and its Japanese twin have the same parts, numbers and links.

Whoever changes one of them changes the other; these tests say where they differ.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from types import ModuleType

import cv2
import numpy as np
import pytest
from cyclopts import App

from bench import ROOT, cli
from bench.cli import parse
from bench.core.errors import Unavailable
from bench.core.registry import Entry, Registry
from bench.core.types import EncoderInfo
from bench.report import accuracy
from bench.report.table import Column
from tests.ctc_doubles import ALPHABET, encoded
from tests.damage_lines import written

_SMALL = 14  # numbers up to here are words in English prose and figures in Japanese


def sections(name: str) -> list[str]:
    """The file cut before each heading, code included."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.split(r"(?m)^(?=#{1,6} \S)(?!# [a-z_/]+\.py$)", text)[1:]


def code(text: str) -> list[str]:
    """The lines of all code blocks, without the comments behind commands."""
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```$", text)
    lines = "".join(blocks).splitlines()
    return [re.sub(r"  +# .*", "", line) if line[:7] in _COMMANDS else line for line in lines]


_COMMANDS = ("python ", "pytest ")


def prose(text: str) -> str:
    return re.sub(r"(?ms)^```.*?^```$", "", text)


def numbers(text: str) -> Counter[str]:
    """Numbers outside of code blocks, code in lines, links and names such as "6-gram"."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", prose(text))
    return Counter(re.findall(r"(?<![\w.])[+-]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)", text))


def links(text: str) -> list[str]:
    """Where a text leads to; a page and its twin count as one."""
    return [link.replace(".ja.md", ".md") for link in re.findall(r"\]\(([^)]+)\)", text)]


def codes(text: str) -> Counter[str]:
    return Counter(re.findall(r"`([^`\n]+)`", prose(text)))


PAGES = (
    "README.md",
    "docs/results.md",
    "docs/extending.md",
    "docs/commands.md",
    "docs/questions.md",
    "docs/damage.md",
    "docs/project.md",
    "docs/colab.md",
    "docs/start.md",
    "docs/manuscript.md",
    "docs/scale.md",
)
PAIRS = [
    (english, japanese)
    for page in PAGES
    for english, japanese in zip(
        sections(page), sections(page.replace(".md", ".ja.md")), strict=True
    )
]


def each_section(test):
    heads = [english.splitlines()[0] for english, _ in PAIRS]
    return pytest.mark.parametrize(("english", "japanese"), PAIRS, ids=heads)(test)


@each_section
def test_a_section_says_the_same(english, japanese):
    assert english.partition(" ")[0] == japanese.partition(" ")[0]
    assert code(japanese) == code(english)
    assert links(japanese) == links(english)
    assert codes(japanese) == codes(english)
    missing = numbers(english) - numbers(japanese)
    added = {n for n in numbers(japanese) - numbers(english) if not _is_small(n)}
    assert not missing and not added


PROSE = [
    *(ROOT / name for name in ("README.md", "README.ja.md", "CHANGELOG.md", "results/README.md")),
    *(path for folder in ("docs", "models", "datasets") for path in (ROOT / folder).rglob("*.md")),
    *(ROOT / "results" / "reference").glob("*/report.md"),
]


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8")))
    files = [link.partition("#")[0] for link in links if not re.match("[a-z]+:", link)]
    assert [file for file in files if file and not (page.parent / file).exists()] == []


def test_every_page_that_has_a_japanese_twin_is_compared():
    assert {
        page.name.replace(".ja.md", ".md") for page in PROSE if page.name.endswith(".ja.md")
    } == {page.rpartition("/")[2] for page in PAGES}


def _is_small(number: str) -> bool:
    return number.isdigit() and int(number) <= _SMALL


def leaves(app: App, chain: str) -> Iterator[tuple[str, App]]:
    """The commands of a command, each with its name."""
    names = [name for name in app if not name.startswith("-")]
    for name in names:
        yield from leaves(app[name], f"{chain} {name}")
    if app.default_command is not None:
        yield chain, app


def test_the_commands_with_json_are_those_of_the_page():
    every = (leaf for name in cli.COMMANDS for leaf in leaves(cli._root(name)[name], name))
    having = [
        name for name, app in every
        if any("--json" in one.names for one in app.assemble_argument_collection())
    ]  # fmt: skip
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8").rpartition("```")[2]
    assert sorted(re.findall(r"`([^`]+)`", page)) == sorted(["--json", *having])


# The examples of docs/extending.md work as printed, and mistakes in one are explained


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


# The notebook for Colab: its form, its code, and the commands that it shares with its page


NOTEBOOK = json.loads((ROOT / "docs/colab.ipynb").read_text(encoding="utf-8"))
CODE = {c["id"]: "".join(c["source"]) for c in NOTEBOOK["cells"] if c["cell_type"] == "code"}
COMMANDS = re.findall(r"(?m)^!?python -m bench (.+)$", "\n".join(CODE.values()))


def test_it_is_a_notebook_of_format_4_without_outputs():
    assert set(NOTEBOOK) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    # Colab adds who saved it and where it came from.
    assert NOTEBOOK["metadata"] == {
        "accelerator": "GPU",
        "colab": {"gpuType": "T4", "provenance": []},
        "kernelspec": {"display_name": "Python 3", "name": "python3"},
        "language_info": {"name": "python"},
    }
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w-]{1,64}", one) for one in ids)
    for cell in NOTEBOOK["cells"]:
        fields = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            fields |= {"outputs", "execution_count"}
        else:
            assert cell["cell_type"] == "markdown"
        assert set(cell) == fields and cell["metadata"] == {}
        assert all(line.endswith("\n") for line in cell["source"][:-1])
        assert not cell["source"][-1].endswith("\n")


@pytest.mark.parametrize("cell", CODE)
def test_a_cell_is_shell_or_plain_python(cell):
    first, _, rest = CODE[cell].partition("\n")
    if first == "%%bash":
        subprocess.run(["bash", "-n"], input=rest, text=True, check=True)
    elif first.startswith("!"):
        lines = CODE[cell].splitlines()
        assert all(line.startswith("!") for line in lines)
        shell = "\n".join(line[1:] for line in lines)
        subprocess.run(["bash", "-n"], input=shell, text=True, check=True)
    else:
        compile(CODE[cell], cell, "exec")


def test_its_commands_are_understood_and_are_those_of_the_page():
    for command in COMMANDS:
        parse(shlex.split(command))
    page = (ROOT / "docs/colab.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^python -m bench (.+)$", page) == COMMANDS
