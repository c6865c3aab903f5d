"""Links lead to files; a page and its Japanese twin have the same parts, numbers and links.

Whoever changes one of them changes the other; these tests say where they differ.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from bench import ROOT

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
